"""Raw ledgers for a job: copied from the topics that still hold them, the rest from the configured source.

Every ledger is checked as the ledger producer checks it; a copy must besides have the hash that the database knows. Of ledgers
that the database does not have, copies serve a range as a whole or not at all.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lumenstream.errors import IntegrityError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from lumenstream.xdr.rows import LedgerHeader
from producers import sources
from producers.backfill import plan
from producers.backfill.book import Place
from producers.backfill.copies import Copies
from producers.backfill.plan import Range
from producers.header import NetworkCheck, check_chain, checked_header
from producers.sources import LedgerSource, SourceLedger

_log = get_logger("backfill")


class RawLedgers:
    """Gives the ledgers of a range, whole and in order. The source is opened when it is first needed."""

    def __init__(self, settings: Settings, stop: threading.Event, ranges: Sequence[Range]) -> None:
        """`ranges`: what the job will ask for, ascending; a source that reads ahead reads no further."""
        self._ends = plan.ends(ranges)
        self._settings = settings
        self._stop = stop
        self._network = NetworkCheck(settings.network.network_id())
        self._copies = Copies(settings)
        self._source: LedgerSource | None = None
        self._reading: Iterator[SourceLedger] | None = None
        self._next = 0
        self.copied = 0

    def check_source(self, wanted: Range, places: Sequence[Place]) -> None:
        """ConfigurationError when `read` would ask the source, and the settings lack what it needs."""
        if not (self._settings.backfill.from_topics and self._copies.reach(wanted, places)):
            sources.check(self._settings)

    def read(self, wanted: Range, places: Sequence[Place]) -> Iterator[tuple[SourceLedger, LedgerHeader]]:
        """The ledgers of a range with their headers. IntegrityError when one is missing or wrong, UnreachableError."""
        hashes = {place.sequence: place.ledger_hash for place in places}
        copies = self._copies_of(wanted, places)
        previous: LedgerHeader | None = None
        for sequence in range(wanted.first, wanted.last + 1):
            ledger = copies.pop(sequence, None)
            header = None if ledger is None else _true_header(ledger, hashes.get(sequence))
            if ledger is None or header is None:
                ledger = self._from_source(sequence)
                header = checked_header(ledger)
                self._network.check(ledger)
            else:
                self.copied += 1
            if sequence in hashes and header.hash.hex() != hashes[sequence]:
                raise IntegrityError(f"{ledger.place}: hash {header.hash.hex()}, the database has {hashes[sequence]}")
            if previous is not None:
                check_chain(previous.sequence, previous.hash.hex(), header, ledger.place)
            previous = header
            yield ledger, header

    def close(self) -> None:
        self._copies.close()
        if self._source is not None:
            self._source.close()

    def _copies_of(self, wanted: Range, places: Sequence[Place]) -> dict[int, SourceLedger]:
        if not self._settings.backfill.from_topics:
            return {}
        if places:
            return self._copies.read(places)
        copies = self._copies.whole(wanted)
        try:
            for ledger in copies.values():
                self._network.check(ledger)
            headers = [checked_header(copies[sequence]) for sequence in sorted(copies)]
            for before, header in pairwise(headers):
                check_chain(before.sequence, before.hash.hex(), header, copies[header.sequence].place)
        except IntegrityError as error:
            _log.warning("the copies on the topic are no chain, asking the source", ledgers=str(wanted), error=str(error))
            return {}
        return copies

    def _from_source(self, sequence: int) -> SourceLedger:
        if self._source is None:
            self._source = sources.create(self._settings, self._stop.wait, paced=False)
        if self._reading is None or self._next != sequence:
            self._reading = self._source.ledgers(sequence - 1, self._end_of(sequence))
        self._next = 0
        found = next(self._reading, None)
        if found is None or found.sequence != sequence:
            self._reading = None
            raise IntegrityError(f"the source ended before ledger {sequence}", hint="it was asked to stop, or has no more")
        self._next = sequence + 1
        return found

    def _end_of(self, sequence: int) -> int:
        """The end of the stretch of the job that holds a ledger."""
        at = bisect_left(self._ends, sequence)
        return self._ends[at] if at < len(self._ends) else sequence


def _true_header(ledger: SourceLedger, ledger_hash: str | None) -> LedgerHeader | None:
    """The header of a copy, None when it is not the ledger that the database knows, if it knows one."""
    try:
        header = checked_header(ledger)
    except IntegrityError as error:
        _log.warning("the copy on the topic is damaged, asking the source", ledger=ledger.sequence, error=str(error))
        return None
    return header if ledger_hash in (None, header.hash.hex()) else None
