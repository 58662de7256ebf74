"""Where a ledger lies in a data lake: the names of partitions and objects (SEP-54, as Galexie writes them).

    FFFFFFFF--0-63999/FFFFFDFE--513.xdr.zst          one ledger an object
    FFFFFFFF--0-63999/FFFFFDFF--512-575.xdr.zst      64 ledgers an object

Names begin with 2^32 - 1 minus their first ledger, so that a listing in the order of names begins with the newest.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from lumenstream.errors import IntegrityError

MANIFEST: Final = ".config.json"
COMPRESSION: Final = "zstd"
_SUFFIX: Final = ".xdr.zst"
_TOP: Final = (1 << 32) - 1
_STARTS_LIKE_ONE: Final = re.compile(r"[0-9A-Fa-f]{8}--\d")
PARTITION: Final = re.compile(r"[0-9A-F]{8}--\d{1,10}-\d{1,10}")
_OBJECT: Final = re.compile(r"([0-9A-F]{8})--(\d{1,10})(?:-(\d{1,10}))?" + re.escape(_SUFFIX))


class Batch(NamedTuple):
    """The ledgers of one object by its name, both inclusive. The oldest object of a lake may hold fewer."""

    first: int
    last: int


class Layout(NamedTuple):
    ledgers_per_batch: int
    batches_per_partition: int

    def batch_of(self, sequence: int) -> Batch:
        """The object that holds a ledger."""
        first = sequence // self.ledgers_per_batch * self.ledgers_per_batch
        return Batch(first, first + self.ledgers_per_batch - 1)

    def after(self, batch: Batch) -> Batch:
        return self.batch_of(batch.last + 1)

    def partition_of(self, sequence: int) -> str:
        """The folder of a ledger; empty when the lake has none."""
        if self.batches_per_partition == 1:
            return ""
        size = self.ledgers_per_batch * self.batches_per_partition
        first = sequence // size * size
        return f"{_TOP - first:08X}--{first}-{first + size - 1}"

    def key_of(self, batch: Batch) -> str:
        """The name of an object within the lake."""
        extent = f"{batch.first}" if batch.first == batch.last else f"{batch.first}-{batch.last}"
        name = f"{_TOP - batch.first:08X}--{extent}{_SUFFIX}"
        partition = self.partition_of(batch.first)
        return f"{partition}/{name}" if partition else name

    def batch_at(self, key: str) -> Batch | None:
        """The batch that an object's name tells of; None for an object that is none. IntegrityError for a name that lies."""
        name = key.rpartition("/")[2]
        if not _STARTS_LIKE_ONE.match(name):
            return None
        found = _OBJECT.fullmatch(name)
        batch = Batch(int(found[2]), int(found[3] or found[2])) if found else None
        if batch is None or self.key_of(batch) != key:
            raise IntegrityError(
                f"object {key} is misnamed: the layout says {self.ledgers_per_batch} ledgers an object and "
                f"{self.batches_per_partition} objects a partition",
                hint="remove it, or mend .config.json or LUMENSTREAM_LAKE__LEDGERS_PER_BATCH and __BATCHES_PER_PARTITION",
            )
        if batch != self.batch_of(batch.first):
            raise IntegrityError(
                f"object {key} is misnamed: with {self.ledgers_per_batch} ledgers an object it would begin at "
                f"{self.batch_of(batch.first).first}",
                hint="remove it, or mend .config.json or LUMENSTREAM_LAKE__LEDGERS_PER_BATCH",
            )
        return batch
