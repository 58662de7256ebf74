"""Which claimable balances wait for whom after the ledger, and how they came and went in it.

A claimable balance is an amount set aside for its claimants: each may take all of it while its own predicate holds (CAP-23). The
issuer may take it back where clawback is enabled (CAP-35). An issuer that revokes its authorization turns a trustor's pool shares
into such balances too (CAP-38). Tables `claimable_balances`, `claimable_balance_claimants` and `claimable_balance_events`.
"""

from __future__ import annotations

from typing import Any, Final, cast

from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import Address, Change, ClaimableBalanceEntry, Entry, Ledger, Operation, Transaction
from processors import merge, view
from schemas import assets, toid
from schemas.families import CLAIMABLE_BALANCE_CHANGES, CLAIMABLE_BALANCE_CLAIMANTS, CLAIMABLE_BALANCE_EVENTS
from schemas.market_rows import (
    ClaimableBalanceChange,
    ClaimableBalanceClaimantRow,
    ClaimableBalanceEvent,
    ClaimableBalanceEventKind,
)
from schemas.parts import Part

# ClaimPredicateType
_UNCONDITIONAL: Final = 0
_AND: Final = 1
_OR: Final = 2
_NOT: Final = 3
_BEFORE_ABSOLUTE_TIME: Final = 4
_BEFORE_RELATIVE_TIME: Final = 5

_REMOVED_BY: Final = {
    view.CLAIM_CLAIMABLE_BALANCE: ClaimableBalanceEventKind.CLAIMED,
    view.CLAWBACK_CLAIMABLE_BALANCE: ClaimableBalanceEventKind.CLAWED_BACK,
}


class ClaimableBalances:
    """Families `claimable_balance_changes`, `claimable_balance_claimants` and `claimable_balance_events`."""

    name: Final = "claimable_balances"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Claimable balances look alike on every network."""

    def process(self, ledger: Ledger) -> Part:
        changes: list[tuple[str, int, Change]] = []
        creators: dict[str, Address] = {}
        events: list[ClaimableBalanceEvent] = []
        for tx in ledger.transactions:
            to_id = toid.transaction_id(ledger.header.sequence, tx.order)
            for operation_id, op in view.with_ids(to_id, tx):
                found = [change for change in op.changes if change[1] == view.CLAIMABLE_BALANCE]
                if not found:
                    continue
                for change in found:
                    balance_id = _balance(change).balance_id
                    changes.append((balance_id, operation_id, change))
                    if change.kind == view.CREATED:
                        creators[balance_id] = view.op_source(tx, op)
                if view.successful(tx):
                    events += _events(tx, op, to_id, operation_id, found)
        part = Part()
        last = list(merge.last_changes(changes))
        part.add(CLAIMABLE_BALANCE_CHANGES, (_row(operation_id, change, creators) for operation_id, change in last))
        part.add(CLAIMABLE_BALANCE_CLAIMANTS, (row for _, change in last for row in _claimants(change)))
        part.add(CLAIMABLE_BALANCE_EVENTS, events)
        return part


def _balance(change: Change) -> ClaimableBalanceEntry:
    return cast(ClaimableBalanceEntry, (change.post or cast(Entry, change.pre)).data)


def _events(tx: Transaction, op: Operation, to_id: int, operation_id: int, changes: list[Change]) -> list[ClaimableBalanceEvent]:
    """One event for each balance that the operation created or removed, in the order of its changes. An update moves nothing."""
    source = view.op_source(tx, op)
    events: list[ClaimableBalanceEvent] = []
    for change in changes:
        if change.kind == view.CREATED:
            kind = ClaimableBalanceEventKind.CREATED
        elif change.kind == view.REMOVED:
            if op.type not in _REMOVED_BY:
                raise LedgerContentError(f"transaction {tx.hash.hex()}: operation type {op.type} removes a claimable balance")
            kind = _REMOVED_BY[op.type]
        else:
            continue
        balance, asset = _balance(change), _asset(change)
        ordinal = len(events) + 1
        events.append(
            ClaimableBalanceEvent(to_id, operation_id, ordinal, balance.balance_id, kind.value, source, asset, balance.amount)
        )
    return events


def _row(operation_id: int, change: Change, creators: dict[str, Address]) -> ClaimableBalanceChange:
    balance = _balance(change)
    return ClaimableBalanceChange(
        balance.balance_id,
        merge.operation_word(change),
        operation_id,
        _asset(change),
        balance.amount,
        balance.flags,
        (change.post or cast(Entry, change.pre)).sponsor,
        creators.get(balance.balance_id),
    )


def _claimants(change: Change) -> list[ClaimableBalanceClaimantRow]:
    if change.post is None:
        return []
    balance = _balance(change)
    return [
        ClaimableBalanceClaimantRow(balance.balance_id, claimant.destination, predicate(claimant.predicate))
        for claimant in balance.claimants
    ]


def _asset(change: Change) -> str:
    asset = _balance(change).asset
    return assets.text(asset.code, asset.issuer)


def predicate(value: tuple[int, object] | None) -> dict[str, Any]:
    """A claim predicate as JSON (see `ClaimableBalanceClaimantRow`). Nothing is evaluated: that takes the time of the reader."""
    kind, content = value or (_UNCONDITIONAL, None)
    if kind == _UNCONDITIONAL:
        return {"unconditional": True}
    if kind in (_AND, _OR):
        inner = cast(tuple[tuple[int, object], ...], content)
        return {"and" if kind == _AND else "or": [predicate(one) for one in inner]}
    if kind == _NOT:
        negated = cast(tuple[int, object] | None, content)
        if negated is not None and negated[0] == _BEFORE_ABSOLUTE_TIME:
            return {"not_before": negated[1]}
        return {"not": predicate(negated)}
    if kind in (_BEFORE_ABSOLUTE_TIME, _BEFORE_RELATIVE_TIME):
        return {"before" if kind == _BEFORE_ABSOLUTE_TIME else "before_seconds": content}
    raise LedgerContentError(f"unknown claim predicate type {kind}")
