"""Who traded what with whom at which price, and which offers stand in the order book after the ledger.

Five kinds of operations trade: three place an offer, two pay along a path of offers and pools. Their results list every
exchange as a claim atom. The taker is the operation's source; the maker owns the offer or is a pool. Offers also change without a
trade: when their seller edits them or loses its authorization, or a network upgrade changes the reserves they need (the only
change outside of transactions). Tables `trades` and `offers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import Any, Final, cast

from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import (
    Change,
    ClaimAtom,
    Hash,
    Ledger,
    OfferEntry,
    OfferResult,
    Operation,
    PathPaymentResult,
    Transaction,
)
from processors import merge, view
from schemas import assets
from schemas.families import OFFER_CHANGES, TRADES
from schemas.market_rows import OfferChange, TradeKind, TradeRow
from schemas.parts import Part

_PATH_OPERATIONS: Final = frozenset({view.PATH_PAYMENT_STRICT_RECEIVE, view.PATH_PAYMENT_STRICT_SEND})
_TRADING_OPERATIONS: Final = _PATH_OPERATIONS | {view.MANAGE_SELL_OFFER, view.MANAGE_BUY_OFFER, view.CREATE_PASSIVE_SELL_OFFER}
_AFTER_ALL_OPERATIONS: Final = 1 << 63  # upgrades are applied after the transactions
_UPGRADE: Final = 0
_POOL: Final = TradeKind.LIQUIDITY_POOL.value
_ORDERBOOK: Final = TradeKind.ORDERBOOK.value


class Trades:
    """Families `offer_changes` and `trades`."""

    name: Final = "trades"
    version: Final = 1

    def __init__(self, network_id: bytes, *, history_only: bool = False) -> None:
        """Offers and trades look alike on every network. `history_only`: the trades alone."""
        self._history_only = history_only

    def process(self, ledger: Ledger) -> Part:
        part = Part()
        if not self._history_only:
            part.add(OFFER_CHANGES, (_offer_row(order, change) for order, change in merge.last_changes(_of_offers(ledger))))
        part.add(TRADES, _trades(ledger))
        return part


def _of_offers(ledger: Ledger) -> Iterator[tuple[int, int, Change]]:
    """Every change of an offer as (offer id, order, change), in the order in which the ledger made them."""
    for operation_id, _, _, change, offer in view.changes_of(ledger, view.OFFER):
        yield offer.offer_id, operation_id, change
    for upgrade in ledger.upgrades:
        for change in upgrade.changes:
            entry = change.post or change.pre
            if change.type == view.OFFER and change.kind != view.STATE and entry is not None:
                yield cast(OfferEntry, entry.data).offer_id, _AFTER_ALL_OPERATIONS, change


def _offer_row(order: int, change: Change) -> OfferChange:
    entry: Any = change.post or change.pre
    _, _, sponsor, (seller, offer_id, selling, buying, amount, (price_n, price_d), flags) = entry
    sold, bought = assets.text(selling.code, selling.issuer), assets.text(buying.code, buying.issuer)
    word, operation_id = merge.operation_word(change), _UPGRADE if order == _AFTER_ALL_OPERATIONS else order
    return OfferChange(offer_id, word, operation_id, seller, sold, bought, amount, price_n, price_d, flags, sponsor)


def _trades(ledger: Ledger) -> Iterator[TradeRow]:
    trading = [
        (to_id, operation_id, tx, op)
        for to_id, tx in view.with_to_ids(ledger)
        if view.successful(tx)
        for operation_id, op in enumerate(tx.operations, to_id + 1)
        if op.type in _TRADING_OPERATIONS
    ]
    for to_id, operation_id, tx, op in trading:
        for ordinal, atom in enumerate(_claim_atoms(tx, op), 1):
            yield _trade_row(to_id, operation_id, ordinal, view.op_source(tx, op), atom)


def _claim_atoms(tx: Transaction, op: Operation) -> tuple[ClaimAtom, ...]:
    """They are the first field of both kinds of results."""
    result = op.result
    if result is None or result.code or result.inner_code or result.value is None:
        raise LedgerContentError(f"transaction {tx.hash.hex()}: operation type {op.type} stands in it with result {result}")
    return cast(OfferResult | PathPaymentResult, result.value)[0]


def _trade_row(to_id: int, operation_id: int, ordinal: int, taker: bytes, atom: ClaimAtom) -> TradeRow:
    _, seller, pool_id, offer_id, sold, sold_amount, bought, bought_amount = atom
    of_pool = seller is None
    divisor = gcd(sold_amount, bought_amount) or 1
    return TradeRow(
        to_id,
        operation_id,
        ordinal,
        _POOL if of_pool else _ORDERBOOK,
        taker,
        seller,
        cast(Hash, pool_id).hex() if of_pool else None,
        None if of_pool else offer_id,
        assets.text(sold.code, sold.issuer),
        sold_amount,
        assets.text(bought.code, bought.issuer),
        bought_amount,
        bought_amount // divisor,
        sold_amount // divisor,
    )
