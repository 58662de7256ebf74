"""The logs of the roles on stderr, each line with its role: what `lumenstream up` shows without a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

_POLL_S: Final = 0.5


class LogFollower:
    """Copies what is written to log files from now on. A context manager; at its end the last lines are copied too."""

    def __init__(self, logs: Mapping[str, Path], to: TextIO | None = None) -> None:
        self._logs = logs
        self._to = to or sys.stderr
        self._offsets = {role: path.stat().st_size if path.exists() else 0 for role, path in logs.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(_POLL_S):
            self.copy()
        self.copy()

    def copy(self) -> None:
        """Copy every complete new line."""
        for role, path in self._logs.items():
            if not path.exists():
                continue
            with path.open("rb") as log:
                log.seek(self._offsets[role])
                complete, newline, _ = log.read().rpartition(b"\n")
            self._offsets[role] += len(complete) + len(newline)
            for line in complete.decode("utf-8", "replace").splitlines():
                print(f"{role:<9} | {line}", file=self._to, flush=True)

    def __enter__(self) -> LogFollower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
