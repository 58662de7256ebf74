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
from schemas import assets, strkey
from schemas.families import TRUSTLINE_ASSETS, TRUSTLINE_CHANGES, TrustlineAssetRow, TrustlineBalanceChange
from schemas.parts import Part

_MAX_CODE: Final = 12


class Trustlines:
    """Families `trustline_assets` and `trustline_changes`."""

    name: Final = "trustlines"
    version: Final = 1

    def __init__(self, network_id: bytes, *, history_only: bool = False) -> None:
        """Trustlines look alike on every network. `history_only`: the assets, which history refers to, without the changes."""
        self._history_only = history_only

    def process(self, ledger: Ledger) -> Part:
        found = view.changes_of(ledger, view.TRUSTLINE)
        mentioned = dict.fromkeys([line.asset for _, _, _, _, line in found])
        named = {asset: _asset_row(asset) for asset in mentioned if _has_name(asset)}
        part = Part()
        # An asset is worth a row even when its trustline came and went within the ledger.
        part.add(TRUSTLINE_ASSETS, named.values())
        if not self._history_only:
            changes = [((line.account_id, line.asset), operation_id, change) for operation_id, _, _, change, line in found]
            part.add(TRUSTLINE_CHANGES, _rows(merge.last_changes(changes), named))
        return part


def _has_name(asset: Asset) -> bool:
    """False for pool shares, which are no asset, and for codes no protocol allows."""
    code, issuer = asset.code, asset.issuer
    return (
        issuer is not None and issuer[0] == strkey.ACCOUNT and 1 <= len(code) <= _MAX_CODE and code.isascii() and code.isalnum()
    )


def _asset_row(asset: Asset) -> TrustlineAssetRow:
    issuer = cast(Address, asset.issuer)
    return TrustlineAssetRow(assets.asset_uuid(asset.code, issuer), asset.code, issuer)


def _rows(last: list[tuple[int, Change]], named: dict[Asset, TrustlineAssetRow]) -> Iterator[TrustlineBalanceChange]:
    for operation_id, change in last:
        line = cast(TrustLineEntry, (change.post or cast(Entry, change.pre)).data)
        account, asset, balance, limit, flags, buying, selling, _, _ = line
        row = named.get(asset)
        if row is not None:
            word = merge.operation_word(change)
            yield TrustlineBalanceChange(account, row.id, word, operation_id, balance, limit, buying, selling, flags)
