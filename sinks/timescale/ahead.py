"""The rows of the ledgers that come next, made while the database is at work on the ones before.

A ledger's rows are kept with the parts they were made of: where other parts are to count by then, they are made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lumenstream.errors import IntegrityError
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder, LedgerRows

Parts = Sequence[Arrival]


class EncodedAhead:
    """Remembers no more than what `prepare` was last given, and of that no more than `most_rows` history rows and one ledger."""

    def __init__(self, encoder: LedgerEncoder, most_rows: int) -> None:
        self._encoder = encoder
        self._most_rows = most_rows
        self._made: dict[int, tuple[Parts, LedgerRows | None]] = {}

    def rows(self, ledger: Gathered, parts: Parts) -> LedgerRows:
        """The rows of a ledger. IntegrityError when they cannot be made."""
        made_of, rows = self._made.pop(ledger.sequence, ((), None))
        return rows if rows is not None and made_of == parts else self._encode(ledger, parts)

    def prepare(self, following: Iterable[tuple[Gathered, Parts]]) -> bool:
        """Make the rows of one more of these ledgers; False when none is left. A wrong one is left to `rows` to tell of."""
        former, self._made = self._made, {}
        count = 0
        for ledger, parts in following:
            if count >= self._most_rows:
                break
            known = former.get(ledger.sequence)
            made = known if known is not None and known[0] == parts else (parts, self._try(ledger, parts))
            self._made[ledger.sequence] = made
            if made is not known:
                return True
            count += made[1].history_count if made[1] is not None else 0
        return False

    def _try(self, ledger: Gathered, parts: Parts) -> LedgerRows | None:
        try:
            return self._encode(ledger, parts)
        except IntegrityError:
            return None

    def _encode(self, ledger: Gathered, parts: Parts) -> LedgerRows:
        return self._encoder.encode(ledger, [part.value for part in parts])
