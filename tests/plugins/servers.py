"""Servers for integration tests: started once for a test run, only those that a collected test asks for.

A run on several processes (pytest-xdist) starts both in the first process, which hands them over to the others.
`database_url` is a database of the test's own, copied from a migrated template; `kafka` is a topic prefix of the test's own on
the shared broker. `own_kafka` and `own_database` are servers of the test's own, to be killed and restarted.
"""

from __future__ import annotations

import importlib
import importlib.util
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from psycopg import sql

from tests.servers.cache import Unavailable
from tests.servers.choose import Chosen, Servers, with_database
from tests.servers.kafka import KafkaServer
from tests.servers.timescale import TimescaleServer

ADMIN_TIMEOUT_S = 30.0
COPY_TIMEOUT_S = 30.0
NOT_LED_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)
KINDS = ("unit", "integration", "golden", "chaos", "docker")
KAFKA_FIXTURES = {"kafka"}
DATABASE_FIXTURES = {"database_url", "empty_database_url"}

SERVERS = pytest.StashKey[Servers]()


@dataclass(frozen=True, slots=True)
class KafkaForTest:
    """A broker and the prefix of the topics that the test may make; they are deleted after it."""

    bootstrap: str
    topic_prefix: str

    def create_topic(self, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> str:
        """Create `<prefix><name>`, wait until the broker knows it and return its full name."""
        topic = f"{self.topic_prefix}{name}"
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        for future in admin.create_topics([NewTopic(topic, partitions, 1, config=config or {})]).values():
            future.result(ADMIN_TIMEOUT_S)
        deadline = time.monotonic() + ADMIN_TIMEOUT_S
        while len(admin.list_topics(topic, timeout=ADMIN_TIMEOUT_S).topics[topic].partitions) != partitions:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} did not appear within {ADMIN_TIMEOUT_S:.0f} s")
            time.sleep(0.05)
        return topic

    def delete_topics(self) -> None:
        """Delete every topic with the prefix."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        found = admin.list_topics(timeout=ADMIN_TIMEOUT_S).topics
        mine = [topic for topic in found if topic.startswith(self.topic_prefix)]
        if mine:
            for future in admin.delete_topics(mine).values():
                future.result(ADMIN_TIMEOUT_S)


def pytest_configure(config: pytest.Config) -> None:
    handed_over = getattr(config, "workerinput", {}).get("servers")
    config.stash[SERVERS] = Servers() if handed_over is None else Servers.handed_over(handed_over)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the first process of several: the others get its servers."""
    node.workerinput["servers"] = node.config.stash[SERVERS].describe()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their directory; what is not marked otherwise is a unit test."""
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in KINDS):
            directory = next((part for part in item.path.parts[::-1] if part in KINDS), "unit")
            item.add_marker(getattr(pytest.mark, directory))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start both servers side by side if the run needs both."""
    if session.config.option.collectonly:
        return
    names = {name for item in session.items for name in getattr(item, "fixturenames", [])}
    if names & KAFKA_FIXTURES and names & DATABASE_FIXTURES:
        session.config.stash[SERVERS].prepare()


def pytest_runtest_setup(item: pytest.Item) -> None:
    servers = item.config.stash[SERVERS]
    for marker in item.iter_markers("needs"):
        for feature in marker.args:
            try:
                missing = not servers.has(feature)
            except Unavailable as error:
                pytest.skip(f"no server: {error}")
            if missing:
                pytest.skip(f"needs {feature}, which the servers of this run do not offer")


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[SERVERS].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Which servers were used, and which tests did not run and why."""
    lines = []
    for server in config.stash[SERVERS].started():
        if isinstance(server, Chosen):
            edition = f", TimescaleDB edition {server.edition}" if server.edition else ""
            lines.append(f"used: {server.kind}{edition}")
            lines.extend(f"  passed over: {reason.splitlines()[0]}" for reason in server.passed_over)
        else:
            lines.append(f"none: {server}")
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        lines.append(f"not run: {report.nodeid}: {reason.removeprefix('Skipped: ')}")
    if lines:
        terminalreporter.section("servers")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Servers:
    """The run's servers; each starts when first asked for."""
    return pytestconfig.stash[SERVERS]


def watermarks(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First offset and end of a partition; a new topic's leader may take a moment to know that it is one."""
    deadline = time.monotonic() + ADMIN_TIMEOUT_S
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ADMIN_TIMEOUT_S, cached=False)
        except KafkaException as error:
            if error.args[0].code() not in NOT_LED_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            if found is None:
                raise TimeoutError(f"no offsets of {topic} within {ADMIN_TIMEOUT_S:.0f} s")
            return found


@contextmanager
def copied_database(admin_url: str, template: str) -> Iterator[str]:
    """The URL of a copy of a template, which is dropped in the end."""
    name = f"ls_{secrets.token_hex(6)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        create_database(admin, name, template)
    try:
        yield with_database(admin_url, name)
    finally:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            drop_database(admin, name)


def create_database(admin: psycopg.Connection[tuple[object, ...]], name: str, template: str) -> None:
    """Copy a template, which nobody may be connected to: TimescaleDB's scheduler at times is, and would be waited for."""
    statement = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
    deadline = time.monotonic() + COPY_TIMEOUT_S
    while True:
        admin.execute("select pg_terminate_backend(pid, 1000) from pg_stat_activity where datname = %s", (template,))
        try:
            admin.execute(statement)
            return
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise


def drop_database(admin: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def admin_url(servers: Servers) -> str:
    """The URL of the administration database."""
    try:
        return servers.database_url
    except Unavailable as error:
        pytest.skip(f"no database: {error}")


def migrate_template(url: str) -> None:
    """Apply every migration, if there are migrations."""
    if importlib.util.find_spec("migrations") and importlib.util.find_spec("migrations.runner"):
        importlib.import_module("migrations.runner").migrate(url)


@pytest.fixture(scope="session")
def template_database(admin_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody can connect to."""
    name = f"ls_template_{secrets.token_hex(6)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        try:
            migrate_template(with_database(admin_url, name))
            admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(name)))
        except BaseException:
            drop_database(admin, name)
            raise
    yield name
    with psycopg.connect(admin_url, autocommit=True) as admin:
        drop_database(admin, name)


@pytest.fixture
def database_url(admin_url: str, template_database: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own."""
    with copied_database(admin_url, template_database) as url:
        yield url


@pytest.fixture
def second_database_url(admin_url: str, template_database: str) -> Iterator[str]:
    """Another one, to compare with the first."""
    with copied_database(admin_url, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(admin_url: str) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    with copied_database(admin_url, "template0") as url:
        yield url


@pytest.fixture
def kafka(servers: Servers) -> Iterator[KafkaForTest]:
    """A broker and a topic prefix of the test's own."""
    try:
        bootstrap = servers.bootstrap
    except Unavailable as error:
        pytest.skip(f"no Kafka: {error}")
    for_test = KafkaForTest(bootstrap, f"t{secrets.token_hex(6)}.")
    yield for_test
    for_test.delete_topics()


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """An Apache Kafka of the test's own, to be killed and restarted."""
    server = KafkaServer()
    try:
        server.start()
    except Unavailable as error:
        pytest.skip(f"no Kafka to kill: {error}")
    yield server
    server.close()


@pytest.fixture
def own_database() -> Iterator[TimescaleServer]:
    """A TimescaleDB server of the test's own, to be killed and restarted."""
    server = TimescaleServer()
    try:
        server.start()
    except Unavailable as error:
        pytest.skip(f"no database to kill: {error}")
    yield server
    server.close()
