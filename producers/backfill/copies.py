"""Copies of raw ledgers on the topics: at the places that table `ledgers` knows, or else looked for on topic `ledgers`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from confluent_kafka import Message

from lumenstream import kafka
from lumenstream.errors import UnreachableError
from lumenstream.ledgertopic import first_offset
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from producers.backfill.book import Place
from producers.backfill.plan import Range
from producers.sources import SourceLedger
from schemas.messages import LedgerHeaders, MessageError, Topic, partition_of

_MAX_SKIP: Final = 8  # offsets between two wanted messages that are cheaper to read than to seek over

_log = get_logger("backfill")


class Copies:
    """What a topic does not hold any more is simply not found."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._network_id = settings.network.network_id().hex()
        self._topic = settings.kafka.topic(Topic.LEDGERS)
        self._oldest: dict[int, int | None] = {}  # by partition of topic `ledgers`: its first ledger
        self._behind: dict[int, tuple[int, int]] = {}  # by partition: the ledger read last, the offset behind it
        self._readers: dict[str, kafka.TopicReader] = {}
        self._lows: dict[tuple[str, int], int] = {}
        self._counts: dict[str, int] | None = None

    def read(self, places: Sequence[Place]) -> dict[int, SourceLedger]:
        """By sequence, those that lie at these places."""
        found: dict[int, SourceLedger] = {}
        ordered = sorted(places, key=lambda place: (place.topic, place.partition, place.offset))
        for (topic, partition), group in groupby(ordered, key=lambda place: (place.topic, place.partition)):
            for run in _runs(group):
                try:
                    self._read_run(topic, partition, run, found)
                except UnreachableError as error:
                    _log.warning("no copy on the topic, asking the source", topic=topic, partition=partition, error=str(error))
        return found

    def whole(self, wanted: Range) -> dict[int, SourceLedger]:
        """All ledgers of a range, from topic `ledgers`; none when one of them is not there."""
        found: dict[int, SourceLedger] = {}
        try:
            for partition, sequences in self._by_partition(wanted).items():
                copies = self._search(partition, sequences)
                if len(copies) < len(sequences):
                    return {}
                found |= copies
        except UnreachableError as error:
            _log.warning("no copies on the topic, asking the source", topic=self._topic, ledgers=str(wanted), error=str(error))
            return {}
        return found

    def reach(self, wanted: Range, places: Sequence[Place]) -> bool:
        """Whether the topics still hold all of a range, as far as their beginnings tell: nothing of it is read."""
        try:
            if places:
                lows = [(place, self._low(place.topic, place.partition)) for place in places]
                return len(places) == wanted.ledgers and all(low is not None and low <= place.offset for place, low in lows)
            partitions = self._by_partition(wanted).items()
            oldest = [(sequences[0], self._oldest_of(partition)) for partition, sequences in partitions]
            return all(first is not None and first <= sequence for sequence, first in oldest)
        except UnreachableError:
            return False  # whoever reads will say so

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def _by_partition(self, wanted: Range) -> dict[int, list[int]]:
        """The ledgers of a range, ascending, by their partition of topic `ledgers`."""
        found: dict[int, list[int]] = {}
        for sequence in range(wanted.first, wanted.last + 1):
            partition = partition_of(sequence, self._kafka.range_size, self._kafka.partitions)
            found.setdefault(partition, []).append(sequence)
        return found

    def _read_run(self, topic: str, partition: int, run: list[Place], found: dict[int, SourceLedger]) -> None:
        low = self._low(topic, partition)
        wanted = {place.offset: place.sequence for place in run if low is not None and place.offset >= low}
        if not wanted:
            return

        def take(message: Message) -> bool:
            sequence, headers = wanted.get(message.offset() or 0), _headers_of(message)
            if sequence is not None and headers is not None and headers.sequence == sequence:
                found[sequence] = _ledger(message, sequence)
            return True

        self._readers[topic].read(partition, min(wanted), max(wanted) + 1, take)

    def _search(self, partition: int, sequences: Sequence[int]) -> dict[int, SourceLedger]:
        """Of these ascending ledgers of a partition those that it holds."""
        oldest = self._oldest_of(partition)
        if oldest is None or oldest > sequences[0]:
            return {}
        reader, wanted, found = self._readers[self._topic], set(sequences), dict[int, SourceLedger]()
        # A job's ranges ascend: where the last one ended the next begins, unless there is a gap in the job between them.
        last, offset = self._behind.get(partition, (0, 0))
        stride = self._kafka.range_size * self._kafka.partitions
        if not 0 < sequences[0] - last <= stride:
            offset = first_offset(reader, partition, sequences[0])

        def take(message: Message) -> bool:
            headers = _headers_of(message)
            if headers is None:
                return True
            self._behind[partition] = headers.sequence, (message.offset() or 0) + 1
            if headers.sequence in wanted and headers.network_id == self._network_id:
                found[headers.sequence] = _ledger(message, headers.sequence)
            return headers.sequence < sequences[-1]

        reader.read(partition, offset, reader.watermarks(partition).high, take)
        return found

    def _oldest_of(self, partition: int) -> int | None:
        if partition not in self._oldest:
            self._oldest[partition] = None
            low = self._low(self._topic, partition)
            if low is not None and self._readers[self._topic].watermarks(partition).high > low:
                headers = _headers_of(self._readers[self._topic].one(partition, low))
                self._oldest[partition] = None if headers is None else headers.sequence
        return self._oldest[partition]

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


def _ledger(message: Message, sequence: int) -> SourceLedger:
    place = f"{message.topic()} [{message.partition()}] offset {message.offset()}"
    return SourceLedger(sequence, None, message.value() or b"", place)


def _headers_of(message: Message) -> LedgerHeaders | None:
    try:
        return LedgerHeaders.from_kafka(kafka.headers_of(message))
    except MessageError as error:
        _log.warning("a message without the headers of a ledger", topic=message.topic(), error=str(error))
        return None
