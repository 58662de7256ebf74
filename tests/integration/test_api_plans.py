"""The plans of the API's reads on a few days of history: each uses the index meant for it, and close times leave out chunks.

Forty thousand transactions over four days are seeded by SQL; the statements are those that the application really sends.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.rows import TupleRow

from api.database import Database
from api.paging import Page, nanoseconds
from api.queries import accounts, operations, state_changes, transactions
from api.queries.accounts import AccountKey
from api.queries.parts import Parent, Window
from api.queries.state_changes import Filter
from schemas import toid
from tests.integration.test_api_world import ALICE, settings_for
from tests.plugins.servers import create_database, drop_database
from tests.servers.choose import with_database

START = datetime(2026, 3, 1, tzinfo=UTC)
LEDGERS = 400
SECONDS = 864  # between ledgers: four days in all
TRANSACTIONS = 100
NOTHING: frozenset[str] = frozenset()

SEED = f"""
INSERT INTO transactions (to_id, hash, fee_charged, result_code, ledger_number, ledger_created_at)
    SELECT (l::bigint << 32) | (t << 12), sha256((l * 1000 + t)::text::bytea), 100, 'ok', l,
        '2026-03-01Z'::timestamptz + (l - 1) * interval '{SECONDS} s'
    FROM generate_series(1, {LEDGERS}) l, generate_series(1, {TRANSACTIONS}) t;
INSERT INTO operations (id, operation_type, result_code, successful, ledger_number, ledger_created_at)
    SELECT to_id + o, 'PAYMENT', 'ok', true, ledger_number, ledger_created_at FROM transactions, generate_series(1, 2) o;
INSERT INTO transactions_accounts (account_id, tx_to_id, ledger_created_at)
    SELECT '\\x30'::bytea || sha256((to_id >> 12 & 255)::text::bytea), to_id, ledger_created_at FROM transactions
    UNION ALL SELECT '\\x{ALICE.hex()}', to_id, ledger_created_at FROM transactions WHERE to_id >> 12 & 15 = 1;
INSERT INTO operations_accounts (account_id, operation_id, ledger_created_at)
    SELECT '\\x30'::bytea || sha256((id >> 12 & 255)::text::bytea), id, ledger_created_at FROM operations
    UNION ALL SELECT '\\x{ALICE.hex()}', id, ledger_created_at FROM operations WHERE id >> 12 & 15 = 1;
INSERT INTO state_changes (to_id, operation_id, state_change_id, state_change_category, state_change_reason, ledger_number,
        ledger_created_at, account_id, amount)
    SELECT id & ~4095::bigint, id, 1, 'BALANCE', 'CREDIT', ledger_number, ledger_created_at,
        CASE id >> 12 & 15 WHEN 1 THEN '\\x{ALICE.hex()}' ELSE '\\x30'::bytea || sha256((id >> 12 & 255)::text::bytea) END, '5'
    FROM operations;
"""


@pytest.fixture(scope="module")
def seeded(admin_url: str, template_database: str) -> Iterator[str]:
    name = f"ls_{secrets.token_hex(6)}"
    url = with_database(admin_url, name)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        create_database(admin, name, template_database)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SEED.encode())
            connection.execute("VACUUM ANALYZE")
        yield url
        drop_database(admin, name)


class Recorder(Database):
    """Remembers the statements instead of sending them."""

    def __init__(self, url: str) -> None:
        super().__init__(settings_for(url).database)
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    async def _run(self, statement: str, values: Mapping[str, Any]) -> list[TupleRow]:
        self.sent.append((statement, values))
        return []


class Plan(NamedTuple):
    """What matters of an EXPLAIN."""

    scans: list[tuple[str, str, str]]  # kind of scan, relation, index
    rows_removed: int

    @property
    def chunks(self) -> set[str]:
        return {relation for _, relation, _ in self.scans if relation.startswith("_hyper")}


def explain(url: str, read: Callable[[Database], Awaitable[object]]) -> Plan:
    recorder = Recorder(url)

    async def record() -> None:
        await read(recorder)

    asyncio.run(record())
    (statement, values), *_ = recorder.sent
    with psycopg.connect(url) as connection:
        connection.execute("SET enable_seqscan = off")  # the chunks are smaller than those of a real network
        row = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement.encode(), values).fetchone()
    assert row is not None
    nodes = list(walk(row[0][0]["Plan"]))
    executed = [node for node in nodes if node["Actual Loops"]]
    scans = [
        (node["Node Type"], node.get("Relation Name", ""), node.get("Index Name", ""))
        for node in executed
        if "Scan" in node["Node Type"] and node["Node Type"] not in ("CTE Scan", "Function Scan", "Subquery Scan")
    ]
    return Plan(scans, sum(int(node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in executed))


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


ACCOUNT = AccountKey(ALICE)
MIDDLE = LEDGERS // 2
MIDDLE_TIME = START + timedelta(seconds=SECONDS * (MIDDLE - 1))
MIDDLE_TO_ID = toid.transaction_id(MIDDLE, 50)
AFTER = (nanoseconds(MIDDLE_TIME), MIDDLE_TO_ID)
AFTER_CHANGE = (*AFTER, MIDDLE_TO_ID + 1, 1)
PARENTS = [
    Parent(toid.transaction_id(ledger, order), START + timedelta(seconds=SECONDS * (ledger - 1)))
    for ledger in range(MIDDLE, MIDDLE + 5)
    for order in (1, 30, 60)
]
OPERATIONS = [Parent(parent.id + 1, parent.closed_at) for parent in PARENTS]


def pages(cursor: tuple[int, ...]) -> list[Page]:
    return [Page(50), Page(50, False), Page(50, True, cursor), Page(50, False, cursor)]


READS: dict[str, Callable[[Database], Awaitable[object]]] = {
    "transaction by hash": lambda database: transactions.by_hash(database, bytes(32), NOTHING),
    "operation by id": lambda database: operations.by_id(database, MIDDLE_TO_ID + 1, NOTHING),
    "transactions by id": lambda database: transactions.by_ids(database, PARENTS, NOTHING),
    "operations by id": lambda database: operations.by_ids(database, OPERATIONS, NOTHING),
    "operations of transactions": lambda database: operations.of_transactions(database, PARENTS, Page(50), NOTHING),
    "state changes of transactions": lambda database: state_changes.of_transactions(database, PARENTS, Page(50), NOTHING),
    "state changes of operations": lambda database: state_changes.of_operations(database, OPERATIONS, Page(50), NOTHING),
    "accounts of transactions": lambda database: accounts.of_transactions(database, PARENTS),
    "accounts of operations": lambda database: accounts.of_operations(database, OPERATIONS),
}


def paged(
    read: Callable[[Database, Page], Awaitable[object]], cursor: tuple[int, ...], name: str
) -> dict[str, Callable[[Database], Awaitable[object]]]:
    kinds = ("first", "last", "after", "before")
    found = zip(kinds, pages(cursor), strict=True)
    return {f"{name}, {kind}": partial(_read_page, read, page) for kind, page in found}


def _read_page(read: Callable[[Database, Page], Awaitable[object]], page: Page, database: Database) -> Awaitable[object]:
    return read(database, page)


READS |= paged(lambda db, page: transactions.listed(db, Window(page), NOTHING), AFTER, "transactions")
READS |= paged(lambda db, page: operations.listed(db, Window(page), NOTHING), AFTER, "operations")
READS |= paged(lambda db, page: state_changes.listed(db, Window(page), NOTHING), AFTER_CHANGE, "state changes")
READS |= paged(
    lambda db, page: transactions.page_of_account(db, transactions.of_account(ACCOUNT, Window(page)), page, NOTHING),
    AFTER,
    "account transactions",
)
READS |= paged(
    lambda db, page: operations.page_of_account(db, operations.of_account(ACCOUNT, Window(page)), page, NOTHING),
    AFTER,
    "account operations",
)
READS |= paged(
    lambda db, page: state_changes.page_of_account(db, state_changes.of_account(ACCOUNT, Window(page), Filter()), page, NOTHING),
    AFTER_CHANGE,
    "account changes",
)


@pytest.mark.parametrize("name", READS)
def test_no_read_scans_a_table_or_throws_away_more_rows_than_a_page(seeded: str, name: str) -> None:
    plan = explain(seeded, READS[name])
    assert not [scan for scan in plan.scans if scan[0] == "Seq Scan"], plan
    assert plan.rows_removed <= 200, plan


@pytest.mark.needs("timescaledb")
@pytest.mark.parametrize(
    "name",
    [
        "transactions by id",
        "operations by id",
        "operations of transactions",
        "state changes of transactions",
        "state changes of operations",
        "accounts of transactions",
        "accounts of operations",
    ],
)
def test_children_are_looked_for_in_the_chunk_of_their_parent_only(seeded: str, name: str) -> None:
    """The parents lie within one or two days of four."""
    assert 1 <= len(explain(seeded, READS[name]).chunks) <= 2


@pytest.mark.needs("timescaledb")
@pytest.mark.parametrize("name", ["transactions", "operations", "state changes", "account transactions", "account changes"])
def test_a_cursor_leaves_out_the_chunks_behind_it(seeded: str, name: str) -> None:
    first, after = (explain(seeded, READS[f"{name}, {kind}"]).chunks for kind in ("first", "after"))
    assert after
    assert first - after
