"""Writes data lakes (SEP-54) for benchmarks and tests: names, batches, compression and manifest as Galexie writes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import zstandard

from producers.sources.lake import MANIFEST, Layout

_GENESIS: Final = 2
_LEVEL: Final = 3


def lake_objects(ledgers: Iterable[tuple[int, bytes]], layout: Layout, passphrase: str) -> Iterator[tuple[str, bytes]]:
    """(key, bytes) of the manifest and of every object, for ascending (sequence, LedgerCloseMeta).

    ValueError for a batch that lacks a ledger; only those before the network's second ledger may.
    """
    manifest = {
        "networkPassphrase": passphrase,
        "version": "1.0",
        "compression": "zstd",
        "ledgersPerBatch": layout.ledgers_per_batch,
        "batchesPerPartition": layout.batches_per_partition,
    }
    yield MANIFEST, json.dumps(manifest).encode()
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    for batch, group in groupby(ledgers, lambda ledger: layout.batch_of(ledger[0])):
        held = list(group)
        first = max(batch.first, _GENESIS)
        if [sequence for sequence, _ in held] != list(range(first, batch.last + 1)):
            raise ValueError(f"an object of ledgers {first} to {batch.last} cannot be made of {held[0][0]} to {held[-1][0]}")
        head = struct.pack(">III", first, batch.last, len(held))
        yield layout.key_of(batch), compressor.compress(head + b"".join(data for _, data in held))


def write_lake(folder: Path, ledgers: Iterable[tuple[int, bytes]], layout: Layout, passphrase: str) -> int:
    """Write a lake into a folder. Returns the bytes of its objects. ValueError as `lake_objects`."""
    written = 0
    for key, data in lake_objects(ledgers, layout, passphrase):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written += len(data)
    return written
