"""Pools, claimable balances, offers and trades in the sink: field by field, in groups, guarded, and found by account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from schemas import families
from schemas.families import Family
from schemas.market_rows import ClaimableBalanceChange, ClaimableBalanceClaimantRow, LiquidityPoolChange, OfferChange
from tests.integration.market_world import BIGGEST, account, asset, balance_id, pool_id
from tests.integration.sink_world import CLOSE_TIME, FakeLedger, dump, make_chain
from tests.integration.test_sink_writer import write

MARKET = ("liquidity_pools", "claimable_balances", "trades")
Query = list[tuple[Any, ...]]


def query(url: str, text: str) -> Query:
    with psycopg.connect(url) as conn:
        return conn.execute(text.encode()).fetchall()


def empty_chain(count: int) -> list[FakeLedger]:
    """Ledgers from 100 on without anything of the market."""
    chain = make_chain(1, 100, count, transactions=1)
    for ledger in chain:
        for name in MARKET:
            ledger.parts[name].rows.clear()
    return chain


@pytest.mark.parametrize("family", [families.CLAIMABLE_BALANCE_EVENTS, families.TRADES], ids=lambda family: family.name)
def test_history_rows_are_what_the_parts_say(database_url: str, family: Family) -> None:
    chain = make_chain(5, 100, 4)
    write(database_url, chain, 2)
    columns = ", ".join(name for name, _ in family.columns)
    found = query(database_url, f"select ledger_number, ledger_created_at, {columns} from {family.name} order by to_id, 5")
    assert found == [
        (ledger.sequence, datetime.fromtimestamp(CLOSE_TIME + 5 * ledger.sequence, UTC), *row)
        for ledger in chain
        for part in ledger.parts.values()
        for row in part.rows.get(family.name, ())
    ]


@pytest.mark.parametrize(
    ("table", "family", "key"),
    [
        ("liquidity_pools", families.LIQUIDITY_POOL_CHANGES, 1),
        ("liquidity_pool_balances", families.LIQUIDITY_POOL_SHARE_CHANGES, 2),
        ("offers", families.OFFER_CHANGES, 1),
    ],
)
@pytest.mark.parametrize("group", [1, 7])
def test_current_state_is_what_is_left(database_url: str, table: str, family: Family, key: int, group: int) -> None:
    chain = make_chain(6, 100, 21)
    write(database_url, chain, group)
    expected: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    names = [name for name, _ in family.columns]
    kept = [place for place, name in enumerate(names) if name not in ("operation", "operation_id")]
    for ledger in chain:
        for part in ledger.parts.values():
            for row in part.rows.get(family.name, ()):
                values = tuple(row[place] for place in kept)
                expected.pop(values[:key], None)
                if row[names.index("operation")] != "REMOVE":
                    expected[values[:key]] = (*values, ledger.sequence)
    columns = ", ".join([*(names[place] for place in kept), "last_modified_ledger"])
    found = query(database_url, f"select {columns} from {table}")
    assert sorted(found) == sorted(expected.values())
    assert found


@pytest.mark.parametrize("group", [1, 6])
def test_claimable_balances_keep_their_creation(database_url: str, group: int) -> None:
    """In this chain each ledger creates two; the next changes the first's sponsor, the one after removes it."""
    write(database_url, make_chain(6, 100, 6), group)
    found = query(database_url, "select balance_id, creator_account_id, created_ledger, created_at from claimable_balances")
    created = {row[0]: (row[1] is not None, row[2], row[3]) for row in found}
    # Of the ledger before the first only the change was seen; it went with ledger 101.
    assert created.keys() == {balance_id(n, 1) for n in range(100, 106)} | {balance_id(n, 0) for n in (104, 105)}
    for number in (104, 105):
        assert created[balance_id(number, 0)] == (True, number, datetime.fromtimestamp(CLOSE_TIME + 5 * number, UTC))
    claimants = query(database_url, "select balance_id, predicate from claimable_balance_claimants")
    assert {row[0] for row in claimants} == created.keys()
    assert {"and": [{"not_before": 5}, {"before": BIGGEST}]} in [predicate for _, predicate in claimants]


def test_a_balance_whose_creation_was_not_seen(database_url: str) -> None:
    chain = empty_chain(1)
    change = ClaimableBalanceChange("00", "UPDATE", 1, asset(0), 5, 0, None, None)
    chain[0].parts["claimable_balances"].add(families.CLAIMABLE_BALANCE_CHANGES, [change])
    row = ClaimableBalanceClaimantRow("00", account(1), {"unconditional": True})
    chain[0].parts["claimable_balances"].add(families.CLAIMABLE_BALANCE_CLAIMANTS, [row])
    write(database_url, chain, 1)
    assert query(database_url, "select * from claimable_balances") == [("00", "native", 5, 0, None, None, None, None, 100)]
    pending = "select amount from claimable_balance_claimants join claimable_balances using (balance_id) where account_id = %s"
    with psycopg.connect(database_url) as conn:
        assert conn.execute(pending, (account(1),)).fetchall() == [(5,)]


def test_groups_leave_what_single_commits_leave(database_url: str, empty_database_url: str) -> None:
    from migrations.runner import migrate

    migrate(empty_database_url)
    chain = make_chain(8, 100, 25)
    write(database_url, chain, 1)
    write(empty_database_url, chain, 9)
    assert dump(database_url) == dump(empty_database_url)


def test_entries_never_go_back_to_an_older_ledger(database_url: str) -> None:
    chain = empty_chain(2)
    reserves = (1, 2, 30, 3, 4)
    for ledger, operation in zip(chain, ("ADD", "REMOVE"), strict=True):
        pool = LiquidityPoolChange(pool_id(1), operation, 1, asset(0), asset(1), *reserves)
        ledger.parts["liquidity_pools"].add(families.LIQUIDITY_POOL_CHANGES, [pool])
        offer = OfferChange(7, "UPDATE", 0, account(1), asset(0), asset(1), ledger.sequence, 1, 2, 0, None)
        ledger.parts["trades"].add(families.OFFER_CHANGES, [offer])
    write(database_url, chain[:1], 1)
    with psycopg.connect(database_url) as conn:
        conn.execute("update liquidity_pools set last_modified_ledger = 999")
        conn.execute("update offers set last_modified_ledger = 999")
    write(database_url, chain[1:], 1, cursor=100)
    assert query(database_url, "select reserve_a, last_modified_ledger from liquidity_pools") == [(1, 999)]
    assert query(database_url, "select amount, last_modified_ledger from offers") == [(100, 999)]
