"""Accounts and trustlines, and how their changes merge (scenarios B1 to B13 of spec/processors.md 11.6, and our own)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumenstream.xdr import rows
from lumenstream.xdr.rows import Address, Asset, Change, Entry
from processors import merge
from processors.accounts import Accounts, minimum_balance
from processors.trustlines import Trustlines
from schemas import assets, parts
from schemas.families import AccountBalanceChange, TrustlineBalanceChange
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    OPERATION,
    SEQUENCE,
    USDC,
    USDC_ISSUER,
    account_entry,
    created,
    issued,
    ledger,
    op,
    removed,
    restored,
    signer,
    trustline_entry,
    tx,
    updated,
)

NOTHING = rows.BumpSequence(1)
FEE, APPLY, REFUND = 0, 1 << 37, 2 << 37


def accounts_of(*transactions: rows.Transaction) -> list[AccountBalanceChange]:
    found: list[Any] = Accounts(NETWORK).process(ledger(*transactions)).rows.get("account_changes", [])
    return found


def balances(*transactions: rows.Transaction) -> dict[Address, tuple[str, int, int]]:
    return {row.account_id: (row.operation, row.sort_key, row.balance) for row in accounts_of(*transactions)}


def moved(who: Address, before: int, after: int) -> Change:
    return updated(account_entry(who, before), account_entry(who, after))


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_b1_an_account_row_shows_reserves_and_liabilities_apart() -> None:
    entry = account_entry(
        ALICE, 500, buying_liabilities=100, selling_liabilities=200, num_sub_entries=3, num_sponsoring=2, num_sponsored=1
    )
    assert accounts_of(tx(op(NOTHING, created(entry)))) == [(ALICE, "CREATE", APPLY | 1 << 13, 500, 30_000_000, 100, 200, 3)]


@pytest.mark.parametrize(
    ("counts", "expected"), [((0, 0, 0), 2), ((5, 0, 0), 7), ((0, 3, 0), 5), ((1, 0, 3), 0), ((0, 0, 3), 2**32 - 1)]
)
def test_reserves_are_counted_in_32_bits(counts: tuple[int, int, int], expected: int) -> None:
    subentries, sponsoring, sponsored = counts
    entry: Any = account_entry(num_sub_entries=subentries, num_sponsoring=sponsoring, num_sponsored=sponsored).data
    assert minimum_balance(entry) == expected * 5_000_000


def entry(**fields: Any) -> Entry:
    return account_entry(ALICE, 100, **fields)


@pytest.mark.parametrize(
    ("pre", "post", "told"),
    [
        (entry(signers=(signer("a", 1),)), entry(signers=(signer("a", 2),)), False),  # B2
        (entry(extension=0), entry(extension=1), False),
        (entry(touched=SEQUENCE - 1, signers=(signer("a", 1),)), entry(signers=(signer("a", 2),)), True),
        (entry(num_sub_entries=0), entry(num_sub_entries=1, signers=(signer("a"),)), True),
        (entry(), entry(home_domain="x"), True),
        (entry(), entry(seq_time=1), True),
        (entry(extension=1), entry(extension=2), True),
        (entry(extension=2, signers=(signer("a"),)), entry(extension=2, signers=(signer("a", 1, BOB),)), True),
        (entry(extension=2, signers=(signer("a", 1, BOB),)), entry(extension=2, signers=(signer("a", 2, BOB),)), False),
    ],
)
def test_b2_a_change_of_signers_alone_is_no_change_of_balance(pre: Entry, post: Entry, told: bool) -> None:
    assert bool(accounts_of(tx(op(NOTHING, updated(pre, post))))) is told


def test_b10_fees_come_before_operations_and_refunds_after_them() -> None:
    first = tx(op(NOTHING, moved(ALICE, 90, 80)), fee_changes=(moved(ALICE, 100, 95),), post_fee_changes=(moved(BOB, 50, 55),))
    second = tx(
        op(NOTHING, moved(BOB, 60, 50)), op(NOTHING, moved(BOB, 50, 49)), fee_changes=(moved(ALICE, 95, 90), moved(CAROL, 9, 8))
    )
    assert balances(first, second) == {
        ALICE: ("UPDATE", APPLY | 1 << 13, 80),
        BOB: ("UPDATE", REFUND | 1 << 13, 55),
        CAROL: ("UPDATE", FEE | 2 << 13, 8),
    }


def test_the_last_change_within_an_operation_wins() -> None:
    assert balances(tx(op(NOTHING, moved(ALICE, 3, 2), moved(ALICE, 2, 1)))) == {ALICE: ("UPDATE", APPLY | 1 << 13, 1)}


def test_refunds_among_the_changes_of_the_transaction_are_not_told() -> None:
    """Before protocol 23 refunds stand there; the reference does not fold them in either (10.4)."""
    assert balances(tx(op(NOTHING), changes_after=(moved(ALICE, 1, 2),))) == {}


def test_fee_phases_neither_create_nor_remove() -> None:
    stateless = rows.Change(1, 0, None, account_entry(ALICE, 5), None)
    gone = rows.Change(2, 0, None, None, rows.LedgerKey(0, (BOB,)))
    lone = rows.Change(3, 0, account_entry(CAROL, 5), None, None)
    assert balances(tx(fee_changes=(stateless, gone, lone))) == {ALICE: ("UPDATE", FEE | 1 << 13, 5)}


def test_a_merged_account_is_removed_with_what_it_had() -> None:
    assert balances(tx(op(NOTHING, removed(account_entry(ALICE, 70))), fee_changes=(moved(ALICE, 80, 70),))) == {
        ALICE: ("REMOVE", APPLY | 1 << 13, 70)
    }


def test_b12_created_and_merged_in_one_ledger_leaves_no_row() -> None:
    operations = [op(NOTHING, moved(BOB, 10, at)) for at in range(10)]
    first, last = op(NOTHING, created(account_entry(ALICE, 1))), op(NOTHING, removed(account_entry(ALICE, 1)))
    assert balances(tx(first, *operations, last)) == {BOB: ("UPDATE", APPLY | 1 << 13 | 10, 9)}
    assert ALICE not in balances(tx(first), tx(op(NOTHING, moved(ALICE, 1, 2))), tx(last))


def test_b13_q15_merged_created_and_merged_again_is_removed() -> None:
    gone, back = op(NOTHING, removed(account_entry(ALICE, 1))), op(NOTHING, created(account_entry(ALICE, 2)))
    assert balances(tx(gone, back, gone)) == {ALICE: ("REMOVE", APPLY | 1 << 13 | 2, 1)}
    assert balances(tx(gone, back)) == {ALICE: ("CREATE", APPLY | 1 << 13 | 1, 2)}


def test_other_entries_are_not_accounts() -> None:
    assert balances(tx(op(NOTHING, created(trustline_entry())))) == {}


# --- trustlines -------------------------------------------------------------------------------------------------------


def trustlines_of(*operations: rows.Operation) -> list[TrustlineBalanceChange]:
    found: list[Any] = Trustlines(NETWORK).process(ledger(tx(*operations))).rows.get("trustline_changes", [])
    return found


def assets_of(*operations: rows.Operation) -> list[tuple[bytes, str, Address]]:
    return Trustlines(NETWORK).process(ledger(tx(*operations))).rows.get("trustline_assets", [])


def line(balance: int, who: Address = ALICE, asset: Asset = USDC) -> Entry:
    return trustline_entry(who, asset, balance)


def test_a_trustline_row_names_its_asset_by_uuid() -> None:
    data = rows.TrustLineEntry(ALICE, USDC, 5, 100, 3, 7, 8, 0, 1)
    opened = op(NOTHING, created(Entry(1, SEQUENCE, None, data)))
    usdc = assets.asset_uuid("USDC", USDC_ISSUER)
    assert trustlines_of(opened) == [(ALICE, usdc, "ADD", OPERATION, 5, 100, 7, 8, 3)]
    assert assets_of(opened) == [(usdc, "USDC", USDC_ISSUER)]


def test_kinds_of_trustline_changes() -> None:
    changes = (created(line(1)), updated(line(1, BOB), line(2, BOB)), removed(line(0, CAROL)))
    assert [(row.account_id, row.operation, row.balance) for row in trustlines_of(op(NOTHING, *changes))] == [
        (ALICE, "ADD", 1),
        (BOB, "UPDATE", 2),
        (CAROL, "REMOVE", 0),
    ]


def test_b7_opened_and_closed_in_one_ledger_leaves_the_asset_only() -> None:
    operations = (op(NOTHING, created(line(0))), op(NOTHING, updated(line(0), line(1))), op(NOTHING, removed(line(0))))
    assert trustlines_of(*operations) == []
    assert len(assets_of(*operations)) == 1


def test_b7_changed_and_closed_is_closed() -> None:
    row = trustlines_of(op(NOTHING, updated(line(1), line(0))), op(NOTHING, removed(line(0))))[0]
    assert (row.operation, row.operation_id) == ("REMOVE", OPERATION + 1)


@pytest.mark.parametrize(
    "asset",
    [
        Asset(3, "00" * 32, None),  # B4
        Asset(1, "", USDC_ISSUER),
        Asset(2, "A" * 13, USDC_ISSUER),
        Asset(1, "U$D", USDC_ISSUER),
        Asset(1, "\\xff", USDC_ISSUER),
        Asset(1, "É", USDC_ISSUER),
    ],
)
def test_b4_pool_shares_and_impossible_codes_are_left_out(asset: Asset) -> None:
    assert trustlines_of(op(NOTHING, created(line(1, asset=asset)))) == []
    assert assets_of(op(NOTHING, created(line(1, asset=asset)))) == []


def test_each_account_and_each_asset_has_its_own_row() -> None:
    eurc = issued("EURC", USDC_ISSUER)
    twins = (created(line(1)), created(line(2, BOB)), created(line(3, asset=eurc)), created(line(4, asset=issued("USDC", BOB))))
    assert [row.balance for row in trustlines_of(op(NOTHING, *twins))] == [1, 2, 3, 4]
    assert [code for _, code, _ in assets_of(op(NOTHING, *twins))] == ["USDC", "EURC", "USDC"]


# --- merging ----------------------------------------------------------------------------------------------------------

EXISTING = updated(account_entry(ALICE, 1), account_entry(ALICE, 2))
ADDED = created(account_entry(ALICE, 1))
GONE = removed(account_entry(ALICE, 1))
BACK_FROM_ARCHIVE = restored(account_entry(ALICE, 1))


def merged(*changes: tuple[int, Change]) -> list[tuple[int, str]]:
    return [
        (order, merge.operation_word(change))
        for order, change in merge.last_changes((ALICE, order, change) for order, change in changes)
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(100, EXISTING), (50, EXISTING), (200, EXISTING)], [(200, "UPDATE")]),  # B6
        ([(100, ADDED), (200, GONE)], []),  # B7
        ([(100, EXISTING), (200, GONE)], [(200, "REMOVE")]),
        ([(100, ADDED), (200, GONE), (150, EXISTING)], []),  # B9: nothing of lower order revives it
        ([(100, ADDED), (200, GONE), (300, ADDED)], [(300, "ADD")]),
        ([(200, GONE), (100, ADDED)], []),
        ([(100, GONE), (200, ADDED), (300, GONE)], [(300, "REMOVE")]),  # B13
        ([(100, BACK_FROM_ARCHIVE), (200, GONE)], [(200, "REMOVE")]),  # Q15
        ([(100, BACK_FROM_ARCHIVE)], [(100, "ADD")]),  # Q28
        ([(100, ADDED), (100, EXISTING)], [(100, "UPDATE")]),
    ],
)
def test_b6_to_b13_the_highest_order_wins(changes: list[tuple[int, Change]], expected: list[tuple[int, str]]) -> None:
    assert merged(*changes) == expected


@given(st.permutations([(1, GONE), (2, ADDED), (3, EXISTING), (4, GONE), (5, ADDED)]))
def test_any_order_of_arrival_gives_the_same(changes: list[tuple[int, Change]]) -> None:
    assert merged(*changes) == [(5, "ADD")]
    assert merged(*(change for change in changes if change[0] < 5)) == [(4, "REMOVE")]
    assert merged(*(change for change in changes if 2 <= change[0] < 5)) == []


def test_b11_no_processor_remembers_the_last_ledger() -> None:
    accounts, trustlines = Accounts(NETWORK), Trustlines(NETWORK)
    first = ledger(tx(op(NOTHING, removed(account_entry(ALICE, 1)), removed(line(0)))))
    second = ledger(tx(op(NOTHING, created(line(1))), fee_changes=(moved(ALICE, 2, 1),)))
    for processor in (accounts, trustlines):
        alone = parts.encode(processor.process(second))
        processor.process(first)
        assert parts.encode(processor.process(second)) == alone
