"""What every account holds of issued assets after the ledger, and which assets the ledger mentioned.

A trustline is an account's promise to accept an issued asset up to a limit; its entry carries the balance, the liabilities of
open offers and the issuer's authorization flags. Pool shares are trustlines too but no balance of an asset: they are left out.
Spec/processors.md 2.6 and 5.2; tables `trustline_balances` and `trustline_assets`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Final, cast

from lumenstream.xdr.rows import Address, Asset, Change, Entry, Ledger, TrustLineEntry
from processors import merge, view
from schemas import assets, strkey, toid
from schemas.families import TRUSTLINE_ASSETS, TRUSTLINE_CHANGES, TrustlineAssetRow, TrustlineBalanceChange
from schemas.parts import Part

_MAX_CODE: Final = 12
_CACHE_ASSETS: Final = 1 << 16


class Trustlines:
    """Families `trustline_assets` and `trustline_changes`."""

    name: Final = "trustlines"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Trustlines look alike on every network."""

    def process(self, ledger: Ledger) -> Part:
        mentioned: dict[tuple[str, Address], None] = {}
        changes = merge.last_changes(_of_trustlines(ledger, mentioned))
        rows = [_row(operation_id, change) for operation_id, change in changes]
        part = Part()
        part.add(
            TRUSTLINE_ASSETS,
            (TrustlineAssetRow(assets.asset_uuid(code, issuer), code, issuer) for code, issuer in mentioned),
        )
        part.add(TRUSTLINE_CHANGES, rows)
        return part


def _of_trustlines(ledger: Ledger, mentioned: dict[tuple[str, Address], None]) -> Iterator[tuple[Hashable, int, Change]]:
    """Every change of an asset's trustline as (account and asset, operation id, change). Fills `mentioned` on the way, because
    an asset is worth a row even when the trustline came and went within the ledger."""
    for tx in ledger.transactions:
        to_id = toid.transaction_id(ledger.header.sequence, tx.index)
        for operation_id, op in zip(view.operation_ids(to_id, tx), tx.operations, strict=True):
            for change in op.changes:
                _, entry_type, pre, post, _ = change
                if entry_type == view.TRUSTLINE:
                    trustline = cast(TrustLineEntry, (post or cast(Entry, pre)).data)
                    code, issuer = _issued(trustline.asset)
                    if issuer is not None:
                        mentioned[code, issuer] = None
                        yield (trustline.account_id, code, issuer), operation_id, change


@lru_cache(maxsize=_CACHE_ASSETS)
def _issued(asset: Asset) -> tuple[str, Address | None]:
    """Code and issuer of an asset that a row can name; no issuer for pool shares and for codes no protocol allows."""
    code, issuer = asset.code, asset.issuer
    valid = 1 <= len(code) <= _MAX_CODE and code.isascii() and code.isalnum()
    return (code, issuer) if valid and issuer is not None and issuer[0] == strkey.ACCOUNT else (code, None)


def _row(operation_id: int, change: Change) -> TrustlineBalanceChange:
    trustline = cast(TrustLineEntry, (change.post or cast(Entry, change.pre)).data)
    return TrustlineBalanceChange(
        trustline.account_id,
        assets.asset_uuid(trustline.asset.code, cast(Address, trustline.asset.issuer)),
        merge.operation_word(change),
        operation_id,
        trustline.balance,
        trustline.limit,
        trustline.buying_liabilities,
        trustline.selling_liabilities,
        trustline.flags,
    )
