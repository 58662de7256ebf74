"""What every effect derivation is given: one operation of a successful transaction, and where its rows stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from lumenstream.xdr.rows import Address, Asset, Change, Entry, EntryData, Operation, Text
from schemas import assets

# LedgerEntryType
DATA: Final = 3

# OperationType
CHANGE_TRUST: Final = 6
MANAGE_DATA: Final = 10


class Context(NamedTuple):
    """`ids` gives the state_change_id of each next row; `source` is the account the operation acts for, in G form."""

    network_id: bytes
    to_id: int
    operation_id: int
    ids: Iterator[int]
    op: Operation
    source: Address


def latest(change: Change) -> EntryData:
    """The entry after the change, or what it was before it was removed."""
    return (change.post or cast(Entry, change.pre)).data


def token_of(network_id: bytes, asset: Asset) -> Address:
    """The address of the asset's contract, which is how every token is named."""
    return assets.contract_address(network_id, asset.type, asset.code, asset.issuer)


def readable(text: Text) -> str:
    """Text as JSON can carry it: what is not UTF-8 becomes the replacement character."""
    return text if isinstance(text, str) else text.decode(errors="replace")
