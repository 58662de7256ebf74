"""Rows made of ledger entries as they stood at a checkpoint, instead of a ledger's changes: families and rows are the same.

`processors.checkpoint` makes them, the TimescaleDB sink loads them. They never go through Kafka.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.parts import Row


class EntryRows(NamedTuple):
    """By family: rows, and beside each the ledger in which its entry was last modified. Rows of families that no ledger is kept
    for (assets, asset contracts, code, claimants) have none beside them."""

    rows: dict[str, list[Row]]
    ledgers: dict[str, list[int]]
