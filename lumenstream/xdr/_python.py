"""The decoder without a compiler: same functions, same rows and same strictness as `lumenstream._native`.

`_wire` (generated) decodes the message, `_values` and `_operations` turn its pieces into rows, this module brings envelope,
result and meta of each transaction together.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

from lumenstream.xdr import _wire, rows
from lumenstream.xdr._cursor import Cursor, decode
from lumenstream.xdr._operations import operation_body, operation_result
from lumenstream.xdr._values import (
    ACCOUNT,
    Union,
    Wire,
    changes,
    contract_event,
    ledger_key,
    muxed,
    scval,
    text,
)
from lumenstream.xdr.errors import LedgerContentError

_TX: Final = (2).to_bytes(4, "big")
_TX_FEE_BUMP: Final = (5).to_bytes(4, "big")
_V0, _FEE_BUMP = 0, 5  # EnvelopeType
_INTERNAL_ERROR: Final = -11  # TransactionResultCode
_LAST_PROTOCOL_WITH_CHANGES_AFTER_INTERNAL_ERROR: Final = 12


def extract_ledger(data: bytes, network_id: bytes) -> rows.Ledger:
    """The ledger as rows. LedgerDecodeError, LedgerContentError."""
    if len(network_id) != 32:
        raise ValueError("a network id has 32 bytes")
    version, ledger = decode(data, _wire.LedgerCloseMeta)
    header = _header(ledger["ledgerHeader"])
    envelopes = _by_hash(version, ledger, network_id)
    return rows.Ledger(
        version=version,
        header=header,
        transactions=tuple(
            _transaction(_Context(position, header.protocol_version, network_id), processed, envelopes)
            for position, processed in enumerate(ledger["txProcessing"], 1)
        ),
        upgrades=tuple(map(_upgrade, ledger["upgradesProcessing"])),
        evicted_keys=tuple(map(ledger_key, ledger.get("evictedKeys", ()))),
        total_byte_size_of_live_soroban_state=ledger.get("totalByteSizeOfLiveSorobanState", 0),
    )


def extract_details(data: bytes, network_id: bytes) -> tuple[rows.TransactionDetails, ...]:
    """The details of each transaction. LedgerDecodeError, LedgerContentError."""
    if len(network_id) != 32:
        raise ValueError("a network id has 32 bytes")
    version, ledger = decode(data, _wire.LedgerCloseMeta)
    envelopes = _by_hash(version, ledger, network_id)
    return tuple(_details(position, processed, envelopes) for position, processed in enumerate(ledger["txProcessing"], 1))


def read_header(data: bytes) -> rows.LedgerHeader:
    """The header alone. LedgerDecodeError."""
    return _header(decode(data, _read_header, whole=False))


def validate(data: bytes) -> None:
    """Decode everything strictly. LedgerDecodeError."""
    decode(data, _wire.LedgerCloseMeta)


def transaction_count(data: bytes) -> int:
    """How many transactions the ledger holds. LedgerDecodeError."""
    return len(decode(data, _wire.LedgerCloseMeta)[1]["txProcessing"])


def split_batch(data: bytes) -> list[bytes]:
    """The bytes of each ledger of a LedgerCloseMetaBatch. LedgerDecodeError."""
    return [xdr for _, xdr in decode(data, _wire.LedgerCloseMetaBatch)["ledgerCloseMetas"]]


def _read_header(cursor: Cursor) -> Any:
    version = cursor.i32()
    if version in (1, 2):
        _wire.LedgerCloseMetaExt(cursor)
    elif version != 0:
        cursor.unknown(version)
    return _wire.LedgerHeaderHistoryEntry(cursor)


def _header(value: Wire) -> rows.LedgerHeader:
    header = value["header"]
    return rows.LedgerHeader(
        sequence=header["ledgerSeq"],
        hash=value["hash"],
        previous_hash=header["previousLedgerHash"],
        close_time=header["scpValue"]["closeTime"],
        protocol_version=header["ledgerVersion"],
        base_fee=header["baseFee"],
        base_reserve=header["baseReserve"],
        total_coins=header["totalCoins"],
        fee_pool=header["feePool"],
        max_tx_set_size=header["maxTxSetSize"],
        tx_set_result_hash=header["txSetResultHash"],
        bucket_list_hash=header["bucketListHash"],
    )


def _envelopes(version: int, tx_set: Wire) -> Iterator[tuple[Union, bytes]]:
    """Every (envelope, XDR): all components of a classic phase; all stages and clusters of a parallel one."""
    if version == 0:
        yield from tx_set["txs"]
        return
    for kind, phase in tx_set[1]["phases"]:
        if kind == 0:
            for _, component in phase:
                yield from component["txs"]
        else:
            for stage in phase["executionStages"]:
                for cluster in stage:
                    yield from cluster


_Envelopes = dict[bytes, tuple[Union, bytes]]


def _by_hash(version: int, ledger: Wire, network_id: bytes) -> _Envelopes:
    return {_envelope_hash(spanned[0], network_id): spanned for spanned in _envelopes(version, ledger["txSet"])}


def _envelope_of(place: str, tx_hash: bytes, envelopes: _Envelopes) -> tuple[Union, bytes]:
    if tx_hash not in envelopes:
        raise LedgerContentError(f"{place}: no envelope in the set has this hash")
    return envelopes[tx_hash]


def _envelope_hash(envelope: Union, network_id: bytes) -> bytes:
    """SHA-256 of the signed payload; a V0 transaction in its V1 form, whose source starts with the key type 0."""
    kind, value = envelope
    xdr: bytes = value["tx"][1]
    tag = _TX + bytes(4) if kind == _V0 else _TX_FEE_BUMP if kind == _FEE_BUMP else _TX
    return sha256(network_id + tag + xdr).digest()


class _Context(NamedTuple):
    position: int
    protocol: int
    network_id: bytes


class _Meta(NamedTuple):
    """What a transaction meta holds, whatever its version."""

    before: list[Union]
    after: list[Union]
    operations: list[Wire]
    shared_events: tuple[rows.ContractEvent, ...]  # V3: shown on every operation
    events: list[Wire]
    return_value: Union | None


def _meta(meta: Union, place: str) -> _Meta:
    version, value = meta
    if version == 0:
        raise LedgerContentError(f"{place}: transaction meta of version 0 is not supported")
    if version == 1:
        return _Meta(value["txChanges"], [], value["operations"], (), [], None)
    before, after, operations = value["txChangesBefore"], value["txChangesAfter"], value["operations"]
    soroban = value.get("sorobanMeta") or {}
    shared = tuple(map(contract_event, soroban.get("events", ())))
    return _Meta(before, after, operations, shared, value.get("events", []), soroban.get("returnValue"))


def _transaction(context: _Context, processed: Wire, envelopes: _Envelopes) -> rows.Transaction:
    pair, meta_value = processed["result"], processed["txApplyProcessing"]
    tx_hash: bytes = pair["transactionHash"]
    place = f"transaction {context.position} ({tx_hash.hex()})"
    (envelope_type, envelope), _ = _envelope_of(place, tx_hash, envelopes)
    meta = _meta(meta_value, place)
    fee_changes = processed["feeProcessing"]
    if context.protocol < 10 and meta_value[0] < 2 and fee_changes:
        raise LedgerContentError(f"{place}: fee changes of a protocol below 10 beside a meta below version 2")
    outer = envelope["tx"][0]
    inner = outer["innerTx"][1]["tx"][0] if envelope_type == _FEE_BUMP else outer
    source = ACCOUNT + inner["sourceAccountEd25519"] if envelope_type == _V0 else muxed(inner["sourceAccount"])
    soroban = None if envelope_type == _V0 else inner["ext"][1]
    code, body = pair["result"]["result"]
    inner_code = None
    if code in (1, -13):
        inner_code, body = body["result"]["result"]
    hide_changes = code == _INTERNAL_ERROR and context.protocol <= _LAST_PROTOCOL_WITH_CHANGES_AFTER_INTERNAL_ERROR
    memo_type, memo = inner["memo"]
    return rows.Transaction(
        order=context.position,
        hash=tx_hash,
        inner_hash=_envelope_hash(outer["innerTx"], context.network_id) if envelope_type == _FEE_BUMP else None,
        envelope_type=envelope_type,
        source=source,
        fee_source=muxed(outer["feeSource"]) if envelope_type == _FEE_BUMP else None,
        seq_num=inner["seqNum"],
        fee=outer["fee"],
        memo=rows.Memo(memo_type, text(memo) if memo_type == 1 else memo),
        is_soroban=soroban is not None,
        resource_fee=soroban["resourceFee"] if soroban else 0,
        result_code=code,
        fee_charged=pair["result"]["feeCharged"],
        inner_result_code=inner_code,
        meta_version=meta_value[0],
        operations=_operations(context, inner["operations"], body or [], meta, hide_changes, place),
        fee_changes=changes(fee_changes, f"{place}, fee changes"),
        changes_after=changes(meta.after, f"{place}, changes after"),
        post_fee_changes=changes(processed.get("postTxApplyFeeProcessing", []), f"{place}, changes after all transactions"),
    )


def _details(position: int, processed: Wire, envelopes: _Envelopes) -> rows.TransactionDetails:
    tx_hash: bytes = processed["result"]["transactionHash"]
    place = f"transaction {position} ({tx_hash.hex()})"
    _, envelope_xdr = _envelope_of(place, tx_hash, envelopes)
    meta = _meta(processed["txApplyProcessing"], place)
    return rows.TransactionDetails(
        changes_before=changes(meta.before, f"{place}, changes before"),
        events=tuple(rows.TransactionEvent(event["stage"], contract_event(event["event"])) for event in meta.events),
        soroban_return_value=None if meta.return_value is None else scval(meta.return_value),
        envelope_xdr=envelope_xdr,
    )


def _operations(
    context: _Context,
    operations: list[tuple[Wire, bytes]],
    results: list[Union],
    meta: _Meta,
    hide_changes: bool,
    place: str,
) -> tuple[rows.Operation, ...]:
    found = []
    for index, (operation, xdr) in enumerate(operations):
        own = meta.operations[index] if index < len(meta.operations) else {"changes": []}
        raw = [] if hide_changes else own["changes"]
        source = operation["sourceAccount"]
        body = operation["body"]
        found.append(
            rows.Operation(
                type=body[0],
                source=None if source is None else muxed(source),
                body=operation_body(body, context.network_id),
                xdr=xdr,
                result=operation_result(results[index]) if index < len(results) else None,
                changes=changes(raw, f"{place}, operation {index}", of_operation=True),
                events=tuple(map(contract_event, own.get("events", ()))) or meta.shared_events,
            )
        )
    return tuple(found)


def _upgrade(value: Wire) -> rows.Upgrade:
    (kind, _), xdr = value["upgrade"]
    return rows.Upgrade(kind, xdr, changes(value["changes"], f"upgrade of type {kind}"))
