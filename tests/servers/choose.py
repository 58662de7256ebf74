"""Which Kafka and which database the tests run against.

In this order: what the environment names; Docker; Kafka from Maven jars and TimescaleDB in a private root; the wheels. The two
are chosen apart, each is started when first asked for, and what was passed over is remembered with its reason.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from lumenstream.embedded import EmbeddedPostgres, EmbeddedTansu, MissingWheelError
from tests.servers import docker
from tests.servers.cache import Unavailable
from tests.servers.kafka import KafkaServer
from tests.servers.timescale import TimescaleServer

KAFKA_VARIABLE = "LUMENSTREAM_TEST_KAFKA_BOOTSTRAP"
DATABASE_VARIABLE = "LUMENSTREAM_TEST_DATABASE_URL"

KAFKA = "kafka"
TIMESCALEDB = "timescaledb"
TIMESCALEDB_COMMUNITY = "timescaledb-community"
FEATURES_OF_EDITION = {
    None: frozenset[str](),
    "apache": frozenset({TIMESCALEDB}),
    "timescale": frozenset({TIMESCALEDB, TIMESCALEDB_COMMUNITY}),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A running server: its address (bootstrap or administration URL), kind, features, and how to end it."""

    address: str
    kind: str
    features: frozenset[str]
    close: Callable[[], None]
    edition: str | None = None
    passed_over: tuple[str, ...] = ()


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def edition(url: str) -> str | None:
    """`apache`, `timescale`, or None for plain PostgreSQL. The setting only exists where the extension does, hence the probe."""
    name = f"ls_probe_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as admin:
        if admin.execute("select 1 from pg_available_extensions where name = 'timescaledb'").fetchone() is None:
            return None
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            with psycopg.connect(with_database(url, name), autocommit=True) as probe:
                probe.execute("create extension if not exists timescaledb")
                row = probe.execute("select current_setting('timescaledb.license', true)").fetchone()
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    return row[0] if row else None


def _nothing() -> None:
    """The end of a server that is not ours."""


def _kafka_from_environment() -> Chosen:
    bootstrap = os.environ.get(KAFKA_VARIABLE)
    if not bootstrap:
        raise Unavailable(f"{KAFKA_VARIABLE} is not set")
    return Chosen(bootstrap, KAFKA_VARIABLE, frozenset({KAFKA}), _nothing)


def _kafka_in_docker() -> Chosen:
    container, bootstrap = docker.kafka()
    return Chosen(bootstrap, container.kind, frozenset({KAFKA}), container.close)


def _kafka_from_jars() -> Chosen:
    server = KafkaServer().start()
    return Chosen(server.bootstrap, server.kind, frozenset({KAFKA}), server.close)


def _kafka_from_wheel() -> Chosen:
    try:
        broker = EmbeddedTansu().start()
    except MissingWheelError as error:
        raise Unavailable(str(error)) from error
    return Chosen(broker.bootstrap, "Tansu from its wheel", frozenset(), broker.stop)


def _database(url: str, kind: str, close: Callable[[], None]) -> Chosen:
    found = edition(url)
    return Chosen(url, kind, FEATURES_OF_EDITION[found], close, found)


def _database_from_environment() -> Chosen:
    url = os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Unavailable(f"{DATABASE_VARIABLE} is not set")
    return _database(url, DATABASE_VARIABLE, _nothing)


def _database_in_docker() -> Chosen:
    container, url = docker.timescale()
    return _database(url, container.kind, container.close)


def _database_in_private_root() -> Chosen:
    server = TimescaleServer().start()
    return _database(server.url, server.kind, server.close)


def _database_from_wheel() -> Chosen:
    try:
        server = EmbeddedPostgres().start()
    except MissingWheelError as error:
        raise Unavailable(str(error)) from error
    return _database(server.url, "PostgreSQL from its wheel", server.stop)


def _first(ways: list[Callable[[], Chosen]]) -> Chosen:
    reasons: list[str] = []
    for way in ways:
        try:
            chosen = way()
        except Unavailable as error:
            reasons.append(str(error))
            continue
        return replace(chosen, passed_over=tuple(reasons))
    raise Unavailable("; ".join(reasons))


def choose_kafka() -> Chosen:
    """Start the first Kafka that can be had. Raises Unavailable with every reason."""
    return _first([_kafka_from_environment, _kafka_in_docker, _kafka_from_jars, _kafka_from_wheel])


def choose_database() -> Chosen:
    """Start the first database that can be had. Raises Unavailable with every reason."""
    return _first([_database_from_environment, _database_in_docker, _database_in_private_root, _database_from_wheel])


class Servers:
    """The test run's servers. Each starts in the background when first prepared or asked for; properties wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="test-servers")
        self._kafka: Future[Chosen] | None = None
        self._database: Future[Chosen] | None = None

    @classmethod
    def handed_over(cls, described: dict[str, Any]) -> Self:
        """The servers of another process of this run, as its `describe` tells of them. They are not ended here."""
        servers = cls()
        servers._kafka, servers._database = _future(described["kafka"]), _future(described["database"])
        return servers

    def describe(self) -> dict[str, Any]:
        """Both servers, started if need be, in values that go from process to process."""
        self.prepare()
        kafka, database = self.started()
        return {"kafka": _plain(kafka), "database": _plain(database)}

    def prepare(self, kafka: bool = True, database: bool = True) -> None:
        """Begin to start what is wanted and not started yet."""
        if kafka and self._kafka is None:
            self._kafka = self._pool.submit(choose_kafka)
        if database and self._database is None:
            self._database = self._pool.submit(choose_database)

    @property
    def chosen_kafka(self) -> Chosen:
        self.prepare(database=False)
        assert self._kafka is not None
        return self._kafka.result()

    @property
    def chosen_database(self) -> Chosen:
        self.prepare(kafka=False)
        assert self._database is not None
        return self._database.result()

    @property
    def bootstrap(self) -> str:
        return self.chosen_kafka.address

    @property
    def database_url(self) -> str:
        """The administration database's URL."""
        return self.chosen_database.address

    @property
    def edition(self) -> str | None:
        return self.chosen_database.edition

    def has(self, feature: str) -> bool:
        """Whether the servers offer `kafka` (a real one), `timescaledb` or `timescaledb-community`."""
        return feature in (self.chosen_kafka if feature == KAFKA else self.chosen_database).features

    def started(self) -> list[Chosen | BaseException]:
        """What was started, or why it could not be, without starting anything."""
        return [future.exception() or future.result() for future in (self._kafka, self._database) if future is not None]

    def close(self) -> None:
        """End the servers that this process owns."""
        self._pool.shutdown(wait=True)
        for server in self.started():
            if isinstance(server, Chosen):
                server.close()


def _plain(server: Chosen | BaseException) -> dict[str, Any]:
    if not isinstance(server, Chosen):
        return {"unavailable": str(server)}
    return {
        "address": server.address,
        "kind": server.kind,
        "features": sorted(server.features),
        "edition": server.edition,
        "passed_over": [*server.passed_over],
    }


def _future(described: dict[str, Any]) -> Future[Chosen]:
    future: Future[Chosen] = Future()
    if "unavailable" in described:
        future.set_exception(Unavailable(described["unavailable"]))
    else:
        features, passed_over = frozenset(described.pop("features")), tuple(described.pop("passed_over"))
        future.set_result(Chosen(**described, features=features, close=_nothing, passed_over=passed_over))
    return future
