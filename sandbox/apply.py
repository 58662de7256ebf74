"""How one transaction becomes part of a ledger: the fee, the sequence number, the operations, the result and the meta.

Two passes as in stellar-core: first every transaction of the ledger pays its fee, then each is applied. A transaction whose
operations do not all succeed keeps only its fee and its sequence number, and its meta lists no operations.
"""

from dataclasses import dataclass, replace

from stellar_sdk import xdr

from sandbox import wire
from sandbox.envelopes import Envelope
from sandbox.events import EventWriter
from sandbox.operations import OperationOutcome, apply_operation
from sandbox.settings import BASE_FEE_STROOPS
from sandbox.state import Account, Layer

Code = xdr.TransactionResultCode
_META_V4 = wire.int32(4)


class SandboxError(RuntimeError):
    """The network contradicts itself; a defect of the sandbox, never of a transaction."""


@dataclass(frozen=True, slots=True)
class ChargedFee:
    """`changes` is the feeProcessing list, encoded."""

    amount: int
    changes: bytes


@dataclass(frozen=True, slots=True)
class AppliedTransaction:
    """`result_pair` is TransactionResultPair XDR, `meta` TransactionMeta XDR."""

    result_pair: bytes
    meta: bytes


def charge_fee(ledger: Layer, envelope: Envelope) -> ChargedFee:
    """Take the base fee per operation, never more than was bid or than the fee source has."""
    payer = _existing(ledger, envelope.fee_source)
    wanted = min(envelope.fee_bid, BASE_FEE_STROOPS * envelope.fee_operations)
    amount = min(payer.balance, wanted)
    layer = ledger.child()
    layer.put(replace(payer, balance=payer.balance - amount))
    changes = wire.array(layer.changes())
    layer.commit()
    return ChargedFee(amount, changes)


def apply_transaction(ledger: Layer, envelope: Envelope, fee: int, close_time: int, events: EventWriter) -> AppliedTransaction:
    """Apply a transaction whose fee has been charged."""
    before = _consume_sequence(ledger, envelope, close_time)
    code, outcomes, operation_metas = _run_operations(ledger, envelope, events)
    result = _result(envelope, fee, code, outcomes)
    meta = b"".join(
        (
            _META_V4,
            wire.ZERO,
            wire.array(before),
            wire.array(operation_metas),
            wire.array(()),  # changes after
            wire.ZERO,  # no Soroban meta
            wire.array(events.fee(envelope.fee_source, fee)),
            wire.array(()),  # diagnostic events
        )
    )
    return AppliedTransaction(envelope.hash + result, meta)


def _existing(layer: Layer, account: bytes) -> Account:
    found = layer.account(account)
    if found is None:
        raise SandboxError(f"account {account.hex()} is in the transaction set but not in the ledger")
    return found


def _consume_sequence(ledger: Layer, envelope: Envelope, close_time: int) -> list[bytes]:
    """The txChangesBefore list. A fee bump first touches its fee source: core looks there for a one-time signer."""
    changes: list[bytes] = []
    if envelope.is_fee_bump:
        layer = ledger.child()
        layer.put(_existing(layer, envelope.fee_source))
        changes += layer.changes()
        layer.commit()
    layer = ledger.child()
    transaction = envelope.transaction
    source = _existing(layer, transaction.source.account)
    if source.sequence + 1 != transaction.sequence:
        raise SandboxError(f"transaction {envelope.hash.hex()} has sequence {transaction.sequence}, not {source.sequence + 1}")
    stamped = replace(source, sequence=transaction.sequence, sequence_ledger=ledger.sequence, sequence_time=close_time)
    layer.put(stamped)
    changes += layer.changes()
    layer.commit()
    return changes


def _run_operations(
    ledger: Layer, envelope: Envelope, events: EventWriter
) -> tuple[xdr.TransactionResultCode, list[OperationOutcome], list[bytes]]:
    """Result code, the outcome of every operation, and the operation metas (none unless all succeeded)."""
    transaction = envelope.transaction
    if not envelope.is_fee_bump and _existing(ledger, transaction.source.account).available < 0:
        return Code.txINSUFFICIENT_BALANCE, [], []
    layer = ledger.child()
    outcomes: list[OperationOutcome] = []
    metas: list[bytes] = []
    for operation in transaction.operations:
        operation_layer = layer.child()
        outcome = apply_operation(operation_layer, transaction, operation, events)
        outcomes.append(outcome)
        if outcome.succeeded:
            metas.append(wire.ZERO + wire.array(operation_layer.changes()) + wire.array(outcome.events))
            operation_layer.commit()
    if len(metas) < len(outcomes):
        return Code.txFAILED, outcomes, []
    layer.commit()
    return Code.txSUCCESS, outcomes, metas


def _result(envelope: Envelope, fee: int, code: xdr.TransactionResultCode, outcomes: list[OperationOutcome]) -> bytes:
    """TransactionResult XDR; around it, for a fee bump, the outer result with the inner pair."""
    body = wire.int32(code)
    if code in (Code.txSUCCESS, Code.txFAILED):
        body += wire.array([outcome.result for outcome in outcomes])
    if not envelope.is_fee_bump:
        return wire.int64(fee) + body + wire.ZERO
    outer = Code.txFEE_BUMP_INNER_SUCCESS if code is Code.txSUCCESS else Code.txFEE_BUMP_INNER_FAILED
    inner_fee = min(envelope.transaction.fee, BASE_FEE_STROOPS * len(envelope.transaction.operations))
    inner = envelope.inner_hash + wire.int64(inner_fee) + body + wire.ZERO
    return wire.int64(fee) + wire.int32(outer) + inner + wire.ZERO
