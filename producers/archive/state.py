"""The state file of a history archive (HAS): which buckets make up the ledger's state at a checkpoint.

Source: JSON as stellar-core writes it, version 1, or version 2 with the hot archive of protocol 23. Level by level `curr` and
`snap` hold entries; `next` is a merge under way of what stands in them already, so it is checked for its form and not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from lumenstream.errors import IntegrityError

VERSIONS: Final = (1, 2)
LEVELS: Final = 11
WELL_KNOWN: Final = ".well-known/stellar-history.json"
NO_BUCKET: Final = "0" * 64
FIRST_PROTOCOL_WITH_HOT_ARCHIVE: Final = 23
MAX_LEDGER: Final = (1 << 31) - 1

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_NEXT_STATES: Final = (0, 1, 2)  # nothing, a finished merge, a merge under way


class Level(NamedTuple):
    """Hashes in hex; `NO_BUCKET` for none."""

    curr: str
    snap: str


class ArchiveState(NamedTuple):
    """A HAS, checked for its form. `hot` is empty before version 2; `passphrase` where the file does not tell it."""

    ledger: int
    passphrase: str
    live: tuple[Level, ...]
    hot: tuple[Level, ...]

    def list_hash(self, protocol: int) -> bytes:
        """What the header of the checkpoint's ledger says as its bucket list hash."""
        live = _list_hash(self.live)
        return live if protocol < FIRST_PROTOCOL_WITH_HOT_ARCHIVE else sha256(live + _list_hash(self.hot)).digest()


def buckets(levels: tuple[Level, ...]) -> list[str]:
    """The buckets there are, newest first. One that stands in two places holds nothing new in the second."""
    return list(dict.fromkeys(name for level in levels for name in level if name != NO_BUCKET))


def path_of(category: str, name: str, extension: str) -> str:
    """Where a file lies: by the first bytes of its hexadecimal name."""
    return f"{category}/{name[:2]}/{name[2:4]}/{name[4:6]}/{category}-{name}.{extension}"


def parse(data: bytes, place: str) -> ArchiveState:
    """IntegrityError says what is wrong with the file."""
    try:
        document = orjson.loads(data)
        if not isinstance(document, dict):
            raise ValueError("not an object")
        version = document.get("version")
        if version not in VERSIONS:
            raise ValueError(f"version {version!r} is unknown, known are {', '.join(map(str, VERSIONS))}")
        ledger = document.get("currentLedger")
        if not isinstance(ledger, int) or isinstance(ledger, bool) or not 0 < ledger <= MAX_LEDGER:
            raise ValueError(f"currentLedger is {ledger!r}")
        passphrase = document.get("networkPassphrase", "")
        if not isinstance(passphrase, str):
            raise ValueError("networkPassphrase is not text")
        hot = tuple(_levels(document, "hotArchiveBuckets")) if version > 1 else ()
        return ArchiveState(ledger, passphrase, tuple(_levels(document, "currentBuckets")), hot)
    except ValueError as error:
        raise IntegrityError(f"{place}: no state file of a history archive: {error}", hint="is archive.url right?") from error


def _levels(document: dict[str, Any], name: str) -> Iterator[Level]:
    levels = document.get(name)
    if not isinstance(levels, list) or len(levels) != LEVELS:
        raise ValueError(f"{name} is not a list of {LEVELS} levels")
    for number, level in enumerate(levels):
        place = f"{name}[{number}]"
        if not isinstance(level, dict):
            raise ValueError(f"{place} is not an object")
        following = level.get("next")
        if not isinstance(following, dict) or following.get("state") not in _NEXT_STATES:
            raise ValueError(f"{place}.next has no known state")
        yield Level(_hash(level, "curr", place), _hash(level, "snap", place))


def _hash(level: dict[str, Any], name: str, place: str) -> str:
    value = level.get(name)
    if not isinstance(value, str) or _HASH.fullmatch(value) is None:
        raise ValueError(f"{place}.{name} is not a hash")
    return value


def _list_hash(levels: tuple[Level, ...]) -> bytes:
    of_levels = (sha256(bytes.fromhex(level.curr) + bytes.fromhex(level.snap)).digest() for level in levels)
    return sha256(b"".join(of_levels)).digest()
