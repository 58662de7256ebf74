"""The sandbox network itself: it holds the state and closes one ledger after another.

Ledger 1 is the genesis, with every lumen on the root account; the first ledger a caller sees is number 2. Where a ledger's
transactions come from: the generator (seeded), and whatever was submitted since the last close.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sandbox import archive, wire
from sandbox.apply import apply_transaction, charge_fee
from sandbox.events import EventWriter
from sandbox.keys import Keyring
from sandbox.meta import (
    LedgerHeader,
    apply_order,
    genesis_value,
    header_hash,
    ledger_close_meta,
    result_set_hash,
    signed_value,
    skip_list,
    transaction_set,
)
from sandbox.settings import PROTOCOL_VERSION, TOTAL_COINS_STROOPS, SandboxSettings
from sandbox.state import Account, Layer
from sandbox.submission import SubmissionQueue
from sandbox.transactions import TransactionGenerator

GENESIS_SEQUENCE = 1
_NO_HASH = bytes(32)


@dataclass(frozen=True)
class ClosedLedger:
    """One closed ledger; `meta` is its LedgerCloseMeta XDR, `close_time` Unix seconds."""

    sequence: int
    close_time: int
    hash: bytes
    previous_hash: bytes
    meta: bytes


class Sandbox:
    """A network in memory. Not thread-safe: one caller closes ledgers and submits."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self._keys = Keyring(settings.network_passphrase, settings.seed)
        self._events = EventWriter(self._keys.network_id)
        self._generator = TransactionGenerator(settings, self._keys)
        self._queue = SubmissionQueue(self._keys.network_id, settings.max_queued_operations)
        self._state = Layer(GENESIS_SEQUENCE)
        self._state.put(Account(self._keys.root.raw_public_key(), TOTAL_COINS_STROOPS, sequence=0))
        self._header = _genesis(settings)
        self._hash = header_hash(self._header)

    @property
    def latest_sequence(self) -> int:
        return self._header.sequence

    @property
    def latest_hash(self) -> bytes:
        return self._hash

    @property
    def fee_pool(self) -> int:
        return self._header.fee_pool

    def close_ledger(self) -> ClosedLedger:
        """Advance the network by one ledger."""
        sequence = self._header.sequence + 1
        close_time = self.settings.close_time(sequence)
        submitted = self._queue.take()
        envelopes = submitted + self._generator.envelopes(sequence, self._state, submitted)
        previous_hash = self._hash
        tx_set = transaction_set(previous_hash, envelopes)
        tx_set_hash = sha256(tx_set).digest()

        ordered = apply_order(envelopes, tx_set_hash)
        ledger = self._state.child(sequence)
        fees = [charge_fee(ledger, envelope) for envelope in ordered]
        applied = [
            apply_transaction(ledger, envelope, fee.amount, close_time, self._events)
            for envelope, fee in zip(ordered, fees, strict=True)
        ]
        changes = wire.array(ledger.changes())
        ledger.commit()
        state_hash = self._state_hash(sequence, changes)

        self._header = LedgerHeader(
            sequence=sequence,
            previous_hash=previous_hash,
            value=signed_value(tx_set_hash, close_time, self._keys.validator, self._keys.network_id),
            result_hash=result_set_hash(applied),
            state_hash=state_hash,
            total_coins=self._header.total_coins,
            fee_pool=self._header.fee_pool + sum(fee.amount for fee in fees),
            max_tx_set_size=self.settings.max_tx_set_operations,
            skip_list=skip_list(self._header.skip_list, sequence, state_hash),
        )
        self._hash = header_hash(self._header)
        meta = ledger_close_meta(self._header, self._hash, tx_set, fees, applied)
        return ClosedLedger(sequence, close_time, self._hash, previous_hash, meta)

    def submit(self, envelope_xdr_base64: str) -> bytes:
        """Take a signed transaction into the next ledger. Returns its hash; raises SubmissionRefused."""
        next_close = self.settings.close_time(self._header.sequence + 1)
        return self._queue.add(envelope_xdr_base64, self._state, next_close)

    def ledgers(self, first: int = GENESIS_SEQUENCE + 1) -> Iterator[ClosedLedger]:
        """Every ledger from `first` on, without end, made again from the genesis; this network itself does not move.

        Submitted transactions are not part of it: it is the chain that the settings alone determine.
        """
        replay = Sandbox(self.settings)
        while True:
            closed = replay.close_ledger()
            if closed.sequence >= first:
                yield closed

    def write_archive(self, root: Path) -> None:
        """A history archive of the state as it is. RuntimeError unless the last ledger is a checkpoint."""
        sequence = self._header.sequence
        if not archive.is_checkpoint(sequence):
            raise RuntimeError(f"ledger {sequence} is no checkpoint")
        archive.write(root, sequence, self.settings.network_passphrase, self._buckets(sequence), [self._header.encode()])

    def _state_hash(self, sequence: int, changes: bytes) -> bytes:
        """At a checkpoint the hash of the bucket list, as on every network; else one that moves with the state all the same."""
        if archive.is_checkpoint(sequence):
            return self._buckets(sequence).hash
        return sha256(self._header.state_hash + changes).digest()

    def _buckets(self, sequence: int) -> archive.BucketList:
        entries = ((entry.last_modified, entry.encode()) for entry in self._state.entries())
        return archive.by_age(PROTOCOL_VERSION, sequence, entries)

    def ledger_entries(self) -> dict[bytes, bytes]:
        """The current state: LedgerEntry XDR by LedgerKey XDR."""
        return {entry.key: entry.encode() for entry in self._state.entries()}


def _genesis(settings: SandboxSettings) -> LedgerHeader:
    return LedgerHeader(
        sequence=GENESIS_SEQUENCE,
        previous_hash=_NO_HASH,
        value=genesis_value(settings.close_time(GENESIS_SEQUENCE)),
        result_hash=_NO_HASH,
        state_hash=_NO_HASH,
        total_coins=TOTAL_COINS_STROOPS,
        fee_pool=0,
        max_tx_set_size=settings.max_tx_set_operations,
    )
