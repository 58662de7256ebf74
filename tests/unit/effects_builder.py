"""What the tests of effects and asset contracts add to `ledger_builder`: entries before and after, balances of contracts."""

from __future__ import annotations

from typing import Any, Final

from lumenstream.xdr import rows
from lumenstream.xdr.rows import AccountEntry, Address, Asset, Change, ClaimableBalanceEntry, Entry, EntryData, ScVal, Signer
from schemas import strkey
from schemas.parts import Part
from tests.unit.ledger_builder import SEQUENCE, account_entry, address, i128, mapping, symbol

_ENTRY_TYPES: Final[dict[type[Any], int]] = {
    AccountEntry: 0,
    rows.TrustLineEntry: 1,
    rows.OfferEntry: 2,
    rows.DataEntry: 3,
    ClaimableBalanceEntry: 4,
    rows.ContractDataEntry: 6,
}


def g(number: int) -> Address:
    """The G address with this number. Their texts sort like the numbers up to 51; then come digits, which sort first."""
    return bytes((strkey.ACCOUNT, number)) + bytes(31)


def holder(
    account_id: Address,
    *,
    thresholds: tuple[int, int, int, int] = (1, 0, 0, 0),
    signers: tuple[Signer, ...] = (),
    home_domain: str = "",
) -> AccountEntry:
    """An account with what set_options can change."""
    entry = account_entry(account_id, thresholds=bytes(thresholds), signers=signers, home_domain=home_domain).data
    assert isinstance(entry, AccountEntry)
    return entry


def line(account_id: Address, asset: Asset, *, limit: int = 1000, flags: int = 0) -> rows.TrustLineEntry:
    return rows.TrustLineEntry(account_id, asset, 0, limit, flags, 0, 0, 0, 0)


def change(pre: EntryData | None, post: EntryData | None, *, was: Address | None = None, now: Address | None = None) -> Change:
    """An entry before and after; `was` and `now` are its sponsors."""
    entry_type = _ENTRY_TYPES[type(pre if post is None else post)]
    return Change(
        0 if pre is None else 2 if post is None else 1,
        entry_type,
        None if pre is None else Entry(entry_type, SEQUENCE - 1, was, pre),
        None if post is None else Entry(entry_type, SEQUENCE, now, post),
        None,
    )


def rows_of(part: Part) -> list[Any]:
    """All rows of state changes by operation and id: the order in which they were told."""
    return sorted((row for batch in part.rows.values() for row in batch), key=lambda row: (row[1], row[2]))


# --- Soroban values ---------------------------------------------------------------------------------------------------


def boolean(value: bool) -> ScVal:
    return ScVal(0, value)


def vector(*items: ScVal) -> ScVal:
    return ScVal(16, items)


def holding(
    contract: Address, owner: Address, value: ScVal | None = None, *, amount: int = 0, authorized: bool = True
) -> rows.ContractDataEntry:
    """A balance entry of an asset's contract; `value` replaces the well-formed one."""
    regular = mapping(amount=i128(amount), authorized=boolean(authorized), clawback=boolean(False))
    return rows.ContractDataEntry(contract, vector(symbol("Balance"), address(owner)), 1, value or regular)
