"""The broker deletes what was not read yet: workers say so and go on with what is there, doctor names the mending command."""

from __future__ import annotations

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from prometheus_client import REGISTRY

from lumenstream import kafka as clients
from lumenstream.cli.checkresult import Level
from lumenstream.cli.retention_checks import retention_passed
from lumenstream.database import Cursor, update_cursor
from lumenstream.settings import DatabaseSettings, KafkaSettings, NetworkSettings, Settings
from processors import worker
from processors.handling import Status
from processors.losses import Losses
from schemas.messages import Topic
from tests.plugins.servers import KafkaForTest

pytestmark = pytest.mark.needs("kafka")
PARTITIONS, CURSOR, MESSAGES = 2, 41, 10
WAIT_S = 30.0


@pytest.fixture
def settings(kafka: KafkaForTest, database_url: str) -> Settings:
    """Ten messages on each partition of both topics; workers and sink are at the fourth."""
    found = Settings(
        network=NetworkSettings(name="sandbox"),
        kafka=KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=kafka.topic_prefix, partitions=PARTITIONS),
        database=DatabaseSettings.model_validate({"url": database_url}),
    )
    clients.ensure_topics(found.kafka)
    producer = Producer(clients.producer_config(found.kafka))
    topics = [found.kafka.topic(topic) for topic in (Topic.LEDGERS, Topic.LEDGER_CHANGES)]
    for topic in topics:
        for partition in range(PARTITIONS):
            for _ in range(MESSAGES):
                producer.produce(topic, value=b"x", partition=partition)
    assert producer.flush(WAIT_S) == 0
    clients.commit_group_offsets(found.kafka, worker.group_of(found), topics[0], dict.fromkeys(range(PARTITIONS), 4))
    with psycopg.connect(database_url) as connection:
        update_cursor(connection, Cursor.LATEST, CURSOR)
        for partition in range(PARTITIONS):
            connection.execute("insert into sink_offsets values (%s, %s, 4)", (topics[1], partition))
    return found


def delete(settings: Settings, topic: Topic, end: int) -> None:
    """What retention does, to partition 1."""
    place = TopicPartition(settings.kafka.topic(topic), 1, end)
    client = clients.admin(settings.kafka)
    for future in client.delete_records([place]).values():
        future.result(WAIT_S)


def test_what_was_read_may_go(settings: Settings) -> None:
    delete(settings, Topic.LEDGERS, 4)
    delete(settings, Topic.LEDGER_CHANGES, 4)
    assert [(result.name, result.level) for result in retention_passed(settings)] == [
        ("workers and retention", Level.OK),
        ("sink and retention", Level.OK),
    ]
    status = Status()
    worker.note_lost_ledgers(settings, Losses(settings.kafka.topic(Topic.LEDGERS), status))
    assert status.lost == "" and worker.health(status, 0).details["problems"] == []


def test_ledgers_that_no_worker_read_are_missed(settings: Settings) -> None:
    delete(settings, Topic.LEDGERS, 7)
    workers, sink = retention_passed(settings)
    assert (workers.level, workers.mend, sink.level) == (Level.FAIL, f"lumenstream produce --from {CURSOR + 1}", Level.OK)
    assert f"{settings.kafka.topic(Topic.LEDGERS)} [1] starts at 7, needed from 4 on" in workers.text
    before = REGISTRY.get_sample_value("lumenstream_lost_messages_total") or 0.0
    status = Status()
    worker.note_lost_ledgers(settings, Losses(settings.kafka.topic(Topic.LEDGERS), status))
    assert (REGISTRY.get_sample_value("lumenstream_lost_messages_total") or 0.0) - before == 3
    (problem,) = worker.health(status, 0).details["problems"]
    assert "deleted 3 ledgers on 1 partitions" in problem and "produce --from N" in problem


def test_parts_that_the_sink_still_needs_are_missed(settings: Settings) -> None:
    delete(settings, Topic.LEDGER_CHANGES, 9)
    workers, sink = retention_passed(settings)
    assert (workers.level, sink.level, sink.mend) == (Level.OK, Level.FAIL, f"lumenstream produce --from {CURSOR + 1}")
    assert "[1] starts at 9, needed from 4 on" in sink.text
