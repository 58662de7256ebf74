"""The ledger producer on a real broker: order, headers, resuming, holes, limits, a broker that goes away."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from confluent_kafka import Message, Producer
from prometheus_client import REGISTRY
from psycopg.conninfo import make_conninfo

from lumenstream import kafka as clients
from lumenstream import metrics
from lumenstream.bench.lakefiles import lake_objects
from lumenstream.cli import checks
from lumenstream.cli.checkresult import Level, Result
from lumenstream.embedded import EmbeddedTansu
from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.retry import Wait
from lumenstream.roleserver import RoleServer
from lumenstream.settings import PASSPHRASES, Settings, load_settings
from producers import ledger as producer_module
from producers.ledger import LedgerProducer
from producers.sources import Extent, SourceLedger
from producers.sources.lake import Batch, Layout
from sandbox import ClosedLedger, Sandbox, SandboxSettings
from schemas.messages import SAME_PARTITIONS, LedgerHeaders, Topic, partition_of, range_key
from tests.plugins.proxy import TcpProxy
from tests.plugins.servers import KafkaForTest
from tests.servers.kafka import KafkaServer

PARTITIONS = 4
LEDGERS = 20
FIRST = 2
LAST = FIRST + LEDGERS - 1
NETWORK = SandboxSettings(transactions_per_ledger=2)
NO_DATABASE = "postgresql://postgres@127.0.0.1:1/none"
WAIT_SECONDS = 120.0


class Arrived(NamedTuple):
    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp_type: int
    headers: LedgerHeaders


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    sandbox = Sandbox(NETWORK)
    return [sandbox.close_ledger() for _ in range(LEDGERS)]


def make_settings(bootstrap: str, prefix: str, **flags: Any) -> Settings:
    defaults = {
        "kafka__bootstrap": bootstrap,
        "kafka__topic_prefix": prefix,
        "kafka__partitions": PARTITIONS,
        "kafka__request_timeout_seconds": 5.0,
        "database__url": NO_DATABASE,
        "database__connect_timeout_seconds": 2,
        "producer__use_database": "database__url" in flags,
        "producer__http_port": 0,
    }
    return load_settings(**(defaults | flags))


@pytest.fixture
def make(kafka: KafkaForTest) -> Callable[..., Settings]:
    """Settings on the test's own topics."""

    def build(**flags: Any) -> Settings:
        settings = make_settings(kafka.bootstrap, kafka.topic_prefix, **flags)
        clients.ensure_topics(settings.kafka)
        return settings

    return build


class ListSource:
    """Any ledgers in any order; `hold` keeps the iteration open until the producer is told to stop."""

    def __init__(self, ledgers: list[SourceLedger], wait: Wait, hold: bool) -> None:
        self._ledgers, self._wait, self._hold = ledgers, wait, hold
        self.tip: int | None = ledgers[-1].sequence if ledgers else None
        self.problem = ""

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        for ledger in self._ledgers:
            if after is None or ledger.sequence > after:
                yield ledger
        while self._hold and not self._wait(0.05):
            pass

    def look(self) -> Extent:
        return Extent("list", None, self.tip)

    def close(self) -> None:
        """Nothing to close."""


class Gated(ListSource):
    """Waits at ledger 8, as a source does at its tip, until the gate opens."""

    def __init__(self, ledgers: list[SourceLedger], wait: Wait, gate: threading.Event) -> None:
        super().__init__(ledgers, wait, hold=False)
        self._gate = gate

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        for ledger in super().ledgers(after):
            while ledger.sequence == 8 and not self._gate.is_set():
                self._wait(0.05)
            yield ledger


def source_ledgers(chain: list[ClosedLedger]) -> list[SourceLedger]:
    previous = [None, *(ledger.sequence for ledger in chain)]
    return [
        SourceLedger(ledger.sequence, before, ledger.meta, f"list {ledger.sequence}")
        for ledger, before in zip(chain, previous, strict=False)
    ]


def produce(
    settings: Settings, ledgers: list[SourceLedger], stop: threading.Event | None = None, *, hold: bool = False
) -> LedgerProducer:
    producer = LedgerProducer(settings, stop or threading.Event(), lambda _, wait: ListSource(ledgers, wait, hold))
    producer.run()
    return producer


def arrived(settings: Settings) -> list[Arrived]:
    """Everything on the ledgers topic, by partition and offset."""
    found: list[Arrived] = []

    def take(message: Message) -> bool:
        headers = LedgerHeaders.from_kafka(clients.headers_of(message))
        place = (message.partition() or 0, message.offset() or 0)
        found.append(Arrived(*place, message.key() or b"", message.value() or b"", message.timestamp()[0], headers))
        return True

    reader = clients.TopicReader(settings.kafka, settings.kafka.topic(Topic.LEDGERS))
    for partition in range(settings.kafka.partitions):
        reader.read(partition, *reader.watermarks(partition), take)
    reader.close()
    return found


def sequences(settings: Settings) -> list[int]:
    return sorted(message.headers.sequence for message in arrived(settings))


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


class TestMessages:
    def test_one_message_per_ledger_bytes_untouched(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        produce(settings, source_ledgers(chain))
        by_sequence = {message.headers.sequence: message for message in arrived(settings)}
        assert sorted(by_sequence) == list(range(FIRST, LAST + 1))
        for closed in chain:
            message = by_sequence[closed.sequence]
            assert message.value == closed.meta
            assert message.key == range_key(closed.sequence, 1)
            assert message.partition == partition_of(closed.sequence, 1, PARTITIONS)
            assert message.headers == LedgerHeaders(
                sequence=closed.sequence,
                previous_sequence=None if closed.sequence == FIRST else closed.sequence - 1,
                close_time=closed.close_time,
                ledger_hash=closed.hash.hex(),
                protocol_version=23,
                network_id=settings.network.network_id().hex(),
            )

    def test_ascending_in_every_partition(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make(kafka__range_size=3)
        produce(settings, source_ledgers(chain))
        for partition in range(PARTITIONS):
            order = [message.headers.sequence for message in arrived(settings) if message.partition == partition]
            assert order == sorted(order)
            assert all(sequence // 3 % PARTITIONS == partition for sequence in order)

    @pytest.mark.needs("kafka")
    def test_the_broker_stamps_the_time_of_arrival(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        produce(settings, source_ledgers(chain[:2]))
        assert {message.timestamp_type for message in arrived(settings)} == {2}

    def test_a_ledger_of_twenty_megabytes_passes(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        large = chain[0].meta + os.urandom(20 << 20)  # the producer reads the header only
        produce(settings, [SourceLedger(FIRST, None, large, "large")])
        assert [len(message.value) for message in arrived(settings)] == [len(large)]

    def test_an_oversized_ledger_stops_with_its_size(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make(kafka__max_message_bytes=1 << 20)
        ledgers = source_ledgers(chain[:2])
        with pytest.raises(IntegrityError, match=r"list 3: 2\d+ bytes are over the limit of 1032192"):
            produce(settings, [ledgers[0], ledgers[1]._replace(data=chain[1].meta + bytes(2 << 20))])
        assert sequences(settings) == [FIRST]

    @pytest.mark.needs("kafka")
    def test_a_size_the_topic_refuses_stops_too(self, kafka: KafkaForTest, chain: list[ClosedLedger]) -> None:
        kafka.create_topic("ledgers", PARTITIONS, {"max.message.bytes": "1048576"})
        settings = make_settings(kafka.bootstrap, kafka.topic_prefix)
        clients.ensure_topics(settings.kafka)
        with pytest.raises(IntegrityError, match="the broker refuses the size"):
            produce(settings, [SourceLedger(FIRST, None, chain[0].meta + os.urandom(3 << 20), "large")])


def partitions_check(settings: Settings) -> Result:
    """What `lumenstream doctor` says of them."""
    (found,) = [result for result in checks.run(settings) if result.name == "partitions"]
    return found


class TestTopics:
    def test_another_number_of_partitions_is_refused(self, make: Callable[..., Settings]) -> None:
        settings = make()
        other = settings.kafka.model_copy(update={"partitions": PARTITIONS + 1})
        with pytest.raises(ConfigurationError, match=f"ledgers has {PARTITIONS} partitions, settings ask for {PARTITIONS + 1}"):
            clients.ensure_topics(other)

    def test_more_partitions_as_the_runbook_says(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        """Guards: the runbook named two topics to delete, and the others, even those keyed by account, were refused then."""
        settings = make()
        produce(settings, source_ledgers(chain[:3]))
        more = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": PARTITIONS + 1})})
        admin, group = clients.admin(settings.kafka), settings.kafka.topic("workers")
        clients.commit_group_offsets(settings.kafka, group, settings.kafka.topic(Topic.LEDGERS), {0: 1})

        def gone(name: str) -> bool:
            return name not in clients.partition_counts(settings.kafka)

        for topic in SAME_PARTITIONS:
            with pytest.raises(ConfigurationError, match=f"has {PARTITIONS} partitions, settings ask for {PARTITIONS + 1}"):
                clients.ensure_topics(more.kafka)
            name = settings.kafka.topic(topic)
            admin.delete_topics([name])[name].result(10)
            wait_until(partial(gone, name))
        clients.ensure_topics(more.kafka)
        assert partitions_check(settings).level == Level.FAIL and partitions_check(more).level == Level.OK
        counts = clients.partition_counts(more.kafka)
        found = {topic: counts[settings.kafka.topic(topic)] for topic in Topic}
        assert found == {topic: PARTITIONS + (topic in SAME_PARTITIONS) for topic in Topic}
        assert not clients.group_has_offsets(more.kafka, group, settings.kafka.topic(Topic.LEDGERS))
        produce(more, source_ledgers(chain))
        assert sequences(more) == [ledger.sequence for ledger in chain]

    def test_no_broker_is_a_clear_error(self) -> None:
        settings = make_settings("127.0.0.1:1", "none.")
        with pytest.raises(UnreachableError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
            clients.wait_for_broker(settings.kafka, 0.5)


class TestChecks:
    def test_a_broken_hash_chain_stops_before_the_ledger(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        other = Sandbox(dataclasses.replace(NETWORK, seed=7))
        strange = [other.close_ledger() for _ in range(5)]
        with pytest.raises(IntegrityError, match="list 5: ledger 5 follows hash"):
            produce(settings, source_ledgers([*chain[:3], *strange[3:]]))
        assert sequences(settings) == [2, 3, 4]

    def test_the_chain_is_checked_across_a_restart(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        produce(settings, source_ledgers(chain[:5]))
        other = Sandbox(dataclasses.replace(NETWORK, seed=7))
        with pytest.raises(IntegrityError, match="ledger 7 follows hash"):
            produce(settings, source_ledgers([other.close_ledger() for _ in range(8)]))

    def test_a_damaged_ledger_stops_and_is_named(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        ledgers = source_ledgers(chain[:3])
        ledgers[2] = ledgers[2]._replace(data=ledgers[2].data[:100])
        with pytest.raises(IntegrityError, match="list 4: not a ledger"):
            produce(settings, ledgers)
        assert sequences(settings) == [2, 3]

    def test_another_network_on_the_topic(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        produce(make(), source_ledgers(chain[:2]))
        with pytest.raises(IntegrityError, match="is of network"):
            produce(make(network__name="pubnet"), source_ledgers(chain))

    def test_another_network_in_the_source(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make(network__name="pubnet")
        with pytest.raises(IntegrityError, match="not a ledger of the configured network"):
            produce(settings, source_ledgers(chain))


class TestResume:
    def test_after_the_highest_on_the_topic(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        for count in (1, 2, 9, 10, LEDGERS):
            produce(settings, source_ledgers(chain[:count]))
        metrics.PRODUCED_LEDGER.set(0)  # as in a process that has just begun
        produce(settings, source_ledgers(chain))
        assert sequences(settings) == list(range(FIRST, LAST + 1))
        assert REGISTRY.get_sample_value("lumenstream_produced_ledger") == LAST  # though nothing was left to deliver

    def test_from_fills_the_topic_again(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        produce(make(), source_ledgers(chain))
        settings = make(producer__from_ledger=15)
        produce(settings, source_ledgers(chain))
        assert sequences(settings) == sorted([*range(FIRST, LAST + 1), *range(15, LAST + 1)])
        again = [message.headers for message in arrived(settings) if message.headers.sequence == 15]
        assert [headers.previous_sequence for headers in again] == [14, 14]

    def test_from_begins_a_stream_on_an_empty_topic(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make(producer__from_ledger=9)
        produce(settings, source_ledgers(chain))
        found = {message.headers.sequence: message.headers.previous_sequence for message in arrived(settings)}
        assert min(found) == 9 and found[9] is None and found[10] == 9

    def test_after_the_database_cursor_when_the_topic_is_empty(
        self, make: Callable[..., Settings], chain: list[ClosedLedger], database_url: str
    ) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("insert into ingest_store (key, value) values ('latest_ingest_ledger', '11')")
        settings = make(database__url=database_url)
        produce(settings, source_ledgers(chain))
        found = {message.headers.sequence: message.headers.previous_sequence for message in arrived(settings)}
        assert min(found) == 12 and found[12] == 11

    def test_a_database_that_is_away_is_waited_for(
        self, make: Callable[..., Settings], chain: list[ClosedLedger], database_url: str
    ) -> None:
        """Guards: an empty topic and a database that is away for a while must not begin the stream a second time."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("insert into ingest_store (key, value) values ('latest_ingest_ledger', '11')")
            port = connection.info.port
        with TcpProxy(port) as proxy:
            proxy.cut()
            settings = make(database__url=make_conninfo(database_url, host="127.0.0.1", port=proxy.port))
            producer = LedgerProducer(settings, threading.Event(), lambda _, wait: ListSource(source_ledgers(chain), wait, False))
            thread = threading.Thread(target=producer.run)
            thread.start()
            wait_until(lambda: "does not answer" in producer.health().details["error"])
            assert (producer.health().ok, producer.health().ready) == (False, False)
            assert arrived(settings) == []
            proxy.restore()
            thread.join(WAIT_SECONDS)
        found = {message.headers.sequence: message.headers.previous_sequence for message in arrived(settings)}
        assert min(found) == 12 and found[12] == 11

    def test_a_stop_ends_the_wait_for_the_database(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make(producer__use_database=True)
        stop = threading.Event()
        thread = threading.Thread(target=produce, args=(settings, source_ledgers(chain), stop))
        thread.start()
        time.sleep(0.5)
        stop.set()
        thread.join(10)
        assert not thread.is_alive() and arrived(settings) == []

    @pytest.mark.parametrize(
        ("lost", "expected"), [({11}, 10), ({11, 12}, 10), ({9, 12}, 8), ({13}, 12), ({2}, 1), ({2, 3, 4}, 1)]
    )
    def test_a_hole_left_by_a_crash_is_filled(
        self, make: Callable[..., Settings], chain: list[ClosedLedger], lost: set[int], expected: int
    ) -> None:
        """Ledgers that were in flight when the producer died: lost in their partitions, with everything behind them there."""
        settings = make()
        gone = {partition_of(sequence, 1, PARTITIONS): sequence for sequence in sorted(lost, reverse=True)}
        raw = Producer(clients.producer_config(settings.kafka))
        for closed in chain[:12]:
            partition = partition_of(closed.sequence, 1, PARTITIONS)
            if closed.sequence < gone.get(partition, 1 << 31):
                headers = LedgerHeaders(
                    closed.sequence,
                    closed.sequence - 1 if closed.sequence > FIRST else None,
                    closed.close_time,
                    closed.hash.hex(),
                    23,
                    settings.network.network_id().hex(),
                )
                raw.produce(settings.kafka.topic(Topic.LEDGERS), closed.meta, b"k", partition, headers=[*headers.to_kafka()])
        assert raw.flush(10) == 0
        before = sequences(settings)
        produce(settings, source_ledgers(chain))
        assert set(sequences(settings)) == set(range(FIRST, LAST + 1))
        added = len(sequences(settings)) - len(before)
        assert added == LAST - expected

    def test_something_else_on_the_topic(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make()
        raw = Producer(clients.producer_config(settings.kafka))
        raw.produce(settings.kafka.topic(Topic.LEDGERS), b"hello", partition=1)
        assert raw.flush(10) == 0
        with pytest.raises(IntegrityError, match=r"ledgers \[1\] offset 0: header previous-sequence is missing"):
            produce(settings, source_ledgers(chain))

    def test_a_new_stream_can_begin_with_the_newest(
        self, make: Callable[..., Settings], chain: list[ClosedLedger], database_url: str
    ) -> None:
        """And goes on after the topic as ever when it is not new any more."""
        settings = make(producer__begin="newest")
        produce(settings, source_ledgers(chain[:8]))
        produce(settings, source_ledgers(chain))
        found = {message.headers.sequence: message.headers.previous_sequence for message in arrived(settings)}
        assert found == {9: None, **{sequence: sequence - 1 for sequence in range(10, LAST + 1)}}


class TestLag:
    def test_health_tells_how_far_behind_its_source_it_is(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        """A tip far ahead is told and makes nothing ill; one that is behind the topic counts as in sync."""
        producer = LedgerProducer(make(), threading.Event(), lambda _, wait: ListSource(source_ledgers(chain), wait, False))
        assert producer.health().details["lag_ledgers"] is None
        producer.run()
        source = producer._source
        assert isinstance(source, ListSource)
        seen: tuple[tuple[int | None, int | None, bool], ...] = (
            (LAST, 0, True),
            (LAST + 50, 50, True),
            (LAST + 51, 51, False),
            (FIRST, 0, True),
            (None, None, True),
        )
        for tip, lag, in_sync in seen:
            source.tip = tip
            health = producer.health()
            assert (health.details["source_tip_ledger"], health.details["lag_ledgers"]) == (tip, lag)
            assert (health.details["in_sync"], health.ok) == (in_sync, True)
            assert REGISTRY.get_sample_value("lumenstream_source_lag_ledgers") == (lag or 0)

    def test_a_source_that_fails_is_a_problem(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        producer = LedgerProducer(make(), threading.Event(), lambda _, wait: ListSource(source_ledgers(chain), wait, False))
        producer.run()
        assert isinstance(producer._source, ListSource)
        producer._source.problem = "getLedgers at http://rpc: HTTP 503 (attempt 3)"
        health = producer.health()
        assert (health.ok, health.ready, health.details["error"]) == (False, False, producer._source.problem)


class TestLimits:
    def test_queued_bytes_stay_below_the_limit(self, make: Callable[..., Settings], chain: list[ClosedLedger]) -> None:
        settings = make(producer__max_queued_bytes=1 << 20)
        seen: list[int] = []
        large = [ledger._replace(data=ledger.data + os.urandom(300 << 10)) for ledger in source_ledgers(chain)]

        class Watching(ListSource):
            def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
                for ledger in super().ledgers(after):
                    seen.append(producer._delivery.queued_bytes)
                    yield ledger

        producer = LedgerProducer(settings, threading.Event(), lambda _, wait: Watching(large, wait, False))
        producer.run()
        assert len(arrived(settings)) == LEDGERS
        assert 300 << 10 <= max(seen) <= 1 << 20

    def test_holds_back_behind_the_database_cursor(
        self, make: Callable[..., Settings], chain: list[ClosedLedger], database_url: str
    ) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("insert into ingest_store (key, value) values ('latest_ingest_ledger', '1')")
            settings = make(database__url=database_url, producer__max_ahead_ledgers=5)
            stop = threading.Event()
            thread = threading.Thread(target=produce, args=(settings, source_ledgers(chain), stop))
            thread.start()
            wait_until(lambda: sequences(settings) == list(range(2, 7)))
            time.sleep(1.0)
            assert sequences(settings) == list(range(2, 7))
            connection.execute("update ingest_store set value = '4'")
            wait_until(lambda: sequences(settings) == list(range(2, 10)))
            stop.set()
            thread.join(10)


class TestBrokerAway:
    @pytest.mark.chaos
    def test_killed_and_restarted_nothing_is_lost_and_order_is_kept(
        self, own_kafka: KafkaServer, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clients, "DELIVERY_TIMEOUT_SECONDS", 3.0)
        settings = make_settings(own_kafka.bootstrap, "away.", kafka__request_timeout_seconds=2.0)
        clients.ensure_topics(settings.kafka)
        stop, gate = threading.Event(), threading.Event()

        producer = LedgerProducer(settings, stop, lambda _, wait: Gated(source_ledgers(chain), wait, gate))
        thread = threading.Thread(target=producer.run)
        thread.start()
        wait_until(lambda: producer._delivery.delivered == 7)
        own_kafka.kill()
        gate.set()
        wait_until(lambda: not producer.health().ok)
        own_kafka.restart()
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()
        assert set(sequences(settings)) == set(range(FIRST, LAST + 1))
        for partition in range(PARTITIONS):
            order = [message.headers.sequence for message in arrived(settings) if message.partition == partition]
            assert order == sorted(order)

    def test_a_broker_that_forgot_everything_gets_it_again(
        self, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The demo's broker keeps its messages in memory: after its restart the stream begins anew."""
        monkeypatch.setattr(clients, "DELIVERY_TIMEOUT_SECONDS", 3.0)
        broker = EmbeddedTansu().start()
        settings = make_settings(broker.bootstrap, "forgot.", kafka__request_timeout_seconds=2.0)
        clients.ensure_topics(settings.kafka)
        gate = threading.Event()

        producer = LedgerProducer(settings, threading.Event(), lambda _, wait: Gated(source_ledgers(chain), wait, gate))
        thread = threading.Thread(target=producer.run)
        thread.start()
        try:
            wait_until(lambda: producer._delivery.delivered == 7)
            broker.stop()
            broker.start()
            gate.set()
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
            assert set(sequences(settings)) == set(range(FIRST, LAST + 1))
        finally:
            broker.stop()


PROGRAM = """
import sys
from lumenstream.settings import load_settings
from producers import ledger
ledger.run(load_settings(**eval(sys.argv[1])))
"""


def write_objects(folder: Path, objects: dict[str, bytes]) -> None:
    for key, data in objects.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.part").write_bytes(data)
        (folder / f"{key}.part").rename(folder / key)


def start(settings: dict[str, Any], **environment: str) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", PROGRAM, repr(settings)]
    return subprocess.Popen(
        arguments, cwd=root, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture
def flags(kafka: KafkaForTest) -> dict[str, Any]:
    return {
        "kafka__bootstrap": kafka.bootstrap,
        "kafka__topic_prefix": kafka.topic_prefix,
        "kafka__partitions": PARTITIONS,
        "producer__use_database": False,
        "producer__http_port": 0,
        "sandbox__close_seconds": 0.001,
        "sandbox__transactions_per_ledger": 2,
        "sandbox__max_ledgers": LEDGERS,
    }


class TestProcess:
    def test_a_finite_source_ends_with_zero(self, flags: dict[str, Any]) -> None:
        process = start(flags)
        output, _ = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, output.decode()
        assert sequences(load_settings(**flags)) == list(range(FIRST, LAST + 1))

    def test_a_lake_is_followed_until_it_is_told_to_end(
        self, flags: dict[str, Any], chain: list[ClosedLedger], tmp_path: Path
    ) -> None:
        """The ledgers that come later are noticed; the lake's bytes are what arrives."""
        passphrase = PASSPHRASES["sandbox"]
        lake = dict(lake_objects([(ledger.sequence, ledger.meta) for ledger in chain], Layout(1, 8), passphrase))
        late = [Layout(1, 8).key_of(Batch(sequence, sequence)) for sequence in range(LAST - 3, LAST + 1)]
        write_objects(tmp_path, {key: data for key, data in lake.items() if key not in late})
        settings = flags | {"producer__source": "lake", "lake__url": str(tmp_path), "producer__poll_seconds": 0.05}
        process = start(settings)
        clients.ensure_topics(load_settings(**flags).kafka)
        wait_until(lambda: sequences(load_settings(**flags)) == list(range(FIRST, LAST - 3)))
        write_objects(tmp_path, {key: lake[key] for key in late})
        wait_until(lambda: sequences(load_settings(**flags)) == list(range(FIRST, LAST + 1)))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0, output.decode()
        arrived_bytes = {message.headers.sequence: message.value for message in arrived(load_settings(**flags))}
        assert arrived_bytes == {ledger.sequence: ledger.meta for ledger in chain}

    def test_sigterm_flushes_and_ends_with_zero(self, flags: dict[str, Any]) -> None:
        process = start(flags | {"sandbox__max_ledgers": 0, "sandbox__close_seconds": 0.05})
        settings = load_settings(**flags)
        clients.ensure_topics(settings.kafka)
        wait_until(lambda: len(arrived(settings)) > 3)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
        assert process.returncode == 0, output.decode()
        found = sequences(settings)
        assert found == list(range(FIRST, FIRST + len(found)))

    @pytest.mark.chaos
    @pytest.mark.parametrize(
        "place", ["producer.before_send:7", "producer.after_send:1", "producer.after_send:9", "producer.after_flush"]
    )
    def test_killed_anywhere_and_started_again_nothing_is_missing(self, flags: dict[str, Any], place: str) -> None:
        process = start(flags, LUMENSTREAM_CRASHPOINT=place)
        process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == -signal.SIGKILL
        process = start(flags)
        output, _ = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, output.decode()
        assert set(sequences(load_settings(**flags))) == set(range(FIRST, LAST + 1))

    def test_health_while_it_runs(self, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        servers: list[Any] = []
        original = RoleServer

        def remember(*arguments: Any, **named: Any) -> Any:
            servers.append(original(*arguments, **named))
            return servers[-1]

        monkeypatch.setattr(producer_module, "RoleServer", remember)
        stop = threading.Event()
        settings = load_settings(**(flags | {"sandbox__max_ledgers": 0, "sandbox__close_seconds": 0.05}))
        thread = threading.Thread(target=producer_module.run, args=(settings, stop))
        thread.start()
        wait_until(lambda: bool(servers))
        url = f"http://127.0.0.1:{servers[0].port}"
        wait_until(lambda: (httpx.get(f"{url}/ready").json().get("delivered_ledger") or 0) > 3)
        assert httpx.get(f"{url}/health").status_code == 200
        assert "lumenstream_produced_ledger " in httpx.get(f"{url}/metrics").text
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
