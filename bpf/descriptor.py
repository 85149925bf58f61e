"""What the kernel keeps for us as long as a descriptor of it is open."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self


class Descriptor:
    """A context manager; -1 once it is closed."""

    fd: int

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
