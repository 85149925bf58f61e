"""What a field's value can be."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    version: int
    number: int
    """The address as an unsigned integer of 32 or 128 bits."""


class Keyed(NamedTuple):
    """One value of a keyed field."""

    key: bytes
    value: bytes


Scalar = bool | int | bytes | Address
"""One value."""

Value = Scalar | tuple[Scalar, ...] | tuple[Keyed, ...] | None
"""None: absent. A field of many values has a tuple of at least one."""
