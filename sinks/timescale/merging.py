"""The last change of each key in a group of consecutive ledgers: what is left to write of current state. Pure.

Works on whole rows of a family, whose key comes first, and makes columns only of what is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from schemas.families import Family
from schemas.parts import Row
from sinks.timescale.tables import LedgerRows

REMOVE: Final = "REMOVE"

Key = tuple[Any, ...]


class Kept(NamedTuple):
    """Entries that exist after the group, in the order of their keys, so that two writers would lock in the same order."""

    keys: list[Key]
    ledgers: list[int]
    columns: Mapping[str, Sequence[Any]]  # of the family, by name


@dataclass(slots=True)
class Merged:
    """`latest`: by key the ledger and the row of its last change. `gone`: by key the last ledger that removed it, whether it
    came again or not."""

    columns: list[str]
    operation: int  # place of the column
    latest: dict[Key, tuple[int, Row]]
    gone: dict[Key, int]

    def kept(self) -> Kept:
        operation = self.operation
        keys = sorted([key for key, (_, row) in self.latest.items() if row[operation] != REMOVE])
        found = [self.latest[key] for key in keys]
        columns = zip(*[row for _, row in found], strict=True)
        return Kept(keys, [ledger for ledger, _ in found], dict(zip(self.columns, columns, strict=False)))  # no rows, no columns

    def ended(self) -> list[tuple[Key, int]]:
        """Keys of entries that do not exist after the group, and the ledger that removed them, in order."""
        return sorted((key, ledger) for key, ledger in self.gone.items() if self.is_gone(key))

    def is_gone(self, key: Key) -> bool:
        return bool(self.latest[key][1][self.operation] == REMOVE)


def merge(family: Family, key_columns: int, ledgers: Iterable[LedgerRows]) -> Merged:
    """Of a family whose first columns are the key."""
    columns = [name for name, _ in family.columns]
    operation = columns.index("operation")
    latest: dict[Key, tuple[int, Row]] = {}
    gone: dict[Key, int] = {}
    for rows in ledgers:
        changes, sequence = rows.changes.get(family.name, []), rows.header.sequence
        latest |= {row[:key_columns]: (sequence, row) for row in changes}
        gone |= {row[:key_columns]: sequence for row in changes if row[operation] == REMOVE}
    return Merged(columns, operation, latest, gone)
