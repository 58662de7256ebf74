"""A part: everything one processor says about one ledger, and its compact encoding on topic `ledger-changes`.

Encoding (schema version 1): one MessagePack map
    "a": addresses, "w": words, "k": keys          dictionaries, each value once, in order of first use
    "f": {family: [row count, column, column...]}  columns in the order of `schemas.families`, packed by their kind
Fixed-width columns are little-endian arrays; dictionary columns are 16-bit indexes (32-bit when the dictionary is longer than
65,535), all ones meaning NULL. The same rows give the same bytes.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import ormsgpack

from schemas.families import FAMILIES, STATE_CHANGES, Family, Kind
from schemas.state_changes import CATEGORY_OF, StateChange

SCHEMA_VERSION: Final = 1
MAX_PART_BYTES: Final = 64 << 20

Row = tuple[Any, ...]
_SWAP: Final = sys.byteorder == "big"
_I64_MIN: Final = -(1 << 63)
_U64_MAX: Final = (1 << 64) - 1
_HASH_BYTES: Final = 32
_DICTIONARIES: Final = {Kind.ADDRESS: "a", Kind.WORD: "w", Kind.KEY: "k"}

# One letter for each kind of column, and each family's columns in these letters: what `pack_rows` is told of a family.
_LETTERS: Final = {
    Kind.I64: "q",
    Kind.BOOL: "?",
    Kind.HASH: "h",
    Kind.ADDRESS: "a",
    Kind.WORD: "w",
    Kind.KEY: "k",
    Kind.BIG: "b",
    Kind.ANY: "o",
}
_KINDS: Final = {letter: kind for kind, letter in _LETTERS.items()}
_COLUMNS: Final = {name: "".join(_LETTERS[kind] for _, kind in family.columns) for name, family in FAMILIES.items()}

# By family its packed columns; then the dictionaries: addresses, words, keys.
Packed = tuple[list[list[Any]], list[bytes], list[str], list[bytes]]
Pack = Callable[[list[tuple[list[Row], str]]], Packed]


class PartError(ValueError):
    """The bytes are not a part of a schema version this code reads."""


class Part:
    """Rows by family, in emission order. A processor fills one for each ledger; it has no other output."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}

    def add(self, family: Family, rows: Iterable[Row]) -> None:
        """Append rows of a family. Families without rows are absent."""
        batch = rows if isinstance(rows, list) else list(rows)
        if batch:
            self.rows.setdefault(family.name, []).extend(batch)

    def add_state_changes(self, changes: Iterable[StateChange]) -> None:
        """Append state changes, each to the family of its category."""
        for change in changes:
            self.rows.setdefault(STATE_CHANGES[CATEGORY_OF[type(change)]].name, []).append(change)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self.rows == other.rows

    def __repr__(self) -> str:
        return f"Part({', '.join(f'{name}={len(rows)}' for name, rows in self.rows.items())})"


def pack_rows(families: list[tuple[list[Row], str]]) -> Packed:
    """Columns and dictionaries of these rows, each with the letters of its columns."""
    dictionaries: dict[str, dict[Any, int]] = {"a": {}, "w": {}, "k": {}}
    packed = [
        [_pack(_KINDS[letter], column, dictionaries) for letter, column in zip(letters, zip(*rows, strict=True), strict=True)]
        for rows, letters in families
    ]
    return packed, list(dictionaries["a"]), list(dictionaries["w"]), list(dictionaries["k"])


def packable(part: Part) -> list[tuple[list[Row], str]]:
    """The part's rows as `pack_rows` takes them: families in the order of the registry, so that equal rows give equal bytes."""
    unknown = part.rows.keys() - FAMILIES.keys()
    if unknown:
        raise PartError(f"unknown families {sorted(unknown)}")
    return [(rows, letters) for name, letters in _COLUMNS.items() if (rows := part.rows.get(name))]


def encode(part: Part, pack: Pack = pack_rows) -> bytes:
    """The bytes of a part. `pack` is `pack_rows` or does the same."""
    packed, addresses, words, keys = pack(packable(part))
    present = [(name, len(rows)) for name in FAMILIES if (rows := part.rows.get(name))]
    families = {name: [count, *columns] for (name, count), columns in zip(present, packed, strict=True)}
    return ormsgpack.packb({"a": addresses, "w": words, "k": keys, "f": families})


def decode(data: bytes) -> Part:
    """The part behind the bytes; rows come as plain tuples. PartError when they are not a part."""
    if len(data) > MAX_PART_BYTES:
        raise PartError(f"a part of {len(data)} bytes is over the limit of {MAX_PART_BYTES}")
    try:
        raw = ormsgpack.unpackb(data)
        part = Part()
        for name, (count, *packed) in raw["f"].items():
            columns = FAMILIES[name].columns
            if len(packed) != len(columns):
                raise PartError(f"family {name} has {len(packed)} columns, expected {len(columns)}")
            unpacked = [_unpack(kind, column, count, raw) for (_, kind), column in zip(columns, packed, strict=True)]
            part.rows[name] = list(zip(*unpacked, strict=True))
        return part
    except PartError:
        raise
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise PartError(f"not a part: {error!r}") from error


def _pack(kind: Kind, column: Sequence[Any], dictionaries: dict[str, dict[Any, int]]) -> Any:
    match kind:
        case Kind.I64:
            return _bytes_of(array("q", column))
        case Kind.BOOL:
            return bytes(column)
        case Kind.HASH:
            return b"".join(column)
        case Kind.BIG:
            return [v if v is None or _I64_MIN <= v <= _U64_MAX else str(v) for v in column]
        case Kind.ANY:
            return list(column)
        case _:
            return _pack_indexes(column, dictionaries[_DICTIONARIES[kind]])


def _pack_indexes(column: Sequence[Any], entries: dict[Any, int]) -> bytes:
    """Each value's place in the dictionary, which grows by the values it lacks."""
    for value in dict.fromkeys(column):
        if value is not None:
            entries.setdefault(value, len(entries))
    wide = len(entries) > 0xFFFF
    entries[None] = 0xFFFFFFFF if wide else 0xFFFF  # for this column only
    packed = array("I" if wide else "H", [entries[value] for value in column])
    del entries[None]
    return _bytes_of(packed)


def _unpack(kind: Kind, packed: Any, count: int, raw: dict[str, Any]) -> Sequence[Any]:
    match kind:
        case Kind.I64:
            column: Sequence[Any] = _array_of("q", packed)
        case Kind.BOOL:
            column = [byte != 0 for byte in packed]
        case Kind.HASH:
            column = [packed[at : at + _HASH_BYTES] for at in range(0, len(packed), _HASH_BYTES)]
        case Kind.BIG:
            column = [int(v) if isinstance(v, str) else v for v in packed]
        case Kind.ANY:
            column = packed
        case _:
            wide = len(packed) == 4 * count
            missing = 0xFFFFFFFF if wide else 0xFFFF
            entries = raw[_DICTIONARIES[kind]]
            column = [None if i == missing else entries[i] for i in _array_of("I" if wide else "H", packed)]
    if len(column) != count:
        raise PartError(f"a column of {len(column)} values, expected {count}")
    return column


def _bytes_of(values: array[int]) -> bytes:
    if _SWAP:
        values.byteswap()
    return values.tobytes()


def _array_of(typecode: str, packed: bytes) -> array[int]:
    values: array[int] = array(typecode)
    values.frombytes(packed)
    if _SWAP:
        values.byteswap()
    return values
