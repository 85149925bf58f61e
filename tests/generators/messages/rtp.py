"""Random packets of RTP."""

from __future__ import annotations

import random


def rtp(rng: random.Random) -> bytes:
    odd = rng.random() < 0.6  # any part may be wrong
    version = rng.choice((2,) * 9 + (0, 1, 3)) if odd else 2
    padding, extended = rng.random() < 0.3, rng.random() < 0.5
    sources = rng.choice((0, 0, 0, 1, 2, 15)) if odd or extended else 0
    payload_type = (
        rng.choice((34, 35, 63, 64, 72, 95, 1, 2, 19, rng.randrange(128)))
        if odd and rng.random() < 0.5
        else rng.choice((0, 8, 18, 96, 127))
    )
    ssrc = rng.choice((0, 1, 0x80000000, rng.randrange(1 << 32)) if odd else (0x12345678, 0xCAFE))
    header = bytes([version << 6 | padding << 5 | extended << 4 | sources, rng.randrange(2) << 7 | payload_type])
    header += rng.choice((0, 1, 0xFFFF, rng.randrange(1 << 16))).to_bytes(2) + rng.choice((0, 160, rng.randrange(1 << 32))).to_bytes(4)
    header += ssrc.to_bytes(4) + rng.randbytes(4 * sources)
    if extended:
        words = rng.choice((0, 1, 1, 2, 5))
        said = rng.choice((words,) * 8 + (words + 1, 0xFFFF)) if odd else words
        profile = rng.choice((0xBEDE, 0x1000, 0x100F, 0x0FFF, 0x1010, 0, 0xBEDF, 0xFFFF) if odd else (0xBEDE, 0xBEDE, 0x1000))
        header += profile.to_bytes(2) + said.to_bytes(2) + rng.randbytes(4 * words)
    payload = rng.randbytes(rng.choice((0, 1, 4, 20, 160)))
    if payload and rng.random() < 0.8:
        payload = payload[:-1] + bytes(
            [rng.choice((0, 1, len(payload) - 1, len(payload), min(len(payload) + 1, 255), 255) if odd else (1, len(payload)))]
        )
    whole = header + payload
    return whole[: rng.choice((11, 12, 13, len(header), len(header) - 1, rng.randint(0, len(whole)), *[len(whole)] * (6 if odd else 60)))]
