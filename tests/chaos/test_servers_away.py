"""Broker and database killed, restarted, unreachable, or cut off in the middle of a statement: a wait, and nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event, Timer
from typing import Final

import psycopg
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from lumenstream import kafka
from lumenstream.cli.jobhelpers import Helpers
from lumenstream.settings import Settings, load_settings
from producers.backfill import Job, Progress, Request
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.jobs import RANGE_LEDGERS, RANGES, check, dig, finished, some_ledgers
from tests.chaos.pipeline import ONE_BY_ONE, Pipeline, Role, Source
from tests.chaos.wire import Cut, StatementProxy
from tests.integration.backfill_world import running_sink
from tests.plugins.chaos import seeds
from tests.plugins.proxy import TcpProxy, port_of, through
from tests.plugins.servers import migrate_template
from tests.servers.cache import Unavailable
from tests.servers.choose import with_database
from tests.servers.kafka import KafkaServer
from tests.servers.timescale import TimescaleServer

PACE_SECONDS: Final = 0.3
SHORT_OUTAGE_SECONDS: Final = 8.0
LONG_OUTAGE_SECONDS: Final = 30.0
JOB_OUTAGE_SECONDS: Final = 3.0
NOTICE_SECONDS: Final = 90.0
BACK_SECONDS: Final = 300.0
SERVER_ERRORS: Final = "lumenstream_server_errors_total"
RANGE_BY_RANGE: Final = {**RANGES, "LUMENSTREAM_BACKFILL__MAX_OPEN_RANGES": "1"}  # the next is sent when one is done
QUEUED_BYTES: Final = "lumenstream_producer_queued_bytes"


@pytest.fixture(scope="module")
def away_kafka() -> Iterator[tuple[KafkaServer, TcpProxy]]:
    """An Apache Kafka of this module's own whose clients all go through a proxy."""
    server = KafkaServer()
    with TcpProxy(server.port) as proxy:
        server = KafkaServer(advertised_port=proxy.port)
        proxy.target_port = server.port
        try:
            server.start()
        except Unavailable as error:
            pytest.skip(f"no Kafka to kill: {error}")
        yield server, proxy
        server.close()


@pytest.fixture
def outage_seconds(pytestconfig: pytest.Config) -> float:
    """Half a minute, as production would see it, when there are many seeds; shorter in the suite."""
    return LONG_OUTAGE_SECONDS if len(seeds(pytestconfig)) > 1 else SHORT_OUTAGE_SECONDS


def says_so(role: Role) -> bool:
    """A role that misses a server counts it and is not healthy."""
    return role.metric(SERVER_ERRORS) > 0 and role.health()["code"] == 503


def outage(pipeline: Pipeline, seconds: float) -> None:
    """Let the outage last; no role may end because of it."""
    started = time.monotonic()
    pipeline.wait(lambda: time.monotonic() - started > seconds, seconds + 1, "end of the outage")
    ended = [name for name, role in pipeline.roles.items() if not role.running and role.exit_code() != 0]
    assert not ended, f"{ended} did not wait\n{pipeline.report()}"


def run_until_middle(pipeline: Pipeline, dice: random.Random) -> None:
    """Start every role and let a few ledgers through."""
    pipeline.start_all()
    pipeline.wait_for_cursor(dice.randint(pipeline.source.first, pipeline.source.first + 3))


def test_broker_killed(
    away_kafka: tuple[KafkaServer, TcpProxy],
    make_pipeline: MakePipeline,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
) -> None:
    server, proxy = away_kafka
    pipeline = make_pipeline(bootstrap=proxy.address, source=source.paced(PACE_SECONDS))
    run_until_middle(pipeline, dice)
    server.kill()
    server.start()
    pipeline.wait_for_end(BACK_SECONDS)
    baseline.check(pipeline)


def test_broker_unreachable(
    away_kafka: tuple[KafkaServer, TcpProxy],
    make_pipeline: MakePipeline,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
    outage_seconds: float,
) -> None:
    _, proxy = away_kafka
    pipeline = make_pipeline(bootstrap=proxy.address, source=source.paced(PACE_SECONDS))
    run_until_middle(pipeline, dice)
    proxy.cut()
    try:
        sink = pipeline.roles["sink"]
        pipeline.wait(partial(says_so, sink), NOTICE_SECONDS, "metric and /health of the sink")
        producer = pipeline.roles["producer"]
        pipeline.wait(lambda: producer.metric(QUEUED_BYTES) > 0, NOTICE_SECONDS, "metric of the producer's queue")
        outage(pipeline, outage_seconds)
    finally:
        proxy.restore()
    pipeline.wait_for_end(BACK_SECONDS)
    pipeline.wait(lambda: sink.answers("/health"), NOTICE_SECONDS, "healthy sink")
    baseline.check(pipeline)


def test_database_killed(
    own_database: TimescaleServer, make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    with psycopg.connect(own_database.url, autocommit=True) as admin:
        admin.execute("create database killed")
    url = with_database(own_database.url, "killed")
    migrate_template(url)
    pipeline = make_pipeline(database_url=url, source=source.paced(PACE_SECONDS))
    run_until_middle(pipeline, dice)
    own_database.kill()
    own_database.start()
    pipeline.wait_for_end(BACK_SECONDS)
    baseline.check(pipeline)


def test_database_unreachable(
    make_pipeline: MakePipeline,
    tcp_proxy: Callable[[int], TcpProxy],
    database_url: str,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
    outage_seconds: float,
) -> None:
    proxy = tcp_proxy(port_of(database_url))
    behind = {"LUMENSTREAM_DATABASE__URL": through(database_url, proxy.port)}
    pipeline = make_pipeline(source=source.paced(PACE_SECONDS), environment=behind)
    run_until_middle(pipeline, dice)
    proxy.cut()
    sink, publisher = pipeline.roles["sink"], pipeline.roles["publisher"]
    for role in (sink, publisher):
        pipeline.wait(partial(says_so, role), NOTICE_SECONDS, f"metric and /health of {role.name}")
    outage(pipeline, outage_seconds)
    proxy.restore()
    pipeline.wait_for_end(BACK_SECONDS)
    pipeline.wait(lambda: sink.answers("/health") and publisher.answers("/health"), NOTICE_SECONDS, "healthy roles")

    proxy.cut()  # once more, with nothing left to do: the roles must not wait for a ledger to be well again
    for role in (sink, publisher):
        pipeline.wait(partial(says_so, role), NOTICE_SECONDS, f"metric and /health of {role.name}")
    proxy.restore()
    pipeline.wait(lambda: sink.answers("/health") and publisher.answers("/health"), NOTICE_SECONDS, "healthy idle roles")
    baseline.check(pipeline)


@pytest.mark.parametrize("cut", list(Cut))
def test_connection_cut(
    cut: Cut, make_pipeline: MakePipeline, database_url: str, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    """The sink does not hear what became of its transaction, and must find out."""
    ledgers = source.last - source.first + 1
    with StatementProxy(port_of(database_url), cut, dice.randint(1, ledgers)) as proxy:
        pipeline = make_pipeline(environment=ONE_BY_ONE)  # so many commits as there are ledgers
        pipeline.start("publisher")
        pipeline.spawn("worker")
        pipeline.spawn("sink", environment={"LUMENSTREAM_DATABASE__URL": through(database_url, proxy.port)})
        pipeline.spawn("producer")
        pipeline.wait_for_end()
        assert proxy.done.is_set(), "the connection was never cut"
        baseline.check(pipeline)


def job_settings(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The pipeline's, for a job in this process."""
    for name, value in pipeline.environment().items():
        if name.startswith("LUMENSTREAM_"):
            monkeypatch.setenv(name, value)
    return load_settings(backfill__http_port=0)


def behind(settings: Settings, database_url: str, port: int) -> Settings:
    """The same, with the database behind a proxy."""
    url = SecretStr(through(database_url, port))
    return settings.model_copy(update={"database": settings.database.model_copy(update={"url": url})})


def between_ranges(cut: Callable[[], None]) -> Callable[[Progress], None]:
    """Watches a job, and cuts once: when a range is done and the next is about to be sent."""
    done = Event()

    def watch(progress: Progress) -> None:
        if not done.is_set() and progress.done_ranges and not progress.open_ranges:
            done.set()
            cut()

    return watch


def fill(settings: Settings, first: int, last: int, logs: Path, watch: Callable[[Progress], None], sinks: int = 1) -> None:
    """A backfill in this process, with a worker and sinks of its own. All of it is done at its end."""
    with Helpers(settings, logs, 1, sinks) as helpers, Job(settings, Request(first, last), Event()) as job:
        job.plan()
        summary = job.run(watch, helpers.check)
    assert summary.ok and summary.done_ledgers == last - first + 1


def server_errors(server: str) -> float:
    """How often this process has missed a server."""
    return REGISTRY.get_sample_value(SERVER_ERRORS, {"server": server}) or 0.0


def test_broker_unreachable_during_a_backfill(
    away_kafka: tuple[KafkaServer, TcpProxy],
    make_pipeline: MakePipeline,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job sends range after range; one of them must wait until the broker is back, and is then sent."""
    _, proxy = away_kafka
    monkeypatch.setattr(kafka, "DELIVERY_TIMEOUT_SECONDS", 1.0)  # of the job, so that a short outage is one
    pipeline = finished(make_pipeline(bootstrap=proxy.address, environment=RANGE_BY_RANGE))
    settings, before = job_settings(pipeline, monkeypatch), server_errors("kafka")
    first, last = some_ledgers(source, dice)
    dig(pipeline, first, last)
    print(f"ledgers {first} to {last} are missing")

    def bring_back() -> None:
        outage(pipeline, JOB_OUTAGE_SECONDS)
        pipeline.wait(lambda: server_errors("kafka") > before, NOTICE_SECONDS, "range that could not be sent")
        proxy.restore()

    with ThreadPoolExecutor(1) as pool:
        away: list[Future[None]] = []

        def cut() -> None:
            proxy.cut()
            away.append(pool.submit(bring_back))

        try:
            fill(settings, first, last, tmp_path, between_ranges(cut))
        finally:
            proxy.restore()
        away[0].result()
    check(pipeline, baseline)


def test_database_unreachable_during_a_backfill(
    make_pipeline: MakePipeline,
    tcp_proxy: Callable[[int], TcpProxy],
    database_url: str,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For the sink, which gets its next range meanwhile, and for the command, which asks about it."""
    proxy = tcp_proxy(port_of(database_url))
    pipeline = finished(make_pipeline(environment=RANGE_BY_RANGE))
    settings, before = behind(job_settings(pipeline, monkeypatch), database_url, proxy.port), server_errors("database")
    first, last = some_ledgers(source, dice)
    dig(pipeline, first, last)
    print(f"ledgers {first} to {last} are missing")

    def cut() -> None:
        proxy.cut()
        Timer(JOB_OUTAGE_SECONDS, proxy.restore).start()

    fill(settings, first, last, tmp_path, between_ranges(cut))
    assert server_errors("database") > before
    assert "waiting for the database" in (tmp_path / "backfill-sink-0.log").read_text()
    check(pipeline, baseline)


def test_connection_of_a_backfill_sink_cut(
    make_pipeline: MakePipeline,
    database_url: str,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of a range, and around its COMMIT: the sink must find out whether it is done."""
    pipeline = finished(make_pipeline(environment=RANGE_BY_RANGE))
    settings = job_settings(pipeline, monkeypatch)
    for cut in Cut:
        first, last = some_ledgers(source, dice)
        dig(pipeline, first, last)
        hit = dice.randint(1, last // RANGE_LEDGERS - first // RANGE_LEDGERS + 1)
        print(f"ledgers {first} to {last} are missing, cut {cut} {hit}")
        with StatementProxy(port_of(database_url), cut, hit) as proxy:
            with running_sink(behind(settings, database_url, proxy.port)):
                fill(settings, first, last, tmp_path, lambda progress: None, sinks=0)
            assert proxy.done.is_set(), "the connection was never cut"
        check(pipeline, baseline)
