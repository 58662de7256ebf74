"""What every account holds of issued assets after the ledger, and which assets the ledger mentioned.

A trustline is an account's promise to accept an issued asset up to a limit; its entry carries the balance, the liabilities of
open offers and the issuer's authorization flags. Pool shares are trustlines too but no balance of an asset: they are left out.
Spec/processors.md 2.6 and 5.2; tables `trustline_balances` and `trustline_assets`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from lumenstream.xdr.rows import Address, Asset, Change, Entry, Ledger, TrustLineEntry
from processors import merge, view
from schemas import assets, strkey, toid
from schemas.families import TRUSTLINE_ASSETS, TRUSTLINE_CHANGES, TrustlineAssetRow, TrustlineBalanceChange
from schemas.parts import Part

_MAX_CODE: Final = 12


class Trustlines:
    """Families `trustline_assets` and `trustline_changes`."""

    name: Final = "trustlines"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Trustlines look alike on every network."""

    def process(self, ledger: Ledger) -> Part:
        changes = list(_of_trustlines(ledger))
        mentioned = dict.fromkeys(asset for (_, asset), _, _ in changes)
        named = {asset: _asset_row(asset) for asset in mentioned if _has_name(asset)}
        last = merge.last_changes(change for change in changes if change[0][1] in named)
        part = Part()
        # An asset is worth a row even when its trustline came and went within the ledger.
        part.add(TRUSTLINE_ASSETS, named.values())
        part.add(TRUSTLINE_CHANGES, (_row(operation_id, change, named) for operation_id, change in last))
        return part


def _of_trustlines(ledger: Ledger) -> Iterator[tuple[tuple[Address, Asset], int, Change]]:
    """Every change of a trustline as (account and asset, operation id, change), in the order in which the ledger made them."""
    for tx in ledger.transactions:
        to_id = toid.transaction_id(ledger.header.sequence, tx.order)
        for operation_id, op in view.with_ids(to_id, tx):
            for change in op.changes:
                _, entry_type, pre, post, _ = change
                if entry_type == view.TRUSTLINE:
                    trustline = cast(TrustLineEntry, (post or cast(Entry, pre)).data)
                    yield (trustline.account_id, trustline.asset), operation_id, change


def _has_name(asset: Asset) -> bool:
    """False for pool shares, which are no asset, and for codes no protocol allows."""
    code, issuer = asset.code, asset.issuer
    return (
        issuer is not None and issuer[0] == strkey.ACCOUNT and 1 <= len(code) <= _MAX_CODE and code.isascii() and code.isalnum()
    )


def _asset_row(asset: Asset) -> TrustlineAssetRow:
    issuer = cast(Address, asset.issuer)
    return TrustlineAssetRow(assets.asset_uuid(asset.code, issuer), asset.code, issuer)


def _row(operation_id: int, change: Change, named: dict[Asset, TrustlineAssetRow]) -> TrustlineBalanceChange:
    account, asset, balance, limit, flags, buying, selling, _, _ = cast(
        TrustLineEntry, (change.post or cast(Entry, change.pre)).data
    )
    word = merge.operation_word(change)
    return TrustlineBalanceChange(account, named[asset].id, word, operation_id, balance, limit, buying, selling, flags)
