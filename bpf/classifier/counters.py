"""What a classifier's program has counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bpf.classifier.program import COUNTER
from bpf.maps import Map


def read_counters(counters: Map) -> NDArray[np.uint64]:
    """[slot, (packets, bytes)]: the sums over all CPUs."""
    together = counters.spec.value_size // COUNTER
    found = np.zeros((counters.spec.entries, together, 2), dtype=np.uint64)
    for key, value in counters.items():
        of_cpus = np.frombuffer(value, dtype=np.uint64).reshape(-1, together, 2)
        found[int.from_bytes(key, "little")] = of_cpus.sum(axis=0)
    return found.reshape(-1, 2)
