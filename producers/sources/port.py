"""What a ledger source is: ledgers as the network closed them, in ascending sequence, from any point on.

Errors: IntegrityError for data that contradicts itself, UnreachableError for a source that stays silent; their text says where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

Wait = Callable[[float], bool]
"""Waits up to so many seconds; True: stop now. The producer uses the time to serve its deliveries."""


class SourceLedger(NamedTuple):
    """`previous_sequence` names the predecessor in the source, None for its very first; `place` says where the data lies."""

    sequence: int
    previous_sequence: int | None
    data: bytes  # one LedgerCloseMeta, XDR
    place: str


class LedgerSource(Protocol):
    """One reader at a time. A source without end waits for the next ledger; a finite one ends the iteration."""

    def ledgers(self, after: int | None) -> Iterator[SourceLedger]:
        """Ascending, strictly after `after`; None: from the source's beginning. Ends early when a wait says stop."""

    def close(self) -> None:
        """Let go of files and connections."""
