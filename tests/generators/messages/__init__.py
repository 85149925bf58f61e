"""Random messages of every protocol of the catalogue: valid, nearly valid and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from generators.messages.ntp import ntp
from generators.messages.sip import sip
from generators.messages.ssh import ssh

MESSAGES: Mapping[str, Callable[[random.Random], bytes | tuple[int, bytes]]] = {
    "ntp": ntp,
    "sip": sip,
    "ssh": ssh,
}
"""By the protocol's name: a payload of UDP or TCP; or an IP protocol number and what follows the IP header."""
