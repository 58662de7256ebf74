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
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

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
_ENTRIES: Final = {Kind.ADDRESS: "addresses", Kind.WORD: "words", Kind.KEY: "keys"}
# Bytes a value, of columns that come as bytes; kinds that come as lists, and the types of values of Kind.BIG.
_WIDTHS: Final = {Kind.I64: (8,), Kind.BOOL: (1,), Kind.HASH: (_HASH_BYTES,), **dict.fromkeys(_DICTIONARIES, (2, 4))}
_LISTS: Final = frozenset({Kind.BIG, Kind.ANY})
_BIG: Final = frozenset({int, str, type(None)})

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


class OpenPart(NamedTuple):
    """A part as it came: its dictionaries, and by family the row count and the packed columns. Rows are made when asked for.

    `open_part` has checked the types and lengths of all; whether indexes lie in their dictionary shows when they are read.
    """

    addresses: list[bytes]
    words: list[str]
    keys: list[bytes]
    families: dict[str, list[Any]]

    def rows(self, family: Family) -> list[Row]:
        """The rows of a family, as plain tuples; none when it is absent. PartError when they cannot be read."""
        if family.name not in self.families:
            return []
        count, *packed = self.families[family.name]
        columns = [_unpack(kind, column, count, self) for (_, kind), column in zip(family.columns, packed, strict=True)]
        return list(zip(*columns, strict=True))

    def decode(self, names: Container[str] = FAMILIES) -> Part:
        """The part, or of its families those named."""
        part = Part()
        part.rows = {name: self.rows(FAMILIES[name]) for name in self.families if name in names}
        return part


def open_part(data: bytes) -> OpenPart:
    """The part behind the bytes, its columns still packed. PartError when they are not a part."""
    if len(data) > MAX_PART_BYTES:
        raise PartError(f"a part of {len(data)} bytes is over the limit of {MAX_PART_BYTES}")
    try:
        raw = ormsgpack.unpackb(data)
    except ValueError as error:
        raise PartError(f"not a part: {error!r}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("f"), dict):
        raise PartError("not a part: no families")
    for name, packed in raw["f"].items():
        _check_family(name, packed)
    return OpenPart(_entries(raw, "a", bytes), _entries(raw, "w", str), _entries(raw, "k", bytes), raw["f"])


def decode(data: bytes) -> Part:
    """The part behind the bytes; rows come as plain tuples. PartError when they are not a part."""
    return open_part(data).decode()


def _entries(raw: dict[str, Any], name: str, kind: type) -> list[Any]:
    """A dictionary."""
    entries = raw.get(name)
    if not isinstance(entries, list) or set(map(type, entries)) - {kind}:
        raise PartError(f"not a part: dictionary {name} is not a list of {kind.__name__}")
    return entries


def _check_family(name: str, packed: Any) -> None:
    family = FAMILIES.get(name)
    if family is None:
        raise PartError(f"unknown family {name}")
    if not isinstance(packed, list) or len(packed) != 1 + len(family.columns):
        raise PartError(f"family {name} is not a list of a count and {len(family.columns)} columns")
    count = packed[0]
    if type(count) is not int or count < 0:
        raise PartError(f"family {name} has a count of {count!r}")
    for (column, kind), values in zip(family.columns, packed[1:], strict=True):
        if not _fits(kind, values, count):
            raise PartError(f"column {column} of family {name} is not of {count} values of kind {kind.value}")


def _fits(kind: Kind, packed: Any, count: int) -> bool:
    if kind in _LISTS:
        return isinstance(packed, list) and len(packed) == count and (kind is Kind.ANY or set(map(type, packed)) <= _BIG)
    return isinstance(packed, bytes) and len(packed) in [width * count for width in _WIDTHS[kind]]


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


def _unpack(kind: Kind, packed: Any, count: int, part: OpenPart) -> Sequence[Any]:
    match kind:
        case Kind.I64:
            return _array_of("q", packed)
        case Kind.BOOL:
            return [byte != 0 for byte in packed]
        case Kind.HASH:
            return [packed[at : at + _HASH_BYTES] for at in range(0, len(packed), _HASH_BYTES)]
        case Kind.BIG:
            return [_integer(v) if isinstance(v, str) else v for v in packed]
        case Kind.ANY:
            return cast(list[Any], packed)
        case _:
            return _entries_at(packed, count, getattr(part, _ENTRIES[kind]))


def _entries_at(packed: bytes, count: int, entries: list[Any]) -> list[Any]:
    wide = len(packed) == 4 * count
    missing = 0xFFFFFFFF if wide else 0xFFFF
    try:
        return [None if i == missing else entries[i] for i in _array_of("I" if wide else "H", packed)]
    except IndexError:
        raise PartError(f"an index beyond a dictionary of {len(entries)}") from None


def _integer(text: str) -> int:
    """A number that MessagePack has no integer for, as Python writes it."""
    try:
        number = int(text)
    except ValueError as error:
        raise PartError(f"no integer: {error}") from error
    if str(number) != text:
        raise PartError(f"{text[:80]!r} is not how an integer is written")
    return number


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
