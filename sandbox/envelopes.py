"""Transactions as the sandbox handles them, and their XDR: operations, memos, signed envelopes and fee bumps.

`seal` and `bump` turn a transaction into an `Envelope`, which knows the bytes, the transaction hash (network id, type tag,
body) and the hash of the whole envelope, which stellar-core sorts by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import assert_never

from stellar_sdk import Keypair, StrKey, xdr

from sandbox import wire


@dataclass(frozen=True)
class Asset:
    """Native when the code is empty; `issuer` is a raw public key."""

    code: str = ""
    issuer: bytes = b""

    @property
    def is_native(self) -> bool:
        return not self.code

    @cached_property
    def xdr(self) -> bytes:
        if self.is_native:
            return wire.int32(xdr.AssetType.ASSET_TYPE_NATIVE)
        short = len(self.code) <= 4
        kind = xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM4 if short else xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM12
        code = self.code.encode("ascii").ljust(4 if short else 12, b"\0")
        return wire.int32(kind) + code + wire.account_id(self.issuer)

    @cached_property
    def text(self) -> str:
        """SEP-11 form: `native` or `CODE:ISSUER`."""
        return "native" if self.is_native else f"{self.code}:{StrKey.encode_ed25519_public_key(self.issuer)}"


NATIVE = Asset()


@dataclass(frozen=True, slots=True)
class MuxedAccount:
    account: bytes
    mux_id: int | None = None

    def encode(self) -> bytes:
        if self.mux_id is None:
            return wire.account_id(self.account)
        return wire.int32(xdr.CryptoKeyType.KEY_TYPE_MUXED_ED25519) + wire.uint64(self.mux_id) + self.account


@dataclass(frozen=True, slots=True)
class Memo:
    """`value` is None (no memo), an id, text bytes, or a 32-byte hash, as `kind` says."""

    kind: xdr.MemoType = xdr.MemoType.MEMO_NONE
    value: int | bytes | None = None

    def encode(self) -> bytes:
        match self.value:
            case None:
                return wire.int32(self.kind)
            case int():
                return wire.int32(self.kind) + wire.uint64(self.value)
            case bytes() if self.kind is xdr.MemoType.MEMO_TEXT:
                return wire.int32(self.kind) + wire.opaque(self.value)
            case bytes():
                return wire.int32(self.kind) + self.value
            case _:
                assert_never(self.value)


NO_MEMO = Memo()


@dataclass(frozen=True, slots=True)
class CreateAccount:
    destination: bytes
    starting_balance: int


@dataclass(frozen=True, slots=True)
class Payment:
    destination: MuxedAccount
    asset: Asset
    amount: int


@dataclass(frozen=True, slots=True)
class ChangeTrust:
    asset: Asset
    limit: int


OperationBody = CreateAccount | Payment | ChangeTrust


@dataclass(frozen=True, slots=True)
class Operation:
    body: OperationBody
    source: MuxedAccount | None = None

    def encode(self) -> bytes:
        return wire.option(self.source.encode() if self.source else None) + wire.int32(operation_type(self.body)) + self._fields()

    def _fields(self) -> bytes:
        match self.body:
            case CreateAccount(destination, balance):
                return wire.account_id(destination) + wire.int64(balance)
            case Payment(receiver, asset, amount):
                return receiver.encode() + asset.xdr + wire.int64(amount)
            case ChangeTrust(asset, limit):
                return asset.xdr + wire.int64(limit)
            case _:
                assert_never(self.body)


def operation_type(body: OperationBody) -> xdr.OperationType:
    match body:
        case CreateAccount():
            return xdr.OperationType.CREATE_ACCOUNT
        case Payment():
            return xdr.OperationType.PAYMENT
        case ChangeTrust():
            return xdr.OperationType.CHANGE_TRUST
        case _:
            assert_never(body)


@dataclass(frozen=True, slots=True)
class Transaction:
    """`fee` is the most its source pays, in stroops; `time_bounds` are Unix seconds, a maximum of 0 means no end."""

    source: MuxedAccount
    fee: int
    sequence: int
    operations: tuple[Operation, ...]
    memo: Memo = NO_MEMO
    time_bounds: tuple[int, int] | None = None

    def encode(self) -> bytes:
        bounds = self.time_bounds
        return b"".join(
            (
                self.source.encode(),
                wire.uint32(self.fee),
                wire.int64(self.sequence),
                wire.option(wire.uint64(bounds[0]) + wire.uint64(bounds[1]) if bounds else None),
                self.memo.encode(),
                wire.array([operation.encode() for operation in self.operations]),
                wire.ZERO,
            )
        )

    def operation_source(self, operation: Operation) -> MuxedAccount:
        return operation.source or self.source

    def required_signers(self) -> set[bytes]:
        return {self.source.account} | {self.operation_source(operation).account for operation in self.operations}


@dataclass(frozen=True, slots=True)
class Signature:
    hint: bytes
    signature: bytes

    def encode(self) -> bytes:
        return self.hint + wire.opaque(self.signature)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed transaction. Of a fee bump, `transaction` and `inner_hash` are the inner one's; all else is the outer one's."""

    transaction: Transaction
    inner_hash: bytes
    fee_source: bytes
    fee_bid: int
    hash: bytes
    xdr: bytes
    full_hash: bytes
    is_fee_bump: bool

    @property
    def fee_operations(self) -> int:
        """How many base fees it pays: one per operation, and one more for the bump."""
        return len(self.transaction.operations) + self.is_fee_bump


_TAG_TX = wire.int32(xdr.EnvelopeType.ENVELOPE_TYPE_TX)
_TAG_FEE_BUMP = wire.int32(xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP)


def sign(keys: Sequence[Keypair], digest: bytes) -> list[Signature]:
    return [Signature(key.raw_public_key()[-4:], key.sign(digest)) for key in keys]


def transaction_hash(transaction: Transaction, network_id: bytes) -> bytes:
    return sha256(network_id + _TAG_TX + transaction.encode()).digest()


def seal(transaction: Transaction, network_id: bytes, signatures: Sequence[Signature]) -> Envelope:
    """The envelope of a plain transaction with these signatures."""
    body = transaction.encode()
    digest = sha256(network_id + _TAG_TX + body).digest()
    encoded = _TAG_TX + body + wire.array([signature.encode() for signature in signatures])
    return Envelope(
        transaction=transaction,
        inner_hash=digest,
        fee_source=transaction.source.account,
        fee_bid=transaction.fee,
        hash=digest,
        xdr=encoded,
        full_hash=sha256(encoded).digest(),
        is_fee_bump=False,
    )


def bump_body(inner: Envelope, fee_source: MuxedAccount, fee: int) -> bytes:
    return fee_source.encode() + wire.int64(fee) + inner.xdr + wire.ZERO


def bump_hash(inner: Envelope, fee_source: MuxedAccount, fee: int, network_id: bytes) -> bytes:
    return sha256(network_id + _TAG_FEE_BUMP + bump_body(inner, fee_source, fee)).digest()


def bump(inner: Envelope, fee_source: MuxedAccount, fee: int, network_id: bytes, signatures: Sequence[Signature]) -> Envelope:
    """The envelope of a fee bump around a sealed inner transaction."""
    body = bump_body(inner, fee_source, fee)
    encoded = _TAG_FEE_BUMP + body + wire.array([signature.encode() for signature in signatures])
    return Envelope(
        transaction=inner.transaction,
        inner_hash=inner.hash,
        fee_source=fee_source.account,
        fee_bid=fee,
        hash=sha256(network_id + _TAG_FEE_BUMP + body).digest(),
        xdr=encoded,
        full_hash=sha256(encoded).digest(),
        is_fee_bump=True,
    )
