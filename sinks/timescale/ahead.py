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
    """Remembers no more than what `prepare` was last given."""

    def __init__(self, encoder: LedgerEncoder) -> None:
        self._encoder = encoder
        self._made: dict[int, tuple[Parts, LedgerRows | None]] = {}

    def rows(self, ledger: Gathered, parts: Parts) -> LedgerRows:
        """The rows of a ledger. IntegrityError when they cannot be made."""
        made_of, rows = self._made.pop(ledger.sequence, ((), None))
        return rows if rows is not None and made_of == parts else self._encode(ledger, parts)

    def prepare(self, following: Iterable[tuple[Gathered, Parts]]) -> bool:
        """Make the rows of one more of these ledgers; False when none is left. A wrong one is left to `rows` to tell of."""
        former, self._made = self._made, {}
        worked = False
        for ledger, parts in following:
            known = former.get(ledger.sequence)
            if known is not None and known[0] == parts:
                self._made[ledger.sequence] = known
            elif not worked:
                worked = True
                self._made[ledger.sequence] = parts, self._try(ledger, parts)
        return worked

    def _try(self, ledger: Gathered, parts: Parts) -> LedgerRows | None:
        try:
            return self._encode(ledger, parts)
        except IntegrityError:
            return None

    def _encode(self, ledger: Gathered, parts: Parts) -> LedgerRows:
        return self._encoder.encode(ledger, [part.value for part in parts])
