"""The test servers themselves: their settings hold, and killing them loses nothing that was acknowledged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.plugins.proxy import TcpProxy
from tests.plugins.servers import KafkaForTest, create_database, drop_database
from tests.servers import docker, standing
from tests.servers.cache import REPOSITORY, Unavailable
from tests.servers.choose import Servers, edition, with_database
from tests.servers.kafka import KafkaServer, jars
from tests.servers.timescale import TimescaleServer, private_root

DELIVERY_TIMEOUT_S = 30.0
GONE_TIMEOUT_S = 20.0
OWNER = """
import time
from tests.servers.{module} import {server}
server = {server}().start()
print(server.pid, server._directory, flush=True)
time.sleep(300)
"""


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.max.bytes": 33_000_000})
    errors: list[object] = []
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda error, _: errors.append(error) if error else None)
    assert producer.flush(DELIVERY_TIMEOUT_S) == 0
    assert errors == []


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}.readers", "fetch.message.max.bytes": 33_000_000})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes] = []
    deadline = time.monotonic() + DELIVERY_TIMEOUT_S
    try:
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                values.append(message.value() or b"")
    finally:
        consumer.close()
    return values


def test_a_message_of_a_large_ledger_passes(kafka: KafkaForTest) -> None:
    topic = kafka.create_topic("large", config={"max.message.bytes": "33000000"})
    values = [bytes(20_000_000), b"small"]
    produce(kafka.bootstrap, topic, values)
    assert consume(kafka.bootstrap, topic, 2) == values


@pytest.mark.needs("kafka")
def test_topics_are_not_created_by_accident(kafka: KafkaForTest) -> None:
    topic = f"{kafka.topic_prefix}unknown"
    errors: list[object] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.timeout.ms": 2000})
    producer.produce(topic, b"value", on_delivery=lambda error, _: errors.append(error))
    producer.flush(DELIVERY_TIMEOUT_S)
    assert [error is None for error in errors] == [False]
    assert topic not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics


def test_a_test_topic_is_gone_after_its_test(kafka: KafkaForTest) -> None:
    topic = kafka.create_topic("short-lived", partitions=3)
    kafka.delete_topics()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    deadline = time.monotonic() + DELIVERY_TIMEOUT_S
    while topic in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline


def test_the_test_databases_are_separate(database_url: str, empty_database_url: str) -> None:
    assert database_url != empty_database_url
    with psycopg.connect(database_url) as mine, psycopg.connect(empty_database_url) as other:
        mine.execute("create table only_here (id int)")
        mine.commit()
        assert other.execute("select to_regclass('only_here')").fetchone() == (None,)


@pytest.mark.needs("timescaledb")
def test_hypertables_work(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create extension timescaledb")
        connection.execute("create table history (closed_at timestamptz not null, id bigint)")
        connection.execute("select create_hypertable('history', by_range('closed_at'))")
        connection.execute("insert into history select now() - i * interval '1 day', i from generate_series(1, 30) i")
        assert connection.execute("select count(*) > 1 from show_chunks('history')").fetchone() == (True,)


def test_the_edition_is_the_servers(servers: Servers, admin_url: str) -> None:
    assert edition(admin_url) == servers.edition


def test_a_killed_kafka_keeps_acknowledged_messages(own_kafka: KafkaServer) -> None:
    for_test = KafkaForTest(own_kafka.bootstrap, "kept.")
    topic = for_test.create_topic("ledgers")
    values = [b"%d" % number for number in range(1000)]
    produce(own_kafka.bootstrap, topic, values)
    own_kafka.kill()
    own_kafka.restart()
    assert consume(own_kafka.bootstrap, topic, len(values)) == values


def test_a_killed_database_keeps_commits(own_database: TimescaleServer) -> None:
    with psycopg.connect(own_database.url, autocommit=True) as connection:
        connection.execute("create table kept as select generate_series(1, 1000) as id")
        own_database.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    own_database.restart()
    with psycopg.connect(own_database.url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1000,)


@pytest.mark.parametrize(("module", "server"), [("kafka", "KafkaServer"), ("timescale", "TimescaleServer")])
def test_a_server_ends_with_its_killed_owner(module: str, server: str) -> None:
    try:
        jars() if module == "kafka" else private_root()
    except Unavailable as error:
        pytest.skip(str(error))
    program = OWNER.format(module=module, server=server)
    with subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        started = standing.process_start(int(pid))
        assert started is not None
        owner.kill()
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while standing.process_start(int(pid)) == started or Path(directory).exists():
        assert time.monotonic() < deadline, f"process {pid} or {directory} was left behind"
        time.sleep(0.05)


def test_a_proxy_cuts_and_restores_a_connection(admin_url: str, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    port = psycopg.conninfo.conninfo_to_dict(admin_url)["port"]
    proxy = tcp_proxy(int(str(port)))
    proxied = psycopg.conninfo.make_conninfo(admin_url, host="127.0.0.1", port=proxy.port)
    with psycopg.connect(proxied, autocommit=True) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(proxied)
    proxy.restore()
    delay_s = 0.2
    proxy.delay(delay_s)
    started = time.monotonic()
    with psycopg.connect(proxied) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert time.monotonic() - started > 2 * delay_s


def test_a_kafka_client_stays_behind_the_proxy(tcp_proxy: Callable[[int], TcpProxy]) -> None:
    proxy = TcpProxy(target_port=1)
    try:
        server = KafkaServer(advertised_port=proxy.port).start()
    except Unavailable as error:
        pytest.skip(str(error))
    proxy.target_port = server.port
    with closing(server), proxy:
        brokers = AdminClient({"bootstrap.servers": proxy.address}).list_topics(timeout=10).brokers
        assert {broker.port for broker in brokers.values()} == {proxy.port}


def test_the_docker_settings_cover_the_local_ones() -> None:
    environment = docker.kafka_environment(20_000)
    assert environment["KAFKA_ADVERTISED_LISTENERS"].startswith("PLAINTEXT://127.0.0.1:20000,")
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == str(32 * 1024 * 1024)


@pytest.fixture
def separate_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(standing, "STATE", tmp_path / "servers.json")
    yield tmp_path / "servers.json"


def test_a_state_file_of_a_dead_keeper_counts_for_nothing(separate_state: Path) -> None:
    assert standing.read() is None
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    fields = {"keeper_pid": ended.pid, "keeper_started": 1, "kafka_pid": 1, "database_pid": 1}
    text = {"bootstrap": "127.0.0.1:1", "database_url": "postgresql://127.0.0.1:1/postgres", "stops_at": ""}
    separate_state.write_text(json.dumps(fields | text), encoding="utf-8")
    assert standing.read() is None
    assert standing.down() is False


def test_databases_are_copied_side_by_side(admin_url: str, template_database: str) -> None:
    def copy(number: int) -> None:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            create_database(admin, f"{template_database}_{number}", template_database)
            psycopg.connect(with_database(admin_url, f"{template_database}_{number}")).close()
            drop_database(admin, f"{template_database}_{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copy, range(4)))
