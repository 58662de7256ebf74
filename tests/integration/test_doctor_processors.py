"""`lumenstream doctor` and who runs the processors: told by the consumer groups of a real broker, whatever this host is
set to."""

from __future__ import annotations

from typing import Final

from lumenstream import kafka as clients
from lumenstream.cli.checkresult import Level, Result
from lumenstream.cli.processor_checks import processors
from lumenstream.settings import Settings, load_settings
from processors import registry, worker
from schemas.processors import PROCESSORS
from tests.integration.test_agents import running, wait_until
from tests.plugins.servers import KafkaForTest

PARTITIONS: Final = 2
SOME: Final = ("participants", "effects")


def settings_of(bootstrap: str, topic_prefix: str, database_url: str, names: tuple[str, ...] = ()) -> Settings:
    return load_settings(
        kafka__bootstrap=bootstrap,
        kafka__topic_prefix=topic_prefix,
        kafka__partitions=PARTITIONS,
        database__url=database_url,
        process__processors=names,
        process__http_port=0,
    )


def workers(settings: Settings) -> list[Result]:
    return [result for result in processors(settings) if result.name == "workers"]


def test_processors_that_nobody_runs_are_named(kafka: KafkaForTest, database_url: str) -> None:
    """Guards: it compared with the processors of its own settings, and saw no worker of another host, nor one that was gone."""
    doctor = settings_of(kafka.bootstrap, kafka.topic_prefix, database_url)
    (nobody,) = workers(doctor)
    assert nobody.level == Level.WARN and nobody.mend == "start a worker: lumenstream process"
    assert all(name in nobody.text for name in PROCESSORS)

    there = settings_of(kafka.bootstrap, kafka.topic_prefix, database_url, SOME)
    group = worker.group_of(there)
    with running(there, registry.create(SOME, there.network.network_id())):
        wait_until(lambda: clients.group_members(doctor.kafka, worker.group_prefix(doctor)) == {group: 1})
        found, rest = workers(doctor)
    assert (found.level, found.text) == (Level.OK, f"group {group}: 1 worker")
    missing = sorted(set(PROCESSORS) - set(SOME))
    assert (rest.level, rest.text) == (Level.WARN, f"nobody runs {', '.join(missing)}: the sink waits for them")
    assert rest.mend == f"start a worker: lumenstream process --processors {','.join(missing)}"

    wait_until(lambda: clients.group_members(doctor.kafka, worker.group_prefix(doctor)) == {group: 0})
    assert workers(doctor) == [nobody], "a group that its last worker left runs nothing"


def test_a_worker_of_all_processors_leaves_nothing_to_say(kafka: KafkaForTest, database_url: str) -> None:
    settings = settings_of(kafka.bootstrap, kafka.topic_prefix, database_url)
    with running(settings, registry.create(None, settings.network.network_id())):
        wait_until(lambda: 1 in clients.group_members(settings.kafka, worker.group_prefix(settings)).values())
        (found,) = workers(settings)
    assert (found.level, found.text) == (Level.OK, f"group {worker.group_of(settings)}: 1 worker")


def test_without_a_broker_it_cannot_tell(database_url: str) -> None:
    away = settings_of("127.0.0.1:9", "", database_url)
    quick = away.model_copy(update={"kafka": away.kafka.model_copy(update={"request_timeout_seconds": 0.5})})
    (found,) = workers(quick)
    assert found.level == Level.WARN and found.text.startswith("cannot tell which processors run: ") and found.mend
