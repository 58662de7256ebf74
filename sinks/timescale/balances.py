"""Current state: who holds what after the last ledger. A group of ledgers is merged first, so each key is written once.

Upserts carry last_modified_ledger as a guard: a row never goes back to an older ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, LiteralString

from lumenstream.database import Connection
from schemas import families, strkey
from schemas.families import SacBalanceChange, SacContractRow, TrustlineAssetRow
from sinks.timescale.binary import bool_array, bytea_array, int8_array, text_array, uuid_array
from sinks.timescale.merging import REMOVE, Merged, merge
from sinks.timescale.tables import LedgerRows, account_key

_TRUSTLINE_KEY: Final = 2  # account, asset
_ACCOUNT_KEY: Final = 1
SAC_DECIMALS: Final = 7

_ASSETS: Final[LiteralString] = (
    "insert into trustline_assets (id, code, issuer) select * from unnest(%s::uuid[], %s::text[], %s::text[]) "
    "on conflict do nothing"
)
# A balance may name a contract before its instance was seen: the stub is completed when it is. Later instances change nothing.
_CONTRACTS: Final[LiteralString] = (
    "insert into contract_tokens as t (id, contract_id, type, code, issuer, name, symbol, decimals) "
    "select id, contract_id, 'SAC', nullif(code, ''), nullif(issuer, ''), "
    "case when code = '' then null else code || ':' || issuer end, nullif(code, ''), %s "
    "from unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) as new (id, contract_id, code, issuer) "
    "on conflict (contract_id) do update set type = excluded.type, code = excluded.code, issuer = excluded.issuer, "
    "name = excluded.name, symbol = excluded.symbol, decimals = excluded.decimals "
    "where t.code is null and excluded.code is not null"
)
_TRUSTLINES: Final[LiteralString] = (
    "insert into trustline_balances as t "
    "(account_id, asset_id, balance, trust_limit, buying_liabilities, selling_liabilities, flags, last_modified_ledger) "
    "select * from unnest(%s::bytea[], %s::uuid[], %s::bigint[], %s::bigint[], "
    "%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
    "on conflict (account_id, asset_id) do update set balance = excluded.balance, trust_limit = excluded.trust_limit, "
    "buying_liabilities = excluded.buying_liabilities, selling_liabilities = excluded.selling_liabilities, "
    "flags = excluded.flags, last_modified_ledger = excluded.last_modified_ledger "
    "where t.last_modified_ledger <= excluded.last_modified_ledger"
)
_TRUSTLINES_GONE: Final[LiteralString] = (
    "delete from trustline_balances t using unnest(%s::bytea[], %s::uuid[], %s::bigint[]) as gone (account_id, asset_id, ledger) "
    "where t.account_id = gone.account_id and t.asset_id = gone.asset_id and t.last_modified_ledger <= gone.ledger"
)
_ACCOUNTS: Final[LiteralString] = (
    "insert into native_balances as t "
    "(account_id, balance, minimum_balance, buying_liabilities, selling_liabilities, num_subentries, last_modified_ledger) "
    "select * from unnest(%s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
    "on conflict (account_id) do update set balance = excluded.balance, minimum_balance = excluded.minimum_balance, "
    "buying_liabilities = excluded.buying_liabilities, selling_liabilities = excluded.selling_liabilities, "
    "num_subentries = excluded.num_subentries, last_modified_ledger = excluded.last_modified_ledger "
    "where t.last_modified_ledger <= excluded.last_modified_ledger"
)
_ACCOUNTS_GONE: Final[LiteralString] = (
    "delete from native_balances t using unnest(%s::bytea[], %s::bigint[]) as gone (account_id, ledger) "
    "where t.account_id = gone.account_id and t.last_modified_ledger <= gone.ledger"
)
_SAC: Final[LiteralString] = (
    "insert into sac_balances as t (account_id, contract_id, balance, is_authorized, is_clawback_enabled, last_modified_ledger) "
    "select a, c, b::numeric, au, cl, l "
    "from unnest(%s::bytea[], %s::uuid[], %s::text[], %s::boolean[], %s::boolean[], %s::bigint[]) as new (a, c, b, au, cl, l) "
    "on conflict (account_id, contract_id) do update set balance = excluded.balance, is_authorized = excluded.is_authorized, "
    "is_clawback_enabled = excluded.is_clawback_enabled, last_modified_ledger = excluded.last_modified_ledger "
    "where t.last_modified_ledger <= excluded.last_modified_ledger"
)
_SAC_GONE: Final[LiteralString] = (
    "delete from sac_balances t using unnest(%s::bytea[], %s::uuid[], %s::bigint[]) as gone (account_id, contract_id, ledger) "
    "where t.account_id = gone.account_id and t.contract_id = gone.contract_id and t.last_modified_ledger <= gone.ledger"
)


def insert_parents(connection: Connection, ledgers: Sequence[LedgerRows]) -> dict[str, int]:
    """Assets and contracts, before what refers to them."""
    assets = insert_assets(connection, (asset for rows in ledgers for asset in rows.assets))
    contracts: dict[bytes, tuple[bytes, str, str]] = {}
    for rows in ledgers:
        name_contracts(contracts, rows.sac_balances, rows.contracts)
    insert_contracts(connection, contracts)
    return {"trustline_assets": assets, "contract_tokens": len(contracts)}


def insert_assets(connection: Connection, mentioned: Iterable[TrustlineAssetRow]) -> int:
    """Assets that are new. Sorted, so that two writers would lock in the same order. Returns how many were asked for."""
    assets = sorted({asset.id: asset for asset in mentioned}.values())
    if assets:
        connection.execute(
            _ASSETS,
            (
                uuid_array(asset.id for asset in assets),
                text_array(asset.code for asset in assets),
                text_array(strkey.encode(asset.issuer) for asset in assets),
            ),
        )
    return len(assets)


def name_contracts(
    contracts: dict[bytes, tuple[bytes, str, str]], holdings: Iterable[SacBalanceChange], instances: Iterable[SacContractRow]
) -> None:
    """Add what these tell of asset contracts, by id: address, code, issuer. A holding alone gives a stub without the last two."""
    for change in holdings:
        contracts.setdefault(change.contract_uuid, (change.contract_id, "", ""))
    for contract in instances:
        if not contracts.get(contract.id, (b"", "", ""))[1]:
            contracts[contract.id] = (contract.contract_id, contract.code, strkey.encode(contract.issuer))


def insert_contracts(connection: Connection, contracts: dict[bytes, tuple[bytes, str, str]]) -> None:
    """Asset contracts that are new, and stubs that can be completed. Sorted like assets."""
    if contracts:
        ids = sorted(contracts)
        connection.execute(
            _CONTRACTS,
            (
                SAC_DECIMALS,
                uuid_array(ids),
                text_array(strkey.encode(contracts[key][0]) for key in ids),
                text_array(contracts[key][1] for key in ids),
                text_array(contracts[key][2] for key in ids),
            ),
        )


def apply(connection: Connection, ledgers: Sequence[LedgerRows]) -> dict[str, int]:
    """Trustline, native and asset-contract balances. Returns the rows touched by table."""
    trustlines = merge(families.TRUSTLINE_CHANGES, _TRUSTLINE_KEY, ledgers)
    accounts = merge(families.ACCOUNT_CHANGES, _ACCOUNT_KEY, ledgers)
    sac: dict[tuple[bytes, bytes], tuple[SacBalanceChange, int]] = {}
    for rows in ledgers:
        sac |= {(account_key(row.account_id), row.contract_uuid): (row, rows.header.sequence) for row in rows.sac_balances}
    _apply_trustlines(connection, trustlines)
    _apply_accounts(connection, accounts)
    _apply_sac(connection, sac)
    return {
        "trustline_balances": len(trustlines.latest),
        "native_balances": len(accounts.latest),
        "sac_balances": len(sac),
    }


def _apply_trustlines(connection: Connection, merged: Merged) -> None:
    kept, gone = merged.kept(), merged.ended()
    if kept.keys:
        numbers = ("balance", "limit", "buying_liabilities", "selling_liabilities", "flags")
        connection.execute(
            _TRUSTLINES,
            (
                bytea_array(kept.columns["account_id"]),
                uuid_array(kept.columns["asset_id"]),
                *(int8_array(kept.columns[name]) for name in numbers),
                int8_array(kept.ledgers),
            ),
        )
    if gone:
        ledgers = int8_array(ledger for _, ledger in gone)
        connection.execute(
            _TRUSTLINES_GONE, (bytea_array(key[0] for key, _ in gone), uuid_array(key[1] for key, _ in gone), ledgers)
        )


def _apply_accounts(connection: Connection, merged: Merged) -> None:
    kept, gone = merged.kept(), merged.ended()
    if kept.keys:
        numbers = ("balance", "minimum_balance", "buying_liabilities", "selling_liabilities", "num_subentries")
        connection.execute(
            _ACCOUNTS,
            (
                bytea_array(kept.columns["account_id"]),
                *(int8_array(kept.columns[name]) for name in numbers),
                int8_array(kept.ledgers),
            ),
        )
    if gone:
        connection.execute(_ACCOUNTS_GONE, (bytea_array(key[0] for key, _ in gone), int8_array(ledger for _, ledger in gone)))


def _apply_sac(connection: Connection, changes: dict[tuple[bytes, bytes], tuple[SacBalanceChange, int]]) -> None:
    kept = sorted((key, row, ledger) for key, (row, ledger) in changes.items() if row.operation != REMOVE)
    gone = sorted((key, ledger) for key, (row, ledger) in changes.items() if row.operation == REMOVE)
    if kept:
        connection.execute(
            _SAC,
            (
                bytea_array(key[0] for key, _, _ in kept),
                uuid_array(key[1] for key, _, _ in kept),
                text_array(str(row.balance) for _, row, _ in kept),
                bool_array(row.is_authorized for _, row, _ in kept),
                bool_array(row.is_clawback_enabled for _, row, _ in kept),
                int8_array(ledger for _, _, ledger in kept),
            ),
        )
    if gone:
        ledgers = int8_array(ledger for _, ledger in gone)
        connection.execute(_SAC_GONE, (bytea_array(key[0] for key, _ in gone), uuid_array(key[1] for key, _ in gone), ledgers))
