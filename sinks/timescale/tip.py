"""How far the database is behind topic `ledgers`: what lies on it and is not committed.

The broker is asked for the ends of the partitions now and then, and never waited for. Where the database is, the `ledgers` rows
say, which name the raw message of each ledger. A repeated message counts until it is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec

from lumenstream import kafka
from lumenstream.database import Connection
from lumenstream.settings import KafkaSettings
from schemas.history import PARTICIPANTS
from schemas.messages import Topic
from sinks.timescale.reorder import Gathered

ASK_SECONDS: Final = 1.0
RECENT_LEDGERS: Final = 10_000  # how far back the last ledger of every partition is looked for
_LATEST: Final[Callable[[], OffsetSpec]] = OffsetSpec.latest


class Tip:
    """`lag`: ledgers on the topic that are not committed, None while nobody knows. A partition counts from its first ledger on
    that the database has."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.lag: int | None = None
        self.close_time: int | None = None  # of the cursor's ledger, in Unix seconds
        self._topic = settings.topic(Topic.LEDGERS)
        self._timeout = settings.request_timeout_seconds
        self._admin = AdminClient(kafka.client_config(settings))
        self._next: dict[int, int] = {}  # partition: offset behind the last committed ledger
        self._ends: dict[int, int] = {}
        self._answers: dict[TopicPartition, Future[ListOffsetsResultInfo]] = {}
        self._asked_at = -ASK_SECONDS

    def start(self, connection: Connection, cursor: int) -> None:
        """Read where the database is."""
        rows = connection.execute(
            'select partition, max("offset") + 1 from ledgers where topic = %s and sequence > %s group by 1',
            (self._topic, cursor - RECENT_LEDGERS),
        ).fetchall()
        self._next = dict(rows)
        closed = "select extract(epoch from closed_at)::bigint from ledgers where sequence = %s"
        row = connection.execute(closed, (cursor,)).fetchone()
        self.close_time = row[0] if row else None
        connection.rollback()

    def committed(self, ledgers: Iterable[Gathered]) -> None:
        """These are in the database now. A topic made anew begins at lower offsets: the last one counts."""
        for ledger in ledgers:
            source = ledger.parts[PARTICIPANTS].headers
            if source.source_topic == self._topic:
                self._next[source.source_partition] = source.source_offset + 1
            self.close_time = ledger.close_time
        self._count()

    def observe(self, now: float) -> None:
        """Take the broker's answer if it is here, and ask again when it is time. `now` in monotonic seconds."""
        if self._answers:
            if all(answer.done() for answer in self._answers.values()):
                self._take()
        elif self._next and now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            asked = {TopicPartition(self._topic, partition): _LATEST() for partition in self._next}
            self._answers = self._admin.list_offsets(asked, request_timeout=self._timeout)

    def _take(self) -> None:
        """A broker in trouble is the consumer's to report; here it means that nobody knows."""
        try:
            self._ends = {asked.partition: answer.result().offset for asked, answer in self._answers.items()}
        except KafkaException:
            self._ends = {}
        self._answers = {}
        self._count()

    def _count(self) -> None:
        behind = [end - self._next[partition] for partition, end in self._ends.items()]
        self.lag = sum(max(0, count) for count in behind) if behind else None
