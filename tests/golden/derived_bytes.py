"""A program for `test_properties`: the parts of ledgers as digests, made in a process of its own.

Usage: python -m tests.golden.derived_bytes LEDGERS EVERY. Prints one line for every EVERY-th ledger: its name and the SHA-256
of the parts of every processor and of the JSON rows of `lumenstream derive`, or the error that refuses the ledger.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from lumenstream.xdr import LedgerContentError, LedgerDecodeError, decode_ledger
from lumenstream.xdr.rows import Ledger
from processors import registry
from processors.derive import derive_rows
from processors.encoding import encode
from processors.port import Processor
from tests.unit.xdr_support import real_ledgers


def part_bytes(ledger: Ledger, processors: Sequence[Processor]) -> dict[str, bytes]:
    return {processor.name: encode(processor.process(ledger)) for processor in processors}


def digest(data: bytes, network_id: bytes) -> str:
    """Digest of everything derived from one ledger, or why nothing is."""
    processors = registry.create(None, network_id)
    try:
        ledger = decode_ledger(data, network_id)
        hashed = hashlib.sha256()
        for name, part in part_bytes(ledger, processors).items():
            hashed.update(name.encode() + part)
        for row in derive_rows(ledger, processors):
            hashed.update(orjson.dumps(row))
    except (LedgerContentError, LedgerDecodeError) as error:
        return f"{type(error).__name__}: {error}"
    return hashed.hexdigest()


def sample(ledgers: Path, every: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Every n-th ledger of all folders, and all of the public network's."""
    for number, (name, data, network_id) in enumerate(real_ledgers(ledgers)):
        if number % every == 0 or name.startswith(("pubnet", "lake", "rebuilt")):
            yield name, data, network_id


def main(ledgers: Path, every: int) -> None:
    for name, data, network_id in sample(ledgers, every):
        print(name, digest(data, network_id))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
