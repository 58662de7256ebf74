"""What DAVE and VAULT have in the API's test world: custom tokens, pool shares, offers, trades, claimable balances."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from schemas import assets, strkey, toid

DAVE, ERIN = (bytes((strkey.ACCOUNT,)) + hashlib.sha256(name).digest() for name in (b"dave", b"erin"))
GOLD, SILVER = (bytes((strkey.CONTRACT,)) + hashlib.sha256(name).digest() for name in (b"gold", b"silver"))
POOLS = [hashlib.sha256(b"pool %d" % number).hexdigest() for number in range(5)]
BALANCES = ["00000000" + hashlib.sha256(b"balance %d" % number).hexdigest() for number in range(4)]
PREDICATES: list[dict[str, Any]] = [
    {"unconditional": True},
    {"before": 1_000_000_000},
    {"and": [{"not_before": 1_000_000_000}, {"not": {"before": 2_000_000_000_000}}]},
    {"or": [{"not": {"unconditional": True}}, {"not_before": 1_500_000_000}]},
]
CLAIMABLE_NOW = [True, False, False, True]
TRADES = 6
OFFERS = 3

Put = Callable[[str, dict[str, Any]], None]


def fill_market(put: Put, last: int, closed_at: Callable[[int], datetime], usd: str) -> None:
    """`usd`: an issued asset, CODE:ISSUER, with a row in trustline_assets."""
    _fill_tokens(put, last)
    _fill_pools(put, usd)
    _fill_claimable(put, last, closed_at, usd)
    _fill_offers_and_trades(put, last, closed_at, usd)


def _fill_tokens(put: Put, last: int) -> None:
    for token, name, symbol, decimals in ((GOLD, "Gold", "GLD", 18), (SILVER, None, None, 0)):
        key = assets.contract_uuid(token).hex()
        row = {
            "id": key,
            "contract_id": strkey.encode(token),
            "type": "SEP41",
            "name": name,
            "symbol": symbol,
            "decimals": decimals,
        }
        put("contract_tokens", row)
        for holder in (DAVE, ERIN):
            held = {"account_id": holder, "contract_id": key, "balance": 10**24 + 1, "last_modified_ledger": last}
            put("sep41_balances", held)
        for spender, expiration in ((ERIN, last), (GOLD, last + 1), (SILVER, last - 1)):
            allowance = {"owner_id": DAVE, "spender_id": spender, "contract_id": key, "amount": 10**20}
            put("sep41_allowances", {**allowance, "expiration_ledger": expiration, "last_modified_ledger": last - 2})
    put("native_balances", {"account_id": DAVE, "balance": 100_000_000, "last_modified_ledger": last})


def _fill_pools(put: Put, usd: str) -> None:
    for number, pool in enumerate(POOLS):
        reserves = {"asset_a": "native", "asset_b": usd, "reserve_a": 10_000_000 * number, "reserve_b": 5}
        row = {"pool_id": pool, **reserves, "fee_bp": 30, "total_shares": 70_000_000, "trustline_count": 2}
        put("liquidity_pools", {**row, "last_modified_ledger": 9})
        if number < 3:
            put("liquidity_pool_balances", {"account_id": DAVE, "pool_id": pool, "shares": 1 + number, "last_modified_ledger": 8})


def _fill_claimable(put: Put, last: int, closed_at: Callable[[int], datetime], usd: str) -> None:
    to_id = toid.transaction_id(last, 2)
    stamp = {"ledger_number": last, "ledger_created_at": closed_at(last)}
    for number, (balance, predicate) in enumerate(zip(BALANCES, PREDICATES, strict=True)):
        seen = {"creator_account_id": ERIN, "created_ledger": last, "created_at": closed_at(last)} if number else {}
        row = {
            "balance_id": balance,
            "asset": usd,
            "amount": 10**7 * (number + 1),
            "flags": number % 2,
            "sponsor_account_id": ERIN,
        }
        put("claimable_balances", {**row, **seen, "last_modified_ledger": last})
        for claimant in (DAVE, ERIN):
            put("claimable_balance_claimants", {"balance_id": balance, "account_id": claimant, "predicate": Jsonb(predicate)})
    for number, kind in enumerate(("CREATED", "CREATED", "CLAIMED", "CLAWED_BACK")):
        event = {"to_id": to_id, "operation_id": to_id + 1, "event_id": number + 1, "kind": kind, "account_id": ERIN}
        balance = BALANCES[number] if number < 2 else "00000000" + "ab" * 32
        put("claimable_balance_events", {**event, "balance_id": balance, "asset": "native", "amount": 7, **stamp})


def _fill_offers_and_trades(put: Put, last: int, closed_at: Callable[[int], datetime], usd: str) -> None:
    for number in range(OFFERS):
        offer = {"offer_id": 2**53 + number, "seller_account_id": DAVE, "selling": "native", "buying": usd, "amount": 15}
        put("offers", {**offer, "price_n": 2, "price_d": 3, "flags": number % 2, "last_modified_ledger": last})
    for number in range(TRADES):
        ledger = last - number % 2
        to_id = toid.transaction_id(ledger, 1)
        pool = number % 3 == 2
        taker, maker = ((DAVE, ERIN), (ERIN, DAVE), (DAVE, None))[number % 3]
        row = {
            "to_id": to_id,
            "operation_id": to_id + 1,
            "trade_id": number + 1,
            "ledger_number": ledger,
            "ledger_created_at": closed_at(ledger),
            "kind": "LIQUIDITY_POOL" if pool else "ORDERBOOK",
            "taker_account_id": taker,
            "maker_account_id": maker,
            "liquidity_pool_id": POOLS[0] if pool else None,
            "offer_id": None if pool else 2**53,
            "sold_asset": "native" if number < 4 else usd,
            "sold_amount": 30_000_000,
            "bought_asset": usd if number < 4 else f"EUR:{strkey.encode(ERIN)}",
            "bought_amount": 20_000_000,
            "price_n": 2,
            "price_d": 3 if number else 0,
        }
        put("trades", row)
