"""Rows in the history tables before a benchmark begins: does a ledger cost the same on top of ten million rows in each?

Made by the database itself. Keys and indexes are taken off and built again afterwards, which is many times faster. The rows lie
in the day that the benchmark writes to, before its ledgers, so its indexes are the deep ones; ids are those of older ledgers.
"""

from __future__ import annotations

from typing import Final, LiteralString

import psycopg
from psycopg import sql

ACCOUNTS: Final = 500_000
ROWS_A_LEDGER: Final = 1_000
FIRST_LEDGER: Final = 1_000_000

# n: number of the row. Each table: columns and what fills them.
_ID: Final[LiteralString] = "((%(ledger)s::bigint + n / %(rows)s) << 32) + (n %% %(rows)s + 1) * 4096"
_TIME: Final[LiteralString] = "to_timestamp(%(from)s + (%(to)s - %(from)s - 60) * n::float8 / %(count)s)"
_LEDGER: Final[LiteralString] = "%(ledger)s + n / %(rows)s"
_ACCOUNT: Final[LiteralString] = "'\\x30'::bytea || sha256(int8send(hashint8(n) %% %(accounts)s))"
_EVERYWHERE: Final[dict[str, LiteralString]] = {"ledger_created_at": _TIME}
_NUMBERED: Final[dict[str, LiteralString]] = _EVERYWHERE | {"ledger_number": _LEDGER}
_TABLES: Final[dict[str, dict[str, LiteralString]]] = {
    "transactions": _NUMBERED
    | {"to_id": _ID, "hash": "sha256(int8send(n))", "fee_charged": "100", "result_code": "'TransactionResultCodeTxSuccess'"},
    "transactions_accounts": _EVERYWHERE | {"tx_to_id": _ID, "account_id": _ACCOUNT},
    "operations": _NUMBERED
    | {"id": f"{_ID} + 1", "operation_type": "'PAYMENT'", "operation_xdr": "sha256(int8send(n))", "successful": "true"}
    | {"result_code": "'OperationResultCodeOpInner'"},
    "operations_accounts": _EVERYWHERE | {"operation_id": f"{_ID} + 1", "account_id": _ACCOUNT},
    "state_changes": _NUMBERED
    | {"to_id": _ID, "operation_id": f"{_ID} + 1", "state_change_id": "1", "state_change_category": "'BALANCE'"}
    | {"state_change_reason": "'CREDIT'", "account_id": _ACCOUNT, "token_id": "'\\x10'::bytea || sha256('token'::bytea)"}
    | {"amount": "n::text"},
}


def fill(url: str, first_time: int, end_time: int, count: int) -> None:
    """Write `count` rows into each of the five large history tables, with close times in Unix seconds between the two."""
    if not count:
        return
    span = {"from": first_time, "to": end_time, "count": count}
    values = span | {"rows": ROWS_A_LEDGER, "ledger": FIRST_LEDGER, "accounts": ACCOUNTS}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("set maintenance_work_mem = '512MB'")
        for table, columns in _TABLES.items():
            restore = _take_off(connection, table)
            names, filled = sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(map(sql.SQL, columns.values()))
            rows = sql.SQL("insert into {} ({}) select {} from generate_series(0, %(count)s - 1) as n")
            connection.execute(rows.format(sql.Identifier(table), names, filled), values)
            for statement in restore:
                connection.execute(statement)
            connection.execute(sql.SQL("analyze {}").format(sql.Identifier(table)))


def _take_off(connection: psycopg.Connection[tuple[str, ...]], table: str) -> list[bytes]:
    """Drop the primary key and all indexes of a table. Returns the statements that bring them back."""
    found = connection.execute(
        "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype = 'p'", (table,)
    ).fetchall()
    name = sql.Identifier(table)
    for key, _ in found:
        connection.execute(sql.SQL("alter table {} drop constraint {}").format(name, sql.Identifier(key)))
    restore = [f"alter table {table} add constraint {key} {definition}".encode() for key, definition in found]
    for index, definition in connection.execute(
        "select indexname, indexdef from pg_indexes where schemaname = 'public' and tablename = %s", (table,)
    ).fetchall():
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier(index)))
        restore.append(definition.encode())
    return restore
