"""PostgreSQL's binary forms, built column by column: COPY streams and array parameters.

psycopg's own adaptation looks at every value on its own; a ledger has 40,000 of them. Here a column is one list comprehension
that turns values into wire fields (4-byte length, then the value; length -1 for NULL), and a table is one join of its columns.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Final, Protocol

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

NULL: Final = b"\xff\xff\xff\xff"
FIELD_TRUE: Final = b"\0\0\0\1\1"
FIELD_FALSE: Final = b"\0\0\0\1\0"
COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"
POSTGRES_EPOCH_SECONDS: Final = 946_684_800  # 2000-01-01 in Unix seconds

_I16: Final = struct.Struct("!ih")
_I32: Final = struct.Struct("!ii")
_I64: Final = struct.Struct("!iq")
_LENGTH: Final = struct.Struct("!i")
_COUNT: Final = struct.Struct("!h")
_NUMERIC: Final = struct.Struct("!hhHH")  # groups, weight of the first, sign, digits after the point
_ARRAY: Final = struct.Struct("!iiIii")

_BYTEA_OID: Final = 17
_BOOL_OID: Final = 16
_INT8_OID: Final = 20
_TEXT_OID: Final = 25
_UUID_OID: Final = 2950
_EIGHT: Final = int.from_bytes((8).to_bytes(4, "big"), sys.byteorder)
_JSONB_VERSION: Final = b"\1"
_LENGTHS: Final = [_LENGTH.pack(length) for length in range(256)]

Field = bytes


def int16(value: int) -> Field:
    return _I16.pack(2, value)


def int32(value: int) -> Field:
    return _I32.pack(4, value)


def int64(value: int) -> Field:
    return _I64.pack(8, value)


def raw(value: bytes) -> Field:
    """bytea, uuid."""
    return _LENGTH.pack(len(value)) + value


def text(value: str) -> Field:
    data = value.encode()
    return _LENGTH.pack(len(data)) + data


def jsonb(value: bytes) -> Field:
    """`value` is JSON text."""
    return _LENGTH.pack(len(value) + 1) + _JSONB_VERSION + value


def timestamptz(unix_seconds: int) -> Field:
    return _I64.pack(8, (unix_seconds - POSTGRES_EPOCH_SECONDS) * 1_000_000)


def int64s(values: Iterable[int]) -> list[Field]:
    pack = _I64.pack
    return [pack(8, value) for value in values]


def bools(values: Iterable[bool]) -> list[Field]:
    return [FIELD_TRUE if value else FIELD_FALSE for value in values]


def amounts(values: Iterable[int | None]) -> list[Field]:
    """Integers of any size as decimal text."""
    pack = _LENGTH.pack
    return [NULL if value is None else pack(len(digits := b"%d" % value)) + digits for value in values]


def numerics(values: Iterable[int]) -> list[Field]:
    """Whole numbers of any size in PostgreSQL's own form: groups of four decimal digits, the highest first."""
    return [_numeric(value) for value in values]


def _numeric(value: int) -> Field:
    groups: list[int] = []
    rest = abs(value)
    while rest:
        rest, group = divmod(rest, 10_000)
        groups.append(group)
    head = _NUMERIC.pack(len(groups), max(0, len(groups) - 1), 0x4000 if value < 0 else 0, 0)
    data = head + b"".join(group.to_bytes(2, "big") for group in reversed(groups))
    return _LENGTH.pack(len(data)) + data


def texts(values: Iterable[str | None]) -> list[Field]:
    pack = _LENGTH.pack
    return [NULL if value is None else pack(len(data := value.encode())) + data for value in values]


def raws(values: Iterable[bytes | None]) -> list[Field]:
    pack = _LENGTH.pack
    return [NULL if value is None else pack(len(value)) + value for value in values]


class Words:
    """Fields of texts that repeat: result codes, operation types, reasons. Bounded, because a part could bring any text."""

    MAX_WORDS: Final = 4096

    def __init__(self) -> None:
        self._fields: dict[str | None, Field] = {None: NULL}

    def fields(self, values: Sequence[str | None]) -> list[Field]:
        known = self._fields
        if len(known) > self.MAX_WORDS:
            known.clear()
            known[None] = NULL
        for value in set(values) - known.keys():
            known[value] = NULL if value is None else text(value)
        return [known[value] for value in values]


def rows(columns: Sequence[Iterable[Field]], prefix: Field) -> bytes:
    """COPY tuples from columns of fields. `prefix`: the tuple's field count and the fields that are the same in every row."""
    return b"".join(chain.from_iterable(zip(repeat(prefix), *columns, strict=False)))


def field_count(count: int) -> bytes:
    """What each COPY tuple begins with."""
    return _COUNT.pack(count)


class Array(bytes):
    """A one-dimensional array parameter in binary form. Subclasses say of what; `register` teaches a connection to pass them."""

    oid = 0


class Int8Array(Array):
    oid = 1016


class ByteaArray(Array):
    oid = 1001


class UuidArray(Array):
    oid = 2951


class TextArray(Array):
    oid = 1009


class BoolArray(Array):
    oid = 1000


def _array(element_oid: int, fields: Sequence[Field]) -> bytes:
    return _ARRAY.pack(1, 0, element_oid, len(fields), 1) + b"".join(fields)


def int8_array(values: Iterable[int]) -> Int8Array:
    """Without an object for each value: elements are three 4-byte words, the length and both halves of the value."""
    numbers = array("q", values)
    if sys.byteorder == "little":
        numbers.byteswap()
    halves = memoryview(numbers).cast("B").cast("I")
    words = array("I", [_EIGHT]) * (3 * len(numbers))
    words[1::3] = array("I", halves[0::2].tobytes())
    words[2::3] = array("I", halves[1::2].tobytes())
    return Int8Array(_ARRAY.pack(1, 0, _INT8_OID, len(numbers), 1) + words.tobytes())


def nullable_int8_array(values: Iterable[int | None]) -> Int8Array:
    return Int8Array(_array(_INT8_OID, [NULL if value is None else int64(value) for value in values]))


def bytea_array(values: Iterable[bytes | None]) -> ByteaArray:
    return ByteaArray(_sized_array(_BYTEA_OID, list(values)))


def uuid_array(values: Iterable[bytes]) -> UuidArray:
    return UuidArray(_sized_array(_UUID_OID, list(values)))


def text_array(values: Iterable[str | None]) -> TextArray:
    return TextArray(_sized_array(_TEXT_OID, [None if value is None else value.encode() for value in values]))


def _sized_array(element_oid: int, values: list[bytes | None]) -> bytes:
    """An array of values of few bytes goes through C alone: this is most of what current state costs."""
    present = [value for value in values if value is not None]
    if not present or len(present) < len(values) or max(map(len, present)) >= len(_LENGTHS):
        return _array(element_oid, raws(values))
    lengths = map(_LENGTHS.__getitem__, map(len, present))
    return _ARRAY.pack(1, 0, element_oid, len(present), 1) + b"".join(chain.from_iterable(zip(lengths, present, strict=True)))


def bool_array(values: Iterable[bool]) -> BoolArray:
    return BoolArray(_array(_BOOL_OID, bools(values)))


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return bytes(obj)


class _HasAdapters(Protocol):
    @property
    def adapters(self) -> psycopg.adapt.AdaptersMap: ...


def register(connection: _HasAdapters) -> None:
    """Let a connection take the arrays above as parameters."""
    for kind in (Int8Array, ByteaArray, UuidArray, TextArray, BoolArray):
        dumper = type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid})
        connection.adapters.register_dumper(kind, dumper)
