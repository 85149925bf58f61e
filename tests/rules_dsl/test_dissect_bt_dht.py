"""The reference on messages of BitTorrent's distributed hash table."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

ID, HASH = b"i" * 20, b"1:q4:ping1:y1:r12345"
GET_PEERS = b"d1:ad2:id20:" + ID + b"9:info_hash20:" + HASH + b"e1:q9:get_peers1:t2:aa1:y1:qe"
ANSWER = b"d2:ip6:\1\2\3\4\5\6" + b"1:rd2:id20:" + ID + b"5:nodes0:6:valuesl6:abcdefee2:roi1e1:t2:aa1:y1:re"


def get(payload: bytes) -> dict[str, Value] | None:
    datagram = bytes(4) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload
    packet = b"\x45\0" + (20 + len(datagram)).to_bytes(2) + bytes(4) + b"\x40\x11" + bytes(10) + datagram
    values = DISSECTORS["bt_dht"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


def test_a_query_whose_hash_looks_like_more_of_it() -> None:
    assert get(GET_PEERS) == {"bt_dht": True, "bt_dht.type": b"q", "bt_dht.query": b"get_peers", "bt_dht.id": ID, "bt_dht.info_hash": HASH}


def test_a_response_behind_an_address() -> None:
    assert get(ANSWER) == {"bt_dht": True, "bt_dht.type": b"r", "bt_dht.id": ID}
    assert get(ANSWER.replace(b"2:ip6:", b"2:ip18:" + bytes(12))) == get(ANSWER)


def test_an_error() -> None:
    assert get(b"d1:eli201e5:Oh no-1:t2:aa1:y1:ee") == {"bt_dht": True}  # the list does not end
    assert get(b"d1:eli201e5:Oh noe1:t2:aa1:y1:ee") == {"bt_dht": True, "bt_dht.type": b"e"}


def test_arguments_that_stand_before_the_id() -> None:
    assert get(b"d1:ad2:bsi1e2:id2:xye1:q4:ping1:y1:qe") == {
        "bt_dht": True,
        "bt_dht.type": b"q",
        "bt_dht.query": b"ping",
        "bt_dht.id": b"xy",
    }


def test_keys_of_nested_dictionaries_are_others() -> None:
    assert get(b"d1:ad1:xd2:id2:xy1:y1:qeee") == {"bt_dht": True}


def test_nesting_has_no_bound() -> None:
    assert get(b"d1:ad1:x" + b"l" * 600 + b"e" * 600 + b"2:id2:xye1:y1:qe") == {"bt_dht": True, "bt_dht.type": b"q", "bt_dht.id": b"xy"}


def test_1500_bytes_are_looked_at() -> None:
    begin = b"d1:ad2:id2:xye1:t"
    for more, wanted in ((0, b"q"), (1, None)):
        filling = 1500 - len(begin) - len(b"9999:") - len(b"1:y1:q") + more
        values = get(begin + b"%d:" % filling + bytes(filling) + b"1:y1:qe")
        assert values is not None
        assert values.get("bt_dht.type") == wanted


@pytest.mark.parametrize("cut", [12, 31, 32, 60])
def test_a_value_that_is_not_whole_is_absent(cut: int) -> None:
    assert get(GET_PEERS[:cut]) == ({"bt_dht": True} if cut < 32 else {"bt_dht": True, "bt_dht.id": ID})


@pytest.mark.parametrize(
    "payload", [b"", b"d", b"d1:a", b"d1:a2:xx", b"d1:q4:ping", b"d1:el"[:4], b"l1:ad2:id", b"d2:ip7:12345671:rd", b"d2:ip6:12345"]
)
def test_what_is_none(payload: bytes) -> None:
    assert get(payload) is None
