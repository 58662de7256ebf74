"""Custom tokens (SEP-41): the rows that their processor emits, and what an event of a token means to whoever holds it.

A processor sees one ledger and cannot know which contracts are tokens: their code may have come years before. So it tells what it
sees (code, contracts, events that could be a token's), and whoever has the database decides and turns events into state changes
and balances. These rules are here because the sink and every offline reader apply the same (spec/processors.md 10.5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.state_changes import AllowanceChange, BalanceChange, IdBase, Reason

Address = bytes

PROTOCOL_ID: Final = "SEP41"  # in `protocol_wasms`, and as the type in `contract_tokens`


class TokenEvent(StrEnum):
    """First topic of the event."""

    TRANSFER = "transfer"
    MINT = "mint"
    BURN = "burn"
    CLAWBACK = "clawback"
    APPROVE = "approve"


class WasmRow(NamedTuple):
    """Code seen in the ledger. `protocol_id` is None for code that is no token's."""

    wasm_hash: bytes
    protocol_id: str | None
    bytecode_len: int


class ContractRow(NamedTuple):
    """A contract and the code it runs after the ledger. Name, symbol and decimals: all from its instance storage, or none."""

    contract_id: Address
    wasm_hash: bytes
    name: str | None
    symbol: str | None
    decimals: int | None


class CandidateEvent(NamedTuple):
    """An event that has the shape of a token's; it counts only when its contract is a token. `event` is a `TokenEvent`.

    transfer: from, to. mint: to. burn, clawback: from. approve: from, spender, live_until_ledger. Raw units of the contract.
    """

    to_id: int
    operation_id: int
    event: str
    contract_id: Address
    from_account_id: Address | None
    to_account_id: Address | None
    spender_account_id: Address | None
    amount: int
    to_muxed_id: str | None
    live_until_ledger: int | None


def state_changes(events: Iterable[CandidateEvent]) -> Iterator[BalanceChange | AllowanceChange]:
    """State changes of events that are known to be tokens', in the order of the events. Ids count from IdBase.SEP41 within an
    operation: without gaps, because events of other contracts are out already."""
    last_ids: Counter[int] = Counter()
    for event in events:
        for reason, account in _facts(event):
            last_ids[event.operation_id] += 1
            place = event.to_id, event.operation_id, IdBase.SEP41 + last_ids[event.operation_id]
            if event.spender_account_id is not None:
                live = {"live_until_ledger": event.live_until_ledger}
                yield AllowanceChange(*place, reason, account, event.contract_id, event.spender_account_id, event.amount, live)
            else:
                muxed_id = event.to_muxed_id if reason in (Reason.CREDIT, Reason.MINT) else None
                yield BalanceChange(*place, reason, account, event.contract_id, event.amount, muxed_id)


def balance_deltas(event: CandidateEvent) -> Iterator[tuple[Address, int]]:
    """By how much the event changes whose balance: the sum over a token's life is what it minted less what it burned."""
    if event.spender_account_id is not None:
        return
    if event.from_account_id is not None:
        yield event.from_account_id, -event.amount
    if event.to_account_id is not None:
        yield event.to_account_id, event.amount


def _facts(event: CandidateEvent) -> Iterator[tuple[Reason, Address]]:
    """A custom token has no issuer, so mint and burn are told to the holder, and only once."""
    source, destination = event.from_account_id, event.to_account_id
    if event.spender_account_id is not None and source is not None:
        yield Reason.UPDATE, source
    elif source is not None and destination is not None:
        yield Reason.DEBIT, source
        yield Reason.CREDIT, destination
    elif destination is not None:
        yield Reason.MINT, destination
    elif source is not None:
        yield Reason.BURN, source
