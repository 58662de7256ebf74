"""Current state of pools, pool shares, claimable balances and offers: the ledger entries themselves, one row each.

Like `balances`: a group of ledgers is merged first, so each key is written once, and upserts carry their ledger as a guard.
A table is described by its family: keys and columns have the same names in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from psycopg import sql

from lumenstream.database import Connection
from schemas import families
from schemas.families import Family, Kind
from sinks.timescale import binary
from sinks.timescale.merging import REMOVE, Key, Merged, merge
from sinks.timescale.tables import LedgerRows

_LEDGER: Final = "last_modified_ledger"
_CREATED: Final = ("created_ledger", "created_at")
_NO_COLUMNS: Final = frozenset({"operation", "operation_id"})
_SQL_TYPES: Final = {Kind.ADDRESS: "bytea", Kind.WORD: "text", Kind.I64: "int8"}


def _array(kind: Kind, values: Sequence[Any]) -> binary.Array:
    match kind:
        case Kind.ADDRESS:
            return binary.bytea_array(values)
        case Kind.WORD:
            return binary.text_array(values)
        case _:
            return binary.nullable_int8_array(values) if None in values else binary.int8_array(values)


def _unnest(names: Sequence[str], kinds: Sequence[Kind]) -> sql.Composable:
    """`unnest(arrays...) as new (names...)`, the ledger last."""
    types = [_SQL_TYPES[kind] for kind in kinds] + ["int8"]
    return sql.SQL("unnest({}) as new ({})").format(
        sql.SQL(", ").join(sql.SQL("%s::") + sql.SQL("{}[]").format(sql.Identifier(name)) for name in types),
        sql.SQL(", ").join(map(sql.Identifier, (*names, _LEDGER))),
    )


def _upsert(table: str, key: Sequence[str], columns: Sequence[str], kinds: Sequence[Kind], creator: str | None) -> sql.Composed:
    sticky = {creator, *_CREATED} if creator else set()
    all_columns = (*columns, _LEDGER)
    changes = [
        sql.SQL("{0} = coalesce(excluded.{0}, t.{0})" if column in sticky else "{0} = excluded.{0}").format(
            sql.Identifier(column)
        )
        for column in all_columns
        if column not in key
    ]
    selected = [
        sql.SQL("to_timestamp({})" if column == "created_at" else "{}").format(sql.Identifier(column)) for column in all_columns
    ]
    return sql.SQL(
        "insert into {table} as t ({columns}) select {selected} from {unnest} on conflict ({key}) do update set {changes} "
        "where t.last_modified_ledger <= excluded.last_modified_ledger"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, all_columns)),
        selected=sql.SQL(", ").join(selected),
        unnest=_unnest(columns, kinds),
        key=sql.SQL(", ").join(map(sql.Identifier, key)),
        changes=sql.SQL(", ").join(changes),
    )


def _delete(table: str, key: Sequence[str], kinds: Sequence[Kind]) -> sql.Composed:
    return sql.SQL(
        "delete from {table} t using {unnest} where {same} and t.last_modified_ledger <= new.last_modified_ledger"
    ).format(
        table=sql.Identifier(table),
        unnest=_unnest(key, kinds),
        same=sql.SQL(" and ").join(sql.SQL("t.{0} = new.{0}").format(sql.Identifier(column)) for column in key),
    )


class EntryTable:
    """A table of current state and the family that fills it. `key`: the family's first columns.

    `creator`: a column that only the change that created the entry fills. With it go the columns created_ledger and created_at;
    all three keep their values when a later change leaves them empty.
    """

    def __init__(self, name: str, family: Family, key: tuple[str, ...], creator: str | None = None) -> None:
        self.name = name
        self.family = family
        self._key_columns = len(key)
        self._columns = {column: kind for column, kind in family.columns if column not in _NO_COLUMNS}
        self._creator = creator
        columns = [*self._columns, *(_CREATED if creator else ())]
        kinds = [*self._columns.values(), *((Kind.I64, Kind.I64) if creator else ())]
        self._upsert = _upsert(name, key, columns, kinds, creator).as_bytes(None)
        self._key_kinds = [self._columns[column] for column in key]
        self._delete = _delete(name, key, self._key_kinds).as_bytes(None)

    def merge(self, ledgers: Iterable[LedgerRows]) -> Merged:
        """The last change of each key in a group of consecutive ledgers."""
        return merge(self.family, self._key_columns, ledgers)

    def delete(self, connection: Connection, merged: Merged) -> None:
        """Rows of entries that went, also of those that came again: nothing of the old row may stay. Before `upsert`."""
        gone = sorted(merged.gone.items())
        if gone:
            keys = zip(*(key for key, _ in gone), strict=True)
            arrays = [_array(kind, column) for kind, column in zip(self._key_kinds, keys, strict=True)]
            connection.execute(self._delete, [*arrays, binary.int8_array(ledger for _, ledger in gone)])

    def upsert(self, connection: Connection, merged: Merged, ledgers: Sequence[LedgerRows]) -> None:
        kept = merged.kept()
        if kept.keys:
            columns = {name: kept.columns[name] for name in self._columns}
            if self._creator is not None:
                created = self._created(ledgers)
                columns |= zip(
                    (self._creator, *_CREATED),
                    zip(*(created.get(key, (None, None, None)) for key in kept.keys), strict=True),
                    strict=True,
                )
            arrays = [_array(self._columns.get(name, Kind.I64), column) for name, column in columns.items()]
            connection.execute(self._upsert, [*arrays, binary.int8_array(kept.ledgers)])

    def _created(self, ledgers: Sequence[LedgerRows]) -> dict[Key, tuple[bytes, int, int]]:
        """Who made the entries that exist after the group and were made in it, in which ledger, closed when."""
        places = {column: place for place, (column, _) in enumerate(self.family.columns)}
        created: dict[Key, tuple[bytes, int, int]] = {}
        for rows in ledgers:
            for row in rows.changes.get(self.family.name, ()):
                key, creator = row[: self._key_columns], row[places[self._creator or ""]]
                if row[places["operation"]] == REMOVE:
                    created.pop(key, None)
                elif creator is not None:
                    created[key] = creator, rows.header.sequence, rows.ledger.close_time
        return created


LIQUIDITY_POOLS: Final = EntryTable("liquidity_pools", families.LIQUIDITY_POOL_CHANGES, ("pool_id",))
LIQUIDITY_POOL_BALANCES: Final = EntryTable(
    "liquidity_pool_balances", families.LIQUIDITY_POOL_SHARE_CHANGES, ("account_id", "pool_id")
)
CLAIMABLE_BALANCES: Final = EntryTable(
    "claimable_balances", families.CLAIMABLE_BALANCE_CHANGES, ("balance_id",), creator="creator_account_id"
)
OFFERS: Final = EntryTable("offers", families.OFFER_CHANGES, ("offer_id",))
TABLES: Final = (LIQUIDITY_POOLS, LIQUIDITY_POOL_BALANCES, CLAIMABLE_BALANCES, OFFERS)

# What a claimable balance is made for never changes.
_CLAIMANTS: Final = (
    "insert into claimable_balance_claimants (balance_id, account_id, predicate) "
    "select b, a, p::jsonb from unnest(%s::text[], %s::bytea[], %s::text[]) as new (b, a, p) on conflict do nothing"
)
_CLAIMANTS_GONE: Final = (
    "delete from claimable_balance_claimants c where balance_id = any(%s::text[]) "
    "and not exists (select from claimable_balances b where b.balance_id = c.balance_id)"
)


def apply(connection: Connection, ledgers: Sequence[LedgerRows]) -> dict[str, int]:
    """Write the entries that a group of consecutive ledgers changed. Returns the rows touched by table."""
    written: dict[str, int] = {}
    for table in TABLES:
        merged = table.merge(ledgers)
        table.delete(connection, merged)
        if table is CLAIMABLE_BALANCES:
            written["claimable_balance_claimants"] = _apply_claimants(connection, ledgers, merged)
        table.upsert(connection, merged, ledgers)
        written[table.name] = len(merged.latest)
    return written


def _apply_claimants(connection: Connection, ledgers: Sequence[LedgerRows], balances: Merged) -> int:
    """Between deletion and upsert of the balances, so that claimants of a balance that went go with it."""
    claimants: dict[tuple[str, bytes], bytes] = {}
    for rows in ledgers:
        for balance_id, account, predicate in rows.changes.get(families.CLAIMABLE_BALANCE_CLAIMANTS.name, ()):
            key = (balance_id,)
            if not balances.is_gone(key) and rows.header.sequence >= balances.gone.get(key, 0):
                claimants[balance_id, account] = orjson.dumps(predicate, option=orjson.OPT_SORT_KEYS)
    gone = sorted(balance_id for (balance_id,) in balances.gone)
    if gone:
        connection.execute(_CLAIMANTS_GONE, (binary.text_array(gone),))
    if claimants:
        keys = sorted(claimants)
        connection.execute(
            _CLAIMANTS,
            (
                binary.text_array(balance_id for balance_id, _ in keys),
                binary.bytea_array(account for _, account in keys),
                binary.text_array(claimants[key].decode() for key in keys),
            ),
        )
    return len(claimants) + len(gone)
