"""Participants: rows of transactions and operations, and who takes part (P1 to P7 of spec/processors.md 11.5, and our own)."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import Address, Operation, Price, Transaction
from processors.participants import Participants
from processors.result_codes import INNER, OPERATION_TYPES
from schemas import parts
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    OPERATION,
    TO_ID,
    USDC,
    USDC_ISSUER,
    XLM,
    account_entry,
    address,
    balance_id,
    contract,
    created,
    from_address,
    from_asset,
    invoke,
    key,
    ledger,
    muxed,
    op,
    removed,
    restored,
    signer,
    token_of,
    trustline_entry,
    tx,
    updated,
)

VAULT = contract("vault")


def part_of(*transactions: Transaction, protocol_version: int = 23) -> dict[str, list[Any]]:
    return Participants(NETWORK).process(ledger(*transactions, protocol_version=protocol_version)).rows


def of_transaction(transaction: Transaction) -> set[Address]:
    return {account for _, account in part_of(transaction)["transactions_accounts"]}


def of_operation(transaction: Transaction, index: int = 0) -> set[Address]:
    return {account for number, account in part_of(transaction)["operations_accounts"] if number == OPERATION + index}


def soroban(operation: Operation, **fields: Any) -> Transaction:
    return tx(operation, is_soroban=True, **fields)


# --- rows -------------------------------------------------------------------------------------------------------------


def test_ledger_row_counts_what_took_effect() -> None:
    row = part_of(tx(op(rows.BumpSequence(1)), op(rows.BumpSequence(2))), tx(op(rows.BumpSequence(3), code=-1), result_code=-1))
    assert row["ledgers"] == [(12345, key("ledger"), key("previous"), 23, 2, 1, 3)]


def test_an_empty_ledger_has_its_ledger_row_only() -> None:
    assert part_of().keys() == {"ledgers"}


def test_v1_v2_ids_count_transactions_and_operations_from_one() -> None:
    rows_ = part_of(tx(op(rows.BumpSequence(1)), op(rows.BumpSequence(1))), tx(op(rows.BumpSequence(1))))
    assert [row.to_id for row in rows_["transactions"]] == [53021371273216, 53021371277312]
    assert [row.id for row in rows_["operations"]] == [53021371273217, 53021371273218, 53021371277313]


def test_transaction_row_of_a_fee_bump() -> None:
    bumped = tx(op(rows.BumpSequence(1)), fee_source=BOB, inner_hash=key("inner"), result_code=1, fee_charged=300)
    assert part_of(bumped)["transactions"] == [
        (TO_ID, key("hash"), key("inner"), 300, "TransactionResultCodeTxFeeBumpInnerSuccess", True, None, None)
    ]


@pytest.mark.parametrize(("protocol_version", "expected"), [(20, 70), (21, 100)])
def test_protocol_20_charged_soroban_fee_bumps_without_the_refund(protocol_version: int, expected: int) -> None:
    refund = updated(account_entry(BOB, 900), account_entry(BOB, 930))
    bumped = soroban(op(rows.ExtendFootprintTtl(1)), fee_source=BOB, result_code=1, changes_after=(refund,))
    assert part_of(bumped, protocol_version=protocol_version)["transactions"][0].fee_charged == expected
    assert part_of(soroban(op(rows.ExtendFootprintTtl(1)), changes_after=(refund,)))["transactions"][0].fee_charged == 100


@pytest.mark.parametrize(
    ("code", "name"),
    [(1, "TxFeeBumpInnerSuccess"), (0, "TxSuccess"), (-1, "TxFailed"), (-13, "TxFeeBumpInnerFailed"), (-17, "TxSorobanInvalid")],
)
def test_transaction_result_names(code: int, name: str) -> None:
    assert part_of(tx(result_code=code))["transactions"][0].result_code == f"TransactionResultCode{name}"


def test_q18_an_operation_may_succeed_in_a_transaction_that_failed() -> None:
    failed = tx(op(rows.BumpSequence(1)), op(rows.Payment(BOB, XLM, 1), code=-2), result_code=-1)
    assert [(row.result_code, row.successful) for row in part_of(failed)["operations"]] == [
        ("op_success", True),
        ("op_underfunded", False),
    ]


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (None, "op_unknown"),
        (rows.OperationResult(-1, None, None, None), "op_bad_auth"),
        (rows.OperationResult(-2, None, None, None), "op_no_source_account"),
        (rows.OperationResult(-6, None, None, None), "op_too_many_sponsoring"),
        (rows.OperationResult(0, 20, -2, None), "op_no_issuer"),  # Q20
        (rows.OperationResult(0, 24, -5, None), "insufficient_refundable_fee"),
        (rows.OperationResult(0, 13, -12, None), "op_under_dest_min"),
        (rows.OperationResult(0, 2, -12, None), "op_over_source_max"),
        (rows.OperationResult(0, 5, -10, None), "op_auth_revocable_required"),
    ],
)
def test_operation_result_names(result: rows.OperationResult | None, name: str) -> None:
    row = part_of(tx(op(rows.BumpSequence(1))._replace(result=result), result_code=-1))["operations"][0]
    assert (row.result_code, row.successful) == (name, False)


@pytest.mark.parametrize(
    "odd",
    [
        tx(result_code=-18),
        tx(op(rows.BumpSequence(1), code=-2)),
        tx(op(rows.BumpSequence(1))._replace(result=rows.OperationResult(-7, None, None, None))),
        tx(op(rows.BumpSequence(1))._replace(type=27)),
    ],
)
def test_names_we_do_not_know_fail_the_ledger(odd: Transaction) -> None:
    with pytest.raises(LedgerContentError, match=f"{key('hash').hex()}: unknown"):
        part_of(odd)


def test_every_operation_type_has_its_results() -> None:
    assert len(OPERATION_TYPES) == 27
    assert {number for number, code in INNER if code == 0} == set(range(27))
    assert len({number for number, code in INNER if code == -1}) == 27


# --- transactions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("result_code", "inner_code"), [(1, 0), (-13, -1)])
def test_p1_both_sources_of_a_fee_bump_take_part(result_code: int, inner_code: int) -> None:
    bumped = tx(
        op(rows.BumpSequence(1)),
        source=muxed("alice", 4),
        fee_source=muxed("bob", 5),
        result_code=result_code,
        inner_result_code=inner_code,
    )
    assert of_transaction(bumped) == {ALICE, BOB}


def test_p2_accounts_in_fee_changes_take_part() -> None:
    names = [account_entry(who) for who in (BOB, CAROL, USDC_ISSUER)]
    changes = (created(names[0]), removed(names[1]), updated(names[2], names[2]), updated(trustline_entry(), trustline_entry()))
    lone = rows.Change(3, 0, account_entry(contract("x")), None, None)
    stateless = rows.Change(2, 0, None, None, rows.LedgerKey(0, (contract("y"),)))
    assert of_transaction(tx(fee_changes=changes)) == {ALICE, BOB, CAROL, USDC_ISSUER}
    assert of_transaction(tx(fee_changes=(lone, stateless))) == {ALICE, contract("x"), contract("y")}


def test_p2_a_fee_change_cannot_restore() -> None:
    with pytest.raises(LedgerContentError, match="restores"):
        part_of(tx(fee_changes=(restored(account_entry(BOB)),)))


def test_participants_of_operations_take_part_in_the_transaction() -> None:
    paid = tx(op(rows.Payment(BOB, XLM, 1)), op(rows.Payment(CAROL, XLM, 1), source=BOB))
    assert of_transaction(paid) == {ALICE, BOB, CAROL}
    assert part_of(paid)["operations_accounts"] == [
        (OPERATION, ALICE),
        (OPERATION, BOB),
        (OPERATION + 1, BOB),
        (OPERATION + 1, CAROL),
    ]


# --- classic operations -----------------------------------------------------------------------------------------------

SIGNER_OF_BOB = rows.RevokeSponsorship(None, BOB, CAROL)
CLAIMANTS = (rows.Claimant(BOB, (0, None)), rows.Claimant(CAROL, (0, None)))


def revoke(kind: int, *fields: object) -> rows.RevokeSponsorship:
    return rows.RevokeSponsorship(rows.LedgerKey(kind, fields), None, None)


@pytest.mark.parametrize(
    ("body", "others"),
    [
        (rows.CreateAccount(BOB, 1), {BOB}),
        (rows.Payment(muxed("bob", 1), XLM, 1), {BOB}),
        (rows.PathPaymentStrictReceive(XLM, 1, BOB, XLM, 1, ()), {BOB}),
        (rows.PathPaymentStrictSend(XLM, 1, muxed("bob", 1), XLM, 1, ()), {BOB}),
        (rows.AccountMerge(muxed("bob", 1)), {BOB}),
        (rows.AllowTrust(BOB, "USDC", 1, 1), {BOB}),
        (rows.SetTrustLineFlags(BOB, USDC, 0, 1), {BOB}),
        (rows.CreateClaimableBalance(XLM, 1, CLAIMANTS), {BOB, CAROL}),
        (rows.BeginSponsoringFutureReserves(BOB), {BOB}),
        (rows.Clawback(USDC, muxed("bob", 1), 1), {BOB}),
        (SIGNER_OF_BOB, {BOB}),
        (revoke(0, BOB), {BOB}),
        (revoke(1, BOB, USDC), {BOB}),
        (revoke(2, BOB, 7), {BOB}),
        (revoke(3, BOB, "name"), {BOB}),
        (revoke(4, balance_id("b")), set()),
        (rows.ManageSellOffer(XLM, USDC, 1, Price(1, 1), 0), set()),
        (rows.ClaimClaimableBalance(balance_id("b")), set()),
        (rows.ChangeTrust(USDC, 1), set()),
        (rows.LiquidityPoolWithdraw(key("pool"), 1, 0, 0), set()),
    ],
)
@pytest.mark.parametrize("result_code", [0, -1])
def test_whom_an_operation_concerns(body: Any, others: set[Address], result_code: int) -> None:
    assert of_operation(tx(op(body), result_code=result_code)) == {ALICE} | others


def test_an_operation_acts_for_its_own_source() -> None:
    assert of_operation(tx(op(rows.BumpSequence(1), source=muxed("bob", 1)))) == {BOB}


@pytest.mark.parametrize(("result_code", "expected"), [(0, {BOB, CAROL}), (-1, {BOB})])
def test_end_sponsoring_concerns_the_nearest_sponsor_who_began(result_code: int, expected: set[Address]) -> None:
    sandwich = tx(
        op(rows.BeginSponsoringFutureReserves(BOB), source=USDC_ISSUER),
        op(rows.BeginSponsoringFutureReserves(BOB), source=muxed("carol", 1)),
        op(rows.BeginSponsoringFutureReserves(ALICE), source=USDC_ISSUER),
        op(rows.EndSponsoringFutureReserves(), source=BOB),
        op(rows.BeginSponsoringFutureReserves(BOB), source=USDC_ISSUER),
        result_code=result_code,
    )
    assert of_operation(sandwich, 3) == expected


def test_whoever_sponsors_the_first_new_entry_takes_part() -> None:
    changes = (
        updated(account_entry(ALICE, sponsor=USDC_ISSUER), account_entry(ALICE, sponsor=USDC_ISSUER)),
        created(trustline_entry()),
        created(trustline_entry(sponsor=BOB)),
        created(trustline_entry(sponsor=CAROL)),
        removed(trustline_entry(sponsor=CAROL)),
    )
    assert of_operation(tx(op(rows.ChangeTrust(USDC, 1), *changes))) == {ALICE, BOB}


def test_whoever_sponsors_a_new_signer_takes_part() -> None:
    body = rows.SetOptions(None, None, None, None, None, None, None, None, signer("new"))
    unsponsored = account_entry(signers=(signer("old", 1, CAROL),))
    sponsored = account_entry(signers=(signer("old", 1, CAROL), signer("new", 1, BOB)))
    assert of_operation(tx(op(body, updated(unsponsored, sponsored)))) == {ALICE, BOB}
    assert of_operation(tx(op(body, updated(sponsored, sponsored)))) == {ALICE}
    assert of_operation(tx(op(body, removed(sponsored)))) == {ALICE}


# --- contract calls ---------------------------------------------------------------------------------------------------


def authorized(who: Address | None, root: rows.AuthInvocation) -> rows.AuthEntry:
    return rows.AuthEntry(0 if who is None else 1, who, root)


def calling(name: str, *subs: rows.AuthInvocation) -> rows.AuthInvocation:
    return rows.AuthInvocation(0, rows.InvokeContract(contract(name), "f", ()), subs)


def test_p3_arguments_are_not_participants() -> None:
    assert of_operation(soroban(op(invoke(VAULT, args=(address(BOB),))))) == {ALICE, VAULT}


@pytest.mark.parametrize("function_type", [1, 3])
def test_p4_a_new_contract_and_its_deployer(function_type: int) -> None:
    body = rows.InvokeHostFunction(function_type, from_address("new", BOB, address(CAROL)), ())
    assert of_operation(soroban(op(body))) == {ALICE, BOB, contract("new")}


def test_p4_the_contract_of_an_asset_has_no_deployer() -> None:
    body = rows.InvokeHostFunction(1, from_asset(USDC), ())
    assert of_operation(soroban(op(body))) == {ALICE, token_of(USDC)}


def test_p5_everyone_in_the_authorization_tree() -> None:
    deploys = (
        rows.AuthInvocation(1, from_address("v1", CAROL), ()),
        rows.AuthInvocation(2, from_asset(USDC), (calling("deep"),)),
    )
    body = invoke(VAULT, authorized(BOB, calling("called", *deploys)), authorized(None, calling("own")))
    names = [contract(name) for name in ("called", "v1", "deep", "own")]
    assert of_operation(soroban(op(body))) == {ALICE, VAULT, BOB, CAROL, token_of(USDC), *names}


@pytest.mark.parametrize(
    "body",
    [rows.InvokeHostFunction(2, b"wasm", (authorized(BOB, calling("x")),)), rows.ExtendFootprintTtl(1), rows.RestoreFootprint()],
)
def test_p6_uploads_and_rent_concern_their_source_only(body: Any) -> None:
    assert of_operation(soroban(op(body))) == {ALICE}


def test_p7_a_call_that_failed_concerns_its_source_only() -> None:
    assert of_operation(soroban(op(invoke(VAULT), code=-2), result_code=-1)) == {ALICE}


def test_q9_a_muxed_source_of_a_contract_call_counts_twice() -> None:
    source = muxed("bob", 9)
    assert of_operation(soroban(op(invoke(VAULT), source=source))) == {BOB, source, VAULT}
    assert of_operation(soroban(op(rows.RestoreFootprint()), source=source)) == {BOB, source}


def test_an_unknown_kind_of_contract_id_fails_the_ledger() -> None:
    creation = from_asset(USDC)
    body = rows.InvokeHostFunction(1, creation._replace(preimage=creation.preimage._replace(type=2)), ())
    with pytest.raises(LedgerContentError, match="preimage 2"):
        part_of(soroban(op(body)))


def test_the_same_ledger_gives_the_same_bytes() -> None:
    closed = ledger(soroban(op(invoke(VAULT, authorized(BOB, calling("a", calling("b"), calling("c")))), events=())))
    part = Participants(NETWORK).process(closed)
    assert parts.encode(part) == parts.encode(Participants(NETWORK).process(closed))
    assert parts.decode(parts.encode(part)) == part
