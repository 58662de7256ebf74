"""Named places where a test can kill a process, to prove that nothing is lost or written twice.

`LUMENSTREAM_CRASHPOINT=name[:n]` ends the process with SIGKILL when the n-th call of `crashpoint(name)` is reached (default 1).
Without the variable a call costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Final

_NAME, _, _COUNT = os.environ.get("LUMENSTREAM_CRASHPOINT", "").partition(":")
_KILL_AT: Final = int(_COUNT or 1)
_reached: Final[Counter[str]] = Counter()


def crashpoint(name: str) -> None:
    """Die here when the environment asks for it."""
    if name != _NAME:
        return
    _reached[name] += 1
    if _reached[name] == _KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
