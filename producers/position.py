"""Where the ledger producer goes on: after the last ledger on the topic that has no hole before it, or after the database cursor.

Partitions fill independently, so a crash can leave ledger 12 on the topic and 11 lost. Inside a partition nothing is ever lost
before something kept (idempotent producer), so every ledger up to the lowest of the partitions' last ones is there. From that one
the previous-sequence headers are followed upwards; the first that does not fit ends the chain. What lies behind it is sent again,
which is harmless: the sink drops parts that come twice.
"""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from confluent_kafka import Message

from lumenstream import database
from lumenstream.errors import IntegrityError
from lumenstream.kafka import TopicReader, Watermarks, headers_of
from lumenstream.logs import get_logger
from lumenstream.settings import KafkaSettings, Settings
from schemas.messages import LedgerHeaders, MessageError, Topic

_log = get_logger("producer")


class Tail(NamedTuple):
    """The last ledger without a hole before it, the highest of all, and whether the topic's own beginning may be missing."""

    last: LedgerHeaders
    highest: int
    beginning_uncertain: bool


def read_tail(settings: KafkaSettings, network_id: str) -> Tail | None:
    """The end of the `ledgers` topic, None when it holds nothing. IntegrityError for anything but ledgers of this network."""
    reader = TopicReader(settings, settings.topic(Topic.LEDGERS))
    try:
        marks = {partition: reader.watermarks(partition) for partition in range(settings.partitions)}
        filled = {partition: mark for partition, mark in marks.items() if mark.high > mark.low}
        if not filled:
            return None
        lasts = {partition: _headers(reader.one(partition, mark.high - 1), network_id) for partition, mark in filled.items()}
        # A partition that never had a message may have lost its first one: then everything there is must be looked at.
        never_written = any(mark.high == 0 for mark in marks.values())
        floor = 0 if never_written else min(headers.sequence for headers in lasts.values())
        found: dict[int, LedgerHeaders] = {}
        for partition, mark in filled.items():
            for headers in _back_to(reader, partition, mark, floor, network_id):
                found[headers.sequence] = headers
    finally:
        reader.close()
    return follow(found, floor, never_written)


def follow(found: dict[int, LedgerHeaders], floor: int, never_written: bool) -> Tail:
    """Follow the chain of previous sequences upwards from the first ledger at or above `floor`."""
    sequences = sorted(sequence for sequence in found if sequence >= floor)
    last = found[sequences[0]]
    uncertain = never_written and last.previous_sequence is not None
    for sequence in sequences[1:]:
        if found[sequence].previous_sequence != last.sequence:
            _log.warning("the topic has a hole", after=last.sequence, before=sequence, highest=sequences[-1])
            break
        last = found[sequence]
    return Tail(last, sequences[-1], uncertain)


def _back_to(reader: TopicReader, partition: int, mark: Watermarks, floor: int, network_id: str) -> list[LedgerHeaders]:
    """Headers at the end of a partition, back to the first that is at or below the floor."""
    count = 1
    while True:
        start = max(mark.low, mark.high - count)
        taken: list[LedgerHeaders] = []

        def take(message: Message, into: list[LedgerHeaders] = taken) -> bool:
            into.append(_headers(message, network_id))
            return True

        reader.read(partition, start, mark.high, take)
        if start == mark.low or min(headers.sequence for headers in taken) <= floor:
            return taken
        count *= 4


def _headers(message: Message, network_id: str) -> LedgerHeaders:
    place = f"{message.topic()} [{message.partition()}] offset {message.offset()}"
    try:
        headers = LedgerHeaders.from_kafka(headers_of(message))
    except MessageError as error:
        raise IntegrityError(f"{place}: {error}", hint="something else wrote to this topic: use another topic prefix") from error
    if headers.network_id != network_id:
        raise IntegrityError(
            f"{place}: ledger {headers.sequence} is of network {headers.network_id}, settings say {network_id}",
            hint="use another topic prefix for another network",
        )
    return headers


def database_cursor(settings: Settings) -> int | None:
    """The highest ledger in the database; None when nothing was ever committed, or by `producer.use_database` there is none.

    IntegrityError for a database of another network.
    UnreachableError when it does not answer: that says nothing about what is committed, so ask again.
    """
    if not settings.producer.use_database:
        return None
    try:
        with database.connect(settings.database, application_name="lumenstream-produce", autocommit=True) as connection:
            if database.schema_version(connection) == 0:
                return None
            database.check_network(connection, settings.network.network_id())
            return database.get_cursor(connection, database.Cursor.LATEST) or None
    except psycopg.OperationalError as error:
        raise database.unreachable(settings.database.url.get_secret_value(), error) from error
