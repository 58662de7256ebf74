"""The ledger headers of a history archive: the last one of a checkpoint's file tells the hash of the list of buckets.

The headers of a file must chain, and each must have the hash it claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lumenstream.errors import IntegrityError
from lumenstream.xdr import LedgerDecodeError, read_header
from lumenstream.xdr.rows import LedgerHeader
from producers.archive import state
from producers.archive.store import MissingFileError, Store, unzipped
from producers.header import check_chain, checked_header
from producers.sources.port import SourceLedger

MAX_HEADERS_BYTES: Final = 4 << 20
_AS_LEDGER: Final = bytes(4)  # a LedgerHeaderHistoryEntry is what a LedgerCloseMeta of version 0 begins with
_LAST_FRAGMENT: Final = 1 << 31
_MARK_BYTES: Final = 4


def checkpoint_header(store: Store, ledger: int) -> LedgerHeader | None:
    """The header of a checkpoint's ledger; None when the archive lacks the file. IntegrityError when it is damaged or ends with
    another ledger."""
    path = state.path_of("ledger", f"{ledger:08x}", "xdr.gz")
    place = f"{store.name}/{path}"
    data = bytearray()
    try:
        for piece in unzipped(store.stream(path), place):
            data += piece
            if len(data) > MAX_HEADERS_BYTES:
                raise IntegrityError(f"{place}: more than {MAX_HEADERS_BYTES} bytes")
    except MissingFileError:
        return None
    last: LedgerHeader | None = None
    for record in _records(bytes(data), place):
        header = _checked(record, place)
        if last is not None:
            check_chain(last.sequence, last.hash.hex(), header, place)
        last = header
    if last is None or last.sequence != ledger:
        raise IntegrityError(f"{place}: does not end with the header of ledger {ledger}")
    return last


def _checked(record: bytes, place: str) -> LedgerHeader:
    try:
        sequence = read_header(_AS_LEDGER + record).sequence
    except LedgerDecodeError as error:
        raise IntegrityError(f"{place}: not a file of ledger headers: {error}") from error
    return checked_header(SourceLedger(sequence, None, _AS_LEDGER + record, place))


def _records(data: bytes, place: str) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        mark = int.from_bytes(data[at : at + _MARK_BYTES], "big")
        end = at + _MARK_BYTES + (mark & ~_LAST_FRAGMENT)
        if not mark & _LAST_FRAGMENT or end > len(data):
            raise IntegrityError(f"{place}: no whole record at byte {at}")
        yield data[at + _MARK_BYTES : end]
        at = end
