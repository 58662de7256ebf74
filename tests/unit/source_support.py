"""One sandbox chain and the ways to serve it, for the tests of ledger sources."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from lumenstream.retry import RetryPolicy
from sandbox import ClosedLedger, Sandbox, SandboxSettings

FIRST = 2
LAST = 15
NETWORK = SandboxSettings(close_seconds=0.001, transactions_per_ledger=2)
PASSPHRASE = NETWORK.network_passphrase
QUICK = RetryPolicy(attempts=10, first_pause_seconds=0.001, max_pause_seconds=0.002)


def make_chain() -> list[ClosedLedger]:
    """The first ledgers of a sandbox network."""
    sandbox = Sandbox(NETWORK)
    return [sandbox.close_ledger() for _ in range(FIRST, LAST + 1)]


def stop_at_tip(seconds: float) -> bool:
    """A wait that ends the iteration where a source without end would wait for the next ledger, and nowhere else."""
    return seconds > 0


def keep_going(_: float) -> bool:
    return False


def counting(stop_after: int) -> tuple[list[float], Callable[[float], bool]]:
    """A wait that notes the pauses and stops after so many of them."""
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        if seconds > 0:
            pauses.append(seconds)
        return len(pauses) >= stop_after

    return pauses, wait


def record(data: bytes) -> bytes:
    return struct.pack(">I", len(data) | 1 << 31) + data


def write_file(path: Path, ledgers: Sequence[ClosedLedger]) -> Path:
    """All in one file, in order."""
    file = path / "all.xdr"
    file.write_bytes(b"".join(record(ledger.meta) for ledger in ledgers))
    return file


def write_folder(path: Path, ledgers: Sequence[ClosedLedger]) -> Path:
    """Files whose order and format differ from the chain's own."""
    folder = path / "ledgers"
    (folder / "deep").mkdir(parents=True)
    (folder / "README.md").write_text("not a ledger")
    (folder / "z.xdr").write_bytes(b"".join(record(ledger.meta) for ledger in ledgers[:4]))
    (folder / "deep" / "b.xdr.gz").write_bytes(gzip.compress(b"".join(record(ledger.meta) for ledger in reversed(ledgers[4:8]))))
    for number, ledger in enumerate(ledgers[8:]):
        (folder / f"{99 - number}.xdr").write_bytes(ledger.meta)
    return folder
