"""COPY of rows of current state. What a table's columns are made of is told by its family; their types by the database.

A row of a family and a row of its table have the same columns, but for those in `_RENAMED`, and for what orders the changes of a
ledger, which no table has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson
from psycopg import sql

from lumenstream.database import Connection
from schemas import families
from schemas.families import Family, Kind
from schemas.parts import Row
from sinks.timescale import binary, entries
from sinks.timescale.binary import NULL, Field
from sinks.timescale.tables import account_key

_LEDGER: Final = "last_modified_ledger"
_OF_CHANGES: Final = frozenset({"operation", "operation_id", "sort_key"})
_CLAIMANTS: Final = families.CLAIMABLE_BALANCE_CLAIMANTS.name

# Tables by the family that fills them, and where their columns have other names: column of the family, column of the table.
TABLES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    families.ACCOUNT_CHANGES.name: ("native_balances", {}),
    families.TRUSTLINE_CHANGES.name: ("trustline_balances", {"limit": "trust_limit"}),
    families.SAC_BALANCE_CHANGES.name: ("sac_balances", {"contract_id": "", "contract_uuid": "contract_id"}),
    _CLAIMANTS: ("claimable_balance_claimants", {}),
    **{table.family.name: (table.name, {}) for table in entries.TABLES},
}

Encoder = Callable[[Sequence[Any]], Iterable[Field]]


def _nullable(encode: Callable[[Any], Field]) -> Encoder:
    return lambda column: [NULL if value is None else encode(value) for value in column]


def _json(column: Sequence[Any]) -> list[Field]:
    return [binary.jsonb(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)) for value in column]


_ENCODERS: Final[dict[str, Encoder]] = {
    "bigint": _nullable(binary.int64),
    "integer": _nullable(binary.int32),
    "boolean": binary.bools,
    "bytea": binary.raws,
    "jsonb": _json,
    "numeric": binary.numerics,
    "text": binary.texts,
    "uuid": binary.raws,
}


class _Column(NamedTuple):
    name: str
    place: int | None  # in the family's row; None: the ledger beside it
    kind: Kind
    encode: Encoder


class Copier:
    """Fills one table of one connection."""

    def __init__(self, connection: Connection, family: Family) -> None:
        self.table, renamed = TABLES[family.name]
        self._connection = connection
        types: dict[str, str] = dict(
            connection.execute(
                "select attname, split_part(format_type(atttypid, null), '(', 1) from pg_attribute "
                "where attrelid = %s::regclass and attnum > 0 and not attisdropped",
                (self.table,),
            ).fetchall()
        )
        self._columns = [
            _Column(renamed.get(name, name), place, kind, _ENCODERS[types[renamed.get(name, name)]])
            for place, (name, kind) in enumerate(family.columns)
            if name not in _OF_CHANGES and renamed.get(name, name)
        ]
        if _LEDGER in types:
            self._columns.append(_Column(_LEDGER, None, Kind.I64, _ENCODERS[types[_LEDGER]]))
        self._statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
            sql.Identifier(self.table), sql.SQL(", ").join(sql.Identifier(column.name) for column in self._columns)
        )

    def copy(self, rows: Sequence[Row], ledgers: Sequence[int]) -> int:
        """Add rows, none of which is there. Returns how many."""
        values = list(zip(*rows, strict=True))
        columns = [_fields(column, ledgers if column.place is None else values[column.place]) for column in self._columns]
        data = binary.rows(columns, binary.field_count(len(columns)))
        with self._connection.cursor() as cursor:
            with cursor.copy(self._statement) as copy:
                copy.write(binary.COPY_HEADER + data + binary.COPY_TRAILER)
            return cursor.rowcount


def _fields(column: _Column, values: Sequence[Any]) -> Iterable[Field]:
    if column.kind is Kind.ADDRESS:
        values = [None if address is None else account_key(address) for address in values]
    return column.encode(values)
