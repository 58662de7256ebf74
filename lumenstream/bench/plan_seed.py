"""A database of made-up history for the plans of the API's reads: as many rows as wanted, written by generate_series.

A hundred transactions a ledger, four days in all. One account, BUSY, takes part in every sixteenth transaction; PARTNER in every
fourth of those; a thousand others share the rest. One row in thirteen of the state changes is no plain debit or credit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from schemas import assets, strkey

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
SPAN: Final = timedelta(days=4)
TRANSACTIONS: Final = 100  # a ledger
CURRENT_ROWS: Final = 20_000  # of each table of current state
BUSY: Final = bytes((strkey.ACCOUNT,)) + hashlib.sha256(b"busy").digest()
PARTNER: Final = bytes((strkey.ACCOUNT,)) + hashlib.sha256(b"partner").digest()
TOKEN: Final = bytes((strkey.CONTRACT,)) + hashlib.sha256(b"3").digest()
ASSET: Final = f"USD3:{strkey.encode(PARTNER)}"
HISTORY: Final = (
    "transactions",
    "transactions_accounts",
    "operations",
    "operations_accounts",
    "state_changes",
    "claimable_balance_events",
    "trades",
)

_OTHER = "'\\x30'::bytea || sha256(({0} % 1000)::text::bytea)"
_BUSY = f"'\\x{BUSY.hex()}'::bytea"
_WHO = f"CASE WHEN t % 16 = 1 THEN {_BUSY} ELSE {_OTHER} END"


class Scale:
    """How many ledgers hold so many transactions, and when they closed."""

    def __init__(self, rows: int) -> None:
        self.ledgers = max(1, rows // TRANSACTIONS)
        self.seconds = SPAN.total_seconds() / self.ledgers

    def closed_at(self, ledger: int) -> datetime:
        return START + timedelta(seconds=round((ledger - 1) * self.seconds, 6))


def seed(connection: psycopg.Connection[Any], rows: int) -> Scale:
    """Fill an empty, migrated database. `connection` must be in autocommit mode: each table is vacuumed when it is full."""
    scale = Scale(rows)
    connection.execute("SET synchronous_commit = off")
    for statement in (*_history(scale), *_current()):
        connection.execute(statement.encode())
    connection.execute("VACUUM ANALYZE")
    return scale


def _history(scale: Scale) -> Iterator[str]:
    time = f"timestamptz '2026-03-01Z' + (l - 1) * interval '{scale.seconds:.6f} s'"
    to_id = "((l::bigint << 32) | (t << 12))"
    every = f"FROM generate_series(1, {scale.ledgers}) l, generate_series(1, {TRANSACTIONS}) t"
    series = f"{every} ORDER BY l, t"  # as the chain writes them: BRIN indexes rely on it
    stamp = "ledger_number, ledger_created_at"
    who = _WHO.format("(l * 7 + t)")
    partner = f"'\\x{PARTNER.hex()}'::bytea, {{id}}, {time} {every} WHERE t % 64 = 1"
    yield (
        "INSERT INTO ledgers (sequence, hash, previous_hash, closed_at, protocol_version, transaction_count, "
        'successful_transaction_count, operation_count, state_change_count, topic, partition, "offset") '
        f"SELECT l, '\\x00', '\\x00', {time}, 23, 100, 100, 100, 100, 'ledgers', 0, l FROM generate_series(1, {scale.ledgers}) l"
    )
    yield f"INSERT INTO ingest_store (key, value) VALUES ('latest_ingest_ledger', '{scale.ledgers}')"
    yield (
        f"INSERT INTO transactions (to_id, hash, fee_charged, result_code, {stamp}) "
        f"SELECT {to_id}, sha256({to_id}::text::bytea), 100, 'ok', l, {time} {series}"
    )
    yield (
        f"INSERT INTO operations (id, operation_type, result_code, successful, {stamp}) "
        f"SELECT {to_id} | 1, 'PAYMENT', 'ok', true, l, {time} {series}"
    )
    for table, column, identity in (
        ("transactions_accounts", "tx_to_id", to_id),
        ("operations_accounts", "operation_id", f"{to_id} | 1"),
    ):
        yield (
            f"INSERT INTO {table} (account_id, {column}, ledger_created_at) SELECT {who}, {identity}, {time} {every} "
            f"UNION ALL SELECT {partner.format(id=identity)} ORDER BY 2"
        )
    yield (
        "INSERT INTO state_changes (to_id, operation_id, state_change_id, state_change_category, state_change_reason, "
        f"{stamp}, account_id, token_id, amount, to_muxed_id) SELECT {to_id}, {to_id} | 1, 1, "
        "CASE WHEN l % 13 = 0 THEN 'TRUSTLINE' ELSE 'BALANCE' END, CASE WHEN l % 13 = 0 THEN 'UPDATE' ELSE 'CREDIT' END, "
        f"l, {time}, {who}, '\\x10'::bytea || sha256((l % 8)::text::bytea), '5', "
        f"CASE WHEN l % 8 = 3 THEN (l % 16)::text END {series}"
    )
    yield (
        f"INSERT INTO claimable_balance_events (to_id, operation_id, event_id, {stamp}, balance_id, kind, account_id, asset, "
        f"amount) SELECT {to_id}, {to_id} | 1, 1, l, {time}, md5({to_id}::text), 'CREATED', {who}, 'native', 5 {series}"
    )
    yield (
        f"INSERT INTO trades (to_id, operation_id, trade_id, {stamp}, kind, taker_account_id, maker_account_id, offer_id, "
        "sold_asset, sold_amount, bought_asset, bought_amount, price_n, price_d) "
        f"SELECT {to_id}, {to_id} | 1, 1, l, {time}, 'ORDERBOOK', "
        f"{who}, CASE WHEN t % 16 = 2 THEN {_BUSY} ELSE {_OTHER.format('(l * 3 + t)')} END, "
        f"1, 'native', 5, 'USD' || l % 8 || ':{strkey.encode(PARTNER)}', 5, 1, 1 {series}"
    )


def _current() -> Iterator[str]:
    account = f"CASE WHEN n <= 200 THEN {_BUSY} ELSE '\\x30'::bytea || sha256((n / 10)::text::bytea) END"
    series = f"FROM generate_series(1, {CURRENT_ROWS}) n"
    contract = assets.contract_uuid(TOKEN).hex()
    key = "md5(n::text)"
    yield (
        "INSERT INTO contract_tokens (id, contract_id, type, decimals) SELECT md5(n::text)::uuid, 'C' || n, 'SEP41', 7 "
        f"{series} UNION ALL SELECT '{contract}'::uuid, '{strkey.encode(TOKEN)}', 'SEP41', 7"
    )
    yield f"INSERT INTO trustline_assets (id, code, issuer) SELECT {key}::uuid, 'USD', 'G' || n {series}"
    yield f"INSERT INTO native_balances (account_id) SELECT '\\x30'::bytea || sha256(n::text::bytea) {series}"
    yield f"INSERT INTO trustline_balances (account_id, asset_id) SELECT {account}, {key}::uuid {series}"
    for table in ("sac_balances", "sep41_balances"):
        columns = "account_id, contract_id, balance, last_modified_ledger"
        yield f"INSERT INTO {table} ({columns}) SELECT {account}, {key}::uuid, 5, 1 {series}"
    yield (
        "INSERT INTO sep41_allowances (owner_id, spender_id, contract_id, amount, expiration_ledger, last_modified_ledger) "
        f"SELECT {account}, '\\x30'::bytea || sha256(n::text::bytea), {key}::uuid, 5, 4000000000, 1 {series}"
    )
    yield (
        "INSERT INTO liquidity_pools (pool_id, asset_a, asset_b, reserve_a, reserve_b, fee_bp, total_shares, trustline_count, "
        f"last_modified_ledger) SELECT {key} || {key}, 'native', '{ASSET}', 1, 1, 30, 1, 1, 1 {series}"
    )
    yield (
        "INSERT INTO liquidity_pool_balances (account_id, pool_id, shares, last_modified_ledger) "
        f"SELECT {account}, {key} || {key}, 5, 1 {series}"
    )
    yield (
        "INSERT INTO claimable_balances (balance_id, asset, amount, flags, last_modified_ledger) "
        f"SELECT {key} || {key}, 'native', 5, 0, 1 {series}"
    )
    yield (
        "INSERT INTO claimable_balance_claimants (balance_id, account_id, predicate) "
        f"SELECT {key} || {key}, {account}, '{{\"unconditional\": true}}' {series}"
    )
    yield (
        "INSERT INTO offers (offer_id, seller_account_id, selling, buying, amount, price_n, price_d, flags, "
        f"last_modified_ledger) SELECT n, {account}, 'native', '{ASSET}', 5, 1, 1, 0, 1 {series}"
    )
