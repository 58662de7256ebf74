"""Turns jobs into signed transactions: sequence numbers, fees, memos, signatures and the occasional fee bump."""

from collections.abc import Sequence
from hashlib import sha256
from random import Random

from stellar_sdk import Keypair, xdr

from sandbox.envelopes import (
    NO_MEMO,
    Envelope,
    Memo,
    MuxedAccount,
    Transaction,
    bump,
    bump_hash,
    seal,
    sign,
    transaction_hash,
)
from sandbox.founding import Founding, Job
from sandbox.keys import Keyring
from sandbox.settings import BASE_FEE_STROOPS, SandboxSettings
from sandbox.state import Layer
from sandbox.traffic import Traffic

_FEE_BUMP_SHARE = 0.1
_MUXED_SOURCE_SHARE = 0.03
_MEMO_SHARE = 0.35
_MAX_OVERBID = 10


class TransactionGenerator:
    """Makes a ledger's transactions from the state before it. Must be asked for every ledger, in order."""

    def __init__(self, settings: SandboxSettings, keys: Keyring) -> None:
        self._keys = keys
        self._seed = settings.seed
        self._count = settings.transactions_per_ledger
        self._founding = Founding(keys, settings.accounts)
        self._traffic = Traffic(keys, settings.accounts)

    def envelopes(self, sequence: int, state: Layer, submitted: Sequence[Envelope]) -> list[Envelope]:
        """The generated transactions of ledger `sequence`; sequence numbers go on after those of `submitted`."""
        rng = Random(int.from_bytes(sha256(f"{self._seed} {sequence}".encode()).digest(), "big"))
        used = {envelope.transaction.source.account: envelope.transaction.sequence for envelope in submitted}
        return [self._envelope(job, state, rng, used) for job in self._jobs(state, rng)]

    def _jobs(self, state: Layer, rng: Random) -> list[Job]:
        if not self._founding.done:
            return self._founding.take(self._count)
        return [self._traffic.job(state, rng) for _ in range(self._count)]

    def _envelope(self, job: Job, state: Layer, rng: Random, used: dict[bytes, int]) -> Envelope:
        account = job.source.raw_public_key()
        sequence = used[account] if account in used else self._sequence(state, account)
        used[account] = sequence + 1
        transaction = Transaction(
            source=MuxedAccount(account, rng.randrange(1 << 32) if rng.random() < _MUXED_SOURCE_SHARE else None),
            fee=BASE_FEE_STROOPS * len(job.operations) * rng.randint(1, _MAX_OVERBID),
            sequence=sequence + 1,
            operations=job.operations,
            memo=_memo(rng) if rng.random() < _MEMO_SHARE else NO_MEMO,
        )
        network_id = self._keys.network_id
        signers = (job.source, *job.co_signers)
        envelope = seal(transaction, network_id, sign(signers, transaction_hash(transaction, network_id)))
        if self._founding.done and rng.random() < _FEE_BUMP_SHARE:
            return self._bumped(envelope, self._traffic.sponsor(state, rng))
        return envelope

    def _bumped(self, inner: Envelope, sponsor: Keypair) -> Envelope:
        """At twice the inner transaction's rate per operation."""
        operations = len(inner.transaction.operations)
        fee = 2 * (inner.transaction.fee // operations) * (operations + 1)
        source = MuxedAccount(sponsor.raw_public_key())
        network_id = self._keys.network_id
        return bump(inner, source, fee, network_id, sign([sponsor], bump_hash(inner, source, fee, network_id)))

    @staticmethod
    def _sequence(state: Layer, account: bytes) -> int:
        found = state.account(account)
        return 0 if found is None else found.sequence


def _memo(rng: Random) -> Memo:
    match rng.randrange(4):
        case 0:
            return Memo(xdr.MemoType.MEMO_TEXT, f"invoice {rng.randrange(1_000_000)}".encode())
        case 1:
            return Memo(xdr.MemoType.MEMO_HASH, rng.randbytes(32))
        case 2:
            return Memo(xdr.MemoType.MEMO_RETURN, rng.randbytes(32))
        case _:
            return Memo(xdr.MemoType.MEMO_ID, rng.randrange(1 << 64))
