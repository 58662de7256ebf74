"""Liquidity pools, claimable balances, offers and trades: rows from ledgers built by hand."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import Address, Asset, Change, ClaimableBalanceEntry, Claimant, ClaimAtom, Entry, OfferEntry, Price
from processors import registry
from processors.claimable_balances import ClaimableBalances, predicate
from processors.derive import derive_rows
from processors.liquidity_pools import LiquidityPools
from processors.trades import Trades
from schemas import parts, strkey
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    NETWORK,
    OPERATION,
    SEQUENCE,
    TO_ID,
    UNIT,
    USDC,
    USDC_ISSUER,
    XLM,
    balance_id,
    created,
    key,
    ledger,
    muxed,
    op,
    pool_entry,
    removed,
    restored,
    trustline_entry,
    tx,
    updated,
)

NOTHING = rows.BumpSequence(1)
USDC_TEXT = f"USDC:{strkey.encode(USDC_ISSUER)}"
POOL = key("pool").hex()
FIRST = (0, None)
UNCONDITIONAL = {"unconditional": True}


def of(processor: Any, family: str, *transactions: rows.Transaction) -> list[Any]:
    part = processor(NETWORK).process(ledger(*transactions))
    assert parts.decode(parts.encode(part)) == part
    return list(part.rows.get(family, []))


# --- liquidity pools --------------------------------------------------------------------------------------------------


def pools(*changes: Change) -> list[Any]:
    return of(LiquidityPools, "liquidity_pool_changes", tx(op(NOTHING, *changes)))


def shares(*changes: Change) -> list[Any]:
    return of(LiquidityPools, "liquidity_pool_share_changes", tx(op(NOTHING, *changes)))


def share_entry(balance: int, account: Address = ALICE) -> Entry:
    return trustline_entry(account, Asset(3, POOL, None), balance)


def test_a_pool_shows_its_last_reserves() -> None:
    first, then = pool_entry("pool", XLM, USDC, 5, 6), pool_entry("pool", XLM, USDC, 7, 8)
    assert pools(created(first), updated(first, then)) == [
        (POOL, "UPDATE", OPERATION, "native", USDC_TEXT, 7, 8, 30, 1, 1),
    ]
    assert pools(removed(then)) == [(POOL, "REMOVE", OPERATION, "native", USDC_TEXT, 7, 8, 30, 1, 1)]
    assert pools(created(first), removed(first)) == []


def test_shares_are_the_balance_of_pool_trustlines_only() -> None:
    assert shares(created(share_entry(0)), updated(trustline_entry(balance=1), trustline_entry(balance=2))) == [
        (ALICE, POOL, "ADD", OPERATION, 0)
    ]
    assert shares(updated(share_entry(3), share_entry(9)), removed(share_entry(9))) == [(ALICE, POOL, "REMOVE", OPERATION, 9)]
    assert shares(restored(share_entry(3, BOB))) == [(BOB, POOL, "ADD", OPERATION, 3)]


# --- claimable balances -----------------------------------------------------------------------------------------------


def claimable(name: str = "one", *claimants: Claimant, sponsor: Address | None = ALICE, asset: Asset = USDC) -> Entry:
    who = claimants or (Claimant(BOB, FIRST),)
    return Entry(4, SEQUENCE, sponsor, ClaimableBalanceEntry(balance_id(name), who, asset, UNIT, 1))


CREATE = op(rows.CreateClaimableBalance(USDC, UNIT, ()), created(claimable()), value=balance_id("one"))
CLAIM = op(rows.ClaimClaimableBalance(balance_id("one")), removed(claimable()), source=BOB)


def balances(*transactions: rows.Transaction) -> list[Any]:
    return of(ClaimableBalances, "claimable_balance_changes", *transactions)


def events(*transactions: rows.Transaction) -> list[Any]:
    return of(ClaimableBalances, "claimable_balance_events", *transactions)


def test_a_created_balance_names_creator_sponsor_and_claimants() -> None:
    entry = claimable("one", Claimant(BOB, FIRST), Claimant(CAROL, (4, 1_700_000_100)), sponsor=CAROL)
    create = tx(op(rows.CreateClaimableBalance(USDC, UNIT, ()), created(entry)), source=muxed("alice", 5))
    assert balances(create) == [(balance_id("one"), "ADD", OPERATION, USDC_TEXT, UNIT, 1, CAROL, ALICE)]
    assert of(ClaimableBalances, "claimable_balance_claimants", create) == [
        (balance_id("one"), BOB, UNCONDITIONAL),
        (balance_id("one"), CAROL, {"before": 1_700_000_100}),
    ]
    assert events(create) == [(TO_ID, OPERATION, 1, balance_id("one"), "CREATED", ALICE, USDC_TEXT, UNIT)]


def test_created_and_claimed_inside_leaves_history_only() -> None:
    both = tx(CREATE, CLAIM)
    assert balances(both) == []
    assert of(ClaimableBalances, "claimable_balance_claimants", both) == []
    assert [(row.operation_id, row.event_id, row.kind, row.account_id) for row in events(both)] == [
        (OPERATION, 1, "CREATED", ALICE),
        (OPERATION + 1, 1, "CLAIMED", BOB),
    ]


def test_a_balance_that_changes_hands_of_its_sponsor_keeps_its_creator() -> None:
    sponsored = op(rows.RevokeSponsorship(None, None, None), updated(claimable(), claimable(sponsor=CAROL)), source=CAROL)
    (row,) = balances(tx(CREATE, sponsored))
    assert (row.operation, row.sponsor_account_id, row.creator_account_id) == ("UPDATE", CAROL, ALICE)
    assert [event.kind for event in events(tx(CREATE, sponsored))] == ["CREATED"]
    (row,) = balances(tx(sponsored))
    assert row.creator_account_id is None
    assert len(of(ClaimableBalances, "claimable_balance_claimants", tx(sponsored))) == 1


def test_the_issuer_claws_back() -> None:
    back = op(rows.ClawbackClaimableBalance(balance_id("one")), removed(claimable()), source=USDC_ISSUER)
    assert [row.operation for row in balances(tx(back))] == ["REMOVE"]
    assert [(row.kind, row.account_id) for row in events(tx(back))] == [("CLAWED_BACK", USDC_ISSUER)]


@pytest.mark.parametrize("body", [rows.AllowTrust(BOB, "USDC", 1, 0), rows.SetTrustLineFlags(BOB, USDC, 1, 0)])
def test_revoked_pool_shares_become_balances(body: Any) -> None:
    made = created(claimable("of a")), created(claimable("of b", asset=BTC))
    revoked = tx(op(body, *made, removed(share_entry(5, BOB)), source=USDC_ISSUER))
    assert [(row.event_id, row.balance_id, row.kind, row.account_id) for row in events(revoked)] == [
        (1, balance_id("of a"), "CREATED", USDC_ISSUER),
        (2, balance_id("of b"), "CREATED", USDC_ISSUER),
    ]
    assert {row.creator_account_id for row in balances(revoked)} == {USDC_ISSUER}


def test_failed_transactions_leave_no_history() -> None:
    assert events(tx(CREATE, result_code=-1)) == []
    assert of(Trades, "trades", tx(sell_for(ATOM), result_code=-1)) == []


def test_a_balance_that_vanishes_otherwise_is_a_contradiction() -> None:
    with pytest.raises(LedgerContentError, match="operation type 11 removes a claimable balance"):
        balances(tx(op(NOTHING, removed(claimable()))))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((0, None), UNCONDITIONAL),
        ((1, ((4, 9), (3, (4, 5)))), {"and": [{"before": 9}, {"not_before": 5}]}),
        ((2, ((4, 1), (0, None))), {"or": [{"before": 1}, UNCONDITIONAL]}),
        ((3, (0, None)), {"not": UNCONDITIONAL}),
        ((3, (3, (4, 7))), {"not": {"not_before": 7}}),
        ((4, (1 << 63) - 1), {"before": (1 << 63) - 1}),
        ((5, 60), {"before_seconds": 60}),
    ],
)
def test_predicates(value: Any, expected: Any) -> None:
    assert predicate(value) == expected


def test_an_unknown_predicate_is_an_error() -> None:
    with pytest.raises(LedgerContentError, match="predicate type 6"):
        predicate((6, None))


# --- offers and trades ------------------------------------------------------------------------------------------------

ATOM = ClaimAtom(1, BOB, None, 42, USDC, 6, XLM, 4)
POOL_ATOM = ClaimAtom(2, None, key("pool"), 0, XLM, 10, USDC, 15)


def offer_entry(amount: int, offer_id: int = 42, sponsor: Address | None = None) -> Entry:
    return Entry(2, SEQUENCE, sponsor, OfferEntry(BOB, offer_id, USDC, XLM, amount, Price(2, 3), 1))


def sell_for(*atoms: ClaimAtom, changes: tuple[Change, ...] = ()) -> rows.Operation:
    return op(rows.ManageSellOffer(XLM, USDC, 4, Price(1, 1), 0), *changes, value=rows.OfferResult(atoms, 2, None))


def offers(*transactions: rows.Transaction) -> list[Any]:
    return of(Trades, "offer_changes", *transactions)


def trades(*operations: rows.Operation) -> list[Any]:
    return of(Trades, "trades", tx(*operations))


def test_an_offer_is_its_entry() -> None:
    change = updated(offer_entry(10), offer_entry(4, sponsor=CAROL))
    assert offers(tx(sell_for(changes=(change,)))) == [
        (42, "UPDATE", OPERATION, BOB, USDC_TEXT, "native", 4, 2, 3, 1, CAROL),
    ]
    assert offers(tx(sell_for(changes=(created(offer_entry(9)),)), sell_for(changes=(removed(offer_entry(9)),)))) == []
    assert [row.operation for row in offers(tx(sell_for(changes=(removed(offer_entry(9)),))))] == ["REMOVE"]


def test_upgrades_change_offers_after_all_operations() -> None:
    changes = (updated(offer_entry(4), offer_entry(3)), removed(offer_entry(1, offer_id=43)))
    upgraded = ledger(tx(sell_for(changes=(updated(offer_entry(10), offer_entry(4)),))))
    upgraded = upgraded._replace(upgrades=(rows.Upgrade(3, b"", changes),))
    found: list[Any] = Trades(NETWORK).process(upgraded).rows["offer_changes"]
    assert [(row.offer_id, row.operation, row.operation_id, row.amount) for row in found] == [
        (42, "UPDATE", 0, 3),
        (43, "REMOVE", 0, 1),
    ]


def test_a_trade_names_both_sides_and_the_exact_price() -> None:
    assert trades(sell_for(ATOM, POOL_ATOM)) == [
        (TO_ID, OPERATION, 1, "ORDERBOOK", ALICE, BOB, None, 42, USDC_TEXT, 6, "native", 4, 2, 3),
        (TO_ID, OPERATION, 2, "LIQUIDITY_POOL", ALICE, None, POOL, None, "native", 10, USDC_TEXT, 15, 3, 2),
    ]


@pytest.mark.parametrize(
    "body",
    [
        rows.PathPaymentStrictReceive(XLM, 9, CAROL, USDC, 6, ()),
        rows.PathPaymentStrictSend(XLM, 4, CAROL, USDC, 1, ()),
    ],
)
def test_path_payments_trade_for_their_source(body: Any) -> None:
    paid = op(body, value=rows.PathPaymentResult((ATOM,), CAROL, USDC, 6), source=muxed("carol", 1))
    assert [(row.taker_account_id, row.maker_account_id) for row in trades(paid)] == [(CAROL, BOB)]


@pytest.mark.parametrize(
    "body", [rows.ManageBuyOffer(XLM, USDC, 4, Price(1, 1), 0), rows.CreatePassiveSellOffer(XLM, USDC, 4, Price(1, 1))]
)
def test_the_other_offers_trade_alike(body: Any) -> None:
    assert [row.offer_id for row in trades(op(body, value=rows.OfferResult((ATOM,), 0, None)))] == [42]


def test_old_atoms_are_order_book_trades() -> None:
    (row,) = trades(sell_for(ATOM._replace(type=0)))
    assert (row.kind, row.maker_account_id, row.offer_id) == ("ORDERBOOK", BOB, 42)


@pytest.mark.parametrize(("sold", "bought", "price"), [(0, 4, (1, 0)), (4, 0, (0, 1)), (0, 0, (0, 0))])
def test_rounding_to_nothing_has_a_price_all_the_same(sold: int, bought: int, price: tuple[int, int]) -> None:
    (row,) = trades(sell_for(ATOM._replace(amount_sold=sold, amount_bought=bought)))
    assert (row.price_n, row.price_d) == price


def test_ordinals_count_within_each_operation() -> None:
    assert [(row.operation_id, row.trade_id) for row in trades(sell_for(ATOM, ATOM), sell_for(), sell_for(ATOM))] == [
        (OPERATION, 1),
        (OPERATION, 2),
        (OPERATION + 2, 1),
    ]


@pytest.mark.parametrize("result", [None, rows.OperationResult(0, 3, 0, None), rows.OperationResult(0, 3, -7, None)])
def test_a_success_without_its_result_is_a_contradiction(result: rows.OperationResult | None) -> None:
    with pytest.raises(LedgerContentError, match="operation type 3 stands in it with result"):
        trades(sell_for(ATOM)._replace(result=result))


# --- as JSON ----------------------------------------------------------------------------------------------------------


def test_derived_rows_have_texts_and_integers() -> None:
    change = updated(offer_entry(10), offer_entry(4))
    busy = ledger(tx(CREATE, sell_for(ATOM, POOL_ATOM, changes=(change,))))
    processors = registry.create(["liquidity_pools", "claimable_balances", "trades"], NETWORK)
    found = {row["family"]: row for row in derive_rows(busy, processors)}
    assert found["trades"] == {
        "family": "trades",
        "to_id": TO_ID,
        "operation_id": OPERATION + 1,
        "trade_id": 2,
        "kind": "LIQUIDITY_POOL",
        "taker_account_id": strkey.encode(ALICE),
        "maker_account_id": None,
        "liquidity_pool_id": POOL,
        "offer_id": None,
        "sold_asset": "native",
        "sold_amount": 10,
        "bought_asset": USDC_TEXT,
        "bought_amount": 15,
        "price_n": 3,
        "price_d": 2,
        "ledger_number": SEQUENCE,
        "ledger_created_at": "2023-11-14T22:13:20Z",
    }
    assert found["claimable_balance_claimants"]["predicate"] == UNCONDITIONAL
    assert found["claimable_balance_changes"]["creator_account_id"] == strkey.encode(ALICE)
    assert found["offer_changes"]["ledger_number"] == SEQUENCE
