"""Token events that asset contracts emit (CAP-46-06, CAP-67), and the vocabulary they share with classic operations.

Any contract may emit an event called `transfer`. Only those count here whose contract is the one that the network itself derives
from the asset named in the event's last topic. All other tokens are custom ones, of another processor (spec 7.1.2, 10.4).
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple, cast

from lumenstream.xdr.rows import Address, Asset, ContractEvent, ScVal
from processors.view import g_form
from schemas import assets, strkey

NATIVE: Final = Asset(assets.NATIVE, "native", None)
_CACHE_CONTRACTS: Final = 1 << 14

# ScValType
_U64: Final = 5
_I128: Final = 10
_BYTES: Final = 13
_STRING: Final = 14
_SYMBOL: Final = 15
_MAP: Final = 17
_ADDRESS: Final = 18

_CONTRACT_EVENT: Final = 1
_META_WITH_ADMIN: Final = 3  # transaction meta before CAP-67: mint and clawback name the admin first
_META_UNIFIED: Final = 4
_MAX_ASSET_TEXT: Final = 12 + 1 + 56
_SHORT_CODE: Final = 4
_LONG_CODE: Final = 12


class EventKind(IntEnum):
    TRANSFER = 0
    MINT = 1
    BURN = 2
    CLAWBACK = 3


class TokenEvent(NamedTuple):
    """`source` is None for a mint, `destination` for a burn and a clawback. `token` is the asset's contract; raw units."""

    kind: EventKind
    token: Address
    asset: Asset
    source: Address | None
    destination: Address | None
    amount: int


def moved(network_id: bytes, asset: Asset, source: Address, destination: Address, amount: int) -> TokenEvent:
    """A movement between two holders: a mint when the issuer sends, a burn when the issuer receives, else a transfer, also from
    the issuer to itself. Muxed accounts count as the account behind them. Lumens have no issuer."""
    token = assets.contract_address(network_id, asset.type, asset.code, asset.issuer)
    source, destination, issuer = g_form(source), g_form(destination), asset.issuer
    if source == issuer and destination != issuer:
        return TokenEvent(EventKind.MINT, token, asset, None, destination, amount)
    if destination == issuer and source != issuer:
        return TokenEvent(EventKind.BURN, token, asset, source, None, amount)
    return TokenEvent(EventKind.TRANSFER, token, asset, source, destination, amount)


def mint(network_id: bytes, asset: Asset, destination: Address, amount: int) -> TokenEvent:
    token = assets.contract_address(network_id, asset.type, asset.code, asset.issuer)
    return TokenEvent(EventKind.MINT, token, asset, None, destination, amount)


def burn(network_id: bytes, asset: Asset, source: Address, amount: int) -> TokenEvent:
    token = assets.contract_address(network_id, asset.type, asset.code, asset.issuer)
    return TokenEvent(EventKind.BURN, token, asset, source, None, amount)


def clawback(network_id: bytes, asset: Asset, source: Address, amount: int) -> TokenEvent:
    token = assets.contract_address(network_id, asset.type, asset.code, asset.issuer)
    return TokenEvent(EventKind.CLAWBACK, token, asset, source, None, amount)


class _Shape(NamedTuple):
    """Topics of an asset contract's event: name, parties, asset. `party` is the place of the first one after any admin."""

    kind: EventKind
    topics: int
    party: int


_SHAPES: Final[dict[tuple[int, str], _Shape]] = {
    (_META_WITH_ADMIN, "transfer"): _Shape(EventKind.TRANSFER, 4, 1),
    (_META_WITH_ADMIN, "mint"): _Shape(EventKind.MINT, 4, 2),
    (_META_WITH_ADMIN, "clawback"): _Shape(EventKind.CLAWBACK, 4, 2),
    (_META_WITH_ADMIN, "burn"): _Shape(EventKind.BURN, 3, 1),
    (_META_UNIFIED, "transfer"): _Shape(EventKind.TRANSFER, 4, 1),
    (_META_UNIFIED, "mint"): _Shape(EventKind.MINT, 3, 1),
    (_META_UNIFIED, "clawback"): _Shape(EventKind.CLAWBACK, 3, 1),
    (_META_UNIFIED, "burn"): _Shape(EventKind.BURN, 3, 1),
}


def parse(network_id: bytes, meta_version: int, event: ContractEvent) -> TokenEvent | None:
    """The movement that an event of a verified asset contract tells, None for every other event. A shape that does not fit is not
    an error: contracts are free to emit what they like."""
    topics, contract = event.topics, event.contract_id
    if event.type != _CONTRACT_EVENT or contract is None or not topics or topics[0].type != _SYMBOL:
        return None
    shape = _SHAPES.get((meta_version, cast(str, topics[0].value)))
    if shape is None or len(topics) != shape.topics or any(topic.type != _ADDRESS for topic in topics[1:-1]):
        return None
    asset = _asset_of(network_id, contract, topics[-1])
    amount = _amount(meta_version, event.data)
    if asset is None or amount is None:
        return None
    party = cast(Address, topics[shape.party].value)
    match shape.kind:
        case EventKind.TRANSFER:
            destination = cast(Address, topics[shape.party + 1].value)
            if meta_version == _META_WITH_ADMIN:  # before CAP-67 a contract also called mints and burns transfers
                return moved(network_id, asset, party, destination, amount)
            return TokenEvent(EventKind.TRANSFER, contract, asset, party, destination, amount)
        case EventKind.MINT:
            return TokenEvent(EventKind.MINT, contract, asset, None, party, amount)
        case EventKind.BURN | EventKind.CLAWBACK:
            return TokenEvent(shape.kind, contract, asset, party, None, amount)


def _asset_of(network_id: bytes, contract: Address, topic: ScVal) -> Asset | None:
    """The asset named in the topic when the emitting contract is that asset's contract."""
    if topic.type != _STRING or not isinstance(topic.value, str):
        return None
    asset, token = asset_and_contract(network_id, topic.value)
    return asset if token == contract else None


def asset_and_contract(network_id: bytes, text: str) -> tuple[Asset | None, Address]:
    """Asset and contract behind `native` or `CODE:ISSUER` (SEP-11); None and no address for any other text."""
    return (None, b"") if len(text) > _MAX_ASSET_TEXT else _asset_and_contract(network_id, text)


@lru_cache(maxsize=_CACHE_CONTRACTS)
def _asset_and_contract(network_id: bytes, text: str) -> tuple[Asset | None, Address]:
    asset = _asset(text)
    return asset, b"" if asset is None else assets.contract_address(network_id, asset.type, asset.code, asset.issuer)


def _asset(text: str) -> Asset | None:
    if text.lower() == NATIVE.code:
        return NATIVE
    code, _, issuer = text.partition(":")
    if not (1 <= len(code) <= _LONG_CODE and code.isascii() and code.isalnum() and strkey.is_account(issuer)):
        return None
    return Asset(assets.ALPHANUM4 if len(code) <= _SHORT_CODE else assets.ALPHANUM12, code, strkey.decode(issuer))


def _amount(meta_version: int, data: ScVal) -> int | None:
    """The amount: the event's data, or since CAP-67 the entry `amount` of a map that may carry a `to_muxed_id` besides."""
    if data.type == _I128:
        return cast(int, data.value)
    if data.type != _MAP or meta_version != _META_UNIFIED:
        return None
    amount = None
    for key, value in cast(tuple[tuple[ScVal, ScVal], ...], data.value or ()):
        if key.type != _SYMBOL:
            return None
        if key.value == "amount":
            if value.type != _I128:
                return None
            amount = cast(int, value.value)
        elif key.value == "to_muxed_id" and value.type not in (_U64, _BYTES, _STRING):
            return None
    return amount
