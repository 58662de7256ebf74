"""What a run left behind: every row of every table, and every event, in a form that two runs can be compared in.

Left out is what may differ between two good runs: when a row was written, and where on Kafka its ledger lay.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson
import psycopg
from confluent_kafka import Consumer, Message, TopicPartition
from psycopg import sql

from lumenstream import kafka
from lumenstream.settings import KafkaSettings
from schemas.events import event_id
from tests.plugins.servers import watermarks

READ_SECONDS: Final = 60.0
SHOWN_ROWS: Final = 3
_TIMES: Final = ("ingested_at", "created_at", "updated_at")
_COORDINATES: Final = ("topic", "partition", "offset")
_TABLES: Final = (
    "select c.relname from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace "
    "and c.relname not in ('schema_migrations', 'sink_offsets') order by 1"
)


@dataclass(frozen=True)
class Snapshot:
    """Rows by table, as JSON text in order."""

    rows: Mapping[str, tuple[str, ...]]

    def counts(self) -> dict[str, int]:
        return {table: len(rows) for table, rows in self.rows.items()}

    def hashes(self) -> dict[str, str]:
        """One SHA-256 per table."""
        return {table: hashlib.sha256("\n".join(rows).encode()).hexdigest() for table, rows in self.rows.items()}


def snapshot(database_url: str) -> Snapshot:
    """Every table of the database but the migrations' own and the sink's resume offsets, in one transaction."""
    with psycopg.connect(database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
        return Snapshot({table: _rows(connection, table) for table in tables})


def _rows(connection: psycopg.Connection[Any], table: str) -> tuple[str, ...]:
    left_out = [*_TIMES, *(_COORDINATES if table == "ledgers" else ())]
    query = sql.SQL("select (to_jsonb(t) - %s::text[])::text from {} t").format(sql.Identifier(table))
    return tuple(sorted(text for (text,) in connection.execute(query, (left_out,))))


def difference(found: Snapshot, wanted: Snapshot) -> str:
    """What differs, by table: counts, and the first rows that only one side has. Empty when nothing does."""
    lines = []
    found_hashes, wanted_hashes = found.hashes(), wanted.hashes()
    for table in sorted(found_hashes.keys() | wanted_hashes.keys()):
        if found_hashes.get(table) == wanted_hashes.get(table):
            continue
        has, should = Counter(found.rows.get(table, ())), Counter(wanted.rows.get(table, ()))
        lines.append(f"{table}: {has.total()} rows, {should.total()} in the undisturbed run")
        lines += [f"  too many: {row}" for row in islice((has - should).elements(), SHOWN_ROWS)]
        lines += [f"  missing:  {row}" for row in islice((should - has).elements(), SHOWN_ROWS)]
    return "\n".join(lines)


def read_topic(settings: KafkaSettings, topic: str) -> list[Message]:
    """Every message of a topic (name without prefix) up to its present end, each partition in order."""
    consumer = Consumer(kafka.consumer_config(settings, "chaos-reader"))
    try:
        name = settings.topic(topic)
        ends: dict[int, int] = {}
        for number in range(settings.partitions):
            low, end = watermarks(consumer, name, number)
            if end > low:
                ends[number] = end
        consumer.assign([TopicPartition(name, number, 0) for number in ends])
        messages: list[Message] = []
        while ends:
            message = consumer.poll(READ_SECONDS)
            assert message is not None, f"{name} fell silent before offsets {ends}"
            assert message.error() is None, message.error()
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            messages.append(message)
            if offset + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)
        return messages
    finally:
        consumer.close()


@dataclass(frozen=True)
class Events:
    """Events by id, and the ids of each account in the order in which they were first seen."""

    by_id: Mapping[str, bytes]
    by_account: Mapping[bytes, tuple[str, ...]]
    repeats: int


def read_events(settings: KafkaSettings, topic: str = "state-changes") -> Events:
    """What a consumer that remembers ids sees. AssertionError when an id comes back with other bytes or another key."""
    by_id: dict[str, bytes] = {}
    by_account: dict[bytes, list[str]] = {}
    repeats = 0
    for message in read_topic(settings, topic):
        key, value = message.key(), message.value()
        assert isinstance(key, bytes) and isinstance(value, bytes)
        event = orjson.loads(value)
        assert event["account_id"].encode() == key
        if event["id"] in by_id:
            assert by_id[event["id"]] == value, f"event {event['id']} came twice with different bytes"
            repeats += 1
        else:
            by_id[event["id"]] = value
            by_account.setdefault(key, []).append(event["id"])
    return Events(by_id, {account: tuple(ids) for account, ids in by_account.items()}, repeats)


def check_events(found: Events, wanted: Events) -> None:
    """The same events as the undisturbed run published, in the same order for every account."""
    missing, extra = wanted.by_id.keys() - found.by_id.keys(), found.by_id.keys() - wanted.by_id.keys()
    assert not missing, f"{len(missing)} events are missing: {sorted(missing)[:3]}"
    assert not extra, f"{len(extra)} events are too many: {sorted(extra)[:3]}"
    assert found.by_id == wanted.by_id, "an event has other bytes than in the undisturbed run"
    assert found.by_account == wanted.by_account, "the order of an account's events differs"


def check_complete(database_url: str, events: Events) -> None:
    """Every committed state change was published, and nothing else; no gap in the chain of ledgers; the cursor is at its end."""
    with psycopg.connect(database_url) as connection:
        changes = connection.execute("select to_id, operation_id, state_change_id from state_changes").fetchall()
        ledgers = connection.execute("select sequence, previous_sequence from ledgers order by sequence").fetchall()
        cursor = connection.execute("select value::int from ingest_store where key = 'latest_ingest_ledger'").fetchone()
    assert events.by_id.keys() == {event_id(*change) for change in changes}
    links = [previous for _, previous in ledgers]
    assert links == [None, *(sequence for sequence, _ in ledgers[:-1])], f"the chain of ledgers has a gap: {ledgers}"
    assert cursor == (ledgers[-1][0],)
