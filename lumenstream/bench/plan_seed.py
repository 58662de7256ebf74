"""A database for the plans of the API's reads: made-up history of any size, and what is now of a few thousand accounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lumenstream.bench import bulk, history
from lumenstream.bench.history import ASSET, BUSY, TOKEN, TRANSACTIONS, Scale
from schemas import assets, strkey

CURRENT_ROWS: Final = 20_000  # of each table of current state
CURRENT: Final = (
    *("ledgers", "ingest_store", "contract_tokens", "trustline_assets", "native_balances", "trustline_balances"),
    *("sac_balances", "sep41_balances", "sep41_allowances", "liquidity_pools", "liquidity_pool_balances"),
    *("claimable_balances", "claimable_balance_claimants", "offers"),
)

_BUSY: Final = f"'\\x{BUSY.hex()}'::bytea"


def seed(url: str, rows: int) -> Scale:
    """Fill an empty, migrated database, with so many rows in each table of history."""
    scale = Scale(rows)
    history.fill(url, scale)
    with bulk.connect(url) as connection:
        for statement in (*_ledgers(scale), *_current()):
            connection.execute(statement.encode())
        connection.execute(f"VACUUM (ANALYZE) {', '.join(CURRENT)}".encode())
    return scale


def _ledgers(scale: Scale) -> Iterator[str]:
    every = ", ".join([str(TRANSACTIONS)] * 4)
    yield (
        "INSERT INTO ledgers (sequence, hash, previous_hash, closed_at, protocol_version, transaction_count, "
        'successful_transaction_count, operation_count, state_change_count, topic, partition, "offset") '
        f"SELECT l, '\\x00', '\\x00', {history.closing(scale)}, 23, {every}, 'ledgers', 0, l "
        f"FROM generate_series(1, {scale.ledgers}) l"
    )
    yield f"INSERT INTO ingest_store (key, value) VALUES ('latest_ingest_ledger', '{scale.ledgers}')"


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
