"""Custom tokens in the ledger's transaction: which contracts are tokens, and so which candidate events count.

`read` asks the database what is known of the contracts that a group of ledgers names. `decide` goes through the ledgers one by
one, with that knowledge and what each ledger adds to it, so a group decides as single ledgers would. Pure. `sep41_state` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, NamedTuple

import psycopg

from lumenstream.database import Connection
from schemas.families import PROTOCOL_CONTRACTS, PROTOCOL_WASMS, SEP41_CANDIDATE_EVENTS
from schemas.parts import Row
from schemas.sep41 import PROTOCOL_ID, CandidateEvent, ContractRow, WasmRow
from sinks.timescale.binary import bytea_array

UNKNOWN: Final = "UNKNOWN"

# The contracts named, and those that wait for code which this group brings.
_CONTRACTS: Final[LiteralString] = (
    "select contract_id, wasm_hash, last_modified_ledger, name, symbol, decimals from protocol_contracts "
    "where contract_id = any(%s) "
    "union select c.contract_id, c.wasm_hash, c.last_modified_ledger, c.name, c.symbol, c.decimals from protocol_contracts c "
    "where c.wasm_hash = any(%s) "
    "and not exists (select from protocol_wasms w where w.wasm_hash = c.wasm_hash and w.protocol_id is not null)"
)
_WASMS: Final[LiteralString] = (
    "select wasm_hash, protocol_id from protocol_wasms where wasm_hash = any(%s) "
    "or wasm_hash in (select wasm_hash from protocol_contracts where contract_id = any(%s))"
)

Metadata = tuple[str, str, int]  # name, symbol, decimals
Cursor = psycopg.Cursor[tuple[Any, ...]]


@dataclass(slots=True)
class Sightings:
    """What the part of a ledger says."""

    sequence: int = 0
    wasms: Sequence[WasmRow] = ()
    contracts: Sequence[ContractRow] = ()
    events: Sequence[CandidateEvent] = ()

    @classmethod
    def of(cls, sequence: int, rows: Mapping[str, Sequence[Row]]) -> Sightings:
        """From rows by family."""
        return cls(
            sequence,
            list(map(WasmRow._make, rows.get(PROTOCOL_WASMS.name, ()))),
            list(map(ContractRow._make, rows.get(PROTOCOL_CONTRACTS.name, ()))),
            list(map(CandidateEvent._make, rows.get(SEP41_CANDIDATE_EVENTS.name, ()))),
        )

    def __bool__(self) -> bool:
        return bool(self.wasms or self.contracts or self.events)


class Contract(NamedTuple):
    """`ledger`: when it began to look like this."""

    wasm_hash: bytes
    metadata: Metadata | None
    ledger: int


class Token(NamedTuple):
    """A row of `contract_tokens`. UNKNOWN: it was a token and runs other code now."""

    type: str
    metadata: Metadata | None


@dataclass(slots=True)
class Known:
    """What the database knows. `wasms`: protocol by hash, None for none; `contracts` by address."""

    wasms: dict[bytes, str | None] = field(default_factory=dict)
    contracts: dict[bytes, Contract] = field(default_factory=dict)

    def is_token(self, contract: bytes) -> bool:
        found = self.contracts.get(contract)
        return found is not None and self.wasms.get(found.wasm_hash) == PROTOCOL_ID


@dataclass(slots=True)
class Decision:
    """What to write: rows that are new or changed, and for each ledger the events that count."""

    wasms: dict[bytes, str | None] = field(default_factory=dict)
    contracts: dict[bytes, Contract] = field(default_factory=dict)
    tokens: dict[bytes, Token] = field(default_factory=dict)
    events: list[list[CandidateEvent]] = field(default_factory=list)


def read(connection: Connection, ledgers: Iterable[Sightings]) -> tuple[Cursor, Cursor] | None:
    """Send the questions; `known` reads the answers, after the pipeline. None when there is nothing to ask."""
    seen = [ledger for ledger in ledgers if ledger]
    if not seen:
        return None
    named = {event.contract_id for ledger in seen for event in ledger.events}
    named |= {row.contract_id for ledger in seen for row in ledger.contracts}
    arrived = {row.wasm_hash for ledger in seen for row in ledger.wasms}
    hashes = arrived | {row.wasm_hash for ledger in seen for row in ledger.contracts}
    addresses = bytea_array(sorted(named))
    return (
        connection.execute(_CONTRACTS, (addresses, bytea_array(sorted(arrived)))),
        connection.execute(_WASMS, (bytea_array(sorted(hashes)), addresses)),
    )


def known(answers: tuple[Cursor, Cursor] | None) -> Known:
    if answers is None:
        return Known()
    contracts, wasms = answers
    return Known(
        dict(wasms.fetchall()),
        {address: Contract(wasm_hash, _metadata(*metadata), ledger) for address, wasm_hash, ledger, *metadata in contracts},
    )


def decide(state: Known, ledgers: Iterable[Sightings]) -> Decision:
    """Go through consecutive ledgers. `state` is brought up to the last one."""
    decision = Decision()
    for ledger in ledgers:
        touched = _learn_code(state, decision, ledger.wasms)
        before = {row.contract_id: state.is_token(row.contract_id) for row in ledger.contracts}
        for row in ledger.contracts:
            if _learn_contract(state, decision, row, ledger.sequence):
                touched.add(row.contract_id)
        for address in touched:
            _judge(state, decision, address, was_token=before.get(address, False))
        decision.events.append([event for event in ledger.events if state.is_token(event.contract_id)])
    return decision


def _learn_code(state: Known, decision: Decision, rows: Iterable[WasmRow]) -> set[bytes]:
    """Contracts that code seen for the first time makes tokens."""
    new = {
        row.wasm_hash: row.protocol_id
        for row in rows
        if row.wasm_hash not in state.wasms or (row.protocol_id is not None and state.wasms[row.wasm_hash] is None)
    }
    if not new:
        return set()
    state.wasms |= new
    decision.wasms |= new
    return {address for address, contract in state.contracts.items() if new.get(contract.wasm_hash) == PROTOCOL_ID}


def _learn_contract(state: Known, decision: Decision, row: ContractRow, sequence: int) -> bool:
    """Did the contract change? One that stops describing itself keeps its last description."""
    old = state.contracts.get(row.contract_id)
    metadata = _metadata(row.name, row.symbol, row.decimals) or (old.metadata if old else None)
    if old is not None and (old.wasm_hash, old.metadata) == (row.wasm_hash, metadata):
        return False
    new = Contract(row.wasm_hash, metadata, sequence)
    state.contracts[row.contract_id] = decision.contracts[row.contract_id] = new
    return True


def _judge(state: Known, decision: Decision, address: bytes, *, was_token: bool) -> None:
    if state.is_token(address):
        decision.tokens[address] = Token(PROTOCOL_ID, state.contracts[address].metadata)
    elif was_token:
        earlier = decision.tokens.get(address)
        decision.tokens[address] = Token(UNKNOWN, earlier.metadata if earlier else None)


def _metadata(name: str | None, symbol: str | None, decimals: int | None) -> Metadata | None:
    return None if name is None or symbol is None or decimals is None else (name, symbol, decimals)
