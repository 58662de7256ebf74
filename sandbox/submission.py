"""The door for transactions from outside: validates an envelope as a node would and holds it for the next ledger.

Refusals carry the result code stellar-core would answer with (`txBAD_SEQ`, `txBAD_AUTH`, ...). What the sandbox cannot run
at all is `txNOT_SUPPORTED`, and a full queue is `TRY_AGAIN_LATER`.
"""

from collections.abc import Sequence

from stellar_sdk import Keypair
from stellar_sdk.exceptions import BadSignatureError

from sandbox.envelopes import Envelope, Signature
from sandbox.operations import INT64_MAX, malformed
from sandbox.parsing import SignedEnvelope, UnsupportedEnvelope, parse_envelope
from sandbox.settings import BASE_FEE_STROOPS, MAX_OPERATIONS_PER_TRANSACTION
from sandbox.state import Layer

_MAX_SIGNATURES = 20


class SubmissionRefused(ValueError):
    """The transaction will not be part of a ledger. `code` is a TransactionResultCode name or `TRY_AGAIN_LATER`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class SubmissionQueue:
    """Submitted envelopes for the next ledger, at most `max_operations` operations of them."""

    def __init__(self, network_id: bytes, max_operations: int) -> None:
        self._network_id = network_id
        self._max_operations = max_operations
        self._queued: list[Envelope] = []

    def __len__(self) -> int:
        return len(self._queued)

    def take(self) -> list[Envelope]:
        """Everything queued; the queue is empty afterwards."""
        taken, self._queued = self._queued, []
        return taken

    def add(self, envelope_xdr_base64: str, state: Layer, close_time: int) -> bytes:
        """Validate against the state the next ledger starts from; `close_time` is that ledger's. Returns the transaction hash."""
        try:
            signed = parse_envelope(envelope_xdr_base64, self._network_id)
        except UnsupportedEnvelope as error:
            raise SubmissionRefused("txNOT_SUPPORTED", str(error)) from error
        envelope = signed.envelope
        if any(queued.inner_hash == envelope.inner_hash for queued in self._queued):
            raise SubmissionRefused("TRY_AGAIN_LATER", "the transaction is already queued")
        _check_form(envelope, close_time)
        self._check_accounts(envelope, state)
        _check_signatures(signed)
        operations = sum(len(queued.transaction.operations) for queued in self._queued) + len(envelope.transaction.operations)
        if operations > self._max_operations:
            raise SubmissionRefused("TRY_AGAIN_LATER", f"the queue holds at most {self._max_operations} operations a ledger")
        self._queued.append(envelope)
        return envelope.hash

    def _check_accounts(self, envelope: Envelope, state: Layer) -> None:
        transaction = envelope.transaction
        source = state.account(transaction.source.account)
        payer = state.account(envelope.fee_source)
        if source is None or payer is None:
            raise SubmissionRefused("txNO_ACCOUNT", "the source account does not exist")
        queued = [other for other in self._queued if other.transaction.source.account == source.account]
        expected = source.sequence + 1 + len(queued)
        if transaction.sequence != expected:
            raise SubmissionRefused("txBAD_SEQ", f"sequence {transaction.sequence}, expected {expected}")
        bids = sum(other.fee_bid for other in self._queued if other.fee_source == payer.account)
        if payer.available < bids + envelope.fee_bid:
            raise SubmissionRefused("txINSUFFICIENT_BALANCE", "the fee source cannot pay the fee and keep its reserve")


def _check_form(envelope: Envelope, close_time: int) -> None:
    transaction = envelope.transaction
    if not transaction.operations:
        raise SubmissionRefused("txMISSING_OPERATION", "there is no operation")
    if len(transaction.operations) > MAX_OPERATIONS_PER_TRANSACTION:
        raise SubmissionRefused("txMALFORMED", f"more than {MAX_OPERATIONS_PER_TRANSACTION} operations")
    _check_fee(envelope)
    earliest, latest = transaction.time_bounds or (0, 0)
    if close_time < earliest:
        raise SubmissionRefused("txTOO_EARLY", f"valid from {earliest}, the next ledger closes at {close_time}")
    if latest and close_time > latest:
        raise SubmissionRefused("txTOO_LATE", f"valid until {latest}, the next ledger closes at {close_time}")
    for index, operation in enumerate(transaction.operations):
        code = malformed(operation, transaction.operation_source(operation).account)
        if code is not None:
            raise SubmissionRefused("txFAILED", f"operation {index}: {code.name}")


def _check_fee(envelope: Envelope) -> None:
    least = BASE_FEE_STROOPS * envelope.fee_operations
    if not least <= envelope.fee_bid <= INT64_MAX:
        raise SubmissionRefused("txINSUFFICIENT_FEE", f"bid {envelope.fee_bid} stroops, the least is {least}")
    inner = envelope.transaction
    # A fee bump must bid at least the inner transaction's rate per operation.
    if envelope.is_fee_bump and envelope.fee_bid * len(inner.operations) < inner.fee * envelope.fee_operations:
        raise SubmissionRefused("txINSUFFICIENT_FEE", "the fee bump bids less per operation than its inner transaction")


def _check_signatures(signed: SignedEnvelope) -> None:
    envelope = signed.envelope
    inner = signed.inner or signed
    _check_signers(inner.signatures, envelope.transaction.required_signers(), envelope.inner_hash)
    if signed.inner is not None:
        _check_signers(signed.signatures, {envelope.fee_source}, envelope.hash)


def _check_signers(signatures: Sequence[Signature], signers: set[bytes], digest: bytes) -> None:
    """Every signer has signed, and every signature belongs to a signer."""
    if len(signatures) > _MAX_SIGNATURES:
        raise SubmissionRefused("txMALFORMED", f"more than {_MAX_SIGNATURES} signatures")
    owners = [next((signer for signer in signers if _has_signed(signer, signature, digest)), None) for signature in signatures]
    missing = signers.difference(owners)
    if missing:
        raise SubmissionRefused("txBAD_AUTH", f"{len(missing)} source accounts have not signed")
    if None in owners:
        raise SubmissionRefused("txBAD_AUTH_EXTRA", "a signature that no source account needs")


def _has_signed(signer: bytes, signature: Signature, digest: bytes) -> bool:
    if signer[-4:] != signature.hint:
        return False
    try:
        Keypair.from_raw_ed25519_public_key(signer).verify(digest, signature.signature)
    except BadSignatureError:
        return False
    return True
