"""The unified events (CAP-67) a protocol 23 network writes into the meta of classic operations.

Events come from the asset's contract, whose id follows from the network and the asset. A payment from the issuer is a mint,
one to the issuer a burn, anything else a transfer; a memo or a muxed destination rides along as `to_muxed_id`.
"""

from hashlib import sha256

from stellar_sdk import xdr

from sandbox import wire
from sandbox.envelopes import NATIVE, Asset, Memo, MuxedAccount

_CONTRACT_ID_TAG = wire.int32(xdr.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID)
_FROM_ASSET = wire.int32(xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ASSET)
_CONTRACT_EVENT = wire.int32(xdr.ContractEventType.CONTRACT)
_BEFORE_ALL_TXS = wire.int32(xdr.TransactionEventStage.TRANSACTION_EVENT_STAGE_BEFORE_ALL_TXS)
_ADDRESS = wire.int32(xdr.SCValType.SCV_ADDRESS) + wire.int32(xdr.SCAddressType.SC_ADDRESS_TYPE_ACCOUNT)


def _symbol(name: str) -> bytes:
    return wire.int32(xdr.SCValType.SCV_SYMBOL) + wire.opaque(name.encode("ascii"))


def _string(value: bytes) -> bytes:
    return wire.int32(xdr.SCValType.SCV_STRING) + wire.opaque(value)


def _address(account: bytes) -> bytes:
    return _ADDRESS + wire.account_id(account)


def _i128(value: int) -> bytes:
    return wire.int32(xdr.SCValType.SCV_I128) + wire.int64(value >> 64) + wire.uint64(value & 0xFFFFFFFFFFFFFFFF)


def _u64(value: int) -> bytes:
    return wire.int32(xdr.SCValType.SCV_U64) + wire.uint64(value)


def _muxed_id(destination: MuxedAccount, memo: Memo) -> bytes | None:
    """What names the final receiver: the destination's mux id, else the memo, else nothing."""
    if destination.mux_id is not None:
        return _u64(destination.mux_id)
    match memo.value:
        case None:
            return None
        case int():
            return _u64(memo.value)
        case bytes() if memo.kind is xdr.MemoType.MEMO_TEXT:
            return _string(memo.value)
        case bytes():
            return wire.int32(xdr.SCValType.SCV_BYTES) + wire.opaque(memo.value)


def _credited(amount: int, destination: MuxedAccount, memo: Memo) -> bytes:
    receiver = _muxed_id(destination, memo)
    if receiver is None:
        return _i128(amount)
    pairs = [_symbol("amount") + _i128(amount), _symbol("to_muxed_id") + receiver]
    return wire.int32(xdr.SCValType.SCV_MAP) + wire.option(wire.array(pairs))


class EventWriter:
    """Writes ContractEvent and TransactionEvent XDR for one network."""

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id
        self._contracts: dict[Asset, bytes] = {}

    def contract_id(self, asset: Asset) -> bytes:
        found = self._contracts.get(asset)
        if found is None:
            found = sha256(_CONTRACT_ID_TAG + self._network_id + _FROM_ASSET + asset.xdr).digest()
            self._contracts[asset] = found
        return found

    def fee(self, fee_source: bytes, amount: int) -> list[bytes]:
        """The transaction-level fee event; none for a fee of zero."""
        if amount == 0:
            return []
        return [_BEFORE_ALL_TXS + self._event(NATIVE, [_symbol("fee"), _address(fee_source)], _i128(amount))]

    def moved(self, asset: Asset, source: bytes, destination: MuxedAccount, amount: int, memo: Memo) -> bytes:
        """The event of value going from one account to another."""
        name = _string(asset.text.encode("ascii"))
        from_issuer = not asset.is_native and source == asset.issuer
        to_issuer = not asset.is_native and destination.account == asset.issuer
        if from_issuer and not to_issuer:
            topics = [_symbol("mint"), _address(destination.account), name]
            return self._event(asset, topics, _credited(amount, destination, memo))
        if to_issuer and not from_issuer:
            return self._event(asset, [_symbol("burn"), _address(source), name], _i128(amount))
        topics = [_symbol("transfer"), _address(source), _address(destination.account), name]
        return self._event(asset, topics, _credited(amount, destination, memo))

    def _event(self, asset: Asset, topics: list[bytes], data: bytes) -> bytes:
        contract = wire.option(self.contract_id(asset))
        return wire.ZERO + contract + _CONTRACT_EVENT + wire.ZERO + wire.array(topics) + data
