"""SSDP (semantics: rules_dsl/dissectors/ssdp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.header_lines import header_line
from bpf.dissectors.http import METHOD, REQUEST, RESPONSE, STATUS_CODE
from bpf.dissectors.model import Number, Place, Present, Slice
from bpf.dissectors.routines import payload_matching
from bpf.facts import UDP_PAYLOAD, Fact

_VALID: Final = r"^(?:(?:M-SEARCH|NOTIFY) [^\n]+ HTTP/1\.[0-9][ \t]*|HTTP/1\.[0-9] [0-9]{3}(?:[ \t][^\n]*)?)\r?\n"

_MESSAGE: Final = Fact(payload_matching("ssdp", _VALID), (UDP_PAYLOAD,))
_RESPONSE: Final = Fact(RESPONSE, (_MESSAGE,))
_LINES: Final = ("st", "man", "mx", "nt", "nts", "usn", "host", "location", "server", "user-agent")

SSDP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "ssdp": Present(_MESSAGE),
        "ssdp.response": Present(_RESPONSE),
        "ssdp.method": Slice(Fact(METHOD, (Fact(REQUEST, (_MESSAGE,)),))),
        "ssdp.code": Number(Fact(STATUS_CODE, (_RESPONSE,))),
        **{f"ssdp.{name.replace('-', '_')}": Slice(Fact(header_line("ssdp", (name.encode(),)), (_MESSAGE,))) for name in _LINES},
    }
)
