"""Token transfers: who sees what of every way to move value (scenarios T1 to T26 of spec/processors.md 11.2, and our own)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import Address, Asset, ClaimAtom, Ledger, Price, ScVal, Transaction
from processors.token_transfers import TokenTransfers
from schemas import assets, parts
from schemas.state_changes import AccountChange, BalanceChange
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    BTC,
    BTC_ISSUER,
    CAROL,
    ETH,
    ETH_ISSUER,
    NETWORK,
    OPERATION,
    TO_ID,
    UNIT,
    USDC,
    USDC_ISSUER,
    XLM,
    account_entry,
    address,
    balance_id,
    claimable_entry,
    contract,
    created,
    event,
    i128,
    invoke,
    key,
    ledger,
    mapping,
    muxed,
    op,
    pool_entry,
    removed,
    string,
    symbol,
    token_of,
    tx,
    updated,
)

Seen = tuple[str, Address, Any]  # reason, account, amount in units or the other account


def changes_of(closed: Ledger) -> list[BalanceChange | AccountChange]:
    """All state changes in the order of their ids."""
    part = TokenTransfers(NETWORK).process(closed)
    found: list[Any] = [change for batch in part.rows.values() for change in batch]
    return sorted(found, key=lambda change: (change.to_id, change.operation_id, change.state_change_id))


def seen(transaction: Transaction, *, protocol_version: int = 23) -> list[Seen]:
    """What accounts see of a transaction's operations, without the fee row."""
    found: list[Seen] = []
    for change in changes_of(ledger(transaction, protocol_version=protocol_version)):
        if isinstance(change, AccountChange):
            found.append(
                (change.state_change_reason, change.account_id, change.creator_account_id or change.destination_account_id)
            )
        elif change.operation_id:
            found.append((change.state_change_reason, change.account_id, change.amount / UNIT))
    return found


def fee_rows(transaction: Transaction, protocol_version: int = 23) -> list[tuple[str, Address, int]]:
    found = changes_of(ledger(transaction, protocol_version=protocol_version))
    return [
        (row.state_change_reason, row.account_id, row.amount)
        for row in found
        if isinstance(row, BalanceChange) and not row.operation_id
    ]


def trade(seller: Address, sold: Asset, amount_sold: int, bought: Asset, amount_bought: int) -> ClaimAtom:
    return ClaimAtom(1, seller, None, 9, sold, amount_sold * UNIT, bought, amount_bought * UNIT)


def pool_trade(name: str, sold: Asset, amount_sold: int, bought: Asset, amount_bought: int) -> ClaimAtom:
    return ClaimAtom(2, None, key(name), 0, sold, amount_sold * UNIT, bought, amount_bought * UNIT)


def offers(*atoms: ClaimAtom) -> rows.OfferResult:
    return rows.OfferResult(atoms, 2, None)


# --- fees -------------------------------------------------------------------------------------------------------------


def test_t1_a_failed_transaction_moves_nothing_but_its_fee() -> None:
    failed = tx(op(rows.CreateAccount(BOB, 100 * UNIT), code=-2), result_code=-1)
    assert fee_rows(failed) == [("DEBIT", ALICE, 100)]
    assert seen(failed) == []


@pytest.mark.parametrize("refunded_in", ["changes_after", "post_fee_changes"])
def test_t2_a_soroban_fee_is_one_row_with_the_refund_deducted(refunded_in: str) -> None:
    """Before protocol 23 the refund stands among the transaction's changes, since then after the whole set."""
    fee = updated(account_entry(ALICE, 1000 * UNIT), account_entry(ALICE, 700 * UNIT))
    refund = updated(account_entry(ALICE, 700 * UNIT), account_entry(ALICE, 730 * UNIT))
    paid: dict[str, Any] = {"is_soroban": True, "fee_changes": (fee,), refunded_in: (refund,)}
    assert fee_rows(tx(op(rows.ExtendFootprintTtl(1)), **paid)) == [("DEBIT", ALICE, 2_700_000_000)]


def test_fee_row_comes_first_and_belongs_to_no_operation() -> None:
    row = changes_of(ledger(tx(op(rows.Payment(BOB, XLM, 1)))))[0]
    assert row == BalanceChange(TO_ID, 0, 1, row.state_change_reason, ALICE, token_of(XLM), 100, None)


def test_fee_of_a_fee_bump_is_paid_by_its_outer_source_in_g_form() -> None:
    bumped = tx(op(rows.BumpSequence(1)), fee_source=muxed("bob", 3), result_code=1, fee_charged=400)
    assert fee_rows(bumped) == [("DEBIT", BOB, 400)]


def test_no_fee_no_row() -> None:
    assert fee_rows(tx(op(rows.BumpSequence(1)), fee_charged=0)) == []


def test_q22_a_refund_above_the_fee_is_a_credit_of_a_negative_amount() -> None:
    fee = updated(account_entry(ALICE, 100), account_entry(ALICE, 90))
    refund = updated(account_entry(ALICE, 90), account_entry(ALICE, 105))
    odd = tx(op(rows.ExtendFootprintTtl(1)), is_soroban=True, fee_changes=(fee,), changes_after=(refund,))
    assert fee_rows(odd) == [("CREDIT", ALICE, -5)]


@pytest.mark.parametrize(("phase", "message"), [("fee_changes", "raised the balance"), ("changes_after", "lowered the balance")])
def test_fees_that_run_backwards_fail_the_ledger(phase: str, message: str) -> None:
    pre, post = (90, 100) if phase == "fee_changes" else (100, 90)
    wrong: dict[str, Any] = {phase: (updated(account_entry(ALICE, pre), account_entry(ALICE, post)),)}
    with pytest.raises(LedgerContentError, match=message):
        changes_of(ledger(tx(op(rows.ExtendFootprintTtl(1)), is_soroban=True, **wrong)))


# --- accounts and payments --------------------------------------------------------------------------------------------


def test_t3_creating_an_account() -> None:
    assert seen(tx(op(rows.CreateAccount(BOB, 100 * UNIT)))) == [
        ("CREATE", BOB, ALICE),
        ("DEBIT", ALICE, 100),
        ("CREDIT", BOB, 100),
    ]


def test_t4_merging_an_account_names_the_merged_one_and_where_it_went() -> None:
    assert seen(tx(op(rows.AccountMerge(muxed("bob", 1)), value=100 * UNIT))) == [
        ("MERGE", ALICE, BOB),
        ("DEBIT", ALICE, 100),
        ("CREDIT", BOB, 100),
    ]


def test_t5_a_merge_without_a_known_balance_leaves_no_trace() -> None:
    assert seen(tx(op(rows.AccountMerge(BOB)))) == []


@pytest.mark.parametrize(
    ("sender", "receiver", "expected"),
    [
        (USDC_ISSUER, BOB, [("MINT", USDC_ISSUER, 100), ("CREDIT", BOB, 100)]),  # T6
        (ALICE, USDC_ISSUER, [("BURN", USDC_ISSUER, 100), ("DEBIT", ALICE, 100)]),  # T7
        (USDC_ISSUER, USDC_ISSUER, [("DEBIT", USDC_ISSUER, 100), ("CREDIT", USDC_ISSUER, 100)]),  # T24
        (ALICE, BOB, [("DEBIT", ALICE, 100), ("CREDIT", BOB, 100)]),
        (ALICE, ALICE, [("DEBIT", ALICE, 100), ("CREDIT", ALICE, 100)]),
        (muxed("usdc issuer", 5), muxed("bob", 6), [("MINT", USDC_ISSUER, 100), ("CREDIT", BOB, 100)]),
    ],
)
def test_payments_of_an_issued_asset(sender: Address, receiver: Address, expected: list[Seen]) -> None:
    assert seen(tx(op(rows.Payment(receiver, USDC, 100 * UNIT), source=sender))) == expected


def test_payments_name_the_contract_of_their_asset() -> None:
    paid = changes_of(ledger(tx(op(rows.Payment(BOB, USDC, 1)))))
    assert [row.token_id for row in paid if isinstance(row, BalanceChange)] == [token_of(XLM), token_of(USDC), token_of(USDC)]


def test_inflation_credits_every_payout_and_debits_nobody() -> None:
    payouts = (rows.InflationPayout(BOB, 5 * UNIT), rows.InflationPayout(CAROL, 6 * UNIT))
    assert seen(tx(op(rows.Inflation(), value=payouts))) == [("CREDIT", BOB, 5), ("CREDIT", CAROL, 6)]


def test_ids_count_from_one_in_each_operation() -> None:
    paid = tx(op(rows.CreateAccount(BOB, 1)), op(rows.Payment(BOB, XLM, 1)))
    assert [(row.operation_id, row.state_change_id) for row in changes_of(ledger(paid))] == [
        (0, 1),
        (OPERATION, 1),
        (OPERATION, 2),
        (OPERATION, 3),
        (OPERATION + 1, 1),
        (OPERATION + 1, 2),
    ]


# --- claimable balances -----------------------------------------------------------------------------------------------


def claim(name: str, asset: Asset, amount: int, source: Address | None) -> rows.Operation:
    return op(rows.ClaimClaimableBalance(balance_id(name)), removed(claimable_entry(name, asset, amount * UNIT)), source=source)


def test_t8_claiming_credits_the_claimant_and_burns_for_the_issuer() -> None:
    assert seen(tx(claim("b", USDC, 50, BOB))) == [("CREDIT", BOB, 50)]
    assert seen(tx(claim("b", USDC, 50, USDC_ISSUER))) == [("BURN", USDC_ISSUER, 50)]


def test_t9_t10_each_claim_credits_its_own_source() -> None:
    assert seen(tx(claim("a", XLM, 1, None), claim("b", USDC, 2, CAROL))) == [("CREDIT", ALICE, 1), ("CREDIT", CAROL, 2)]


@pytest.mark.parametrize(("source", "expected"), [(ALICE, [("DEBIT", ALICE, 75)]), (USDC_ISSUER, [("MINT", USDC_ISSUER, 75)])])
def test_t11_a_claimable_balance_is_no_account(source: Address, expected: list[Seen]) -> None:
    body = rows.CreateClaimableBalance(USDC, 75 * UNIT, ())
    assert seen(tx(op(body, source=source, value=balance_id("new")))) == expected


def test_t12_clawback_from_an_account() -> None:
    assert seen(tx(op(rows.Clawback(USDC, muxed("bob", 1), 50 * UNIT), source=USDC_ISSUER))) == [
        ("BURN", USDC_ISSUER, 50),
        ("DEBIT", BOB, 50),
    ]


def test_t13_clawback_of_a_claimable_balance() -> None:
    gone = removed(claimable_entry("b", USDC, 25 * UNIT))
    assert seen(tx(op(rows.ClawbackClaimableBalance(balance_id("b")), gone, source=USDC_ISSUER))) == [("BURN", USDC_ISSUER, 25)]


@pytest.mark.parametrize("body", [rows.ClaimClaimableBalance(balance_id("b")), rows.ClawbackClaimableBalance(balance_id("b"))])
@pytest.mark.parametrize("number", [0, 2])
def test_a_claim_removes_exactly_one_balance(body: Any, number: int) -> None:
    changes = [removed(claimable_entry(str(at), XLM, 1)) for at in range(number)]
    with pytest.raises(LedgerContentError, match=f"removes {number} claimable balances"):
        changes_of(ledger(tx(op(body, *changes))))


# --- liquidity pools --------------------------------------------------------------------------------------------------

DEPOSIT = rows.LiquidityPoolDeposit(key("pool"), 99 * UNIT, 99 * UNIT, Price(1, 1), Price(1, 1))
WITHDRAW = rows.LiquidityPoolWithdraw(key("pool"), 1, 0, 0)


def test_t14_a_deposit_takes_what_the_pool_got_not_what_was_offered() -> None:
    pool = created(pool_entry("pool", BTC, ETH, 5 * UNIT, 15 * UNIT))
    assert seen(tx(op(DEPOSIT, pool))) == [("DEBIT", ALICE, 5), ("DEBIT", ALICE, 15)]


def test_t15_a_withdrawal_credits_the_owner_and_burns_for_the_issuer() -> None:
    pool = removed(pool_entry("pool", BTC, ETH, 5 * UNIT, 12 * UNIT))
    assert seen(tx(op(WITHDRAW, pool))) == [("CREDIT", ALICE, 5), ("CREDIT", ALICE, 12)]
    assert seen(tx(op(WITHDRAW, pool, source=BTC_ISSUER))) == [("BURN", BTC_ISSUER, 5), ("CREDIT", BTC_ISSUER, 12)]


def test_a_withdrawal_may_round_to_nothing_and_a_deposit_may_not() -> None:
    pool = updated(pool_entry("pool", BTC, ETH, 5, 12), pool_entry("pool", BTC, ETH, 5, 11))
    assert len(seen(tx(op(WITHDRAW, pool)))) == 2
    with pytest.raises(LedgerContentError, match="neither can be nothing"):
        changes_of(ledger(tx(op(DEPOSIT, pool))))


@pytest.mark.parametrize("body", [DEPOSIT, WITHDRAW])
@pytest.mark.parametrize("number", [0, 2])
def test_a_deposit_or_withdrawal_changes_exactly_one_pool(body: Any, number: int) -> None:
    changes = [created(pool_entry(str(at), BTC, ETH, 1, 1)) for at in range(number)]
    with pytest.raises(LedgerContentError, match=f"changes {number} liquidity pools"):
        changes_of(ledger(tx(op(body, *changes))))


def revocation_entry(asset: Asset, amount: int) -> rows.Entry:
    """The claimable balance that core creates for dissolved shares of `pool` in operation 0 of Alice's transaction 7."""
    preimage = (
        (7).to_bytes(4, "big") + bytes(4) + ALICE[1:] + (7).to_bytes(8, "big") + bytes(4) + key("pool")
        + assets.asset_xdr(asset.type, asset.code, asset.issuer)
    )  # fmt: skip
    entry = claimable_entry("", asset, amount * UNIT)
    data: Any = entry.data
    return entry._replace(data=data._replace(balance_id="00000000" + hashlib.sha256(preimage).hexdigest()))


@pytest.mark.parametrize("body", [rows.AllowTrust(BOB, "BTC", 1, 0), rows.SetTrustLineFlags(BOB, BTC, 1, 0)])
def test_t23_dissolved_pool_shares_burn_only_what_returns_to_its_issuer(body: Any) -> None:
    pool = removed(pool_entry("pool", BTC, ETH, 5 * UNIT, 12 * UNIT))
    both = (created(revocation_entry(BTC, 5)), created(revocation_entry(ETH, 12)))
    stranger = created(claimable_entry("another", BTC, 5 * UNIT))
    assert seen(tx(op(body, pool))) == []
    assert seen(tx(op(body, *both))) == []
    assert seen(tx(op(body, pool, stranger))) == []
    assert seen(tx(op(body, pool, *both))) == []
    assert seen(tx(op(body, pool, both[0]))) == [("BURN", ETH_ISSUER, 12)]
    assert seen(tx(op(body, pool, both[1]))) == [("BURN", BTC_ISSUER, 5)]


# --- trades -----------------------------------------------------------------------------------------------------------


def test_t16_strict_send_through_two_pools() -> None:
    body = rows.PathPaymentStrictSend(BTC, UNIT, BOB, USDC, 1, (ETH,))
    atoms = (pool_trade("be", ETH, 5, BTC, 1), pool_trade("eu", USDC, 10, ETH, 3))
    result = rows.PathPaymentResult(atoms, BOB, USDC, 10 * UNIT)
    assert seen(tx(op(body, source=BTC_ISSUER, value=result))) == [
        ("CREDIT", BTC_ISSUER, 5),
        ("MINT", BTC_ISSUER, 1),
        ("CREDIT", BTC_ISSUER, 10),
        ("DEBIT", BTC_ISSUER, 3),
        ("DEBIT", BTC_ISSUER, 10),
        ("CREDIT", BOB, 10),
    ]


def test_t17_strict_receive_to_the_issuer_burns_what_arrives() -> None:
    body = rows.PathPaymentStrictReceive(BTC, UNIT, USDC_ISSUER, USDC, 10 * UNIT, (ETH,))
    atoms = (pool_trade("be", ETH, 5, BTC, 1), pool_trade("eu", USDC, 10, ETH, 3))
    result = rows.PathPaymentResult(atoms, USDC_ISSUER, USDC, 10 * UNIT)
    assert seen(tx(op(body, source=BTC_ISSUER, value=result)))[-2:] == [("BURN", USDC_ISSUER, 10), ("DEBIT", BTC_ISSUER, 10)]


def test_t18_strict_receive_through_two_offers_shows_both_sides() -> None:
    body = rows.PathPaymentStrictReceive(BTC, UNIT, ETH_ISSUER, ETH, 4 * UNIT, (XLM,))
    atoms = (trade(BOB, XLM, 20, BTC, 1), trade(CAROL, ETH, 4, XLM, 20))
    assert seen(tx(op(body, value=rows.PathPaymentResult(atoms, ETH_ISSUER, ETH, 4 * UNIT)))) == [
        ("DEBIT", BOB, 20),
        ("CREDIT", ALICE, 20),
        ("DEBIT", ALICE, 1),
        ("CREDIT", BOB, 1),
        ("DEBIT", CAROL, 4),
        ("CREDIT", ALICE, 4),
        ("DEBIT", ALICE, 20),
        ("CREDIT", CAROL, 20),
        ("BURN", ETH_ISSUER, 4),
        ("DEBIT", ALICE, 4),
    ]


def test_t19_an_issuer_that_buys_its_asset_burns_it() -> None:
    body = rows.ManageBuyOffer(XLM, USDC, 3 * UNIT, Price(1, 1), 0)
    atoms = (trade(ALICE, USDC, 1, XLM, 10), trade(BOB, USDC, 2, XLM, 20))
    assert seen(tx(op(body, source=USDC_ISSUER, value=offers(*atoms)))) == [
        ("BURN", USDC_ISSUER, 1),
        ("DEBIT", ALICE, 1),
        ("DEBIT", USDC_ISSUER, 10),
        ("CREDIT", ALICE, 10),
        ("BURN", USDC_ISSUER, 2),
        ("DEBIT", BOB, 2),
        ("DEBIT", USDC_ISSUER, 20),
        ("CREDIT", BOB, 20),
    ]


@pytest.mark.parametrize(
    "body", [rows.ManageSellOffer(USDC, XLM, UNIT, Price(1, 1), 0), rows.CreatePassiveSellOffer(USDC, XLM, UNIT, Price(1, 1))]
)
def test_t20_an_issuer_that_sells_its_asset_mints_it(body: Any) -> None:
    assert seen(tx(op(body, source=USDC_ISSUER, value=offers(trade(BOB, XLM, 10, USDC, 1))))) == [
        ("DEBIT", BOB, 10),
        ("CREDIT", USDC_ISSUER, 10),
        ("MINT", USDC_ISSUER, 1),
        ("CREDIT", BOB, 1),
    ]


def test_a_passive_offer_may_report_as_a_selling_one() -> None:
    passive = op(rows.CreatePassiveSellOffer(XLM, USDC, UNIT, Price(1, 1)), value=offers(trade(BOB, USDC, 1, XLM, 1)))
    assert passive.result is not None
    assert len(seen(tx(passive._replace(result=passive.result._replace(type=3))))) == 4


def test_an_offer_that_meets_none_moves_nothing() -> None:
    assert seen(tx(op(rows.ManageSellOffer(XLM, USDC, UNIT, Price(1, 1), 0), value=offers()))) == []


@pytest.mark.parametrize("result", [None, rows.OperationResult(-1, None, None, None), rows.OperationResult(0, 3, 0, None)])
def test_a_result_that_contradicts_success_fails_the_ledger(result: rows.OperationResult | None) -> None:
    odd = op(rows.ManageSellOffer(XLM, USDC, UNIT, Price(1, 1), 0))._replace(result=result)
    with pytest.raises(LedgerContentError, match="operation 0"):
        changes_of(ledger(tx(odd)))


# --- contract calls ---------------------------------------------------------------------------------------------------

VAULT = contract("vault")
SAC = token_of(USDC)
USDC_TEXT = string(assets.text(USDC.code, USDC.issuer))


def called(*events: rows.ContractEvent, meta_version: int = 4) -> list[Seen]:
    return seen(tx(op(invoke(VAULT), events=events), is_soroban=True, meta_version=meta_version))


def transfer(source: Address, destination: Address, data: ScVal, emitter: Address = SAC) -> rows.ContractEvent:
    return event(emitter, symbol("transfer"), address(source), address(destination), USDC_TEXT, data=data)


def test_t21_transfers_between_contracts() -> None:
    assert called(transfer(VAULT, contract("other"), i128(7 * UNIT))) == [("DEBIT", VAULT, 7), ("CREDIT", contract("other"), 7)]


@pytest.mark.parametrize("meta_version", [3, 4])
def test_each_asset_contract_event(meta_version: int) -> None:
    admin = (address(USDC_ISSUER),) if meta_version == 3 else ()
    data = i128(UNIT)
    mint = event(SAC, symbol("mint"), *admin, address(BOB), USDC_TEXT, data=data)
    claw = event(SAC, symbol("clawback"), *admin, address(BOB), USDC_TEXT, data=data)
    burn = event(SAC, symbol("burn"), address(BOB), USDC_TEXT, data=data)
    assert called(mint, meta_version=meta_version) == [("MINT", USDC_ISSUER, 1), ("CREDIT", BOB, 1)]
    assert called(claw, meta_version=meta_version) == [("BURN", USDC_ISSUER, 1), ("DEBIT", BOB, 1)]
    assert called(burn, meta_version=meta_version) == [("BURN", USDC_ISSUER, 1), ("DEBIT", BOB, 1)]


def test_before_unified_events_a_transfer_from_the_issuer_was_a_mint() -> None:
    from_issuer, to_issuer = transfer(USDC_ISSUER, BOB, i128(UNIT)), transfer(BOB, USDC_ISSUER, i128(UNIT))
    assert called(from_issuer, meta_version=3) == [("MINT", USDC_ISSUER, 1), ("CREDIT", BOB, 1)]
    assert called(to_issuer, meta_version=3) == [("BURN", USDC_ISSUER, 1), ("DEBIT", BOB, 1)]
    assert called(from_issuer, meta_version=4) == [("DEBIT", USDC_ISSUER, 1), ("CREDIT", BOB, 1)]


def test_lumens_have_an_asset_contract_too() -> None:
    moved = event(token_of(XLM), symbol("transfer"), address(ALICE), address(VAULT), string("native"), data=i128(UNIT))
    assert called(moved) == [("DEBIT", ALICE, 1), ("CREDIT", VAULT, 1)]


@pytest.mark.parametrize("memo", [ScVal(5, 9), string("text"), ScVal(13, b"bytes")])
def test_t26_map_data_with_a_memo(memo: ScVal) -> None:
    assert len(called(transfer(ALICE, BOB, mapping(amount=i128(UNIT), to_muxed_id=memo)))) == 2


@pytest.mark.parametrize(
    "data",
    [
        mapping(to_muxed_id=ScVal(5, 9)),
        mapping(amount=i128(1), to_muxed_id=ScVal(3, 9)),
        mapping(amount=ScVal(5, 1)),
        ScVal(17, None),
        ScVal(17, ((string("amount"), i128(1)),)),
        ScVal(5, 1),
    ],
)
def test_t26_data_that_is_no_amount(data: ScVal) -> None:
    assert called(transfer(ALICE, BOB, data)) == []


def test_map_data_came_with_unified_events() -> None:
    assert called(transfer(ALICE, BOB, mapping(amount=i128(UNIT))), meta_version=3) == []


@pytest.mark.parametrize(
    "other",
    [
        transfer(ALICE, BOB, i128(1))._replace(type=0),
        transfer(ALICE, BOB, i128(1))._replace(contract_id=None),
        transfer(ALICE, BOB, i128(1), emitter=VAULT),  # an asset's name in a custom contract
        transfer(ALICE, BOB, i128(1))._replace(topics=()),
        event(SAC, symbol("transfer"), data=i128(1)),
        event(SAC, string("transfer"), address(ALICE), address(BOB), USDC_TEXT, data=i128(1)),
        event(SAC, symbol("approve"), address(ALICE), address(BOB), USDC_TEXT, data=i128(1)),
        event(SAC, symbol("transfer"), address(ALICE), address(BOB), data=i128(1)),
        event(SAC, symbol("transfer"), i128(1), address(BOB), USDC_TEXT, data=i128(1)),
        event(SAC, symbol("transfer"), address(ALICE), string("B"), USDC_TEXT, data=i128(1)),
        event(SAC, symbol("mint"), address(ALICE), address(BOB), USDC_TEXT, data=i128(1)),  # the admin of old
        event(VAULT, symbol("burn"), address(ALICE), data=i128(1)),
        event(SAC, symbol("burn"), address(ALICE), string(""), data=i128(1)),
        event(SAC, symbol("burn"), address(ALICE), ScVal(14, b"\xff"), data=i128(1)),
        event(SAC, symbol("burn"), address(ALICE), string("x" * 200), data=i128(1)),
        event(SAC, symbol("burn"), address(ALICE), string("native"), data=i128(1)),
        event(SAC, symbol("burn"), address(ALICE), string(f"{USDC_TEXT.value},{USDC_TEXT.value}"), data=i128(1)),
        event(SAC, symbol("burn"), address(ALICE), string("U$:" + "G" * 56), data=i128(1)),
    ],
)
def test_t22_t25_all_other_events_are_not_for_this_processor(other: rows.ContractEvent) -> None:
    assert called(other) == []


def test_ends_that_are_no_accounts_get_no_row() -> None:
    pool, claimable = bytes((88,)) + key("pool"), bytes((8, 0)) + key("balance")
    burned = event(SAC, symbol("burn"), address(pool), USDC_TEXT, data=i128(UNIT))
    minted = event(SAC, symbol("mint"), address(claimable), USDC_TEXT, data=i128(UNIT))
    assert called(transfer(pool, BOB, i128(UNIT))) == [("CREDIT", BOB, 1)]
    assert called(transfer(BOB, pool, i128(UNIT))) == [("DEBIT", BOB, 1)]
    assert called(transfer(BOB, claimable, i128(UNIT))) == []
    assert called(burned) == [("BURN", USDC_ISSUER, 1)]
    assert called(minted) == [("MINT", USDC_ISSUER, 1)]


# --- the first protocols ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (90, [("DEBIT", ALICE, 10), ("CREDIT", BOB, 10)]),
        (95, [("CREDIT", ALICE, 5), ("DEBIT", ALICE, 10), ("CREDIT", BOB, 10)]),
        (88, [("DEBIT", ALICE, 10), ("CREDIT", BOB, 10), ("DEBIT", ALICE, 2)]),
    ],
)
def test_before_protocol_8_unexplained_lumens_are_minted_first_or_burned_last(after: int, expected: list[Seen]) -> None:
    change = updated(account_entry(ALICE, 100 * UNIT), account_entry(ALICE, after * UNIT))
    paid = tx(op(rows.Payment(BOB, XLM, 10 * UNIT), change), meta_version=2)
    assert seen(paid, protocol_version=7) == expected
    assert seen(paid, protocol_version=8) == [("DEBIT", ALICE, 10), ("CREDIT", BOB, 10)]


def test_before_protocol_8_every_operation_is_reconciled() -> None:
    change = updated(account_entry(ALICE, 100 * UNIT), account_entry(ALICE, 99 * UNIT))
    assert seen(tx(op(rows.SetOptions(*[None] * 9), change)), protocol_version=7) == [("DEBIT", ALICE, 1)]


def test_the_same_ledger_gives_the_same_bytes() -> None:
    closed = ledger(tx(op(rows.CreateAccount(BOB, UNIT)), op(rows.Payment(BOB, USDC, UNIT))), tx(op(rows.Payment(CAROL, XLM, 1))))
    first = parts.encode(TokenTransfers(NETWORK).process(closed))
    assert first == parts.encode(TokenTransfers(NETWORK).process(closed))
    assert parts.decode(first) == TokenTransfers(NETWORK).process(closed)
