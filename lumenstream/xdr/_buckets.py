"""The bucket scanner without a compiler: same entries, same order and same strictness as `lumenstream._native.BucketScanner`."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from lumenstream.xdr import _wire
from lumenstream.xdr._cursor import decode
from lumenstream.xdr._values import entry
from lumenstream.xdr.errors import LedgerDecodeError
from lumenstream.xdr.rows import Entry

_MARK_BYTES: Final = 4
_LAST_FRAGMENT: Final = 1 << 31
_MAX_RECORD_BYTES: Final = 16 << 20
_ID_BYTES: Final = 16
_FIRST_PROTOCOL_WITH_METADATA: Final = 11
_FIRST_PROTOCOL_WITH_ARCHIVE: Final = 23
_LIVE_LIST, _ARCHIVE_LIST = 0, 1
_METADATA, _DEAD, _CREATED = -1, 1, 2
_NO_UNION: Final = bytes(4)  # keys and balance ids are unions of one kind, number 0

# LedgerEntryType
_CONTRACT_DATA: Final = 6
_UNWANTED: Final = frozenset({3, 8, 9})  # data, settings, times to live
_INSTANCE_KEY: Final = 20  # ScValType
_VEC: Final = 16
_BALANCE: Final = (15, b"Balance")


class BucketScanner:
    """See `lumenstream.xdr.buckets`."""

    def __init__(self, *, archived: bool = False) -> None:
        self.records = 0
        self._archived = archived
        self._seen: set[bytes] = set()
        self._oldest = False
        self._in_bucket = 0
        self._protocol = 0
        self._rest = b""

    @property
    def known(self) -> int:
        return len(self._seen)

    def begin(self, oldest: bool) -> None:
        self._oldest, self._in_bucket, self._protocol, self._rest = oldest, 0, 0, b""

    def feed(self, data: bytes) -> list[Entry]:
        buffer, at = self._rest + data, 0
        self._rest = b""
        found: list[Entry] = []
        while len(buffer) - at >= _MARK_BYTES:
            mark = int.from_bytes(buffer[at : at + _MARK_BYTES], "big")
            length = mark & ~_LAST_FRAGMENT
            if not mark & _LAST_FRAGMENT or length > _MAX_RECORD_BYTES:
                raise LedgerDecodeError(f"record {self._in_bucket + 1}: {mark:#010x} is no record mark")
            end = at + _MARK_BYTES + length
            if end > len(buffer):
                break
            self._in_bucket += 1
            self.records += 1
            try:
                taken = self._record(buffer[at + _MARK_BYTES : end])
            except LedgerDecodeError as error:
                raise LedgerDecodeError(f"record {self._in_bucket}: {error}") from None
            if taken is not None:
                found.append(taken)
            at = end
        self._rest = buffer[at:]
        return found

    def end(self) -> None:
        if self._rest:
            raise LedgerDecodeError(f"ends inside record {self._in_bucket + 1}, {len(self._rest)} bytes into it")

    def _record(self, record: bytes) -> Entry | None:
        kind, value = decode(record, _wire.HotArchiveBucketEntry if self._archived else _wire.BucketEntry)
        if kind == _METADATA:
            self._metadata(value)
            return None
        if self._archived and not self._protocol:
            raise LedgerDecodeError("a bucket of the hot archive begins with its metadata")
        if kind == _DEAD:
            if _wanted_key(value):
                self._is_news(_id(record[_MARK_BYTES:]), created=False)
            return None
        if kind == _CREATED and self._protocol < _FIRST_PROTOCOL_WITH_METADATA:
            raise LedgerDecodeError("a created entry in a bucket whose metadata does not allow it")
        key = _key(value[0]["data"])
        if key is None or not self._is_news(_id(key), created=kind == _CREATED):
            return None
        return entry(value)

    def _metadata(self, metadata: Any) -> None:
        version, (kind, listed) = metadata["ledgerVersion"], metadata["ext"]
        found = listed if kind else _LIVE_LIST
        wanted, first = (
            (_ARCHIVE_LIST, _FIRST_PROTOCOL_WITH_ARCHIVE) if self._archived else (_LIVE_LIST, _FIRST_PROTOCOL_WITH_METADATA)
        )
        if self._in_bucket != 1:
            raise LedgerDecodeError("metadata stand first in a bucket")
        if found != wanted or version < first:
            raise LedgerDecodeError(f"metadata of list {found}, protocol {version}, do not belong here")
        self._protocol = version

    def _is_news(self, key: bytes, *, created: bool) -> bool:
        if key in self._seen:
            return False
        if not self._oldest and not created:
            self._seen.add(key)
        return True


def _id(key: bytes) -> bytes:
    return sha256(key).digest()[:_ID_BYTES]


def _key(data: tuple[int, Any]) -> bytes | None:
    """The XDR of the entry's ledger key; None for entries that no table is made of."""
    kind, body = data
    start = kind.to_bytes(4, "big")
    match kind:
        case 0:
            return start + _NO_UNION + bytes(body["accountID"][1])
        case 1:
            return start + _NO_UNION + bytes(body["accountID"][1]) + bytes(body["asset"][1])
        case 2:
            return start + _NO_UNION + bytes(body["sellerID"][1]) + int(body["offerID"]).to_bytes(8, "big", signed=True)
        case 4:
            return start + _NO_UNION + bytes(body["balanceID"][1])
        case 5:
            return start + bytes(body["liquidityPoolID"])
        case 6 if _wanted_data(body["key"][0]):
            return start + bytes(body["contract"][1]) + bytes(body["key"][1]) + int(body["durability"]).to_bytes(4, "big")
        case 7:
            return start + bytes(body["hash"])
        case _:
            return None


def _wanted_key(key: tuple[int, Any]) -> bool:
    kind, body = key
    return _wanted_data(body["key"]) if kind == _CONTRACT_DATA else kind not in _UNWANTED


def _wanted_data(key: tuple[int, Any]) -> bool:
    """A contract's instance, or what may be somebody's balance: [Balance, holder]."""
    kind, body = key
    return kind == _INSTANCE_KEY or (kind == _VEC and body is not None and len(body) == 2 and body[0] == _BALANCE)
