"""Ledgers on the wire: transaction sets, headers and LedgerCloseMeta.

Hashes chain as on a real network: a header holds the hash of the transaction set, of the results and of the previous
header. At a checkpoint the header holds the hash of the bucket list that `sandbox.archive` writes; in between, where nobody can
ask for the buckets, a running SHA-256 over everything the ledgers changed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from stellar_sdk import Keypair, xdr

from sandbox import wire
from sandbox.apply import AppliedTransaction, ChargedFee
from sandbox.envelopes import Envelope
from sandbox.settings import BASE_FEE_STROOPS, BASE_RESERVE_STROOPS, PROTOCOL_VERSION

_SCP_VALUE_TAG = wire.int32(xdr.EnvelopeType.ENVELOPE_TYPE_SCPVALUE)
_SIGNED = wire.int32(xdr.StellarValueType.STELLAR_VALUE_SIGNED)
_BASIC = wire.int32(xdr.StellarValueType.STELLAR_VALUE_BASIC)
# The Soroban phase of a generalized set, always empty here: parallel form, no base fee, no stages.
_NO_SOROBAN = wire.int32(1) + wire.option(None) + wire.array(())
_SKIP_INTERVALS = (50, 5_000, 50_000, 500_000)
_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class LedgerHeader:
    """The fields that vary. `value` is StellarValue XDR: transaction set hash, close time, no upgrades, signature."""

    sequence: int
    previous_hash: bytes
    value: bytes
    result_hash: bytes
    state_hash: bytes
    total_coins: int
    fee_pool: int
    max_tx_set_size: int
    skip_list: tuple[bytes, ...] = (_NO_HASH,) * 4

    def encode(self) -> bytes:
        return b"".join(
            (
                wire.uint32(PROTOCOL_VERSION),
                self.previous_hash,
                self.value,
                self.result_hash,
                self.state_hash,
                wire.uint32(self.sequence),
                wire.int64(self.total_coins),
                wire.int64(self.fee_pool),
                wire.uint32(0),  # inflation never ran
                wire.uint64(0),  # no id was ever taken from the pool
                wire.uint32(BASE_FEE_STROOPS),
                wire.uint32(BASE_RESERVE_STROOPS),
                wire.uint32(self.max_tx_set_size),
                *self.skip_list,
                wire.ZERO,
            )
        )


def genesis_value(close_time: int) -> bytes:
    return _NO_HASH + wire.uint64(close_time) + wire.array(()) + _BASIC


def signed_value(tx_set_hash: bytes, close_time: int, validator: Keypair, network_id: bytes) -> bytes:
    """StellarValue as a validator proposes it, with its signature over network, set and time."""
    moment = wire.uint64(close_time)
    signature = validator.sign(network_id + _SCP_VALUE_TAG + tx_set_hash + moment)
    proof = wire.account_id(validator.raw_public_key()) + wire.opaque(signature)
    return tx_set_hash + moment + wire.array(()) + _SIGNED + proof


def skip_list(previous: tuple[bytes, ...], sequence: int, state_hash: bytes) -> tuple[bytes, ...]:
    """The header's skip list: every 50 ledgers slot 0 takes the new hash, and older slots move up at wider intervals."""
    if sequence % _SKIP_INTERVALS[0]:
        return previous
    slots = list(previous)
    due = 0
    for slot in (1, 2, 3):
        distance = sequence - sum(_SKIP_INTERVALS[:slot])
        if distance <= 0 or distance % _SKIP_INTERVALS[slot]:
            break
        due = slot
    for slot in range(due, 0, -1):
        slots[slot] = slots[slot - 1]
    slots[0] = state_hash
    return tuple(slots)


def transaction_set(previous_hash: bytes, envelopes: Sequence[Envelope]) -> bytes:
    """GeneralizedTransactionSet XDR: one classic component at the base fee, sorted by envelope hash."""
    ordered = sorted(envelopes, key=lambda envelope: envelope.full_hash)
    components = []
    if ordered:
        base_fee = wire.option(wire.int64(BASE_FEE_STROOPS))
        kind = wire.int32(xdr.TxSetComponentType.TXSET_COMP_TXS_MAYBE_DISCOUNTED_FEE)
        components.append(kind + base_fee + wire.array([envelope.xdr for envelope in ordered]))
    classic = wire.ZERO + wire.array(components)
    return wire.int32(1) + previous_hash + wire.array((classic, _NO_SOROBAN))


def apply_order(envelopes: Sequence[Envelope], tx_set_hash: bytes) -> list[Envelope]:
    """Rounds of one transaction per account, by sequence number; within a round by envelope hash XOR set hash."""
    mask = int.from_bytes(tx_set_hash, "big")
    queues: dict[bytes, deque[Envelope]] = {}
    for envelope in sorted(envelopes, key=lambda envelope: envelope.transaction.sequence):
        queues.setdefault(envelope.transaction.source.account, deque()).append(envelope)
    ordered: list[Envelope] = []
    while queues:
        batch = [queue.popleft() for queue in queues.values()]
        ordered += sorted(batch, key=lambda envelope: int.from_bytes(envelope.full_hash, "big") ^ mask)
        queues = {account: queue for account, queue in queues.items() if queue}
    return ordered


def result_set_hash(applied: Sequence[AppliedTransaction]) -> bytes:
    return sha256(wire.array([transaction.result_pair for transaction in applied])).digest()


def ledger_close_meta(
    header: LedgerHeader, header_hash: bytes, tx_set: bytes, fees: Sequence[ChargedFee], applied: Sequence[AppliedTransaction]
) -> bytes:
    """LedgerCloseMeta V2 XDR; `fees` and `applied` run in parallel, in apply order."""
    processing = [
        wire.ZERO + transaction.result_pair + fee.changes + transaction.meta + wire.array(())
        for fee, transaction in zip(fees, applied, strict=True)
    ]
    return b"".join(
        (
            wire.int32(2),
            wire.ZERO,
            header_hash + header.encode() + wire.ZERO,
            tx_set,
            wire.array(processing),
            wire.array(()),  # upgrades
            wire.array(()),  # SCP messages
            wire.uint64(0),  # bytes of live Soroban state
            wire.array(()),  # evicted keys
        )
    )


def header_hash(header: LedgerHeader) -> bytes:
    return sha256(header.encode()).digest()
