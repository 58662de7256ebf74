"""History archives: the state of a network as bucket files, the state file that lists them, and the header they belong to.

What is written is valid for stellar-core's format (record-marked XDR in gzip, names that are hashes, eleven levels), so whatever
reads the public archives reads these. Where the entries come from is the caller's affair: the sandbox's own state, or layers of
states with which a test or a benchmark makes newer entries hide older ones.
"""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sandbox import wire

LEVELS = 11
CHECKPOINT_LEDGERS = 64
GZIP_LEVEL = 1

_FIRST_PROTOCOL_WITH_HOT_ARCHIVE = 23
_LAST_FRAGMENT = 1 << 31
_METADATA, _LIVE, _DEAD, _CREATED, _ARCHIVED = wire.int32(-1), wire.int32(0), wire.int32(1), wire.int32(2), wire.int32(0)
_HOT_LIST = wire.int32(1) + wire.int32(1)
_NO_HASH = bytes(32)
_BUCKETS = 2 * LEVELS

State = Mapping[bytes, bytes]
"""LedgerEntry XDR by LedgerKey XDR."""


@dataclass(frozen=True)
class BucketList:
    """Contents of the buckets, newest first: curr and snap of each level; empty where there is none."""

    protocol: int
    live: tuple[bytes, ...]
    hot: tuple[bytes, ...] = (b"",) * _BUCKETS

    @property
    def hash(self) -> bytes:
        """What the ledger header says as its bucket list hash."""
        live = _list_hash(self.live)
        return live if self.protocol < _FIRST_PROTOCOL_WITH_HOT_ARCHIVE else sha256(live + _list_hash(self.hot)).digest()


def is_checkpoint(sequence: int, frequency: int = CHECKPOINT_LEDGERS) -> bool:
    """The last ledger of each group: 63, 127, ..."""
    return (sequence + 1) % frequency == 0


def bucket_list(protocol: int, layers: Sequence[State], archived: State | None = None) -> BucketList:
    """The list in which each state but the first, the oldest, is the difference to the one before it.

    An entry that is new in a layer is marked as created, one that differs as live, one that is gone as dead. `archived`: entries
    that were evicted. ValueError for more layers than there are buckets.
    """
    if not 1 <= len(layers) <= _BUCKETS:
        raise ValueError(f"{len(layers)} layers, a bucket list takes 1 to {_BUCKETS}")
    pairs = zip([{}, *layers], layers, strict=False)
    return from_buckets(protocol, [bucket(protocol, before, after) for before, after in pairs], archived)


def from_buckets(protocol: int, oldest_first: Sequence[bytes], archived: State | None = None) -> BucketList:
    """The list of these buckets, the oldest of which lies deepest."""
    hot = [b""] * _BUCKETS
    if archived:
        records = (_ARCHIVED + entry for _, entry in sorted(archived.items()))
        hot[-1] = _marked([_METADATA + wire.uint32(protocol) + _HOT_LIST, *records])
    live = [b""] * (_BUCKETS - len(oldest_first)) + [*reversed(oldest_first)]
    return BucketList(protocol, tuple(live), tuple(hot))


def bucket(protocol: int, before: State, after: State) -> bytes:
    """What turns one state into another; empty when nothing does."""
    records = [
        (key, _DEAD + key if key not in after else (_LIVE if key in before else _CREATED) + after[key])
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    ]
    if not records:
        return b""
    return _marked([_METADATA + wire.uint32(protocol) + wire.ZERO, *(record for _, record in sorted(records))])


def by_age(protocol: int, sequence: int, modified: Iterable[tuple[int, bytes]]) -> BucketList:
    """The list of entries, given with the ledger that modified them last: the longer ago, the deeper, as on a real network."""
    deepest = 2 * LEVELS - 1
    groups: list[list[bytes]] = [[] for _ in range(_BUCKETS)]
    for ledger, entry in modified:
        groups[min(deepest, (sequence - ledger).bit_length())].append(_LIVE + entry)
    metadata = _METADATA + wire.uint32(protocol) + wire.ZERO
    return BucketList(protocol, tuple(_marked([metadata, *sorted(group)]) if group else b"" for group in groups))


def write(root: Path, ledger: int, passphrase: str, buckets: BucketList, headers: Sequence[bytes] = ()) -> None:
    """Write a checkpoint, and make it the archive's newest. `headers`: LedgerHeader XDR up to that of `ledger`; none: no file."""
    hexadecimal = f"{ledger:08x}"
    for content in (*buckets.live, *buckets.hot):
        if content:
            _put(root / _path("bucket", sha256(content).hexdigest(), "xdr.gz"), gzip.compress(content, GZIP_LEVEL, mtime=0))
    if headers:
        records = _marked([sha256(header).digest() + header + wire.ZERO for header in headers])
        _put(root / _path("ledger", hexadecimal, "xdr.gz"), gzip.compress(records, GZIP_LEVEL, mtime=0))
    document: dict[str, object] = {
        "version": 2 if buckets.protocol >= _FIRST_PROTOCOL_WITH_HOT_ARCHIVE else 1,
        "server": "lumenstream sandbox",
        "currentLedger": ledger,
        "networkPassphrase": passphrase,
        "currentBuckets": _levels(buckets.live),
    }
    if buckets.protocol >= _FIRST_PROTOCOL_WITH_HOT_ARCHIVE:
        document["hotArchiveBuckets"] = _levels(buckets.hot)
    state = json.dumps(document, indent=4).encode()
    _put(root / _path("history", hexadecimal, "json"), state)
    _put(root / ".well-known" / "stellar-history.json", state)


def _put(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def _path(category: str, name: str, extension: str) -> str:
    return f"{category}/{name[:2]}/{name[2:4]}/{name[4:6]}/{category}-{name}.{extension}"


def _levels(contents: Sequence[bytes]) -> list[dict[str, object]]:
    names = [_bucket_hash(content).hex() for content in contents]
    pairs = zip(names[::2], names[1::2], strict=True)
    return [{"curr": curr, "next": {"state": 0}, "snap": snap} for curr, snap in pairs]


def _list_hash(contents: Sequence[bytes]) -> bytes:
    hashes = [_bucket_hash(content) for content in contents]
    levels = (sha256(curr + snap).digest() for curr, snap in zip(hashes[::2], hashes[1::2], strict=True))
    return sha256(b"".join(levels)).digest()


def _bucket_hash(content: bytes) -> bytes:
    return sha256(content).digest() if content else _NO_HASH


def _marked(records: Sequence[bytes]) -> bytes:
    return b"".join(wire.uint32(len(record) | _LAST_FRAGMENT) + record for record in records)
