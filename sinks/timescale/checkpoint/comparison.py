"""Tables of current state against what they should hold (`shadow`): where they differ, and how they are made equal.

`last_modified_ledger` is not compared: a change that no column shows moves an entry's own and not the row's. A row that is right
stays untouched. Assets, contracts and code may be more than a checkpoint tells of, because history refers to them:
they are only added.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString, NamedTuple

from psycopg import sql

from lumenstream.database import Connection
from schemas import strkey

MAX_EXAMPLES: Final = 3
_ADDRESS_BYTES: Final = 33


class Difference(NamedTuple):
    """Rows of a table that are missing, too many, or different; some of their keys."""

    table: str
    kind: str
    rows: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.table}: {self.rows} rows {self.kind}: {', '.join(self.examples)}"


class _Compared(NamedTuple):
    """`values` are compared and, when they differ, written with `also`; of `sticky` ones only what is known. `inserted` are
    written with new rows only. `only`: expected rows that count. `complete`: rows that are not expected are too many."""

    table: LiteralString
    key: tuple[str, ...]
    values: tuple[str, ...]
    also: tuple[str, ...] = ("last_modified_ledger",)
    sticky: tuple[str, ...] = ()
    inserted: tuple[str, ...] = ()
    only: LiteralString = "true"
    complete: bool = True


_AMOUNTS: Final = ("balance", "buying_liabilities", "selling_liabilities")
TABLES: Final = (
    _Compared("trustline_assets", ("id",), ("code", "issuer"), also=(), complete=False),
    _Compared("protocol_wasms", ("wasm_hash",), ("protocol_id",), also=(), complete=False),
    _Compared(
        "protocol_contracts",
        ("contract_id",),
        ("wasm_hash",),
        also=("name", "symbol", "decimals", "last_modified_ledger"),
        complete=False,
    ),
    _Compared(
        "contract_tokens",
        ("id",),
        ("type", "code", "issuer"),
        also=(),
        sticky=("name", "symbol"),
        inserted=("contract_id", "decimals"),
        only="(e.code is not null or e.type = 'SEP41')",
        complete=False,
    ),
    _Compared("native_balances", ("account_id",), (*_AMOUNTS, "minimum_balance", "num_subentries")),
    _Compared("trustline_balances", ("account_id", "asset_id"), (*_AMOUNTS, "trust_limit", "flags")),
    _Compared("sac_balances", ("account_id", "contract_id"), ("balance", "is_authorized", "is_clawback_enabled")),
    _Compared(
        "liquidity_pools",
        ("pool_id",),
        ("asset_a", "asset_b", "reserve_a", "reserve_b", "fee_bp", "total_shares", "trustline_count"),
    ),
    _Compared("liquidity_pool_balances", ("account_id", "pool_id"), ("shares",)),
    _Compared(
        "claimable_balances",
        ("balance_id",),
        ("asset", "amount", "flags", "sponsor_account_id"),
        sticky=("creator_account_id", "created_ledger", "created_at"),
    ),
    _Compared("claimable_balance_claimants", ("balance_id", "account_id"), ("predicate",), also=()),
    _Compared(
        "offers",
        ("offer_id",),
        ("seller_account_id", "selling", "buying", "amount", "price_n", "price_d", "flags", "sponsor_account_id"),
    ),
)


class _Statements:
    """The SQL of one table: `a` is what is there, `e` what should be."""

    def __init__(self, table: _Compared, schema: sql.Identifier) -> None:
        self._table = table
        self._columns = (*table.key, *table.values, *table.also, *table.sticky, *table.inserted)
        name = sql.Identifier(table.table)
        self._there = sql.SQL("{}.{}").format(schema, name)
        self._names = {"a": self._there, "e": sql.SQL("pg_temp.{}").format(name)}
        self._same_key = sql.SQL(" and ").join(_pair("a", "e", column) for column in table.key)
        self._differs = sql.SQL(" or ").join(
            [
                *(sql.SQL("a.{0} is distinct from e.{0}").format(sql.Identifier(column)) for column in table.values),
                *(
                    sql.SQL("(e.{0} is not null and a.{0} is distinct from e.{0})").format(sql.Identifier(column))
                    for column in table.sticky
                ),
            ]
        )

    def rows(self, kind: str) -> sql.Composed:
        """`from ... where ...` of the rows that are of a kind."""
        key = sql.Identifier(self._table.key[0])
        only = sql.SQL(self._table.only)
        match kind:
            case "missing":
                text = sql.SQL("from {e} e left join {a} a on {same} where a.{key} is null and {only}")
            case "too many":
                text = sql.SQL("from {a} a left join {e} e on {same} where e.{key} is null")
            case _:
                text = sql.SQL("from {e} e join {a} a on {same} where ({differs}) and {only}")
        return text.format(**self._names, same=self._same_key, key=key, only=only, differs=self._differs)

    def examples(self, kind: str) -> sql.Composed:
        source = sql.Identifier("a" if kind == "too many" else "e")
        keys = sql.SQL(", ").join(sql.SQL("{}.{}").format(source, sql.Identifier(column)) for column in self._table.key)
        return sql.SQL("select {0} {1} order by {0} limit {2}").format(keys, self.rows(kind), sql.Literal(MAX_EXAMPLES))

    def repair(self, kind: str) -> sql.Composed:
        columns = sql.SQL(", ").join(map(sql.Identifier, self._columns))
        match kind:
            case "missing":
                return sql.SQL("insert into {a} ({columns}) select {expected} {rows} on conflict do nothing").format(
                    a=self._there,
                    columns=columns,
                    expected=sql.SQL(", ").join(sql.SQL("e.{}").format(sql.Identifier(column)) for column in self._columns),
                    rows=self.rows(kind),
                )
            case "too many":
                return sql.SQL("delete from {a} a where not exists (select from {e} e where {same})").format(
                    **self._names, same=self._same_key
                )
            case _:
                changes = [
                    *(sql.SQL("{0} = e.{0}").format(sql.Identifier(c)) for c in (*self._table.values, *self._table.also)),
                    *(sql.SQL("{0} = coalesce(e.{0}, a.{0})").format(sql.Identifier(c)) for c in self._table.sticky),
                ]
                return sql.SQL("update {a} a set {changes} from {e} e where {same} and ({differs}) and {only}").format(
                    **self._names,
                    changes=sql.SQL(", ").join(changes),
                    same=self._same_key,
                    differs=self._differs,
                    only=sql.SQL(self._table.only),
                )


def differences(connection: Connection, schema: sql.Identifier) -> Iterator[Difference]:
    """Where the tables in `schema` differ from the temporary ones."""
    for table, kind, statements in _kinds(schema):
        row = connection.execute(sql.SQL("select count(*) {}").format(statements.rows(kind))).fetchone()
        if row is not None and row[0]:
            keys = connection.execute(statements.examples(kind)).fetchall()
            yield Difference(table.table, kind, row[0], tuple("/".join(map(_shown, key)) for key in keys))


def repair(connection: Connection, schema: sql.Identifier) -> dict[str, int]:
    """Make the tables in `schema` equal to the temporary ones. Returns the rows written, by table."""
    written: dict[str, int] = {}
    for table, kind, statements in _kinds(schema):
        written[table.table] = written.get(table.table, 0) + connection.execute(statements.repair(kind)).rowcount
    return written


def _kinds(schema: sql.Identifier) -> Iterator[tuple[_Compared, str, _Statements]]:
    for table in TABLES:
        statements = _Statements(table, schema)
        for kind in ("missing", "different", *(("too many",) if table.complete else ())):
            yield table, kind, statements


def _pair(left: str, right: str, column: str) -> sql.Composed:
    return sql.SQL("{}.{} = {}.{}").format(*map(sql.Identifier, (left, column, right, column)))


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return strkey.encode(value) if len(value) == _ADDRESS_BYTES else value.hex()
    return str(value)
