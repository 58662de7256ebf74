"""What contracts hold of assets: one last change per holding, and what is no holding."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.rows import Change, ContractDataEntry, Operation, ScVal
from processors.sac_balances import SacBalances
from schemas import assets, parts
from schemas.families import SacBalanceChange
from schemas.parts import Part
from tests.unit.effects_builder import boolean, change, holding, vector
from tests.unit.ledger_builder import (
    ALICE,
    NETWORK,
    OPERATION,
    USDC,
    XLM,
    account_entry,
    address,
    contract,
    i128,
    invoke,
    ledger,
    mapping,
    op,
    removed,
    restored,
    symbol,
    token_of,
    tx,
    updated,
)

TOKEN = token_of(USDC)
VAULT = contract("vault")
TRUE, FALSE = boolean(True), boolean(False)


def calling(*changes: Change) -> Operation:
    return op(invoke(TOKEN), *changes)


def balances(*operations: Operation) -> list[SacBalanceChange]:
    """Each operation in a transaction of its own, as contract calls are."""
    part = SacBalances(NETWORK).process(ledger(*(tx(each, is_soroban=True) for each in operations)))
    assert set(part.rows) <= {"sac_balance_changes"}
    assert parts.decode(parts.encode(part)) == part
    return [SacBalanceChange(*row) for row in part.rows.get("sac_balance_changes", [])]


def held(amount: int) -> ContractDataEntry:
    return holding(TOKEN, VAULT, amount=amount)


def row(word: str, amount: int, *, operation: int = OPERATION, authorized: bool = True) -> SacBalanceChange:
    return SacBalanceChange(VAULT, TOKEN, assets.contract_uuid(TOKEN), word, operation, amount, authorized, False)


def test_amounts_are_raw_units() -> None:
    """B3: decimals are the API's."""
    assert balances(calling(change(held(1), held(5_000_000)))) == [row("UPDATE", 5_000_000)]


def test_a_removed_holding_is_nothing() -> None:
    """B3."""
    assert balances(calling(change(held(5), None))) == [row("REMOVE", 0, authorized=False)]


@pytest.mark.parametrize("amount", [1 << 63, (1 << 64) + 1, (1 << 127) - 1])
def test_amounts_beyond_64_bits_stay_exact(amount: int) -> None:
    """B5."""
    assert balances(calling(change(None, held(amount)))) == [row("ADD", amount)]


def test_flags_come_from_the_entry() -> None:
    value = mapping(amount=i128(7), authorized=FALSE, clawback=TRUE)
    (found,) = balances(calling(change(None, holding(TOKEN, VAULT, value))))
    assert (found.balance, found.is_authorized, found.is_clawback_enabled) == (7, False, True)


def test_accounts_hold_assets_in_trustlines() -> None:
    """B4."""
    assert balances(calling(change(None, holding(TOKEN, ALICE)))) == []


def with_key(key: ScVal) -> ContractDataEntry:
    return held(1)._replace(key=key)


@pytest.mark.parametrize(
    "entry",
    [
        held(1)._replace(durability=0),
        holding(token_of(XLM), VAULT),
        with_key(vector(symbol("Balance"))),
        with_key(vector(symbol("Balance"), address(VAULT), address(VAULT))),
        with_key(vector(symbol("Allowance"), address(VAULT))),
        with_key(vector(symbol("Balance"), symbol("vault"))),
        with_key(ScVal(16, None)),
        with_key(symbol("Balance")),
        holding(TOKEN, VAULT, i128(1)),
        holding(TOKEN, VAULT, ScVal(17, None)),
        holding(TOKEN, VAULT, mapping(amount=i128(1), authorized=TRUE)),
        holding(TOKEN, VAULT, mapping(authorized=TRUE, amount=i128(1), clawback=TRUE)),
        holding(TOKEN, VAULT, mapping(amount=symbol("1"), authorized=TRUE, clawback=TRUE)),
        holding(TOKEN, VAULT, mapping(amount=i128(1), authorized=i128(1), clawback=TRUE)),
        holding(TOKEN, VAULT, mapping(amount=i128(-1), authorized=TRUE, clawback=TRUE)),
    ],
)
def test_what_has_another_shape_is_no_holding(entry: ContractDataEntry) -> None:
    assert balances(calling(change(None, entry), change(None, held(2)))) == [row("ADD", 2)]


def test_another_contract_with_the_same_shape_counts() -> None:
    """Q23."""
    (found,) = balances(calling(change(None, holding(contract("copy"), VAULT, amount=3))))
    assert (found.contract_id, found.balance) == (contract("copy"), 3)


def test_the_last_change_of_the_ledger_wins() -> None:
    later = calling(change(held(2), held(3)))
    assert balances(calling(change(held(1), held(2))), later) == [row("UPDATE", 3, operation=OPERATION + (1 << 12))]


def test_a_holding_that_came_and_went_leaves_no_trace() -> None:
    assert balances(calling(change(None, held(1))), calling(change(held(1), None))) == []


def test_a_restored_holding_that_goes_is_removed() -> None:
    entry = rows.Entry(6, 1, None, held(1))
    found = balances(calling(restored(entry)), calling(removed(entry)))
    assert [each.operation for each in found] == ["REMOVE"]
    assert [each.operation for each in balances(calling(restored(entry)))] == ["ADD"]


def test_changes_of_other_entries_are_passed_over() -> None:
    payer: Any = account_entry(ALICE, 1)
    assert balances(calling(updated(payer, payer), change(None, held(1)))) == [row("ADD", 1)]
    assert SacBalances(NETWORK).process(ledger(tx(op(rows.Payment(ALICE, USDC, 1), updated(payer, payer))))) == Part()
