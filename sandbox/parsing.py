"""Reads a TransactionEnvelope from outside into the sandbox's own transactions, or says why the sandbox has no use for it."""

from dataclasses import dataclass

from stellar_sdk import xdr

from sandbox.envelopes import (
    NATIVE,
    Asset,
    ChangeTrust,
    CreateAccount,
    Envelope,
    Memo,
    MuxedAccount,
    Operation,
    OperationBody,
    Payment,
    Signature,
    Transaction,
    bump,
    seal,
)

MAX_ENVELOPE_CHARACTERS = 64 * 1024


class UnsupportedEnvelope(ValueError):
    """Not an envelope, or one that uses what the sandbox does not have."""


@dataclass(frozen=True, slots=True)
class SignedEnvelope:
    """`signatures` are those of the envelope itself, `inner` the wrapped transaction of a fee bump."""

    envelope: Envelope
    signatures: tuple[Signature, ...]
    inner: "SignedEnvelope | None" = None


def parse_envelope(envelope_xdr_base64: str, network_id: bytes) -> SignedEnvelope:
    if len(envelope_xdr_base64) > MAX_ENVELOPE_CHARACTERS:
        raise UnsupportedEnvelope(f"the envelope is longer than {MAX_ENVELOPE_CHARACTERS} characters")
    try:
        raw = xdr.TransactionEnvelope.from_xdr(envelope_xdr_base64)
    except Exception as error:  # the decoder raises whatever the bytes provoke
        raise UnsupportedEnvelope(f"not a TransactionEnvelope in base64: {error}") from error
    if raw.v1 is not None:
        parsed = _plain(raw.v1, network_id)
    elif raw.fee_bump is not None:
        parsed = _bump(raw.fee_bump, network_id)
    else:
        raise UnsupportedEnvelope("version 0 envelopes went away with protocol 13")
    if parsed.envelope.xdr != raw.to_xdr_bytes():
        raise UnsupportedEnvelope("the envelope holds parts the sandbox would lose")
    return parsed


def _plain(raw: xdr.TransactionV1Envelope, network_id: bytes) -> SignedEnvelope:
    transaction = Transaction(
        source=_muxed(raw.tx.source_account),
        fee=raw.tx.fee.uint32,
        sequence=raw.tx.seq_num.sequence_number.int64,
        operations=tuple(_operation(operation) for operation in raw.tx.operations),
        memo=_memo(raw.tx.memo),
        time_bounds=_time_bounds(raw.tx.cond),
    )
    signatures = tuple(_signature(signature) for signature in raw.signatures)
    return SignedEnvelope(seal(transaction, network_id, signatures), signatures)


def _bump(raw: xdr.FeeBumpTransactionEnvelope, network_id: bytes) -> SignedEnvelope:
    if raw.tx.inner_tx.v1 is None:
        raise UnsupportedEnvelope("a fee bump around something other than a version 1 transaction")
    inner = _plain(raw.tx.inner_tx.v1, network_id)
    signatures = tuple(_signature(signature) for signature in raw.signatures)
    envelope = bump(inner.envelope, _muxed(raw.tx.fee_source), raw.tx.fee.int64, network_id, signatures)
    return SignedEnvelope(envelope, signatures, inner)


def _operation(raw: xdr.Operation) -> Operation:
    source = None if raw.source_account is None else _muxed(raw.source_account)
    return Operation(_body(raw.body), source)


def _body(raw: xdr.OperationBody) -> OperationBody:
    if raw.create_account_op is not None:
        create = raw.create_account_op
        return CreateAccount(_account(create.destination), create.starting_balance.int64)
    if raw.payment_op is not None:
        payment = raw.payment_op
        return Payment(_muxed(payment.destination), _asset(payment.asset), payment.amount.int64)
    if raw.change_trust_op is not None:
        return ChangeTrust(_asset(raw.change_trust_op.line), raw.change_trust_op.limit.int64)
    raise UnsupportedEnvelope(f"the sandbox does not run {raw.type.name}")


def _asset(raw: xdr.Asset | xdr.ChangeTrustAsset) -> Asset:
    if raw.type is xdr.AssetType.ASSET_TYPE_NATIVE:
        return NATIVE
    if raw.alpha_num4 is not None:
        code, issuer = raw.alpha_num4.asset_code.asset_code4, raw.alpha_num4.issuer
    elif raw.alpha_num12 is not None:
        code, issuer = raw.alpha_num12.asset_code.asset_code12, raw.alpha_num12.issuer
    else:
        raise UnsupportedEnvelope(f"the sandbox has no {raw.type.name}")
    try:
        return Asset(code.rstrip(b"\0").decode("ascii"), _account(issuer))
    except UnicodeDecodeError as error:
        raise UnsupportedEnvelope("an asset code that is not ASCII") from error


def _account(raw: xdr.AccountID) -> bytes:
    key = raw.account_id.ed25519
    if key is None:
        raise UnsupportedEnvelope("an account without an ed25519 key")
    return key.uint256


def _muxed(raw: xdr.MuxedAccount) -> MuxedAccount:
    if raw.ed25519 is not None:
        return MuxedAccount(raw.ed25519.uint256)
    if raw.med25519 is not None:
        return MuxedAccount(raw.med25519.ed25519.uint256, raw.med25519.id.uint64)
    raise UnsupportedEnvelope(f"an account of type {raw.type.name}")


def _memo(raw: xdr.Memo) -> Memo:
    if raw.text is not None:
        return Memo(raw.type, bytes(raw.text))
    if raw.id is not None:
        return Memo(raw.type, raw.id.uint64)
    digest = raw.hash or raw.ret_hash
    return Memo(raw.type, None if digest is None else digest.hash)


def _time_bounds(raw: xdr.Preconditions) -> tuple[int, int] | None:
    if raw.type is xdr.PreconditionType.PRECOND_V2:
        raise UnsupportedEnvelope("the sandbox knows no preconditions but time bounds")
    if raw.time_bounds is None:
        return None
    return raw.time_bounds.min_time.time_point.uint64, raw.time_bounds.max_time.time_point.uint64


def _signature(raw: xdr.DecoratedSignature) -> Signature:
    return Signature(raw.hint.signature_hint, raw.signature.signature)
