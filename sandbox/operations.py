"""What create account, payment and change trust do to the ledger, check by check in stellar-core's order.

Each function works on the operation's own layer and says a result code; the caller keeps the layer when the code is 0
(every SUCCESS is) and drops it otherwise.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import assert_never

from stellar_sdk import xdr

from sandbox import wire
from sandbox.envelopes import Asset, ChangeTrust, CreateAccount, MuxedAccount, Operation, Payment, Transaction, operation_type
from sandbox.events import EventWriter
from sandbox.settings import BASE_RESERVE_STROOPS
from sandbox.state import AUTHORIZED, Account, Layer, TrustLine

INT64_MAX = (1 << 63) - 1
MAX_SUBENTRIES = 1_000

Created = xdr.CreateAccountResultCode
Paid = xdr.PaymentResultCode
Trusted = xdr.ChangeTrustResultCode
Outer = xdr.OperationResultCode


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    """`result` is OperationResult XDR; `events` are ContractEvent XDR."""

    result: bytes
    succeeded: bool
    events: tuple[bytes, ...] = ()


def apply_operation(layer: Layer, transaction: Transaction, operation: Operation, events: EventWriter) -> OperationOutcome:
    """Run one operation on its layer."""
    source = transaction.operation_source(operation).account
    if layer.account(source) is None:
        return OperationOutcome(wire.int32(Outer.opNO_ACCOUNT), False)
    code = malformed(operation, source)
    if code is None:
        code = _apply_body(layer, operation, source)
    if isinstance(code, Outer):
        return OperationOutcome(wire.int32(code), False)
    result = wire.int32(Outer.opINNER) + wire.int32(operation_type(operation.body)) + wire.int32(code)
    if code != 0:
        return OperationOutcome(result, False)
    return OperationOutcome(result, True, _events(transaction, operation, source, events))


def malformed(operation: Operation, source: bytes) -> IntEnum | None:
    """The code of an operation that can never succeed, whatever the ledger holds; None when it is well formed."""
    match operation.body:
        case CreateAccount(destination, balance):
            return Created.CREATE_ACCOUNT_MALFORMED if balance < 0 or destination == source else None
        case Payment(_, asset, amount):
            return Paid.PAYMENT_MALFORMED if amount <= 0 or not _is_valid(asset) else None
        case ChangeTrust(asset, limit):
            bad = limit < 0 or asset.is_native or not _is_valid(asset) or asset.issuer == source
            return Trusted.CHANGE_TRUST_MALFORMED if bad else None
        case _:
            assert_never(operation.body)


def _is_valid(asset: Asset) -> bool:
    return asset.is_native or (asset.code.isascii() and asset.code.isalnum())


def _apply_body(layer: Layer, operation: Operation, source: bytes) -> IntEnum:
    match operation.body:
        case CreateAccount():
            return _create_account(layer, source, operation.body)
        case Payment():
            return _pay(layer, source, operation.body)
        case ChangeTrust():
            return _change_trust(layer, source, operation.body)
        case _:
            assert_never(operation.body)


def _events(transaction: Transaction, operation: Operation, source: bytes, events: EventWriter) -> tuple[bytes, ...]:
    match operation.body:
        case CreateAccount(destination, balance):
            return (events.moved(Asset(), source, MuxedAccount(destination), balance, transaction.memo),)
        case Payment(receiver, asset, amount):
            return (events.moved(asset, source, receiver, amount, transaction.memo),)
        case ChangeTrust():
            return ()
        case _:
            assert_never(operation.body)


def _create_account(layer: Layer, source: bytes, body: CreateAccount) -> IntEnum:
    if layer.account(body.destination) is not None:
        return Created.CREATE_ACCOUNT_ALREADY_EXIST
    if body.starting_balance < 2 * BASE_RESERVE_STROOPS:
        return Created.CREATE_ACCOUNT_LOW_RESERVE
    funder = layer.account(source)
    if funder is None or funder.available < body.starting_balance:
        return Created.CREATE_ACCOUNT_UNDERFUNDED
    layer.put(replace(funder, balance=funder.balance - body.starting_balance))
    layer.put(Account(body.destination, body.starting_balance, layer.sequence << 32))
    return Created.CREATE_ACCOUNT_SUCCESS


def _pay(layer: Layer, source: bytes, body: Payment) -> IntEnum:
    destination = body.destination.account
    if body.asset.is_native and destination == source:
        return Paid.PAYMENT_SUCCESS
    redeems = not body.asset.is_native and destination == body.asset.issuer
    if not redeems and layer.account(destination) is None:
        return Paid.PAYMENT_NO_DESTINATION
    failure = _credit(layer, destination, body.asset, body.amount) or _debit(layer, source, body.asset, body.amount)
    return failure or Paid.PAYMENT_SUCCESS


def _credit(layer: Layer, account: bytes, asset: Asset, amount: int) -> IntEnum | None:
    if asset.is_native:
        holder = layer.account(account)
        if holder is None:
            return Paid.PAYMENT_NO_DESTINATION
        if holder.balance > INT64_MAX - amount:
            return Paid.PAYMENT_LINE_FULL
        layer.put(replace(holder, balance=holder.balance + amount))
        return None
    if account == asset.issuer:
        return None
    line = layer.trustline(account, asset)
    if line is None:
        return Paid.PAYMENT_NO_TRUST
    if not line.flags & AUTHORIZED:
        return Paid.PAYMENT_NOT_AUTHORIZED
    if line.balance + amount > line.limit:
        return Paid.PAYMENT_LINE_FULL
    layer.put(replace(line, balance=line.balance + amount))
    return None


def _debit(layer: Layer, account: bytes, asset: Asset, amount: int) -> IntEnum | None:
    if asset.is_native:
        holder = layer.account(account)
        if holder is None or amount > holder.available:
            return Paid.PAYMENT_UNDERFUNDED
        layer.put(replace(holder, balance=holder.balance - amount))
        return None
    if account == asset.issuer:
        return None
    line = layer.trustline(account, asset)
    if line is None:
        return Paid.PAYMENT_SRC_NO_TRUST
    if not line.flags & AUTHORIZED:
        return Paid.PAYMENT_SRC_NOT_AUTHORIZED
    if line.balance < amount:
        return Paid.PAYMENT_UNDERFUNDED
    layer.put(replace(line, balance=line.balance - amount))
    return None


def _change_trust(layer: Layer, source: bytes, body: ChangeTrust) -> IntEnum:
    owner = layer.account(source)
    if owner is None:
        return Outer.opNO_ACCOUNT
    line = layer.trustline(source, body.asset)
    issuer_exists = layer.account(body.asset.issuer) is not None
    if line is not None:
        if body.limit < line.balance:
            return Trusted.CHANGE_TRUST_INVALID_LIMIT
        if body.limit == 0:
            layer.put(replace(owner, subentries=owner.subentries - 1))
            layer.remove(line.key)
            return Trusted.CHANGE_TRUST_SUCCESS
        if not issuer_exists:
            return Trusted.CHANGE_TRUST_NO_ISSUER
        layer.put(replace(line, limit=body.limit))
        return Trusted.CHANGE_TRUST_SUCCESS
    if body.limit == 0:
        return Trusted.CHANGE_TRUST_INVALID_LIMIT
    if not issuer_exists:
        return Trusted.CHANGE_TRUST_NO_ISSUER
    if owner.subentries >= MAX_SUBENTRIES:
        return Outer.opTOO_MANY_SUBENTRIES
    if owner.available < BASE_RESERVE_STROOPS:
        return Trusted.CHANGE_TRUST_LOW_RESERVE
    layer.put(replace(owner, subentries=owner.subentries + 1))
    layer.put(TrustLine(source, body.asset, balance=0, limit=body.limit))
    return Trusted.CHANGE_TRUST_SUCCESS
