"""Kafka and TimescaleDB as containers, where a Docker engine answers: the images that production uses.

The ports are chosen beforehand, so that they survive a restart; the data lives in the container's own layer.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Self

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from lumenstream.embedded.processes import LOOPBACK, ServerError, accepts_connections, free_port
from tests.servers.cache import Unavailable
from tests.servers.kafka import SETTINGS as KAFKA_SETTINGS

KAFKA_IMAGE = "apache/kafka:4.3.1"
TIMESCALE_IMAGE = "timescale/timescaledb:2.25.0-pg17"
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
PING_TIMEOUT_S = 3
READY_TIMEOUT_S = 120.0
READY_POLL_S = 0.2
PASSWORD = "lumenstream"


def require_engine() -> None:
    """Raise Unavailable unless a Docker engine answers."""
    address = os.environ.get("DOCKER_HOST", DEFAULT_SOCKET)
    if address.startswith("unix://"):  # asked first, because the client leaks the sockets of failed attempts
        with socket.socket(socket.AF_UNIX) as engine:
            if engine.connect_ex(address.removeprefix("unix://")):
                raise Unavailable("no Docker engine answers")
    try:
        client = importlib.import_module("docker").from_env(timeout=PING_TIMEOUT_S)
        try:
            client.ping()
        finally:
            client.close()
    except Exception as error:  # the client raises whatever its transport does
        raise Unavailable(f"no Docker engine answers ({type(error).__name__})") from error


class Container:
    """A container with one published port and the life cycle of the other test servers."""

    def __init__(self, kind: str, image: str, inner_port: int, ready: Callable[[], bool], port: int) -> None:
        self.kind = kind
        self.port = port
        self._ready = ready
        self._container: Any = importlib.import_module("testcontainers.core.container").DockerContainer(image)
        self._container.with_bind_ports(inner_port, port)
        self._created = False

    def environment(self, **variables: str) -> Self:
        for name, value in variables.items():
            self._container.with_env(name, value)
        return self

    def start(self) -> Self:
        if self._created:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._created = True
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (accepts_connections(self.port) and self._ready()):
            if time.monotonic() > deadline:
                tail = self._container.get_wrapped_container().logs(tail=15).decode("utf-8", "replace")
                raise ServerError(f"{self.kind} was not ready within {READY_TIMEOUT_S:.0f} s:\n{tail}")
            time.sleep(READY_POLL_S)
        return self

    def stop(self) -> None:
        self._container.get_wrapped_container().stop()

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def close(self) -> None:
        self._container.stop()


def kafka_environment(port: int) -> dict[str, str]:
    """The image takes every setting from the environment as soon as one is given."""
    settings = {
        **KAFKA_SETTINGS,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,INNER:PLAINTEXT",
        "listeners": "PLAINTEXT://0.0.0.0:9092,INNER://0.0.0.0:19092,CONTROLLER://0.0.0.0:9093",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port},INNER://localhost:19092",
        "inter.broker.listener.name": "INNER",
        "controller.quorum.voters": "1@localhost:9093",
    }
    return {f"KAFKA_{name.upper().replace('.', '_')}": str(value) for name, value in settings.items()}


def kafka() -> tuple[Container, str]:
    """A started Kafka and its bootstrap address."""
    require_engine()
    port = free_port()
    bootstrap = f"{LOOPBACK}:{port}"

    def ready() -> bool:
        try:
            return bool(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    container = Container(f"{KAFKA_IMAGE} in Docker", KAFKA_IMAGE, 9092, ready, port)
    return container.environment(**kafka_environment(port)).start(), bootstrap


def timescale() -> tuple[Container, str]:
    """A started TimescaleDB and its administration URL."""
    require_engine()
    port = free_port()
    url = f"postgresql://postgres:{PASSWORD}@{LOOPBACK}:{port}/postgres"

    def ready() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    container = Container(f"{TIMESCALE_IMAGE} in Docker", TIMESCALE_IMAGE, 5432, ready, port)
    return container.environment(POSTGRES_PASSWORD=PASSWORD, TIMESCALEDB_TELEMETRY="off").start(), url
