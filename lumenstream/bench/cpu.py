"""CPU seconds by process while a benchmark runs, from /proc: roles and what they start, the broker, the database's processes.

A process that ends keeps what it had used at the last sample.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg

SAMPLE_SECONDS: Final = 1.0
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LISTEN: Final = "0A"
_USER_AND_SYSTEM: Final = slice(11, 13)
_WITH_CHILDREN: Final = slice(11, 15)
_PARENT: Final = 1
# Backends of the benchmark's database, and what works for all databases: on a shared server too much, never too little.
_DATABASE_PIDS: Final = (
    "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
    "or backend_type in ('checkpointer', 'walwriter', 'background writer')"
)


class CpuMeter:
    """Call `sample` often; `seconds` adds up what each name has used since the meter was made."""

    def __init__(self, bootstrap: str, url: str) -> None:
        self.roots: dict[str, int] = {}  # name: pid; what they start counts too
        self._broker = listeners(int(bootstrap.partition(",")[0].rpartition(":")[2]))
        self._url = url
        self._sampled_at = 0.0
        self._begun = False
        self._first: dict[tuple[str, int], float] = {}
        self._last: dict[tuple[str, int], float] = {}

    def sample(self, named: Mapping[int, str] | None = None) -> None:
        """Look at every process. `named`: names of further pids, for example of what a command started."""
        self._sampled_at = time.monotonic()
        parents = _parents()
        found: dict[int, str] = dict.fromkeys(self._broker, "broker")
        for name, root in self.roots.items():
            found |= dict.fromkeys(_descendants(root, parents), name)
        found |= named or {}
        with psycopg.connect(self._url, autocommit=True) as connection:
            found |= dict.fromkeys((pid for (pid,) in connection.execute(_DATABASE_PIDS)), "database")
        for pid, name in found.items():
            used = _seconds(pid)
            if used is not None:
                self._first.setdefault((name, pid), 0.0 if self._begun else used)
                self._last[name, pid] = used

    def sample_now_and_then(self) -> None:
        """Sample, when the last time is a while ago: for loops that turn quickly."""
        if time.monotonic() - self._sampled_at >= SAMPLE_SECONDS:
            self.sample()

    def begin(self) -> None:
        """Count from here on; processes that start later count whole."""
        self._first.clear()
        self._last.clear()
        self._begun = False
        self.sample()
        self._begun = True

    def seconds(self) -> dict[str, float]:
        """By name."""
        totals: dict[str, float] = {}
        for (name, pid), used in self._last.items():
            totals[name] = totals.get(name, 0.0) + used - self._first[name, pid]
        return {name: round(used, 2) for name, used in sorted(totals.items())}

    def report(self, ledgers: int) -> dict[str, dict[str, float]]:
        """The keys `cpu_seconds` and `cpu_ms_per_ledger`, the latter with a total."""
        used = self.seconds()
        each = {name: round(1000 * seconds / ledgers, 1) for name, seconds in used.items()}
        return {"cpu_seconds": used, "cpu_ms_per_ledger": each | {"total": round(1000 * sum(used.values()) / ledgers, 1)}}


def commands_below(root: int) -> dict[int, str]:
    """The `lumenstream` commands that a process has started, by pid: the word after `lumenstream` on their command lines."""
    found = {}
    for pid in _descendants(root, _parents()):
        words = _words(pid)
        place = words.index("lumenstream") if "lumenstream" in words else -1
        if 0 <= place < len(words) - 1:
            found[pid] = words[place + 1]
    return found


def cpu_of(pid: int) -> float:
    """Seconds of a process and its ended children; 0 when it has gone."""
    return sum(map(int, _stat(pid)[_WITH_CHILDREN])) / _CLOCK_TICKS


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name; empty when the process has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _seconds(pid: int) -> float | None:
    fields = _stat(pid)
    return sum(map(int, fields[_USER_AND_SYSTEM])) / _CLOCK_TICKS if fields else None


def _parents() -> dict[int, int]:
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return {pid: int(fields[_PARENT]) for pid in pids if (fields := _stat(pid))}


def _descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listeners(port: int) -> set[int]:
    """Processes of this machine that listen on a port; empty where the broker is elsewhere."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return {pid for pid in _parents() if inodes and inodes & set(_open_files(pid))}


def _listening_inodes(port: int) -> Iterable[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _open_files(pid: int) -> Iterable[str]:
    """What its descriptors lead to. Processes and descriptors may be gone by the time they are looked at."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for number in numbers:
        with suppress(OSError):
            yield os.readlink(f"/proc/{pid}/fd/{number}")
