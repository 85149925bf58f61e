"""The socket's frames: what is no message is refused with the place where it is wrong, and harms nobody."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from enforcer_lab import Lab, answer, begins, eventually, open_for_others

from api.enforcer import messages
from api.enforcer.client import EnforcerClient, EnforcerUnavailable
from api.enforcer.messages import (
    Capture,
    Captured,
    CapturedPacket,
    Check,
    Counted,
    Done,
    EnforcedTenant,
    Failure,
    MessageError,
    Packets,
    Prepare,
    Refusal,
    Replay,
    RuleCount,
    RuleDiagnostic,
    Standing,
    decode_answer,
    decode_request,
    encode,
)
from api.enforcer.server import Most
from api.policy_text import ProtectText

TEXT = begins("ä")
REQUESTS = (
    Check(TEXT),
    Prepare(TEXT, 7),
    messages.Commit(),
    messages.Abandon(),
    messages.Remove("acme"),
    messages.Status(),
    messages.Drift(),
    messages.Counters("acme"),
    Capture("acme", ProtectText(("10.0.0.0/8",), ("eth0",), (7,)), "udp", 5, 1.5, 10_000, lists={"a": ("10.0.0.1",)}),
    Replay(TEXT, bytes(range(256)), "both"),
)
ANSWERS = (
    Done(),
    Failure("no"),
    Refusal("no", "rule", (RuleDiagnostic("rule", "E0201", "no", "udp", 0, 3, None),)),
    Standing((EnforcedTenant("acme", None, 3, ("10.0.0.0/8",)),)),
    Counted((RuleCount("a", 1 << 63, 2),)),
    Packets((CapturedPacket(1, b"\x00\xff", 3, "eth0"),)),
    Captured("time limit", 3),
)


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: type(message).__name__)
def test_a_request_comes_as_it_was_sent(message: messages.Request) -> None:
    assert decode_request(encode(message)) == message


@pytest.mark.parametrize("message", ANSWERS, ids=lambda message: type(message).__name__)
def test_an_answer_comes_as_it_was_sent(message: messages.Answer) -> None:
    assert decode_answer(encode(message)) == message


def changed(**members: object) -> bytes:
    """`Prepare(TEXT, 7)` with other members, of the policy or of itself."""
    kind, value = json.loads(encode(Prepare(TEXT, 7)))
    for name, each in members.items():
        (value if name in ("revision", "more") else value["policy"])[name] = each
    return json.dumps([kind, value]).encode()


CONDITION = {"expression": "udp", "holds": True}
RULE = {"name": "x", "action": "block", "conditions": [CONDITION], "phase": 0, "mode": "enabled"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected the JSON of an array"),
        (b"\xff\xfe", "expected the JSON of an array"),
        (b"[" * 100_000, "expected the JSON of an array"),
        (b'["Status",' + b"[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        (b'["Status",{}', "Invalid JSON: EOF"),
        (b'["Status",{"a":"\xff"}]', "Invalid JSON"),
        (b'["Status",{},{}]', "at most 2 items"),
        (b'["Status"]', "one of Check, Prepare"),
        (b"[]", "one of Check, Prepare"),
        (b'["Done",{}]', "one of Check, Prepare"),
        (b'["Status",{"more":1}]', "more: Unexpected keyword argument"),
        (changed(revision=1.5), "revision: Input should be a valid integer"),
        (changed(revision=True), "revision: Input should be a valid integer"),
        (changed(revision="7"), "revision: Input should be a valid integer"),
        (changed(more=1), "more: Unexpected keyword argument"),
        (changed(tenant=None), "policy.tenant: Input should be a valid string"),
        (changed(rules={}), "policy.rules: Input should be a valid array"),
        (changed(rules=[{**RULE, "mode": "on"}]), "policy.rules[0].mode: Input should be 'enabled', 'disabled' or 'monitor'"),
        (changed(rules=[RULE, {**RULE, "phase": "1"}]), "policy.rules[1].phase: Input should be a valid integer"),
        (
            changed(rules=[{**RULE, "conditions": [{"expression": "udp", "holds": 1}]}]),
            "conditions[0].holds: Input should be a valid boolean",
        ),
        (changed(rules=[{"name": "x"}]), "policy.rules[0].action: Field required"),
        (changed(lists={"a": ["10.0.0.1", 2]}), "policy.lists.a[1]: Input should be a valid string"),
        (changed(hook="nowhere"), "policy.hook: Input should be"),
        (encode(Replay(TEXT, b"", "kernel")).replace(b'"capture":""', b'"capture":"%%%"'), "capture: Data should be valid base64"),
        (encode(REQUESTS[8]).replace(b'"time_limit":1.5', b'"time_limit":NaN'), "time_limit: Input should be a finite number"),
        (encode(REQUESTS[8]).replace(b'"time_limit":1.5', b'"time_limit":1' + b"0" * 400), "time_limit: Input should be a finite number"),
    ],
)
def test_what_is_no_message_is_told_with_its_place(data: bytes, words: str) -> None:
    with pytest.raises(MessageError) as error:
        decode_request(data)
    assert words in str(error.value)


def test_random_damage_is_a_message_or_an_error_of_it() -> None:
    chosen = random.Random(1)
    for _ in range(3000):
        data = bytearray(encode(chosen.choice(REQUESTS)))
        for _ in range(chosen.randrange(1, 4)):
            data[chosen.randrange(len(data))] = chosen.choice(b'{}[]",:0tfn\\\xff')
        with contextlib.suppress(MessageError):
            decode_request(bytes(data))


# -- at the socket -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as made:
        yield made


@pytest.mark.kernel
def test_garbage_is_refused_and_the_connection_goes_on(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    with lab.connection() as connection:
        assert isinstance(answer(connection, b"nonsense"), Refusal)
        assert isinstance(answer(connection, b'{"kind":"Prepare"}'), Refusal)
        assert answer(connection, encode(messages.Commit())) == Failure(
            "nothing is prepared: it was abandoned when its time was over, or never was"
        )
        assert isinstance(answer(connection, encode(messages.Status())), Standing)
    assert lab.passes() == "bc"


@pytest.mark.kernel
def test_a_frame_that_is_too_long_ends_the_connection_before_it_is_read(lab: Lab) -> None:
    with lab.connection() as connection:
        connection.sendall(struct.pack(">I", messages.MAX_REQUEST + 1))
        found = messages.receive(connection, messages.MAX_ANSWER)
        assert found is not None
        assert decode_answer(found) == Refusal("a frame of 100,663,297 bytes: 100,663,296 are the most")
        assert messages.receive(connection, 100) is None
    assert lab.client.status() == ()


@pytest.mark.kernel
def test_a_frame_that_is_cut_harms_nobody(lab: Lab) -> None:
    for sent in (b"\0\0", struct.pack(">I", 100) + b'{"kind"'):
        with lab.connection() as connection:
            connection.sendall(sent)
    assert lab.client.status() == ()


@pytest.mark.kernel
def test_while_something_is_prepared_other_requests_neither_commit_nor_lose_it(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    with lab.connection() as connection:
        assert isinstance(answer(connection, encode(Prepare(begins("b"), 2))), messages.Ready)
        assert isinstance(answer(connection, b"nonsense"), Refusal)
        assert answer(connection, encode(Check(begins("c")))) == Done()
        for request in (Prepare(begins("c"), 3), messages.Remove("acme"), messages.Drift()):
            assert isinstance(answer(connection, encode(request)), Refusal)
        assert lab.passes() == "bc"
        assert answer(connection, encode(messages.Commit())) == Done()
        assert isinstance(answer(connection, encode(messages.Commit())), Failure)
    assert lab.passes() == "ac"


@pytest.mark.kernel
def test_another_user_is_turned_away(tmp_path: Path) -> None:
    open_for_others(tmp_path)
    with Lab(tmp_path, users=(61234,)) as lab:
        lab.path.chmod(0o666)  # also where the file's mode would let it in
        with pytest.raises(EnforcerUnavailable, match="user 0 may not ask the enforcer"):
            lab.client.status()
        assert in_child(lab.path, 61235) == "user 61235 may not ask the enforcer"
        assert in_child(lab.path, 61234) == "()"
        assert lab.path.stat().st_mode & 0o777 == 0o666


@pytest.mark.kernel
def test_the_socket_is_its_owners_and_groups_alone(lab: Lab) -> None:
    assert lab.path.stat().st_mode & 0o777 == 0o660


def in_child(path: Path, uid: int) -> str:
    """What a process of this user hears."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            os.setuid(uid)
            said = str(EnforcerClient(path, patience=0).status())
        except Exception as error:
            said = str(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as told:
        said = told.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.kernel
def test_connections_are_bounded(tmp_path: Path) -> None:
    with Lab(tmp_path, most=Most(connections=3)) as lab:
        with lab.connection(), lab.connection(), lab.connection():
            assert eventually(lambda: not status_works(lab))
            with pytest.raises(EnforcerUnavailable, match="too many connections"):
                lab.client.status()
        assert eventually(lambda: status_works(lab))


def status_works(lab: Lab) -> bool:
    try:
        return lab.client.status() == ()
    except EnforcerUnavailable:
        return False


def test_without_an_enforcer_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnforcerUnavailable, match="no enforcer listens at"):
        EnforcerClient(tmp_path / "nothing.sock", patience=0).status()


def test_an_answer_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "false.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1)
        client = EnforcerClient(path, patience=0, timeout=0.2)
        with pytest.raises(EnforcerUnavailable, match="does not take requests: timed out"):
            client.status()
