"""Which ledger entries exist, from the bucket files of a history archive: one interface over the native scanner and its twin.

Buckets come from the newest to the oldest, each as the bytes of its file without compression; entries that exist come out, each
once. Entries that no table is made of (data, settings, times to live, contract data that is no instance and no balance) are not
told.
"""

from __future__ import annotations

from typing import Protocol

from lumenstream import xdr
from lumenstream.xdr.rows import Entry


class BucketScanner(Protocol):
    """Remembers 16 bytes for each key that a newer bucket changed or removed."""

    @property
    def records(self) -> int:
        """Records read, of all buckets."""

    @property
    def known(self) -> int:
        """Keys remembered."""

    def begin(self, oldest: bool) -> None:
        """The next bucket, older than those before. `oldest`: none follows."""

    def feed(self, data: bytes) -> list[Entry]:
        """The next bytes of the bucket: the entries in them that exist and were not seen before. LedgerDecodeError."""

    def end(self) -> None:
        """The bucket ends here. LedgerDecodeError when it ends inside a record."""


def scanner(*, archived: bool = False) -> BucketScanner:
    """A scanner that has seen nothing. `archived`: for the buckets of the hot archive, which hold evicted entries."""
    if xdr.DECODER == "native":
        from lumenstream import _native

        return _native.BucketScanner(archived=archived)
    from lumenstream.xdr import _buckets

    return _buckets.BucketScanner(archived=archived)
