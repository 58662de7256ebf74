"""Freed memory of large messages is used again instead of being given back and mapped anew."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
OF_THE_ALLOCATOR = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
ROUNDS, MESSAGES, MESSAGE_BYTES = 20, 16, 1 << 20
FAULTS = dedent(f"""
    import resource, sys
    from lumenstream import memory

    def pass_on():
        [bytearray({MESSAGE_BYTES}) for _ in range({MESSAGES})]

    if sys.argv[1] == "keep":
        memory.keep_freed()
    pass_on()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        pass_on()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
""")


def faults(how: str) -> int:
    """Pages mapped while messages come and go."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_ALLOCATOR)}
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60, cwd=REPOSITORY, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_freed_memory_is_used_again() -> None:
    assert faults("keep") < faults("release") / 10
