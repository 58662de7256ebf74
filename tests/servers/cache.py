"""Things built once per checkout and kept under `.cache/`: built in a temporary directory, put in place by one rename."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"


class Unavailable(Exception):
    """A kind of server cannot be had on this machine; the message says why."""


def cached_directory(name: str, build: Callable[[Path], None]) -> Path:
    """`.cache/<name>`, built by `build(directory)` if it does not exist yet. Concurrent callers wait for each other."""
    target = CACHE / name
    if target.exists():
        return target
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=CACHE))
            unfinished.chmod(0o755)
            try:
                build(unfinished)
                unfinished.rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return target
