"""How much memory a program took, as Linux tells in /proc; elsewhere nobody knows.

Not `ru_maxrss`: that counts what a process was before it became the program, a copy of the one that started it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_KIB: Final = 1024
_POLL_SECONDS: Final = 0.05


class Peak:
    """The most memory that a running process has held, in bytes, followed until it ends; None where there is no /proc."""

    def __init__(self, pid: int) -> None:
        self.bytes: int | None = None
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="peak", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.is_set():
            self.bytes = _high_water(self._status) or self.bytes
            self._stop.wait(_POLL_SECONDS)


def _high_water(status: Path) -> int | None:
    """None when the process is gone, or has ended and was not waited for."""
    try:
        lines = status.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    found = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if found is None else int(found.split()[1]) * _KIB
