"""How a field of a protocol is found in a packet: facts that routines find out, and views of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bpf.facts import Fact
from bpf.ir import Routine

ELEMENT: Final = Fact(Routine("element", lambda tables: ()))
"""In the view of `Each`: the value at hand."""


@dataclass(frozen=True, slots=True)
class Present:
    """A Boolean that is true where the fact is there."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or a Boolean that is true where the number is not 0: a packed number."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class BitsOf:
    """`width` bits (at most 32) at bit `offset` of the slice `fact`, as a number or a Boolean: bits * scale + add. A negative offset
    counts from the slice's end. Absent where one of the bytes that hold the bits lies beyond the slice."""

    fact: Fact
    offset: int
    width: int
    scale: int = 1
    add: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes: a packed slice."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class DomainName:
    """The text of a name of the domain name system: the labels with dots between them, in lower case.

    `name` gives a packed slice: where the name's first length byte is, and how many bytes the text has (the name is known to be
    whole). Compression pointers count from the start of the slice `message`."""

    name: Fact
    message: Fact


@dataclass(frozen=True, slots=True)
class AddressOf:
    """An address: a packed slice of 4 or 16 bytes."""

    fact: Fact


View = Present | Number | BitsOf | Slice | DomainName | AddressOf


@dataclass(frozen=True, slots=True)
class Each:
    """A field of many values. `routine(context, fact, cursor, index)` gives the packed slice of the next element, 0 where there is none;
    the cursor is 0 at first and then the offset of the byte behind the element before; the index counts from 0. `view` is of
    ELEMENT. At most the field's `bound` values are looked at. A view that is absent in one element skips that element."""

    routine: Routine
    fact: Fact
    view: View


Place = View | Each | Callable[[bytes | None], Each]
"""A keyed field is found by its key; None is every key."""
