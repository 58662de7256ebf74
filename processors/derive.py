"""What the pipeline would store for a ledger, as JSON objects: for `lumenstream derive`, for comparisons, for the curious.

Ledger in, rows of every family out, named as the tables name them. Addresses are StrKey text, hashes hex, operations base64.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lumenstream.xdr.rows import Ledger
from processors.port import Processor
from schemas import assets, strkey
from schemas.families import (
    ACCOUNT_CHANGES,
    CLAIMABLE_BALANCE_CHANGES,
    CLAIMABLE_BALANCE_EVENTS,
    FAMILIES,
    LEDGERS,
    LIQUIDITY_POOL_CHANGES,
    LIQUIDITY_POOL_SHARE_CHANGES,
    OFFER_CHANGES,
    OPERATIONS,
    OPERATIONS_ACCOUNTS,
    SAC_BALANCE_CHANGES,
    SEP41_CANDIDATE_EVENTS,
    STATE_CHANGES_PREFIX,
    TRADES,
    TRANSACTIONS,
    TRANSACTIONS_ACCOUNTS,
    TRUSTLINE_ASSETS,
    TRUSTLINE_CHANGES,
    Family,
    Kind,
)
from schemas.participation import union_accounts
from schemas.parts import Part, Row

JsonRow = dict[str, Any]

_DATED: Final = frozenset(family.name for family in (TRANSACTIONS, OPERATIONS, CLAIMABLE_BALANCE_EVENTS, TRADES))
_ANY_AMOUNT: Final = frozenset((SAC_BALANCE_CHANGES.name, SEP41_CANDIDATE_EVENTS.name))
_NAMES: Final = {"inner_hash": "inner_transaction_hash"}  # columns that the reference's results name otherwise
_NUMBERED: Final = frozenset(
    family.name
    for family in (
        ACCOUNT_CHANGES,
        SAC_BALANCE_CHANGES,
        TRUSTLINE_CHANGES,
        LIQUIDITY_POOL_CHANGES,
        LIQUIDITY_POOL_SHARE_CHANGES,
        CLAIMABLE_BALANCE_CHANGES,
        OFFER_CHANGES,
    )
)


def derive_rows(ledger: Ledger, processors: Sequence[Processor]) -> Iterator[JsonRow]:
    """First the ledger itself, then one object per row with its `family`, in the order of the families and of emission."""
    parts = [processor.process(ledger) for processor in processors]
    rows = merged_rows(parts)
    closed_at = datetime.fromtimestamp(ledger.header.close_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sequence = ledger.header.sequence
    yield _ledger_object(ledger, closed_at)
    asset_texts = {row[0]: assets.text(row[1], row[2]) for row in rows.get(TRUSTLINE_ASSETS.name, ())}
    for name, family in FAMILIES.items():
        if name == LEDGERS.name:
            continue
        for row in rows.get(name, ()):
            item = _object(family, row)
            if name.startswith(STATE_CHANGES_PREFIX):
                category = name.removeprefix(STATE_CHANGES_PREFIX).upper()
                yield {
                    "family": "state_changes",
                    "state_change_category": category,
                    **item,
                    "ledger_number": sequence,
                    "ledger_created_at": closed_at,
                }
                continue
            if name == TRUSTLINE_CHANGES.name:
                item = _trustline_object(item, asset_texts[row[1]])
            if name in _NUMBERED or name in _DATED:
                item["ledger_number"] = sequence
            if name in _DATED:
                item["ledger_created_at"] = closed_at
            yield {"family": name, **item}


def merged_rows(parts: Sequence[Part]) -> dict[str, list[Row]]:
    """Rows of all parts by family, participants of state changes included, as the sink stores them."""
    rows: dict[str, list[Row]] = {}
    for part in parts:
        for family, batch in part.rows.items():
            rows.setdefault(family, []).extend(batch)
    transactions_accounts, operations_accounts = union_accounts(parts)
    rows[TRANSACTIONS_ACCOUNTS.name] = list(transactions_accounts)
    rows[OPERATIONS_ACCOUNTS.name] = list(operations_accounts)
    return rows


def _ledger_object(ledger: Ledger, closed_at: str) -> JsonRow:
    header = ledger.header
    return {
        "family": "ledger",
        "sequence": header.sequence,
        "hash": header.hash.hex(),
        "previous_hash": header.previous_hash.hex(),
        "close_time": header.close_time,
        "closed_at": closed_at,
        "protocol_version": header.protocol_version,
        "base_reserve": header.base_reserve,
        "lcm_v": ledger.version,
        "tx_count": len(ledger.transactions),
    }


def _trustline_object(item: JsonRow, asset: str) -> JsonRow:
    return {"account_id": item["account_id"], "asset": asset, "trustline_asset_id": item.pop("asset_id"), **item}


def _object(family: Family, row: Row) -> JsonRow:
    return {
        _NAMES.get(column, column): None if value is None else _json(family.name, column, kind, value)
        for (column, kind), value in zip(family.columns, row, strict=True)
    }


def _json(family: str, column: str, kind: Kind, value: Any) -> Any:
    """Amounts that contracts tell are text, state changes among them: they may exceed 64 bits, which few JSON readers take."""
    match kind:
        case Kind.ADDRESS:
            return strkey.encode(value)
        case Kind.HASH:
            return value.hex()
        case Kind.KEY:
            return str(uuid.UUID(bytes=value))
        case Kind.BIG:
            return str(value) if family.startswith(STATE_CHANGES_PREFIX) or family in _ANY_AMOUNT else value
        case Kind.ANY if isinstance(value, bytes):
            return value.hex() if column == "inner_hash" else base64.b64encode(value).decode("ascii")
        case _:
            return value
