"""Ledger entries themselves, for checks that owe nothing to the processors: every change of a ledger in the order in which it was
made, and what each entry held before the ledger and after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from lumenstream.xdr.rows import (
    AccountEntry,
    Change,
    ClaimableBalanceEntry,
    ContractDataEntry,
    Ledger,
    LiquidityPoolEntry,
    ScVal,
    TransactionDetails,
    TrustLineEntry,
)

# LedgerEntryChangeType
LONE_STATE = 3
RESTORED = 4

PERSISTENT = 1
CONTRACT_VERSION = 16  # of C addresses


class Phase(IntEnum):
    FEES = 0
    AROUND = 1  # of a transaction, outside its operations
    OPERATIONS = 2
    REFUNDS = 3
    UPGRADES = 4


class Step(NamedTuple):
    phase: Phase
    change: Change


def steps(ledger: Ledger, details: Sequence[TransactionDetails]) -> Iterator[Step]:
    """Every change: all fees, then transaction by transaction, then refunds, then upgrades."""
    for tx in ledger.transactions:
        yield from (Step(Phase.FEES, change) for change in tx.fee_changes)
    for tx, more in zip(ledger.transactions, details, strict=True):
        yield from (Step(Phase.AROUND, change) for change in more.changes_before)
        yield from (Step(Phase.OPERATIONS, change) for op in tx.operations for change in op.changes)
        yield from (Step(Phase.AROUND, change) for change in tx.changes_after)
    for tx in ledger.transactions:
        yield from (Step(Phase.REFUNDS, change) for change in tx.post_fee_changes)
    for upgrade in ledger.upgrades:
        yield from (Step(Phase.UPGRADES, change) for change in upgrade.changes)


@dataclass
class Moved:
    """One entry: what it was before the ledger and is after it; None where it did not exist."""

    before: Any
    after: Any
    last_phase: Phase


def entries(ledger: Ledger, details: Sequence[TransactionDetails]) -> dict[tuple[Any, ...], Moved]:
    """Entries by key, accounts, trustlines, claimable balances, pools and contract data only. An entry restored from the archive
    was there before, with the same content."""
    found: dict[tuple[Any, ...], Moved] = {}
    for phase, change in steps(ledger, details):
        entry = change.post or change.pre
        if entry is None or change.kind == LONE_STATE:
            continue
        key = _key(entry.data)
        if key is None:
            continue
        before = change.post if change.kind == RESTORED else change.pre
        after = None if change.post is None else change.post.data
        moved = found.get(key)
        if moved is None:
            found[key] = Moved(None if before is None else before.data, after, phase)
        else:
            moved.after, moved.last_phase = after, phase
    return found


def _key(data: Any) -> tuple[Any, ...] | None:
    match data:
        case AccountEntry():
            return "account", data.account_id
        case TrustLineEntry():
            return "trustline", data.account_id, data.asset
        case ClaimableBalanceEntry():
            return "claimable", data.balance_id
        case LiquidityPoolEntry():
            return "pool", data.pool_id
        case ContractDataEntry():
            return "contract", data.contract, data.key, data.durability
        case _:
            return None


class ContractBalance(NamedTuple):
    holder: bytes
    contract: bytes
    amount: int
    authorized: bool
    clawback: bool


def contract_balance(data: Any) -> ContractBalance | None:
    """A contract's holding in the form in which asset contracts keep it; None for any other contract data."""
    if not isinstance(data, ContractDataEntry) or data.durability != PERSISTENT:
        return None
    match data.key, data.value:  # ScValType: 0 bool, 10 i128, 15 symbol, 16 vec, 17 map, 18 address
        case (
            ScVal(type=16, value=(ScVal(type=15, value="Balance"), ScVal(type=18, value=bytes(holder)))),
            ScVal(
                type=17,
                value=(
                    (ScVal(type=15, value="amount"), ScVal(type=10, value=int(amount))),
                    (ScVal(type=15, value="authorized"), ScVal(type=0, value=bool(authorized))),
                    (ScVal(type=15, value="clawback"), ScVal(type=0, value=bool(clawback))),
                ),
            ),
        ) if holder[0] == CONTRACT_VERSION and amount >= 0:
            return ContractBalance(holder, data.contract, amount, authorized, clawback)
        case _:
            return None
