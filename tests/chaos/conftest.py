"""Fixtures of the chaos tests: a pipeline of the test's own, and the undisturbed runs it is compared with."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.chaos.pipeline import ROLES, Pipeline, Source, sandbox_source
from tests.chaos.snapshot import Events, Snapshot, check_complete, check_events, difference, read_events, snapshot
from tests.plugins.servers import KafkaForTest, create_database, drop_database
from tests.servers.cache import Unavailable
from tests.servers.choose import Servers, with_database

MIN_LEDGERS = 10
MAX_LEDGERS = 20

MakePipeline = Callable[..., Pipeline]


@dataclass(frozen=True)
class Baseline:
    """What an undisturbed run of a source left behind. Its topics stay until the end of the test run."""

    pipeline: Pipeline
    tables: Snapshot
    events: Events

    def check(self, pipeline: Pipeline) -> None:
        """The disturbed pipeline left the same tables; when it had a publisher, the same events."""
        difference_found = difference(_comparable(pipeline, snapshot(pipeline.database_url)), _comparable(pipeline, self.tables))
        assert not difference_found, f"{difference_found}\n{pipeline.report()}"
        if "publisher" in pipeline.roles:
            self.check_events(pipeline)

    def check_events(self, pipeline: Pipeline) -> None:
        """The disturbed pipeline published the same events."""
        events = read_events(pipeline.kafka)
        check_events(events, self.events)
        check_complete(pipeline.database_url, events)


def _comparable(pipeline: Pipeline, tables: Snapshot) -> Snapshot:
    """Without the publisher's cursor for a pipeline that has no publisher."""
    if "publisher" in pipeline.roles:
        return tables
    cursors = tuple(row for row in tables.rows["ingest_store"] if "publisher_cursor" not in row)
    return Snapshot({**tables.rows, "ingest_store": cursors})


class Baselines:
    """Undisturbed runs by source: each source runs once in a test run."""

    def __init__(self, servers: Servers, template: str, folder: Path) -> None:
        self._servers = servers
        self._template = template
        self._folder = folder
        self._made: dict[tuple[object, ...], Baseline] = {}
        self._cleanup = ExitStack()

    def of(self, source: Source) -> Baseline:
        key = (source.network, source.last, *sorted(source.environment.items()))
        if key not in self._made:
            self._made[key] = self._run(source)
        return self._made[key]

    def _run(self, source: Source) -> Baseline:
        name = f"ls_{secrets.token_hex(6)}"
        admin_url = self._servers.database_url
        with psycopg.connect(admin_url, autocommit=True) as admin:
            create_database(admin, name, self._template)
        self._cleanup.callback(self._drop, admin_url, name)
        topics = KafkaForTest(self._servers.bootstrap, f"t{secrets.token_hex(6)}.")
        self._cleanup.callback(topics.delete_topics)
        folder = self._folder / name
        folder.mkdir()
        pipeline = Pipeline(
            folder,
            bootstrap=topics.bootstrap,
            topic_prefix=topics.topic_prefix,
            database_url=with_database(admin_url, name),
            source=source,
        )
        with pipeline:
            pipeline.start_all()
            pipeline.wait_for_end()
        tables, events = snapshot(pipeline.database_url), read_events(pipeline.kafka)
        check_complete(pipeline.database_url, events)
        assert events.by_id, "an undisturbed run without events proves nothing"
        assert all(name in pipeline.roles for name in ROLES)
        return Baseline(pipeline, tables, events)

    @staticmethod
    def _drop(admin_url: str, name: str) -> None:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            drop_database(admin, name)

    def close(self) -> None:
        self._cleanup.close()


@pytest.fixture(scope="session")
def baselines(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baselines]:
    """Undisturbed runs, each made when first asked for."""
    try:
        servers.bootstrap  # noqa: B018 (starts it, or says why not)
    except Unavailable as error:
        pytest.skip(f"no Kafka: {error}")
    made = Baselines(servers, template_database, tmp_path_factory.mktemp("baselines"))
    yield made
    made.close()


@pytest.fixture
def source(chaos_seed: int) -> Source:
    """The sandbox network of this seed; the seed also says how long it is."""
    return sandbox_source(chaos_seed, random.Random(chaos_seed).randint(MIN_LEDGERS, MAX_LEDGERS))


@pytest.fixture
def baseline(baselines: Baselines, source: Source) -> Baseline:
    """The undisturbed run of `source`."""
    return baselines.of(source)


@pytest.fixture
def make_pipeline(kafka: KafkaForTest, database_url: str, source: Source, tmp_path: Path) -> Iterator[MakePipeline]:
    """Open a pipeline on the run's servers; keyword arguments replace what the fixtures chose. It ends with the test."""
    with ExitStack() as cleanup:

        def make(
            *,
            bootstrap: str = kafka.bootstrap,
            topic_prefix: str = kafka.topic_prefix,
            database_url: str = database_url,
            source: Source = source,
            environment: Mapping[str, str] | None = None,
        ) -> Pipeline:
            pipeline = Pipeline(
                tmp_path,
                bootstrap=bootstrap,
                topic_prefix=topic_prefix,
                database_url=database_url,
                source=source,
                environment=environment,
            )
            return cleanup.enter_context(pipeline)

        yield make


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    """A pipeline on the run's servers, nothing started yet."""
    return make_pipeline()
