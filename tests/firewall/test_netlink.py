"""The netlink codec: its bytes against those that nft sends, what it lists, and its errors."""

from __future__ import annotations

import errno
import struct
import subprocess
from collections.abc import Iterator

import pytest
import rule_lab
from hypothesis import given, settings
from hypothesis import strategies as st

from firewall import netlink, nft
from firewall.namespace import Namespace, NamespaceError
from firewall.netlink import Message, Netlink, NetlinkError, Verdict

TABLE = "t"


# -- bytes


def test_a_rule_is_what_nft_sends() -> None:
    """strace -xx -e sendmsg nft add rule inet t a goto b comment "hi" (nft 1.0.6)."""
    sent = bytes.fromhex(
        "06000100 74000000 06000200 61000000 3c000480"
        "38000180 0e000100 696d6d65 64696174 65000000"
        "24000280 08000100 00000000 18000280 14000280 08000100 fffffffc 06000200 62000000"
        "09000700 00036869 00000000"
    )
    assert netlink.add_rule(TABLE, "a", [netlink.immediate(Verdict("b", goto=True))], "hi").attributes == sent


def test_an_element_of_a_verdict_map_is_what_nft_sends() -> None:
    """nft add element inet t m { 80 : jump b }; nft numbers the set besides (NFTA_SET_ELEM_LIST_SET_ID), which it need not."""
    sent = bytes.fromhex(
        "2c000380 28000180 0c000180 06000100 00500000 18000280 14000280 08000100 fffffffd 06000200 62000000".replace(" ", "")
    )
    (message,) = netlink.add_elements(TABLE, "m", [netlink.element(b"\x00\x50", Verdict("b"))])
    assert message.attributes == netlink.string(1, TABLE) + netlink.string(2, "m") + sent


def test_a_range_is_its_first_key_and_the_key_behind_it() -> None:
    """nft add element inet t s { 10.0.0.0-10.0.0.255 }; nft sends an end's flags before its key."""
    first, end = netlink.interval(0x0A000000, 0x0A0000FF, 4)
    assert first == bytes.fromhex("10000180 0c000180 08000100 0a000000")
    assert end == bytes.fromhex("18000180 0c000180 08000100 0a000100 08000300 00000001")


def test_nothing_ends_a_range_that_reaches_the_last_key() -> None:
    assert len(netlink.interval(7, 2**128 - 1, 16)) == 1


def test_match_bpf_is_a_528_byte_structure() -> None:
    """struct xt_bpf_info_v1 of linux/netfilter/xt_bpf.h: mode, length, fd, path; a pointer of the kernel's own at the end."""
    expression = netlink.match_bpf("/sys/fs/bpf/x")
    body = netlink.table_of(netlink.table_of(expression)[1])
    assert netlink.text_of(body[1]) == "match"
    data = netlink.table_of(body[2])
    assert (data[1], data[2]) == (b"bpf\0", b"\0\0\0\x01")
    assert data[3] == struct.pack("=HHi512sQ", 1, 0, -1, b"/sys/fs/bpf/x", 0)


def test_a_pin_with_too_long_a_path_is_refused() -> None:
    netlink.match_bpf("/" + "x" * 510)
    with pytest.raises(NetlinkError, match="ENAMETOOLONG"):
        netlink.match_bpf("/" + "x" * 511)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_read_what_attribute_writes(items: list[tuple[int, bytes]]) -> None:
    assert list(netlink.attributes(b"".join(netlink.attribute(kind, body) for kind, body in items))) == items


@given(st.binary(max_size=200))
def test_foreign_bytes_are_read_without_an_error(data: bytes) -> None:
    list(netlink.attributes(data))
    netlink.comment_of(data)


@given(st.text(max_size=200))
def test_comments_are_cut_between_characters(text: str) -> None:
    clean = text.replace("\0", "")
    data = netlink.comment_data(clean)
    assert len(data) <= 2 + 128
    assert clean.startswith(netlink.comment_of(data))
    assert len(clean.encode()) > 124 or netlink.comment_of(data) == clean


# -- in the kernel


@pytest.fixture(scope="module")
def space() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
def kernel(space: Namespace) -> Iterator[Netlink]:
    """A socket into a namespace with the table `t`: chains a, b; sets s, s6; map m; counter c. Netlink sockets may be used from
    any thread once they are open."""
    text = """
        add table inet t
        delete table inet t
        add table inet t
        add chain inet t a
        add chain inet t b
        add set inet t s { type ipv4_addr; flags interval; }
        add set inet t s6 { type ipv6_addr; flags interval; }
        add map inet t m { type inet_service : verdict; }
        add map inet t i { type ipv4_addr : verdict; flags interval; }
        add counter inet t c { comment "a counter"; }
    """
    space.call(nft.run, text)
    with space.call(Netlink) as opened:
        yield opened


@pytest.mark.kernel
def test_what_is_added_is_listed(kernel: Netlink) -> None:
    kernel.transact(
        [
            netlink.add_chain(TABLE, "tcp"),  # a name that nft's text could not write
            netlink.add_rule(TABLE, "a", [netlink.immediate(Verdict("tcp"))], "one"),
            netlink.add_rule(TABLE, "a", [netlink.immediate(Verdict("b", goto=True))], "two"),
            *netlink.add_elements(TABLE, "m", [netlink.element(b"\x00\x50", Verdict("b"))]),
        ]
    )
    assert kernel.has_table(TABLE)
    assert not kernel.has_table("other")
    assert kernel.chains(TABLE) == ("a", "b", "tcp")
    assert set(kernel.sets(TABLE)) == {"s", "s6", "m", "i"}
    assert [(rule.comment, rule.targets) for rule in kernel.rules(TABLE, "a")] == [("one", ("tcp",)), ("two", ("b",))]
    assert [(entry.key, entry.target) for entry in kernel.elements(TABLE, "m")] == [(b"\x00\x50", "b")]
    (counter,) = kernel.counters(TABLE)
    assert (counter.name, counter.comment, counter.packets, counter.uses) == ("c", "a counter", 0, 0)


@pytest.mark.kernel
def test_what_is_not_there_lists_as_nothing(kernel: Netlink) -> None:
    assert kernel.chains("other") == kernel.sets("other") == kernel.counters("other") == kernel.rules("other", "a") == ()
    assert kernel.rules(TABLE, "other") == kernel.elements(TABLE, "other") == ()


@pytest.mark.kernel
def test_anonymous_sets_are_not_listed(space: Namespace, kernel: Netlink) -> None:
    space.call(nft.run, "add rule inet t a tcp dport { 1, 2 } accept")
    assert set(kernel.sets(TABLE)) == {"s", "s6", "m", "i"}


@pytest.mark.kernel
def test_removals(kernel: Netlink) -> None:
    jump = [netlink.immediate(Verdict("b"))]
    element = [netlink.element(b"\x00\x50", Verdict("b"))]
    kernel.transact([netlink.add_rule(TABLE, "a", jump), netlink.add_rule(TABLE, "a", jump), *netlink.add_elements(TABLE, "m", element)])
    kernel.transact([netlink.delete_rule(TABLE, "a", kernel.rules(TABLE, "a")[0].handle)])
    assert len(kernel.rules(TABLE, "a")) == 1
    kernel.transact([*netlink.delete_elements(TABLE, "m", element), netlink.flush_rules(TABLE, "a"), netlink.delete_chain(TABLE, "b")])
    kernel.transact([netlink.delete_set(TABLE, "m"), netlink.delete_counter(TABLE, "c")])
    assert kernel.chains(TABLE) == ("a",)
    assert set(kernel.sets(TABLE)) == {"s", "s6", "i"}
    assert kernel.counters(TABLE) == ()
    kernel.transact([netlink.delete_table(TABLE)])
    assert not kernel.has_table(TABLE)


@pytest.mark.kernel
@pytest.mark.parametrize(("name", "key_bytes"), [("s", 4), ("s6", 16)])
def test_nft_lists_the_ranges_that_were_sent(space: Namespace, kernel: Netlink, name: str, key_bytes: int) -> None:
    top = (1 << 8 * key_bytes) - 1
    ranges = [(0, 0), (2, 5), (6, 6), (8, 15), (top - 9, top - 5), (top, top)]
    kernel.transact([*netlink.add_elements(TABLE, name, [part for pair in ranges for part in netlink.interval(*pair, key_bytes)])])
    listed = space.call(nft.listing_json, f"list set inet t {name}")["nftables"][1]["set"]["elem"]
    assert len(listed) == len(ranges)
    shown = space.call(nft.listing, f"list set inet t {name}")
    assert ("0.0.0.2-0.0.0.5, 0.0.0.6, 0.0.0.8/29" if key_bytes == 4 else "::2-::5") in " ".join(shown.split())


boundaries = st.sampled_from([0, 1, 2, 3, 7, 8, 2**31, 2**32 - 3, 2**32 - 2, 2**32 - 1]) | st.integers(0, 60)


@pytest.mark.kernel
@settings(max_examples=60, deadline=None)
@given(st.sets(boundaries, max_size=10), st.sets(boundaries, max_size=10))
def test_one_transaction_exchanges_any_ranges(space: Namespace, before: set[int], after: set[int]) -> None:
    """Ranges that overlap those deleted in the same transaction load, and nothing else stays."""

    def ranges(bounds: set[int]) -> list[tuple[int, int]]:
        ordered = sorted(bounds)
        return list(zip(ordered[::2], ordered[1::2], strict=False))

    def parts(pairs: list[tuple[int, int]]) -> list[bytes]:
        return [part for pair in pairs for part in netlink.interval(*pair, 4, Verdict("b"))]

    text = "add table inet x\ndelete table inet x\nadd table inet x\nadd chain inet x b\n"
    space.call(nft.run, text + "add map inet x i { type ipv4_addr : verdict; flags interval; }")
    with space.call(Netlink) as opened:
        opened.transact([*netlink.add_elements("x", "i", parts(ranges(before))), netlink.add_chain("x", "end")])
        opened.transact(
            [
                *netlink.delete_elements("x", "i", parts([pair for pair in ranges(before) if pair not in ranges(after)])),
                *netlink.add_elements("x", "i", parts([pair for pair in ranges(after) if pair not in ranges(before)])),
                netlink.add_chain("x", "end"),
            ]
        )
        keys = {(int.from_bytes(entry.key, "big"), entry.interval_end) for entry in opened.elements("x", "i")}
    expected = {(first, False) for first, _ in ranges(after)} | {(last + 1, True) for _, last in ranges(after) if last < 2**32 - 1}
    assert keys == expected


@pytest.mark.kernel
def test_a_refusal_names_the_message_and_undoes_the_others(kernel: Netlink) -> None:
    good = [netlink.add_chain(TABLE, f"good{at}") for at in range(40)]
    bad = netlink.add_rule(TABLE, "a", [netlink.immediate(Verdict("nowhere"))], what='rule "bad"')
    with pytest.raises(NetlinkError) as refused:
        kernel.transact([*good, bad, *good])
    assert (refused.value.errno, refused.value.message) == (errno.ENOENT, 'rule "bad"')
    assert str(refused.value) == 'rule "bad": No such file or directory (ENOENT)'
    assert kernel.chains(TABLE) == ("a", "b")


@pytest.mark.kernel
def test_a_missing_pin_is_the_fault_of_its_rule(kernel: Netlink) -> None:
    rules = [
        netlink.add_rule(TABLE, "a", [netlink.match_bpf(f"/sys/fs/bpf/none{at}"), netlink.immediate(Verdict("b"))], what=f"rule {at}")
        for at in range(3)
    ]
    with pytest.raises(NetlinkError, match=r"rule 0: .*ENOENT.*and 2 more"):
        kernel.transact(rules)
    assert kernel.rules(TABLE, "a") == ()


@pytest.mark.kernel
def test_the_kernels_own_words_are_told(kernel: Netlink) -> None:
    unknown = Message(99, 0, b"", "something new")
    with pytest.raises(NetlinkError, match="something new"):
        kernel.transact([unknown])


@pytest.mark.kernel
def test_a_large_transaction(kernel: Netlink) -> None:
    elements = [part for at in range(40_000) for part in netlink.interval(at * 50, at * 50 + 9, 4)]
    kernel.transact([*netlink.add_elements(TABLE, "s", elements), *(netlink.add_chain(TABLE, f"n{at}") for at in range(2000))])
    assert len(kernel.elements(TABLE, "s")) == 80_000
    assert len(kernel.chains(TABLE)) == 2002


@pytest.mark.kernel
def test_a_rule_of_ours_reads_back_its_pin(space: Namespace, kernel: Netlink) -> None:
    from bpf import load
    from bpf.bpffs import make_directory
    from firewall.pins import Pins

    pin = make_directory(Pins.of(space.inode).folder("test", 1)) / "yes"
    with load(rule_lab.constant("yes", 1)) as program:
        program.pin(pin)
    kernel.transact([netlink.add_rule(TABLE, "a", [netlink.match_bpf(str(pin)), netlink.immediate(Verdict("b"))], "c")])
    (rule,) = kernel.rules(TABLE, "a")
    assert (rule.pins, rule.targets, rule.comment) == ((str(pin),), ("b",), "c")
    Pins.of(space.inode).clear()


@pytest.mark.kernel
def test_matches_that_the_kernel_has(kernel: Netlink) -> None:
    assert kernel.has_match("bpf", 1)
    assert not kernel.has_match("bpf", 9)
    assert not kernel.has_match("nonesuch", 0)


# -- nft's text and the namespace


@pytest.mark.kernel
def test_nft_tells_the_line_that_failed(space: Namespace, kernel: Netlink) -> None:
    with pytest.raises(nft.NftError) as refused:
        space.call(nft.run, "add chain inet t new\nadd rule inet t new jump nowhere\n")
    assert (refused.value.line, refused.value.command) == (2, "add rule inet t new jump nowhere")
    assert "No such file or directory" in str(refused.value)
    assert "/proc" not in refused.value.words
    assert "new" not in kernel.chains(TABLE)


@pytest.mark.kernel
def test_a_check_changes_nothing(space: Namespace, kernel: Netlink) -> None:
    space.call(nft.check, "add chain inet t new")
    assert "new" not in kernel.chains(TABLE)
    with pytest.raises(nft.NftError, match="syntax error"):
        space.call(nft.check, "add chian inet t new")


@pytest.mark.kernel
def test_interfaces_of_a_namespace(space: Namespace) -> None:
    import os

    tap = space.tap("tap0", mac=bytes.fromhex("020000000007"), mtu=1400)
    tun = space.tun("tun0")
    shown = space.call(subprocess.run, ["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "tap0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400" in shown
    assert "02:00:00:00:00:07" in shown
    assert "tun0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP>" in shown
    with pytest.raises(NamespaceError, match="interface name"):
        space.tap("x" * 16)
    os.close(tap)
    os.close(tun)
