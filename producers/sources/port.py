"""What a ledger source is: ledgers as the network closed them, in ascending sequence, from any point on.

Errors: IntegrityError for data that contradicts itself or is missing, UnreachableError for a source that stays silent; their text
says where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from lumenstream.errors import IntegrityError


class SourceLedger(NamedTuple):
    """`previous_sequence` names the predecessor in the source, None for its very first; `place` says where the data lies."""

    sequence: int
    previous_sequence: int | None
    data: bytes  # one LedgerCloseMeta, XDR
    place: str


class Extent(NamedTuple):
    """What a source has. `place`: where, for people. None: not known, or without end."""

    place: str
    oldest: int | None
    newest: int | None


class LedgerSource(Protocol):
    """One reader at a time. A source without end waits for the next ledger; a finite one ends the iteration."""

    @property
    def tip(self) -> int | None:
        """The newest ledger that the source was seen to have; None while it is not known. Read by other threads too."""

    @property
    def problem(self) -> str:
        """What keeps the source from giving the next ledger; empty while nothing does. Read by other threads too."""

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        """Ascending, strictly after `after`; None: from the source's beginning. Ends early when a wait says stop.

        `through`: the last one wanted. Such a range is whole, from after + 1 on, or an IntegrityError names what is missing.
        """

    def look(self) -> Extent:
        """Ask whether it is there and of this network. Reads no ledger. Errors as `ledgers`."""

    def close(self) -> None:
        """Let go of files and connections."""


def missing(place: str, sequence: int) -> IntegrityError:
    """The error of a range that is not whole."""
    return IntegrityError(f"{place} does not have ledger {sequence}", hint="name a source that has it, with --source")
