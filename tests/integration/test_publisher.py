"""The publisher on a real broker and a real database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from lumenstream import kafka as kafka_client
from lumenstream.errors import IntegrityError
from lumenstream.settings import DatabaseSettings, Settings, load_settings
from producers.publisher import Publisher, missing_ledgers, run_replay
from schemas import strkey
from schemas.messages import Topic
from tests.plugins.proxy import TcpProxy, port_of, through
from tests.plugins.servers import KafkaForTest, watermarks

START = datetime(2026, 11, 21, tzinfo=UTC)
ACCOUNTS = [bytes((strkey.ACCOUNT,)) + bytes((n,)) * 32 for n in range(1, 4)]
TOKEN = bytes((strkey.CONTRACT,)) + bytes(32)
WAIT_SECONDS = 90


@pytest.fixture
def settings(kafka: KafkaForTest, database_url: str) -> Settings:
    settings = load_settings(
        kafka__bootstrap=kafka.bootstrap,
        kafka__topic_prefix=kafka.topic_prefix,
        kafka__partitions=3,
        database__url=database_url,
        publisher__poll_seconds=0.1,
        publisher__http_port=0,
    )
    kafka_client.wait_for_broker(settings.kafka, 30)
    kafka_client.ensure_topics(settings.kafka)
    return settings


def commit_ledger(url: str, sequence: int) -> None:
    """A ledger with one transaction that touches every account, as the sink would leave it."""
    closed = START + timedelta(seconds=5 * sequence)
    to_id = sequence << 32 | 1 << 12
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO ledgers VALUES (%s, %s, %s, %s, %s, 23, 1, 1, 1, 3, 'ledgers', 0, %s)",
            (sequence, bytes(32), bytes(32), sequence - 1, closed, sequence),
        )
        connection.execute(
            "INSERT INTO transactions (to_id, hash, fee_charged, result_code, ledger_number, ledger_created_at) "
            "VALUES (%s, %s, 100, 'TransactionResultCodeTxSuccess', %s, %s)",
            (to_id, sequence.to_bytes(32, "big"), sequence, closed),
        )
        for ordinal, account in enumerate(ACCOUNTS, start=1):
            connection.execute(
                "INSERT INTO state_changes (to_id, operation_id, state_change_id, state_change_category, state_change_reason, "
                "ledger_number, ledger_created_at, account_id, token_id, amount) "
                "VALUES (%s, %s, %s, 'BALANCE', 'DEBIT', %s, %s, %s, %s, '7')",
                (to_id, to_id + 1, ordinal, sequence, closed, account, TOKEN),
            )
        connection.execute(
            "INSERT INTO ingest_store VALUES ('latest_ingest_ledger', %(n)s) ON CONFLICT (key) DO UPDATE SET value = %(n)s",
            {"n": str(sequence)},
        )
        connection.execute("SELECT pg_notify('lumenstream_ledger', %s)", (str(sequence),))


def cursor_of(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT value::int FROM ingest_store WHERE key = 'publisher_cursor'").fetchone()
    return row[0] if row else -1


def wait_for_cursor(url: str, target: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (at := cursor_of(url)) < target:
        assert time.monotonic() < deadline, f"the publisher stands at {at}, expected {target}"
        time.sleep(0.05)


@contextmanager
def publishing(settings: Settings) -> Iterator[Publisher]:
    stop = threading.Event()
    publisher = Publisher(settings, stop)
    thread = threading.Thread(target=publisher.run)
    thread.start()
    try:
        yield publisher
    finally:
        stop.set()
        thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def read_events(settings: Settings, topic: Topic) -> list[tuple[str, dict[str, object]]]:
    """Key and value of every message of a topic, partition by partition."""
    name = settings.kafka.topic(topic)
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    found = []
    try:
        for partition in range(settings.kafka.partitions):
            low, high = watermarks(consumer, name, partition)
            if high > low:
                consumer.assign([TopicPartition(name, partition, low)])
                for message in consumer.consume(high - low, timeout=WAIT_SECONDS):
                    key, value = message.key(), message.value()
                    assert key is not None and value is not None
                    found.append((key.decode(), orjson.loads(value)))
    finally:
        consumer.close()
    return found


def test_committed_state_changes_are_published_once_and_in_order(settings: Settings, database_url: str) -> None:
    with publishing(settings):
        wait_for_cursor(database_url, 0)
        for sequence in (2, 3, 4):
            commit_ledger(database_url, sequence)
        wait_for_cursor(database_url, 4)
    events = read_events(settings, Topic.STATE_CHANGES)
    assert len(events) == 9
    for account in map(strkey.encode, ACCOUNTS):
        own = [event for key, event in events if key == account]
        assert [event["ledger_number"] for event in own] == [2, 3, 4]
        assert {event["account_id"] for event in own} == {account}
    assert len({event["id"] for _, event in events}) == 9
    assert events[0][1]["transaction_hash"] == (2).to_bytes(32, "big").hex()


def test_the_first_start_begins_at_what_is_committed_then(settings: Settings, database_url: str) -> None:
    commit_ledger(database_url, 7)
    with publishing(settings):
        wait_for_cursor(database_url, 7)
        commit_ledger(database_url, 8)
        wait_for_cursor(database_url, 8)
    assert {event["ledger_number"] for _, event in read_events(settings, Topic.STATE_CHANGES)} == {8}


def test_a_restart_goes_on_where_the_cursor_stands(settings: Settings, database_url: str) -> None:
    with publishing(settings):
        wait_for_cursor(database_url, 0)
        commit_ledger(database_url, 2)
        wait_for_cursor(database_url, 2)
    commit_ledger(database_url, 3)
    with publishing(settings):
        wait_for_cursor(database_url, 3)
    assert len(read_events(settings, Topic.STATE_CHANGES)) == 6


def test_a_producer_that_failed_for_good_is_replaced(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards: after a fatal error of librdkafka the publisher went on with the same producer, which never sends again."""
    made: list[object] = []

    class Fatal(Producer):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            made.append(self)

        def produce(self, *arguments: Any, **named: Any) -> None:
            if self is made[0]:
                raise KafkaException(KafkaError(KafkaError._FATAL))
            super().produce(*arguments, **named)

    monkeypatch.setattr("producers.publisher.Producer", Fatal)
    with publishing(settings):
        wait_for_cursor(database_url, 0)
        commit_ledger(database_url, 2)
        wait_for_cursor(database_url, 2)
    assert len(made) == 2
    assert len(read_events(settings, Topic.STATE_CHANGES)) == 3


def test_only_one_publisher_publishes(settings: Settings, database_url: str) -> None:
    with publishing(settings) as first:
        wait_for_cursor(database_url, 0)
        with publishing(settings) as second:
            commit_ledger(database_url, 2)
            wait_for_cursor(database_url, 2)
            assert (first.health().ready, second.health().ready) == (True, False)
    assert len(read_events(settings, Topic.STATE_CHANGES)) == 3


def test_a_standby_is_well_again_with_the_database(
    settings: Settings, database_url: str, tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    """Nothing is published meanwhile that would show it."""
    proxy = tcp_proxy(port_of(database_url))
    behind = DatabaseSettings.model_validate({"url": through(database_url, proxy.port)})

    def wait_for_health(ok: bool) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while standby.health().ok is not ok:
            assert time.monotonic() < deadline, standby.health()
            time.sleep(0.02)

    with publishing(settings):
        wait_for_cursor(database_url, 0)
        with publishing(settings.model_copy(update={"database": behind})) as standby:
            proxy.cut()
            wait_for_health(False)
            proxy.restore()
            wait_for_health(True)
            assert not standby.health().ready


def test_a_replay_of_a_range_with_gaps_sends_nothing(settings: Settings, database_url: str) -> None:
    """Guards: ledgers that were missing inside the range were passed over without a word."""
    for sequence in (2, 3, 5, 9):
        commit_ledger(database_url, sequence)
    with pytest.raises(IntegrityError, match="ledgers 4, 6 to 8, 10 are not in the database"):
        run_replay(settings, 2, 10)
    assert read_events(settings, Topic.STATE_CHANGES_REPLAY) == []
    assert run_replay(settings, 2, 3) == 6


@pytest.mark.parametrize(
    ("first", "last", "ledgers", "gaps"),
    [
        (2, 4, [(2, None), (3, 2), (4, 3), (5, 4)], []),
        (2, 4, [], [(2, 4)]),
        (2, 4, [(9, 8)], [(2, 4)]),
        (2, 4, [(9, 1)], []),  # a source with gaps never had them
        (2, 20, [(5, 1), (9, 5), (30, 9)], []),
        (2, 20, [(5, 1), (9, 6), (30, 12)], [(6, 8), (10, 20)]),
        (2, 9, [(5, None), (6, 5)], [(2, 4), (7, 9)]),
    ],
)
def test_gaps_are_told_by_the_links(
    first: int, last: int, ledgers: list[tuple[int, int | None]], gaps: list[tuple[int, int]]
) -> None:
    assert missing_ledgers(first, last, ledgers) == gaps


def test_a_replay_sends_the_same_ids_to_its_own_topic(settings: Settings, database_url: str) -> None:
    with publishing(settings):
        wait_for_cursor(database_url, 0)
        commit_ledger(database_url, 2)
        commit_ledger(database_url, 3)
        wait_for_cursor(database_url, 3)
    assert run_replay(settings, 2, 3) == 6
    live = sorted(str(event["id"]) for _, event in read_events(settings, Topic.STATE_CHANGES))
    assert sorted(str(event["id"]) for _, event in read_events(settings, Topic.STATE_CHANGES_REPLAY)) == live
    assert cursor_of(database_url) == 3
