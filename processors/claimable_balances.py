"""Which claimable balances wait for whom after the ledger, and how they came and went in it.

A claimable balance is an amount set aside for its claimants: each may take all of it while its own predicate holds (CAP-23). The
issuer may take it back where clawback is enabled (CAP-35). An issuer that revokes its authorization turns a trustor's pool shares
into such balances too (CAP-38). Tables `claimable_balances`, `claimable_balance_claimants` and `claimable_balance_events`.
"""

from __future__ import annotations

from collections.abc import Iterator
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

_CREATED: Final = ClaimableBalanceEventKind.CREATED.value
_REMOVED_BY: Final = {
    view.CLAIM_CLAIMABLE_BALANCE: ClaimableBalanceEventKind.CLAIMED.value,
    view.CLAWBACK_CLAIMABLE_BALANCE: ClaimableBalanceEventKind.CLAWED_BACK.value,
}


class ClaimableBalances:
    """Families `claimable_balance_changes`, `claimable_balance_claimants` and `claimable_balance_events`."""

    name: Final = "claimable_balances"
    version: Final = 1

    def __init__(self, network_id: bytes, *, history_only: bool = False) -> None:
        """Claimable balances look alike on every network. `history_only`: the events alone."""
        self._history_only = history_only

    def process(self, ledger: Ledger) -> Part:
        changes: list[tuple[str, int, Change]] = []
        creators: dict[str, Address] = {}
        events: list[ClaimableBalanceEvent] = []
        for operation_id, tx, op, change, balance in view.changes_of(ledger, view.CLAIMABLE_BALANCE):
            source = view.op_source(tx, op)
            changes.append((balance.balance_id, operation_id, change))
            if change.kind == view.CREATED:
                creators[balance.balance_id] = source
            if change.kind != view.UPDATED and view.successful(tx):  # an update moves nothing
                ordinal = events[-1].event_id + 1 if events and events[-1].operation_id == operation_id else 1
                events.append(_event(operation_id, ordinal, _event_kind(tx, op, change), source, balance))
        part = Part()
        part.add(CLAIMABLE_BALANCE_EVENTS, events)
        if not self._history_only:
            last = merge.last_changes(changes)
            part.add(CLAIMABLE_BALANCE_CHANGES, (_row(operation_id, change, creators) for operation_id, change in last))
            part.add(
                CLAIMABLE_BALANCE_CLAIMANTS, (row for _, change in last if change.post is not None for row in _claimants(change))
            )
        return part


def _event_kind(tx: Transaction, op: Operation, change: Change) -> str:
    if change.kind == view.CREATED:
        return _CREATED
    if op.type not in _REMOVED_BY:
        raise LedgerContentError(f"transaction {tx.hash.hex()}: operation type {op.type} removes a claimable balance")
    return _REMOVED_BY[op.type]


def _event(operation_id: int, ordinal: int, kind: str, source: Address, balance: ClaimableBalanceEntry) -> ClaimableBalanceEvent:
    balance_id, _, asset, amount, _ = balance
    to_id, text = toid.transaction_of(operation_id), assets.text(asset.code, asset.issuer)
    return ClaimableBalanceEvent(to_id, operation_id, ordinal, balance_id, kind, source, text, amount)


def _row(operation_id: int, change: Change, creators: dict[str, Address]) -> ClaimableBalanceChange:
    _, _, sponsor, data = change.post or cast(Entry, change.pre)
    balance_id, _, asset, amount, flags = cast(ClaimableBalanceEntry, data)
    text = assets.text(asset.code, asset.issuer)
    word, creator = merge.operation_word(change), creators.get(balance_id)
    return ClaimableBalanceChange(balance_id, word, operation_id, text, amount, flags, sponsor, creator)


def _claimants(change: Change) -> Iterator[ClaimableBalanceClaimantRow]:
    balance_id, claimants, _, _, _ = cast(ClaimableBalanceEntry, cast(Entry, change.post).data)
    for destination, condition in claimants:
        yield ClaimableBalanceClaimantRow(balance_id, destination, predicate(condition))


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
