"""Freed memory of large messages is used again instead of being given back and mapped anew."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

FAULTS = dedent("""
    import resource, sys
    from lumenstream import memory
    if sys.argv[1] == "keep":
        memory.keep_freed()
    def pass_on(): [bytearray(1 << 20) for _ in range(16)]
    pass_on()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        pass_on()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
""")


def faults(how: str) -> int:
    """Pages mapped while 20 times 16 MiB come and go."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True, timeout=60).stdout)


def test_freed_memory_is_used_again() -> None:
    assert faults("keep") < faults("release") / 10
