"""Custom tokens (SEP-41): code that is a token's, contracts that run it, and events that could be a token's.

One ledger alone does not say which contracts are tokens, because their code may be old. So this processor tells what it sees, and
the sink, which knows the contracts, keeps the events of tokens and makes state changes, balances and allowances of them
(`schemas.sep41`). Asset contracts are another matter: they have no code of their own, and their events name the asset in one more
topic, so none has a shape that is accepted here. Spec/processors.md 10.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from lumenstream.logs import get_logger
from lumenstream.xdr.rows import (
    Address,
    Change,
    ContractCodeEntry,
    ContractDataEntry,
    ContractEvent,
    ContractInstance,
    Hash,
    Ledger,
    ScVal,
)
from processors import view, wasm
from schemas import strkey, toid
from schemas.families import PROTOCOL_CONTRACTS, PROTOCOL_WASMS, SEP41_CANDIDATE_EVENTS
from schemas.parts import Part
from schemas.sep41 import PROTOCOL_ID, CandidateEvent, ContractRow, TokenEvent, WasmRow

MAX_NAME_BYTES: Final = 128
MAX_SYMBOL_BYTES: Final = 32
MAX_DECIMALS: Final = 70

# LedgerEntryType
_CONTRACT_DATA: Final = 6
_CONTRACT_CODE: Final = 7

# ScValType
_U32: Final = 3
_U64: Final = 5
_I128: Final = 10
_STRING: Final = 14
_SYMBOL: Final = 15
_VEC: Final = 16
_MAP: Final = 17
_ADDRESS: Final = 18
_CONTRACT_INSTANCE: Final = 19
_KEY_CONTRACT_INSTANCE: Final = 20

_CONTRACT_EVENT: Final = 1
_METADATA: Final = ScVal(_SYMBOL, "METADATA")  # where the Soroban token SDK keeps what describes a token
_DECIMAL: Final = ScVal(_SYMBOL, "decimal")
_NAME: Final = ScVal(_SYMBOL, "name")
_SYMBOL_FIELD: Final = ScVal(_SYMBOL, "symbol")
_HOLDERS: Final = frozenset({strkey.ACCOUNT, strkey.CONTRACT, strkey.MUXED, strkey.LIQUIDITY_POOL, strkey.CLAIMABLE_BALANCE})
_APPROVE_FIELDS: Final = 2

_Metadata = tuple[str, str, int] | tuple[None, None, None]
_NO_METADATA: Final = (None, None, None)

_log = get_logger("processors")


class Sep41:
    """Families `protocol_wasms` (each code once), `protocol_contracts` (each contract once, as the ledger left it) and
    `sep41_candidate_events` (in the order of emission)."""

    name: Final = "sep41"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Nothing here depends on the network."""

    def process(self, ledger: Ledger) -> Part:
        wasms: dict[Hash, WasmRow] = {}
        contracts: dict[Address, ContractRow] = {}
        events: list[CandidateEvent] = []
        for tx in ledger.transactions:
            if not tx.is_soroban:
                continue
            succeeded = view.successful(tx)
            for index, op in enumerate(tx.operations):
                if op.changes and op.changes[-1].type >= _CONTRACT_DATA:  # sorted by type
                    _sight(op.changes, wasms, contracts)
                if succeeded and op.events and op.type == view.INVOKE_HOST_FUNCTION:
                    to_id = toid.transaction_id(ledger.header.sequence, tx.order)
                    events.extend(_candidates(op.events, to_id, toid.operation_id(to_id, index)))
        part = Part()
        part.add(PROTOCOL_WASMS, wasms.values())
        part.add(PROTOCOL_CONTRACTS, contracts.values())
        part.add(SEP41_CANDIDATE_EVENTS, events)
        return part


# --- code and contracts -----------------------------------------------------------------------------------------------


def _sight(changes: tuple[Change, ...], wasms: dict[Hash, WasmRow], contracts: dict[Address, ContractRow]) -> None:
    """Code uploaded or restored, and contracts that run such code: created, upgraded, or with other data in their instance."""
    for change in changes:
        if change.type == _CONTRACT_DATA and change.post is not None:
            entry = cast(ContractDataEntry, change.post.data)
            if entry.key.type == _KEY_CONTRACT_INSTANCE and entry.value.type == _CONTRACT_INSTANCE:
                instance = cast(ContractInstance, entry.value.value)
                if instance.wasm_hash is not None and entry.contract[0] == strkey.CONTRACT:
                    contracts[entry.contract] = ContractRow(entry.contract, instance.wasm_hash, *metadata_of(instance))
        elif change.type == _CONTRACT_CODE and change.post is not None:
            code = cast(ContractCodeEntry, change.post.data)
            if code.hash not in wasms:
                wasms[code.hash] = WasmRow(code.hash, protocol_of(code), len(code.code))


def protocol_of(entry: ContractCodeEntry) -> str | None:
    """SEP41 for code with the functions of a token. None for any other, also when it cannot be read."""
    try:
        return PROTOCOL_ID if wasm.is_sep41(wasm.functions(entry.code)) else None
    except wasm.WasmError as error:
        _log.debug("code that does not describe its functions", wasm_hash=entry.hash.hex(), reason=str(error))
        return None


def metadata_of(instance: ContractInstance) -> _Metadata:
    """Name, symbol and decimals as the token SDK stores them. Nothing unless all three are there and within their limits."""
    for key, value in instance.storage or ():
        if key == _METADATA and value.type == _MAP:
            fields = dict(cast(tuple[tuple[ScVal, ScVal], ...], value.value or ()))
            name, symbol = _text(fields.get(_NAME), MAX_NAME_BYTES), _text(fields.get(_SYMBOL_FIELD), MAX_SYMBOL_BYTES)
            decimals = fields.get(_DECIMAL)
            if name is None or symbol is None or decimals is None or decimals.type != _U32:
                return _NO_METADATA
            number = cast(int, decimals.value)
            return (name, symbol, number) if number <= MAX_DECIMALS else _NO_METADATA
    return _NO_METADATA


def _text(value: ScVal | None, limit: int) -> str | None:
    """A string that a database and a screen can take: valid UTF-8, within its limit, without NUL."""
    if value is None or value.type != _STRING or not isinstance(value.value, str):
        return None
    text = value.value
    return None if len(text.encode()) > limit or "\0" in text else text


# --- events -----------------------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """What an event with this first topic must look like. `memo`: its data may be a map with a memo for the receiver."""

    kind: TokenEvent
    topics: tuple[int, ...]
    memo: bool


_SHAPES: Final = {
    shape.kind.value: shape
    for shape in (
        _Shape(TokenEvent.TRANSFER, (3,), True),
        _Shape(TokenEvent.MINT, (2, 3), True),  # three: an older form that names the admin first
        _Shape(TokenEvent.BURN, (2,), False),
        _Shape(TokenEvent.CLAWBACK, (2, 3), False),  # likewise
        _Shape(TokenEvent.APPROVE, (3,), False),
    )
}


def _candidates(events: tuple[ContractEvent, ...], to_id: int, operation_id: int) -> Iterator[CandidateEvent]:
    for event in events:
        topics = event.topics
        if event.type != _CONTRACT_EVENT or event.contract_id is None or not topics or topics[0].type != _SYMBOL:
            continue
        shape = _SHAPES.get(cast(str, topics[0].value))
        if shape is None or len(topics) not in shape.topics:
            continue
        if all(topic.type == _ADDRESS and cast(Address, topic.value)[0] in _HOLDERS for topic in topics[1:]):
            candidate = _candidate(shape, event, to_id, operation_id)
            if candidate is not None:
                yield candidate


def _candidate(shape: _Shape, event: ContractEvent, to_id: int, operation_id: int) -> CandidateEvent | None:
    """None when the data do not fit. That is no error: contracts emit what they like."""
    parties = [cast(Address, topic.value) for topic in event.topics[1:]]
    if shape.kind is TokenEvent.APPROVE:
        allowance = _allowance(event.data)
        if allowance is None:
            return None
        amount, muxed_id, live_until = allowance[0], None, allowance[1]
    else:
        amount_and_memo = _amount(event.data, shape.memo)
        if amount_and_memo is None:
            return None
        amount, muxed_id, live_until = *amount_and_memo, None
    source = destination = spender = None
    match shape.kind:
        case TokenEvent.TRANSFER:
            source, destination = parties
        case TokenEvent.MINT:
            destination = parties[-1]
        case TokenEvent.BURN | TokenEvent.CLAWBACK:
            source = parties[-1]
        case TokenEvent.APPROVE:
            source, spender = parties
    contract = cast(Address, event.contract_id)
    return CandidateEvent(to_id, operation_id, shape.kind, contract, source, destination, spender, amount, muxed_id, live_until)


def _amount(data: ScVal, memo: bool) -> tuple[int, str | None] | None:
    """The amount and the receiver's muxed id: a plain number, or since CAP-67 a map that may hold both."""
    if data.type == _I128:
        return cast(int, data.value), None
    if data.type != _MAP or not memo:
        return None
    amount = muxed_id = None
    for key, value in cast(tuple[tuple[ScVal, ScVal], ...], data.value or ()):
        if key.type != _SYMBOL:
            continue
        if key.value == "amount":
            if value.type != _I128:
                return None
            amount = cast(int, value.value)
        elif key.value == "to_muxed_id" and value.type == _U64:
            muxed_id = str(value.value)
    return None if amount is None else (amount, muxed_id)


def _allowance(data: ScVal) -> tuple[int, int] | None:
    """The amount and the last ledger in which it may be spent."""
    items = cast(tuple[ScVal, ...], data.value or ()) if data.type == _VEC else ()
    if len(items) != _APPROVE_FIELDS or items[0].type != _I128 or items[1].type != _U32:
        return None
    return cast(int, items[0].value), cast(int, items[1].value)
