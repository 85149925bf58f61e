from __future__ import annotations
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    title: str
    explanation: str
    wrong: str
    right: str


CODES: dict[str, Code] = {}
