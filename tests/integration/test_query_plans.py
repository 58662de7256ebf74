"""Every query pattern of the API uses the index kept for it (spec/data.md 8): EXPLAIN over 210,000 rows in several chunks.

Indexes are half a write's cost, so this list is also the reason why each exists: one that serves nothing fails the last test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from migrations.runner import migrate
from tests.servers.choose import with_database

LEDGERS = 1000
FIRST = 60_000_000
SECONDS_APART = 216  # 2.5 days: three or four chunks
HISTORY = (
    "transactions",
    "transactions_accounts",
    "operations",
    "operations_accounts",
    "state_changes",
    "claimable_balance_events",
    "trades",
)

_SERIES = f"from generate_series({FIRST}, {FIRST + LEDGERS - 1}) l, generate_series(1, 10) t"
_TIME = f"timestamptz '2026-01-01' + (l - {FIRST}) * interval '{SECONDS_APART} seconds'"
_TX = "(l::bigint << 32 | t << 12)"
_ACCOUNT = "decode('30' || md5(({0} % 1000)::text) || md5('x' || ({0} % 1000)), 'hex')"
SEED = (
    (
        f"insert into transactions select {_TX}, sha256(int8send({_TX})), "
        f"case when t = 1 then sha256(int8send(-{_TX})) end, null, null, 100, 'TxSuccess', l, {_TIME}, t = 1 {_SERIES}"
    ),
    (
        f"insert into transactions_accounts select {_ACCOUNT.format('(l * 7 + t * 13 + a * 101)')}, 0, {_TX}, {_TIME} {_SERIES}, "
        "generate_series(1, 4) a on conflict do nothing"
    ),
    f"insert into operations select {_TX} | o, 'PAYMENT', 'x', 'op_success', true, l, {_TIME} {_SERIES}, generate_series(1, 2) o",
    (
        f"insert into operations_accounts select {_ACCOUNT.format('(l * 7 + t * 13 + a * 101)')}, 0, {_TX} | o, {_TIME} "
        f"{_SERIES}, generate_series(1, 2) o, generate_series(1, 4) a on conflict do nothing"
    ),
    (
        "insert into state_changes (to_id, operation_id, state_change_id, state_change_category, state_change_reason, "
        "ledger_number, ledger_created_at, account_id, amount) "
        f"select {_TX}, case when s = 1 then 0 else {_TX} | 1 end, s, 'BALANCE', 'DEBIT', l, {_TIME}, "
        f"{_ACCOUNT.format('(l * 7 + t * 13 + s * 101)')}, '5' {_SERIES}, generate_series(1, 6) s"
    ),
    (
        "insert into claimable_balance_events (to_id, operation_id, event_id, ledger_number, ledger_created_at, balance_id, "
        f"kind, account_id, asset, amount) select {_TX}, {_TX} | 1, s, l, {_TIME}, md5(({_TX} + s)::text), 'CREATED', "
        f"{_ACCOUNT.format('(l * 7 + t * 13 + s * 101)')}, 'native', 5 {_SERIES}, generate_series(1, 3) s"
    ),
    (
        "insert into trades (to_id, operation_id, trade_id, ledger_number, ledger_created_at, kind, taker_account_id, "
        "maker_account_id, offer_id, sold_asset, sold_amount, bought_asset, bought_amount, price_n, price_d) "
        f"select {_TX}, {_TX} | 1, s, l, {_TIME}, 'ORDERBOOK', {_ACCOUNT.format('(l * 7 + t * 13)')}, "
        f"{_ACCOUNT.format('(l * 7 + t * 13 + s * 101)')}, s, 'native', 5, 'USD', 5, 1, 1 {_SERIES}, generate_series(1, 3) s"
    ),
)

_LEDGER = FIRST + 700
_TO_ID = _LEDGER << 32 | 3 << 12
_CLOSED = f"timestamptz '2026-01-01' + {(_LEDGER - FIRST) * SECONDS_APART} * interval '1 second'"
_OF_ACCOUNT = f"account_id = {_ACCOUNT.format(4)}"
_PARENTS = f"unnest(array[{_TO_ID}, {_TO_ID + 4096}]::bigint[], array[{_CLOSED}, {_CLOSED}]) as p (id, closed_at)"


class Pattern(NamedTuple):
    """A query, and for each table it reads the index that must serve it."""

    name: str
    query: str
    indexes: dict[str, str]


def paged(name: str, table: str, key: str, index: str, where: str = "true") -> Iterator[Pattern]:
    """First, next and previous page; `{key}` in the order of an index."""
    columns = key.split(", ")
    down = ", ".join(f"{column} desc" for column in columns)
    bound = {
        "ledger_created_at": _CLOSED,
        "to_id": str(_TO_ID),
        "tx_to_id": str(_TO_ID),
        "id": str(_TO_ID),
        "operation_id": str(_TO_ID),
    }
    cursor = ", ".join(bound.get(column, "0") for column in columns)
    select = f"select {key}, ledger_created_at from {table} where {where}"
    behind = f"and ({key}) < ({cursor}) and ledger_created_at <= {_CLOSED}"
    ahead = f"and ({key}) > ({cursor}) and ledger_created_at >= {_CLOSED}"
    yield Pattern(f"{name}, newest first", f"{select} order by {down} limit 51", {table: index})
    yield Pattern(f"{name}, next page", f"{select} {behind} order by {down} limit 51", {table: index})
    yield Pattern(f"{name}, forward", f"{select} {ahead} order by {key} limit 51", {table: index})


PATTERNS = [
    Pattern(
        "transaction by outer or inner hash",
        "select to_id from transactions where hash = sha256('a') union all "
        "select to_id from transactions where inner_hash = sha256('a') limit 1",
        {"transactions": "idx_transactions_hash idx_transactions_inner_hash"},
    ),
    *paged("all transactions", "transactions", "to_id", "transactions_pkey"),
    *paged("all operations", "operations", "id", "operations_pkey"),
    *paged("all state changes", "state_changes", "ledger_created_at, to_id, operation_id, state_change_id", "state_changes_pkey"),
    *paged("an account's transactions", "transactions_accounts", "tx_to_id", "transactions_accounts_pkey", _OF_ACCOUNT),
    *paged("an account's operations", "operations_accounts", "operation_id", "operations_accounts_pkey", _OF_ACCOUNT),
    *paged(
        "an account's state changes",
        "state_changes",
        "to_id, operation_id, state_change_id",
        "idx_state_changes_account",
        _OF_ACCOUNT,
    ),
    *paged(
        "an account's state changes of a category",
        "state_changes",
        "to_id, operation_id, state_change_id",
        "idx_state_changes_account_rare",
        f"{_OF_ACCOUNT} and state_change_category = 'TRUSTLINE'",
    ),
    Pattern(
        "an account's transactions with their rows",
        "with page as materialized (select tx_to_id, ledger_created_at from transactions_accounts "
        f"where {_OF_ACCOUNT} order by tx_to_id desc limit 51) "
        "select t.* from page p cross join lateral (select * from transactions x "
        "where x.to_id = p.tx_to_id and x.ledger_created_at = p.ledger_created_at limit 1) t order by p.tx_to_id desc",
        {"transactions_accounts": "transactions_accounts_pkey", "transactions": "transactions_pkey"},
    ),
    Pattern(
        "operation by id without its time",
        f"select * from operations where id = {_TO_ID | 1} limit 1",
        {"operations": "operations_pkey"},
    ),
    Pattern(
        "operations of many transactions",
        f"select o.* from {_PARENTS} cross join lateral (select * from operations x where x.ledger_created_at = p.closed_at "
        "and x.id > p.id and x.id <= p.id + 4095 order by x.id limit 51) o",
        {"operations": "operations_pkey"},
    ),
    Pattern(
        "state changes of many transactions",
        f"select s.* from {_PARENTS} cross join lateral (select * from state_changes x where x.ledger_created_at = p.closed_at "
        "and x.to_id = p.id "
        "order by x.to_id, x.operation_id, x.state_change_id limit 51) s",
        {"state_changes": "state_changes_pkey"},
    ),
    Pattern(
        "state changes of many operations",
        f"select s.* from {_PARENTS} cross join lateral (select * from state_changes x where x.ledger_created_at = p.closed_at "
        "and x.to_id = p.id & ~4095::bigint and x.operation_id = p.id "
        "order by x.to_id, x.operation_id, x.state_change_id limit 51) s",
        {"state_changes": "state_changes_pkey"},
    ),
    *paged(
        "an account's claimable balances, past",
        "claimable_balance_events",
        "to_id, operation_id, event_id",
        "idx_claimable_balance_events_account",
        _OF_ACCOUNT,
    ),
    Pattern(
        "what became of a claimable balance",
        f"select * from claimable_balance_events where balance_id = md5('{_TO_ID + 1}') order by to_id, operation_id, event_id",
        {"claimable_balance_events": "idx_claimable_balance_events_balance"},
    ),
    Pattern(
        "claimable balance events of an operation",
        f"select * from claimable_balance_events where ledger_created_at = {_CLOSED} and to_id = {_TO_ID} "
        f"and operation_id = {_TO_ID | 1}",
        {"claimable_balance_events": "claimable_balance_events_pkey"},
    ),
    *(
        pattern
        for side in ("taker", "maker")
        for pattern in paged(
            f"an account's trades as {side}",
            "trades",
            "to_id, operation_id, trade_id",
            f"idx_trades_{side}",
            f"{side}_{_OF_ACCOUNT}",
        )
    ),
    Pattern(
        "an account's trades on both sides",
        " union all ".join(
            f"(select to_id, operation_id, trade_id from trades where {side}_{_OF_ACCOUNT} "
            "order by to_id desc, operation_id desc, trade_id desc limit 51)"
            for side in ("taker", "maker")
        )
        + " order by to_id desc, operation_id desc, trade_id desc limit 51",
        {"trades": "idx_trades_taker idx_trades_maker"},
    ),
    Pattern(
        "trades of an operation",
        f"select * from trades where ledger_created_at = {_CLOSED} and to_id = {_TO_ID} and operation_id = {_TO_ID | 1}",
        {"trades": "trades_pkey"},
    ),
    Pattern(
        "accounts of transactions",
        f"select account_id from transactions_accounts where tx_to_id = any(array[{_TO_ID}, {_TO_ID + 4096}]::bigint[]) "
        f"and ledger_created_at = any(array[{_CLOSED}])",
        {"transactions_accounts": "idx_transactions_accounts_tx"},
    ),
    Pattern(
        "accounts of operations",
        f"select account_id from operations_accounts where operation_id = any(array[{_TO_ID | 1}, {_TO_ID | 2}]::bigint[]) "
        f"and ledger_created_at = any(array[{_CLOSED}])",
        {"operations_accounts": "idx_operations_accounts_operation"},
    ),
]


@pytest.fixture(scope="module")
def seeded(admin_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    name = "ls_query_plans"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"drop database if exists {name} with (force)".encode())
        admin.execute(f"create database {name}".encode())
    migrate(with_database(admin_url, name))
    with psycopg.connect(with_database(admin_url, name), autocommit=True) as conn:
        for statement in SEED:
            conn.execute(statement.encode())
        conn.execute("vacuum analyze")
        yield conn
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)".encode())


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def parents_of_chunks(conn: psycopg.Connection[tuple[Any, ...]]) -> dict[str, str]:
    """Each chunk's table; tables without chunks are their own."""
    own = {table: table for table in HISTORY}
    if conn.execute("select 1 from pg_extension where extname = 'timescaledb'").fetchone() is None:
        return own
    return own | dict(
        conn.execute("select chunk_name::text, hypertable_name::text from timescaledb_information.chunks").fetchall()
    )


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_the_query_uses_its_index(seeded: psycopg.Connection[tuple[Any, ...]], pattern: Pattern) -> None:
    row = seeded.execute(f"explain (format json) {pattern.query}".encode()).fetchone()
    assert row is not None
    plan, tables = row[0][0]["Plan"], parents_of_chunks(seeded)
    used: set[str] = set()
    for node in nodes(plan):
        relation = node.get("Relation Name")
        assert not (node["Node Type"] == "Seq Scan" and relation in tables), f"{pattern.name} reads all of {relation}"
        used |= {node["Index Name"]} if "Index Name" in node else set()
    wanted = {index for names in pattern.indexes.values() for index in names.split()}
    assert used, plan
    for name in used:
        assert any(name.endswith(index) for index in wanted), f"{pattern.name} uses {name}, expected {wanted}"
    for index in wanted:
        assert any(name.endswith(index) for name in used), f"{pattern.name} does not use {index} but {used}"


def test_there_are_enough_rows_in_several_chunks(seeded: psycopg.Connection[tuple[Any, ...]]) -> None:
    total = 0
    for table in HISTORY:
        row = seeded.execute(f"select count(*) from {table}".encode()).fetchone()
        assert row is not None
        total += row[0]
    assert total > 200_000
    tables = parents_of_chunks(seeded)
    assert len(tables) == len(HISTORY) or len(tables) >= 4 * len(HISTORY) - 5


def test_a_page_with_a_cursor_leaves_chunks_out(seeded: psycopg.Connection[tuple[Any, ...]]) -> None:
    tables = parents_of_chunks(seeded)
    if len(tables) == len(HISTORY):
        pytest.skip("plain PostgreSQL has no chunks")
    first, following = (
        seeded.execute(f"explain (format json) {pattern.query}".encode()).fetchone()
        for pattern in PATTERNS
        if pattern.name in ("an account's state changes, newest first", "an account's state changes, next page")
    )
    assert first is not None and following is not None
    read = [sum(node.get("Relation Name") in tables for node in nodes(row[0][0]["Plan"])) for row in (first, following)]
    assert read[1] < read[0]


def test_every_index_of_history_is_wanted_by_a_pattern(seeded: psycopg.Connection[tuple[Any, ...]]) -> None:
    rows = seeded.execute("select indexname from pg_indexes where tablename = any(%s)", (list(HISTORY),)).fetchall()
    wanted = {index for pattern in PATTERNS for names in pattern.indexes.values() for index in names.split()}
    assert {name for (name,) in rows} == wanted
