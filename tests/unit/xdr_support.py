"""Real ledgers for the decoder's tests: which folders there are, and the network each belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lumenstream.xdr import Decoder, native_decoder, python_decoder
from lumenstream.xdr.files import read_ledgers

PUBNET: Final = "Public Global Stellar Network ; September 2015"
PASSPHRASES: Final = {
    "lake": PUBNET,
    "loadtest": "load test network",
    "pubnet": PUBNET,
    "rebuilt": PUBNET,
    "stellar-core": "(V) (;,,;) (V)",
    "unit": "Test SDF Network ; September 2015",
}


class RealLedger(NamedTuple):
    name: str  # file and index in it
    data: bytes
    network_id: bytes


def network_id(folder: str) -> bytes:
    return hashlib.sha256(PASSPHRASES[folder].encode()).digest()


def ledger_files(ledgers: Path, folder: str) -> list[Path]:
    return sorted(path for path in (ledgers / folder).rglob("*") if path.suffix in (".gz", ".zst"))


def real_ledgers(ledgers: Path, *folders: str) -> Iterator[RealLedger]:
    """Every ledger of these folders, or of all."""
    for folder in folders or PASSPHRASES:
        for path in ledger_files(ledgers, folder):
            for index, data in enumerate(read_ledgers(path)):
                yield RealLedger(f"{path.relative_to(ledgers)}[{index}]", data, network_id(folder))


def decoders() -> list[Decoder]:
    """Both where the native one is built, else the twin alone."""
    try:
        return [native_decoder(), python_decoder()]
    except ImportError:
        return [python_decoder()]
