"""What contracts hold of assets after the ledger: the balance entries that Stellar asset contracts (SAC) keep.

An account holds an asset in a trustline; a contract cannot, so the asset's contract keeps its balance as contract data under the
key [Balance, holder], with the amount and the issuer's authorization. The shape of the entry alone decides, so another contract
that keeps such entries counts too (Q23). Lumens are left out. Spec/processors.md 2.8; table `sac_balances`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple, cast

from lumenstream.xdr.rows import Address, Change, ContractDataEntry, Entry, Ledger, ScVal
from processors import merge, view
from schemas import assets, strkey
from schemas.families import SAC_BALANCE_CHANGES, SacBalanceChange
from schemas.parts import Part

# LedgerEntryType, ScValType
CONTRACT_DATA: Final = 6
BOOL: Final = 0
_I128: Final = 10
_SYMBOL: Final = 15
_VEC: Final = 16
_MAP: Final = 17
_ADDRESS: Final = 18

PERSISTENT: Final = 1

_BALANCE: Final = ScVal(_SYMBOL, "Balance")
_FIELDS: Final = ((ScVal(_SYMBOL, "amount"), _I128), (ScVal(_SYMBOL, "authorized"), BOOL), (ScVal(_SYMBOL, "clawback"), BOOL))


class Balance(NamedTuple):
    """What an asset contract says of one holder; raw units."""

    amount: int
    authorized: bool
    clawback: bool


_NOTHING: Final = Balance(0, False, False)


class SacBalances:
    """Family `sac_balance_changes`: the last change of each holding in the ledger."""

    name: Final = "sac_balances"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        self._native_token = assets.contract_address(network_id, assets.NATIVE, "native", None)

    def process(self, ledger: Ledger) -> Part:
        part = Part()
        part.add(SAC_BALANCE_CHANGES, (_row(*last) for last in merge.last_changes(self._holdings(ledger))))
        return part

    def _holdings(self, ledger: Ledger) -> Iterator[tuple[Hashable, int, Change]]:
        """Every change of a contract's holding as (contract of the asset and holder, operation id, change)."""
        entry: ContractDataEntry
        for operation_id, _, _, change, entry in view.changes_of(ledger, CONTRACT_DATA):
            holder = holder_of(entry.key)
            if (
                holder is not None
                and holder[0] == strkey.CONTRACT
                and entry.durability == PERSISTENT
                and entry.contract != self._native_token
                and balance_of(entry.value) is not None
            ):
                yield (entry.contract, holder), operation_id, change


def holder_of(key: ScVal) -> Address | None:
    """Whose balance is kept under a key of contract data; None when the key is no balance's."""
    if key.type != _VEC or key.value is None:
        return None
    items = cast(tuple[ScVal, ...], key.value)
    if len(items) != 2 or items[0] != _BALANCE or items[1].type != _ADDRESS:
        return None
    return cast(Address, items[1].value)


def balance_of(value: ScVal) -> Balance | None:
    """The balance in an entry's value: exactly these fields in this order, the amount not negative. None for anything else."""
    if value.type != _MAP or value.value is None:
        return None
    items = cast(tuple[tuple[ScVal, ScVal], ...], value.value)
    if len(items) != len(_FIELDS):
        return None
    for (key, item), (name, item_type) in zip(items, _FIELDS, strict=True):
        if key != name or item.type != item_type:
            return None
    amount, authorized, clawback = (item.value for _, item in items)
    return Balance(cast(int, amount), cast(bool, authorized), cast(bool, clawback)) if cast(int, amount) >= 0 else None


def _entry(change: Change) -> ContractDataEntry:
    return cast(ContractDataEntry, (change.post or cast(Entry, change.pre)).data)


def _row(operation_id: int, change: Change) -> SacBalanceChange:
    entry = _entry(change)
    balance = _NOTHING if change.post is None else cast(Balance, balance_of(entry.value))
    return SacBalanceChange(
        cast(Address, holder_of(entry.key)),
        entry.contract,
        assets.contract_uuid(entry.contract),
        merge.operation_word(change),
        operation_id,
        balance.amount,
        balance.authorized,
        balance.clawback,
    )
