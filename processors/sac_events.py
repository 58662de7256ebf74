"""Whom the admin of an asset's contract authorized: `set_authorized` events of Stellar asset contracts (SAC).

The event says what the admin wanted. What it changed shows in the ledger entry that holds the balance: an account's trustline,
whose two levels of authorization follow it, or a contract's balance entry. Rows tell only real changes. Events come from
contracts, which may emit what they like: what does not fit is no error and no row. Spec/processors.md 2.5; category
BALANCE_AUTHORIZATION.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from lumenstream.xdr.rows import (
    Address,
    Change,
    ContractDataEntry,
    ContractEvent,
    Entry,
    Ledger,
    Operation,
    ScVal,
    TrustLineEntry,
)
from processors import view
from processors.contract_events import asset_and_contract
from processors.effects_context import token_of
from processors.effects_trustlines import AUTHORIZED, MAINTAIN_LIABILITIES
from processors.sac_balances import BOOL, CONTRACT_DATA, holder_of
from schemas import assets, strkey, toid
from schemas.families import STATE_CHANGES
from schemas.parts import Part
from schemas.state_changes import BalanceAuthorizationChange, Category, Flag, IdBase, Reason

# ScValType
_STRING: Final = 14
_SYMBOL: Final = 15
_MAP: Final = 17
_ADDRESS: Final = 18

_CONTRACT_EVENT: Final = 1
_SET_AUTHORIZED: Final = ScVal(_SYMBOL, "set_authorized")
_AUTHORIZED_FIELD: Final = ScVal(_SYMBOL, "authorized")
_BALANCE_FIELDS: Final = 3
_TOPICS: Final = {3: 4, 4: 3}  # by version of the transaction meta; the older one names the admin first


class _Decision(NamedTuple):
    token: Address
    holder: Address
    authorized: bool


# What a decision changed: reason and flags mask.
_Fact = tuple[Reason, int | None]


class SacEvents:
    """Family `state_changes.balance_authorization`; ids count from IdBase.SAC_EVENTS in the order of the events."""

    name: Final = "sac_events"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id

    def process(self, ledger: Ledger) -> Part:
        part = Part()
        for tx in ledger.transactions:
            topics = _TOPICS.get(tx.meta_version)
            if not tx.is_soroban or topics is None or not view.successful(tx):
                continue
            to_id = toid.transaction_id(ledger.header.sequence, tx.order)
            for index, op in enumerate(tx.operations):
                if op.type == view.INVOKE_HOST_FUNCTION and op.events:
                    rows = self._rows(op, topics, to_id, toid.operation_id(to_id, index))
                    part.add(STATE_CHANGES[Category.BALANCE_AUTHORIZATION], rows)
        return part

    def _rows(self, op: Operation, topics: int, to_id: int, operation_id: int) -> Iterator[BalanceAuthorizationChange]:
        state_change_id: int = IdBase.SAC_EVENTS
        for event in op.events:
            if len(event.topics) != topics or event.topics[0] != _SET_AUTHORIZED:
                continue
            decision = _decision(self._network_id, event)
            if decision is None:
                continue
            changed = _of_contract if decision.holder[0] == strkey.CONTRACT else self._of_account
            for reason, flags in changed(op.changes, decision):
                state_change_id += 1
                yield BalanceAuthorizationChange(
                    to_id, operation_id, state_change_id, reason, decision.holder, decision.token, None, flags
                )

    def _of_account(self, changes: tuple[Change, ...], decision: _Decision) -> Iterator[_Fact]:
        """Taking authorization away leaves the right to keep offers and pool shares; granting it includes that right."""
        for change in changes:
            if change.type != view.TRUSTLINE:
                continue
            line = cast(TrustLineEntry, _earliest(change))
            if line.account_id != decision.holder or line.asset.type == assets.POOL_SHARE:
                continue
            if token_of(self._network_id, line.asset) == decision.token:
                yield from _levels(line.flags if change.pre is not None else 0, decision.authorized)
                return


def _levels(before: int, authorized: bool) -> Iterator[_Fact]:
    """`before` are the trustline's XDR flags."""
    was_authorized, was_maintaining = bool(before & AUTHORIZED), bool(before & MAINTAIN_LIABILITIES)
    if authorized:
        if not was_authorized:
            yield Reason.SET, Flag.AUTHORIZED
        if was_maintaining:
            yield Reason.CLEAR, Flag.AUTHORIZED_TO_MAINTAIN_LIABILITIES
    else:
        if was_authorized:
            yield Reason.CLEAR, Flag.AUTHORIZED
        if not was_maintaining:
            yield Reason.SET, Flag.AUTHORIZED_TO_MAINTAIN_LIABILITIES


def _of_contract(changes: tuple[Change, ...], decision: _Decision) -> Iterator[_Fact]:
    """A contract is authorized or not; there is no flag to name."""
    for change in changes:
        if change.type != CONTRACT_DATA:
            continue
        entry = cast(ContractDataEntry, _earliest(change))
        if entry.contract == decision.token and holder_of(entry.key) == decision.holder:
            before = _authorized(entry.value) if change.pre is not None else False
            if before is not None and before != decision.authorized:
                yield Reason.SET if decision.authorized else Reason.CLEAR, None
            return


def _authorized(balance: ScVal) -> bool | None:
    """The field `authorized` of a balance entry; None when the entry is no balance."""
    fields = cast(tuple[tuple[ScVal, ScVal], ...], balance.value or ()) if balance.type == _MAP else ()
    if len(fields) == _BALANCE_FIELDS:
        for key, value in fields:
            if key == _AUTHORIZED_FIELD:
                return cast(bool, value.value) if value.type == BOOL else None
    return None


def _earliest(change: Change) -> object:
    """The entry before the change, or as it was created."""
    return (change.pre or cast(Entry, change.post)).data


def _decision(network_id: bytes, event: ContractEvent) -> _Decision | None:
    """What a `set_authorized` event decides, provided that the contract of the asset it names emitted it."""
    *_, holder, asset = event.topics
    if event.type != _CONTRACT_EVENT or event.contract_id is None or event.data.type != BOOL:
        return None
    if holder.type != _ADDRESS or asset.type != _STRING or not isinstance(asset.value, str):
        return None
    named, contract = asset_and_contract(network_id, asset.value)
    if named is None or named.issuer is None or contract != event.contract_id:  # nobody administers lumens
        return None
    return _Decision(event.contract_id, cast(Address, holder.value), cast(bool, event.data.value))
