"""Early drop: packets that a tenant's first rules are certain to block are dropped by XDP, where an interface receives them.

It only says earlier what nftables would say: `programs` makes the programs of a generation, which drop nothing while their gate is shut;
`pinned` has them in the kernel; `interfaces` hands them the frames. A gate is open only while nftables enforces its generation: it is shut
before the rules change over, and between the two nftables decides alone. So whatever ends the process, the verdicts are right."""

from __future__ import annotations
