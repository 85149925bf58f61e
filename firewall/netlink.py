"""nf_tables over netlink: the few messages that nft's text cannot say (`match bpf`) or says too slowly (set elements, the
flip), sent as one transaction, and listings of names, counters and verdicts.

The socket belongs to the network namespace of the thread that opens it. Formats: include/uapi/linux/netlink.h,
netfilter/nfnetlink.h, netfilter/nf_tables.h, netfilter/nf_tables_compat.h and netfilter/xt_bpf.h of the kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Final, Self

INET: Final = 1
"""NFPROTO_INET."""
NFPROTO_IPV4: Final = 2
NFPROTO_IPV6: Final = 10
SUBSYSTEM: Final = 10
"""NFNL_SUBSYS_NFTABLES."""

COMPAT_SUBSYSTEM: Final = 11
"""NFNL_SUBSYS_NFT_COMPAT, whose one request asks for a match or target."""

NEWTABLE, GETTABLE, DELTABLE = 0, 1, 2
NEWCHAIN, GETCHAIN, DELCHAIN = 3, 4, 5
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSET, GETSET, DELSET = 9, 10, 11
NEWSETELEM, GETSETELEM, DELSETELEM = 12, 13, 14
GETGEN = 16
GETOBJ, DELOBJ = 19, 20

BATCH_BEGIN, BATCH_END = 0x10, 0x11
NLMSG_ERROR, NLMSG_DONE = 2, 3
F_REQUEST, F_ACK, F_DUMP_INTR, F_CAPPED, F_ACK_TLVS = 0x1, 0x4, 0x10, 0x100, 0x200
F_DUMP, F_CREATE, F_EXCL, F_APPEND, F_REPLACE = 0x300, 0x400, 0x200, 0x800, 0x100

NLA_TYPE_MASK = 0x3FFF
"""The rest of an attribute's type is NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
NLA_F_NESTED = 0x8000
ATTRIBUTES_MAX = 60_000
"""Bytes of elements in one message: an attribute's length is 16 bits."""

NETLINK_NETFILTER: Final = 12
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
SO_SNDBUFFORCE: Final = 32

VERDICT_REGISTER = 0
JUMP, GOTO = -3, -4
REGISTER_1 = 1
META_NFPROTO = 15
"""NFT_META_NFPROTO."""
SET_ANONYMOUS = 0x1
ELEMENT_INTERVAL_END = 0x1
OBJECT_COUNTER = 1
COMMENT_MAX = 127
"""Bytes; nft's NFTNL_UDATA_COMMENT_MAXLEN less the final NUL."""

XT_BPF_INFO_BYTES = 528
XT_BPF_PATH_PINNED = 1
XT_BPF_PATH_OFFSET, XT_BPF_PATH_MAX = 8, 512


class NetlinkError(Exception):
    """The kernel refused a transaction or a request. Nothing of a refused transaction stands.

    `errno` is the kernel's; `message` says what we asked for (None: the transaction as a whole, in its commit)."""

    def __init__(self, number: int, message: str | None, words: str = "", others: int = 0) -> None:
        self.errno = number
        self.message = message
        self.words = words
        name = errno.errorcode.get(number, str(number))
        text = f"{message or 'the transaction'}: {words or os.strerror(number)} ({name})"
        super().__init__(text + (f", and {others} more of its messages" if others else ""))


@dataclass(frozen=True, slots=True)
class Message:
    """One request of a transaction; `what` names it in errors."""

    kind: int
    flags: int
    attributes: bytes
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`jump CHAIN` or `goto CHAIN`."""

    chain: str
    goto: bool = False


# --- attributes


def attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def string(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """32 bits, network order, as everywhere in nf_tables."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if length < 4:
            return
        yield kind & NLA_TYPE_MASK, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def table_of(payload: bytes) -> dict[int, bytes]:
    """The attributes by type; of a type that stands twice, the last."""
    return dict(attributes(payload))


def text_of(payload: bytes) -> str:
    return payload.split(b"\0", 1)[0].decode(errors="replace")


# --- expressions and user data


def verdict_data(verdict: Verdict) -> bytes:
    """NFTA_DATA_VERDICT {CODE, CHAIN}."""
    return nest(2, number(1, GOTO if verdict.goto else JUMP), string(2, verdict.chain))


def immediate(verdict: Verdict) -> bytes:
    """The expression `goto CHAIN` or `jump CHAIN`."""
    return expression("immediate", number(1, VERDICT_REGISTER) + nest(2, verdict_data(verdict)))


def family_is(family: int) -> tuple[bytes, bytes]:
    """The expressions `meta nfproto FAMILY`: NFTA_META {DREG, KEY} and NFTA_CMP {SREG, OP (0: equal), DATA {VALUE}}."""
    return (
        expression("meta", number(1, REGISTER_1) + number(2, META_NFPROTO)),
        expression("cmp", number(1, REGISTER_1) + number(2, 0) + nest(3, attribute(1, bytes((family,))))),
    )


def expression(name: str, data: bytes) -> bytes:
    return nest(1, string(1, name), nest(2, data))


def match_bpf(pin: str) -> bytes:
    """The xtables match `bpf`, revision 1, of a program pinned at this path: true where the program returns non-zero.

    struct xt_bpf_info_v1 {u16 mode; u16 bpf_program_num_elem; s32 fd; union {sock_filter[64]; char path[512]}; ptr}."""
    path = os.fsencode(pin)
    if len(path) >= XT_BPF_PATH_MAX:
        raise NetlinkError(errno.ENAMETOOLONG, f"the pin {pin}")
    info = struct.pack("=HHi", XT_BPF_PATH_PINNED, 0, -1) + path
    return expression("match", string(1, "bpf") + number(2, 1) + attribute(3, info.ljust(XT_BPF_INFO_BYTES, b"\0")))


def comment_data(comment: str) -> bytes:
    """User data as nft writes it: type 0 (comment), length, the text and a NUL. Too long a comment is cut."""
    text = comment.encode()[:COMMENT_MAX].decode(errors="ignore").encode() + b"\0"
    return bytes((0, len(text))) + text


def comment_of(userdata: bytes) -> str:
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == 0:
            return text_of(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""


# --- requests of a transaction


def delete_table(table: str) -> Message:
    return Message(DELTABLE, 0, string(1, table), f"delete table {table}")


def add_chain(table: str, chain: str) -> Message:
    """A regular chain; one that stands already stays as it is."""
    return Message(NEWCHAIN, F_CREATE, string(1, table) + string(3, chain), f"add chain {chain}")


def delete_chain(table: str, chain: str) -> Message:
    return Message(DELCHAIN, 0, string(1, table) + string(3, chain), f"delete chain {chain}")


def add_rule(table: str, chain: str, expressions: Sequence[bytes], comment: str = "", what: str = "") -> Message:
    """Appends a rule."""
    payload = string(1, table) + string(2, chain) + nest(4, *expressions)
    if comment:
        payload += attribute(7, comment_data(comment))
    return Message(NEWRULE, F_CREATE | F_APPEND, payload, what or f"add a rule to chain {chain}")


def replace_rule(table: str, chain: str, handle: int, expressions: Sequence[bytes], comment: str = "", what: str = "") -> Message:
    """Puts a rule in the place of another. It may not look up an anonymous set of the other's."""
    payload = string(1, table) + string(2, chain) + attribute(3, struct.pack(">Q", handle)) + nest(4, *expressions)
    if comment:
        payload += attribute(7, comment_data(comment))
    return Message(NEWRULE, F_REPLACE, payload, what or f"replace rule {handle} of chain {chain}")


def flush_rules(table: str, chain: str) -> Message:
    return Message(DELRULE, 0, string(1, table) + string(2, chain), f"flush chain {chain}")


def delete_rule(table: str, chain: str, handle: int) -> Message:
    payload = string(1, table) + string(2, chain) + attribute(3, struct.pack(">Q", handle))
    return Message(DELRULE, 0, payload, f"delete rule {handle} of chain {chain}")


def delete_set(table: str, name: str) -> Message:
    return Message(DELSET, 0, string(1, table) + string(2, name), f"delete set {name}")


def delete_counter(table: str, name: str) -> Message:
    return Message(DELOBJ, 0, string(1, table) + string(2, name) + number(3, OBJECT_COUNTER), f"delete counter {name}")


def add_elements(table: str, name: str, elements: Sequence[bytes]) -> Iterator[Message]:
    yield from _elements(NEWSETELEM, table, name, elements)


def delete_elements(table: str, name: str, elements: Sequence[bytes]) -> Iterator[Message]:
    yield from _elements(DELSETELEM, table, name, elements)


def _elements(kind: int, table: str, name: str, elements: Sequence[bytes]) -> Iterator[Message]:
    flags, what = (F_CREATE, f"add elements to {name}") if kind == NEWSETELEM else (0, f"delete elements of {name}")
    head = string(1, table) + string(2, name)
    pending = iter(elements)
    widest = max((len(element) for element in elements), default=1)
    while part := list(islice(pending, ATTRIBUTES_MAX // widest)):
        yield Message(kind, flags, head + nest(3, *part), what)


def element(key: bytes, verdict: Verdict | None = None) -> bytes:
    """One element of a set or, with a verdict, of a verdict map."""
    data = b"" if verdict is None else nest(2, verdict_data(verdict))
    return nest(1, nest(1, attribute(1, key)), data)


def interval(first: int, last: int, key_bytes: int, verdict: Verdict | None = None) -> tuple[bytes, ...]:
    """The range `first`..`last` (inclusive) of an interval set: its first key, and the key behind it marked as an end. Nothing
    ends a range that reaches the largest key."""
    start = element(first.to_bytes(key_bytes, "big"), verdict)
    if last + 1 == 1 << (8 * key_bytes):
        return (start,)
    end = (last + 1).to_bytes(key_bytes, "big")
    return start, nest(1, nest(1, attribute(1, end)), number(3, ELEMENT_INTERVAL_END))


# --- what the kernel lists


@dataclass(frozen=True, slots=True)
class Counter:
    name: str
    packets: int
    bytes: int
    comment: str
    uses: int
    """Rules that count with it."""


@dataclass(frozen=True, slots=True)
class ListedRule:
    chain: str
    handle: int
    comment: str
    targets: tuple[str, ...]
    """Chains that it jumps or goes to by its own verdict (not through a map)."""
    pins: tuple[str, ...]
    """Paths of the programs that its `match bpf` were loaded from."""
    expressions: tuple[bytes, ...]
    """As `add_rule` takes them."""


@dataclass(frozen=True, slots=True)
class ListedElement:
    key: bytes
    interval_end: bool
    target: str | None
    """Of a verdict map: the chain."""


@dataclass(frozen=True, slots=True)
class _Reply:
    kind: int
    payload: bytes


class Netlink:
    """A netlink socket to nf_tables. A context manager; opened in the calling thread's network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def transact(self, messages: Sequence[Message]) -> None:
        """All of the messages, or none of them. Raises NetlinkError with the message that the kernel refused first."""
        if not messages:
            return
        begin = self._sequence + 1
        packed = [_pack(BATCH_BEGIN, F_REQUEST, begin, resource=SUBSYSTEM)]
        for at, message in enumerate(messages):
            flags = F_REQUEST | message.flags | (F_ACK if at == len(messages) - 1 else 0)
            packed.append(_pack(SUBSYSTEM << 8 | message.kind, flags, begin + 1 + at, message.attributes, family=INET))
        last = begin + len(messages)
        packed.append(_pack(BATCH_END, F_REQUEST, last + 1, resource=SUBSYSTEM))
        self._sequence = last + 1
        self._send(b"".join(packed))
        self._confirm(messages, begin, last)

    def _send(self, data: bytes) -> None:
        """Every request goes through here. The kernel takes a batch as one packet and has worked it off when send returns."""
        size = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if size < len(data) + 4096:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, len(data) + 4096)
        self._socket.send(data)

    def _confirm(self, messages: Sequence[Message], begin: int, last: int) -> None:
        failures: list[tuple[int, int, str]] = []
        confirmed = False
        while True:
            try:
                data = self._socket.recv(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            for kind, flags, sequence, payload in _unpack(data):
                if kind != NLMSG_ERROR or not begin <= sequence <= last + 1:
                    continue
                code = -struct.unpack_from("=i", payload)[0]
                confirmed = confirmed or (code == 0 and sequence == last)
                if code:
                    failures.append((sequence, code, _extended(payload, flags)))
        if failures:
            sequence, code, words = min(failures)
            what = messages[sequence - begin - 1].what if begin < sequence <= last else None
            raise NetlinkError(code, what, words, others=len(failures) - 1)
        if not confirmed:
            raise NetlinkError(errno.EPROTO, None, "the kernel did not answer")

    def _dump(self, kind: int, payload: bytes) -> Iterator[_Reply]:
        """All entries of a listing, whole: it starts again where the rules changed in the midst of it."""
        while True:
            replies = self._dump_once(kind, payload)
            if replies is not None:
                yield from replies
                return

    def _dump_once(self, kind: int, payload: bytes) -> list[_Reply] | None:
        self._sequence += 1
        self._send(_pack(SUBSYSTEM << 8 | kind, F_REQUEST | F_DUMP, self._sequence, payload, family=INET))
        replies: list[_Reply] = []
        interrupted = False
        while True:
            for answer, flags, sequence, body in _unpack(self._socket.recv(1 << 17)):
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & F_DUMP_INTR)
                if answer == NLMSG_DONE:
                    return None if interrupted else replies
                if answer == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code == errno.ENOENT:
                        return []
                    if code in (errno.EINTR, errno.EAGAIN):
                        return None
                    raise NetlinkError(code, "list the rules")
                replies.append(_Reply(answer & 0xFF, body[4:]))

    def has_match(self, name: str, revision: int) -> bool:
        """Whether the kernel has this xtables match for rules of ours (it loads the module, if it is one). Linux without
        CONFIG_NFT_COMPAT has none."""
        self._sequence += 1
        request = string(1, name) + number(2, revision) + number(3, 0)  # NFTA_COMPAT_NAME, REV, TYPE (0: a match, not a target)
        self._send(_pack(COMPAT_SUBSYSTEM << 8, F_REQUEST | F_ACK, self._sequence, request, family=NFPROTO_IPV4))
        for kind, _, sequence, body in _unpack(self._socket.recv(1 << 17)):
            if sequence == self._sequence:
                code = -struct.unpack_from("=i", body)[0] if kind == NLMSG_ERROR else 0
                if code not in (0, errno.ENOENT, errno.EINVAL):  # EINVAL: no nft_compat to ask
                    raise NetlinkError(code, f"look for the match {name}")
                return code == 0
        return False

    def transaction(self) -> int:
        """The number of the last transaction in this network namespace, whoever made it: 32 bits, then it starts anew."""
        self._sequence += 1
        self._send(_pack(SUBSYSTEM << 8 | GETGEN, F_REQUEST, self._sequence))
        while True:
            for kind, _, sequence, body in _unpack(self._socket.recv(1 << 17)):
                if sequence == self._sequence:
                    if kind == NLMSG_ERROR:
                        raise NetlinkError(-struct.unpack_from("=i", body)[0], "ask for the last transaction")
                    return int(struct.unpack(">I", table_of(body[4:])[1])[0])

    def listing(self, kind: int, *within: bytes) -> Iterator[dict[int, bytes]]:
        """The attributes of every entry of a listing (GETTABLE, GETCHAIN, GETRULE, GETSET, GETSETELEM) of what `within` says."""
        for reply in self._dump(kind, b"".join(within)):
            yield table_of(reply.payload)

    def found(self, kind: int, *within: bytes) -> dict[int, bytes] | None:
        """The attributes of the one entry that `within` names (GETCHAIN, GETSET), if there is one."""
        self._sequence += 1
        self._send(_pack(SUBSYSTEM << 8 | kind, F_REQUEST, self._sequence, b"".join(within), family=INET))
        while True:
            for answer, _, sequence, body in _unpack(self._socket.recv(1 << 17)):
                if sequence == self._sequence:
                    if answer != NLMSG_ERROR:
                        return table_of(body[4:])
                    code = -struct.unpack_from("=i", body)[0]
                    if code == errno.ENOENT:
                        return None
                    raise NetlinkError(code, "look for what stands")

    def has_table(self, table: str) -> bool:
        return any(text_of(table_of(reply.payload).get(1, b"")) == table for reply in self._dump(GETTABLE, b""))

    def chains(self, table: str) -> tuple[str, ...]:
        """The chains' names, in the order of their making."""
        return self._names(GETCHAIN, table, 3)

    def _names(self, kind: int, table: str, name: int, payload: bytes = b"") -> tuple[str, ...]:
        found = (table_of(reply.payload) for reply in self._dump(kind, payload))
        return tuple(text_of(entry[name]) for entry in found if text_of(entry[1]) == table)

    def sets(self, table: str) -> tuple[str, ...]:
        """The names of sets and maps, without the anonymous ones."""
        found = (table_of(reply.payload) for reply in self._dump(GETSET, string(1, table)))
        return tuple(
            text_of(entry[2])
            for entry in found
            if text_of(entry[1]) == table and not struct.unpack(">I", entry.get(3, bytes(4)))[0] & SET_ANONYMOUS
        )

    def counters(self, table: str) -> tuple[Counter, ...]:
        """The named counters."""
        found = (table_of(reply.payload) for reply in self._dump(GETOBJ, string(1, table) + number(3, OBJECT_COUNTER)))
        return tuple(_counter(entry) for entry in found if text_of(entry[1]) == table)

    def rules(self, table: str, chain: str) -> tuple[ListedRule, ...]:
        found = (table_of(reply.payload) for reply in self._dump(GETRULE, string(1, table) + string(2, chain)))
        return tuple(_rule(entry) for entry in found if text_of(entry[1]) == table and text_of(entry[2]) == chain)

    def elements(self, table: str, name: str) -> tuple[ListedElement, ...]:
        found = (table_of(reply.payload) for reply in self._dump(GETSETELEM, string(1, table) + string(2, name)))
        return tuple(_element(table_of(body)) for entry in found for _, body in attributes(entry.get(3, b"")))


def _pack(kind: int, flags: int, sequence: int, payload: bytes = b"", *, family: int = 0, resource: int = 0) -> bytes:
    """struct nlmsghdr and struct nfgenmsg (whose resource id alone is in network order) before the payload."""
    length = 20 + len(payload)
    return struct.pack("=IHHII", length, kind, flags, sequence, 0) + struct.pack(">BBH", family, 0, resource) + payload


def _unpack(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence number, payload behind the netlink header) of each message."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _extended(payload: bytes, flags: int) -> str:
    """The kernel's own words on an error (NLMSGERR_ATTR_MSG), or nothing."""
    if not flags & F_ACK_TLVS:
        return ""
    original = struct.unpack_from("=I", payload, 4)[0]
    start = 20 if flags & F_CAPPED else 4 + ((original + 3) & ~3)
    return text_of(table_of(payload[start:]).get(1, b""))


def _counter(entry: dict[int, bytes]) -> Counter:
    data = table_of(entry[4])
    octets, packets = (struct.unpack(">Q", data[kind])[0] for kind in (1, 2))
    uses = struct.unpack(">I", entry.get(5, bytes(4)))[0]
    return Counter(text_of(entry[2]), packets, octets, comment_of(entry.get(8, b"")), uses)


def _rule(entry: dict[int, bytes]) -> ListedRule:
    targets = []
    pins = []
    expressions = []
    for _, body in attributes(entry.get(4, b"")):
        expressions.append(nest(1, body))
        parts = table_of(body)
        data = table_of(parts.get(2, b""))
        match text_of(parts[1]):
            case "immediate":
                target = _target(data.get(2, b""))
                targets += [] if target is None else [target]
            case "match" if text_of(data.get(1, b"")) == "bpf":
                pins.append(text_of(data.get(3, b"")[XT_BPF_PATH_OFFSET:]))
    handle = struct.unpack(">Q", entry[3])[0]
    return ListedRule(text_of(entry[2]), handle, comment_of(entry.get(7, b"")), tuple(targets), tuple(pins), tuple(expressions))


def _element(parts: dict[int, bytes]) -> ListedElement:
    flags = struct.unpack(">I", parts.get(3, bytes(4)))[0]
    key = table_of(parts[1])[1]
    return ListedElement(key, bool(flags & ELEMENT_INTERVAL_END), _target(parts.get(2, b"")))


def _target(data: bytes) -> str | None:
    """The chain of a verdict inside NFTA_DATA_VERDICT, if it has one."""
    verdict = table_of(table_of(data).get(2, b""))
    return text_of(verdict[2]) if 2 in verdict else None
