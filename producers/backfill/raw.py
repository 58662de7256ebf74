"""Raw ledgers for a job: copied from the topics where table `ledgers` says they lie, the rest from the configured source.

Every ledger is checked as the ledger producer checks it; a copy must besides have the hash that the database knows.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from confluent_kafka import Message

from lumenstream import kafka
from lumenstream.errors import IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from lumenstream.xdr.rows import LedgerHeader
from producers import sources
from producers.backfill import plan
from producers.backfill.book import Place
from producers.backfill.plan import Range
from producers.header import NetworkCheck, check_chain, checked_header
from producers.sources import LedgerSource, SourceLedger
from schemas.messages import LedgerHeaders, MessageError

_MAX_SKIP: Final = 8  # offsets between two wanted messages that are cheaper to read than to seek over

_log = get_logger("backfill")


class RawLedgers:
    """Gives the ledgers of a range, whole and in order. The source is opened when it is first needed."""

    def __init__(self, settings: Settings, stop: threading.Event, ranges: Sequence[Range]) -> None:
        """`ranges`: what the job will ask for, ascending; a source that reads ahead reads no further."""
        self._ends = plan.ends(ranges)
        self._settings = settings
        self._stop = stop
        self._network = NetworkCheck(settings.network.network_id())
        self._copies = _Copies(settings)
        self._source: LedgerSource | None = None
        self._reading: Iterator[SourceLedger] | None = None
        self._next = 0
        self.copied = 0

    def read(self, wanted: Range, places: Sequence[Place]) -> Iterator[tuple[SourceLedger, LedgerHeader]]:
        """The ledgers of a range with their headers. IntegrityError when one is missing or wrong, UnreachableError."""
        hashes = {place.sequence: place.ledger_hash for place in places}
        copies = self._copies.read(places)
        previous: LedgerHeader | None = None
        for sequence in range(wanted.first, wanted.last + 1):
            ledger = copies.pop(sequence, None)
            header = None if ledger is None else _true_header(ledger, hashes[sequence])
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


def _true_header(ledger: SourceLedger, ledger_hash: str) -> LedgerHeader | None:
    """The header of a copy, None when it is not the ledger that the database knows."""
    try:
        header = checked_header(ledger)
    except IntegrityError as error:
        _log.warning("the copy on the topic is damaged, asking the source", ledger=ledger.sequence, error=str(error))
        return None
    return header if header.hash.hex() == ledger_hash else None


class _Copies:
    """Messages by topic, partition and offset. What a topic does not hold any more is simply not found."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._readers: dict[str, kafka.TopicReader] = {}
        self._lows: dict[tuple[str, int], int] = {}
        self._counts: dict[str, int] | None = None

    def read(self, places: Sequence[Place]) -> dict[int, SourceLedger]:
        found: dict[int, SourceLedger] = {}
        ordered = sorted(places, key=lambda place: (place.topic, place.partition, place.offset))
        for (topic, partition), group in groupby(ordered, key=lambda place: (place.topic, place.partition)):
            for run in _runs(group):
                try:
                    self._read_run(topic, partition, run, found)
                except UnreachableError as error:
                    _log.warning("no copy on the topic, asking the source", topic=topic, partition=partition, error=str(error))
        return found

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def _read_run(self, topic: str, partition: int, run: list[Place], found: dict[int, SourceLedger]) -> None:
        low = self._low(topic, partition)
        wanted = {place.offset: place.sequence for place in run if low is not None and place.offset >= low}
        if not wanted:
            return

        def take(message: Message) -> bool:
            sequence, value = wanted.get(message.offset() or 0), message.value()
            if sequence is not None and isinstance(value, bytes) and _sequence_of(message) == sequence:
                place = f"{topic} [{partition}] offset {message.offset()}"
                found[sequence] = SourceLedger(sequence, None, value, place)
            return True

        self._readers[topic].read(partition, min(wanted), max(wanted) + 1, take)

    def _low(self, topic: str, partition: int) -> int | None:
        """The first offset that a partition holds; None when there is no such partition."""
        if self._counts is None:
            self._counts = kafka.partition_counts(self._kafka)
        if partition >= self._counts.get(topic, 0):
            return None
        if topic not in self._readers:
            self._readers[topic] = kafka.TopicReader(self._kafka, topic)
        if (topic, partition) not in self._lows:
            self._lows[topic, partition] = self._readers[topic].watermarks(partition).low
        return self._lows[topic, partition]


def _runs(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Places of one partition in runs that are read in one go."""
    run: list[Place] = []
    for place in places:
        if run and place.offset - run[-1].offset > _MAX_SKIP:
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _sequence_of(message: Message) -> int | None:
    try:
        return LedgerHeaders.from_kafka(kafka.headers_of(message)).sequence
    except MessageError as error:
        _log.warning("a message without the headers of a ledger", topic=message.topic(), error=str(error))
        return None
