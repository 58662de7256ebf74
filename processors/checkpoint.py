"""Rows of current state from the ledger entries of a checkpoint, made by the very processors that make them from ledgers.

The entries are shown to the processors as one ledger that updated each of them, an operation each. So what a table holds of an
entry is written down in one place, and a checkpoint cannot disagree with the live pipeline. Which entry a row came from is told
by the row's operation id (or rank), and so in which ledger the entry was last modified. Spec/ingestion.md 4 and 12.5.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from lumenstream.xdr.rows import (
    Change,
    ContractDataEntry,
    Entry,
    Ledger,
    LedgerHeader,
    Memo,
    Operation,
    RestoreFootprint,
    Transaction,
)
from processors import registry, view
from processors.accounts import TRANSACTION_SHIFT
from schemas import strkey, toid
from schemas.checkpoint import EntryRows
from schemas.families import (
    ACCOUNT_CHANGES,
    CLAIMABLE_BALANCE_CHANGES,
    LIQUIDITY_POOL_CHANGES,
    LIQUIDITY_POOL_SHARE_CHANGES,
    OFFER_CHANGES,
    PROTOCOL_CONTRACTS,
    SAC_BALANCE_CHANGES,
    TRUSTLINE_CHANGES,
)
from schemas.parts import Row
from schemas.sep41 import ContractRow

_CONTRACT_DATA: Final = 6
_CONTRACT_CODE: Final = 7
_KEY_CONTRACT_INSTANCE: Final = 20  # ScValType

# The processors of current state, and the entries each looks at.
ENTRY_TYPES: Final[dict[str, frozenset[int]]] = {
    "trustlines": frozenset({view.TRUSTLINE}),
    "accounts": frozenset({view.ACCOUNT}),
    "sac_balances": frozenset({_CONTRACT_DATA}),
    "sac_instances": frozenset({_CONTRACT_DATA}),
    "liquidity_pools": frozenset({view.TRUSTLINE, view.LIQUIDITY_POOL}),
    "claimable_balances": frozenset({view.CLAIMABLE_BALANCE}),
    "trades": frozenset({view.OFFER}),
    "sep41": frozenset({_CONTRACT_DATA, _CONTRACT_CODE}),
}
# Where a row says from which operation it is: the place of its operation id.
_OPERATION_ID: Final = {
    family.name: [name for name, _ in family.columns].index("operation_id")
    for family in (
        TRUSTLINE_CHANGES,
        SAC_BALANCE_CHANGES,
        LIQUIDITY_POOL_CHANGES,
        LIQUIDITY_POOL_SHARE_CHANGES,
        CLAIMABLE_BALANCE_CHANGES,
        OFFER_CHANGES,
    )
}
_SORT_KEY: Final = [name for name, _ in ACCOUNT_CHANGES.columns].index("sort_key")
_ORDER_MASK: Final = (1 << 24) - 1
_PER_TRANSACTION: Final = toid.OPERATION_MASK  # operations that one transaction has ids for

_NOBODY: Final = bytes((strkey.ACCOUNT,)) + bytes(32)
_NO_HASH: Final = bytes(32)
_RESTORE_FOOTPRINT: Final = 26  # an operation type that no processor of current state asks about


class CheckpointProcessor:
    """For the network with this id."""

    def __init__(self, network_id: bytes) -> None:
        self._processors = registry.create(list(ENTRY_TYPES), network_id)

    def process_all(self, sequence: int, batches: Iterable[Sequence[Entry]]) -> Iterator[EntryRows]:
        """`process` of each batch. Python's cyclic collector is off meanwhile: it would look for cycles among millions of rows
        that have none. What whoever loads them left over is collected after each batch."""
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for entries in batches:
                yield self.process(sequence, entries)
                gc.collect(0)
        finally:
            if was_enabled:
                gc.enable()

    def process(self, sequence: int, entries: Sequence[Entry]) -> EntryRows:
        """The rows of entries that exist after ledger `sequence`, no two of which have the same key.

        LedgerContentError when an entry contradicts itself.
        """
        ledger = _ledger(sequence, entries)
        types = {entry.type for entry in entries}
        found = EntryRows({}, {})
        for processor in self._processors:
            if types & ENTRY_TYPES[processor.name]:
                for family, rows in processor.process(ledger).rows.items():
                    if rows:
                        found.rows[family] = rows
                        found.ledgers[family] = _ledgers_of(family, rows, entries)
        return found


def _ledgers_of(family: str, rows: Sequence[Row], entries: Sequence[Entry]) -> list[int]:
    """When the entry of each row was last modified."""
    if family in _OPERATION_ID:
        place = _OPERATION_ID[family]
        return [entries[_number_of_id(row[place])].last_modified_ledger_seq for row in rows]
    if family == ACCOUNT_CHANGES.name:
        return [entries[_number_of_rank(row[_SORT_KEY])].last_modified_ledger_seq for row in rows]
    if family == PROTOCOL_CONTRACTS.name:
        modified = {
            cast(ContractDataEntry, entry.data).contract: entry.last_modified_ledger_seq
            for entry in entries
            if entry.type == _CONTRACT_DATA and cast(ContractDataEntry, entry.data).key.type == _KEY_CONTRACT_INSTANCE
        }
        return [modified[ContractRow._make(row).contract_id] for row in rows]
    return []


def _number_of_id(operation_id: int) -> int:
    order = (operation_id & 0xFFFF_FFFF) >> 12
    return (order - 1) * _PER_TRANSACTION + (operation_id & toid.OPERATION_MASK) - 1


def _number_of_rank(rank: int) -> int:
    order, index = rank >> TRANSACTION_SHIFT & _ORDER_MASK, rank & (1 << TRANSACTION_SHIFT) - 1
    return (order - 1) * _PER_TRANSACTION + index


def _ledger(sequence: int, entries: Sequence[Entry]) -> Ledger:
    """A ledger that updated these entries and says nothing of what they were before."""
    starts = range(0, len(entries), _PER_TRANSACTION)
    transactions = tuple(_transaction(n, entries[at : at + _PER_TRANSACTION]) for n, at in enumerate(starts, 1))
    header = LedgerHeader(sequence, _NO_HASH, _NO_HASH, 0, 0, 0, 0, 0, 0, 0, _NO_HASH, _NO_HASH)
    return Ledger(0, header, transactions, (), (), 0)


def _transaction(order: int, entries: Sequence[Entry]) -> Transaction:
    body = RestoreFootprint()
    operations = tuple(
        Operation(_RESTORE_FOOTPRINT, None, body, b"", None, (Change(view.UPDATED, entry.type, None, entry, None),), ())
        for entry in entries
    )
    return Transaction(
        order=order,
        hash=_NO_HASH,
        inner_hash=None,
        envelope_type=0,
        source=_NOBODY,
        fee_source=None,
        seq_num=0,
        fee=0,
        memo=Memo(0, None),
        is_soroban=True,  # contract data and code are looked at
        resource_fee=0,
        result_code=0,
        fee_charged=0,
        inner_result_code=None,
        meta_version=0,
        operations=operations,
        fee_changes=(),
        changes_after=(),
        post_fee_changes=(),
    )
