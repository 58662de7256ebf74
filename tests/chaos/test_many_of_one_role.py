"""Two of a role: workers share the partitions, sinks take turns. One of them is killed."""

from __future__ import annotations

import random
from typing import Final

import psycopg

from lumenstream.errors import ExitCode
from schemas.messages import Topic
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import PARTITIONS, Pipeline, Source

PACE_SECONDS: Final = 0.3
TURN_SECONDS: Final = 90.0
IS_LEADER: Final = "lumenstream_sink_is_leader"
ASSIGNED: Final = "lumenstream_assigned_partitions"
WORKER_TOPICS: Final = (Topic.LEDGERS, Topic.LEDGERS_RETRY)
SINKS: Final = ("sink", "sink-2")


def leaders(pipeline: Pipeline) -> list[str]:
    """Names of the sinks that hold the writer's lock."""
    return [name for name in SINKS if pipeline.roles[name].running and pipeline.roles[name].metric(IS_LEADER) == 1]


def start_two_sinks(pipeline: Pipeline) -> str:
    """Both at once, as far as processes can; returns the one that won."""
    pipeline.start("publisher")
    for name in SINKS:
        pipeline.spawn(name)
    pipeline.spawn("worker")
    pipeline.wait(lambda: all(pipeline.roles[name].answers("/health") for name in SINKS), TURN_SECONDS, "two healthy sinks")
    pipeline.wait(lambda: len(leaders(pipeline)) == 1, TURN_SECONDS, "one leading sink")
    leader = leaders(pipeline)[0]
    pipeline.wait_ready(leader)
    assert not any(pipeline.roles[name].answers("/ready") for name in SINKS if name != leader)
    return leader


def test_one_of_two_workers_is_killed(
    make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    pipeline = make_pipeline(source=source.paced(PACE_SECONDS))
    workers = ["worker", "worker-2"]
    for name in ("sink", *workers):
        pipeline.spawn(name)
    pipeline.start("publisher")

    def shared() -> bool:
        counts = [pipeline.roles[name].metric(ASSIGNED) for name in workers]
        return all(counts) and sum(counts) == len(WORKER_TOPICS) * PARTITIONS

    pipeline.wait(shared, TURN_SECONDS, "partitions shared between the workers")
    pipeline.spawn("producer")
    pipeline.wait_for_cursor(dice.randint(source.first, source.first + 4))
    pipeline.kill(dice.choice(workers))
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_standby_takes_over(make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random) -> None:
    pipeline = make_pipeline(source=source.paced(PACE_SECONDS))
    leader = start_two_sinks(pipeline)
    standby = next(name for name in SINKS if name != leader)
    pipeline.spawn("producer")
    pipeline.wait_for_cursor(dice.randint(source.first, source.first + 4))
    pipeline.kill(leader)
    pipeline.wait(lambda: leaders(pipeline) == [standby], TURN_SECONDS, "the standby's lead")
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_leader_loses_its_lock(make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random) -> None:
    """The lock's session ends while the leader lives: whoever gets it goes on, and an ousted leader ends as fenced."""
    pipeline = make_pipeline(source=source.paced(PACE_SECONDS))
    leader = start_two_sinks(pipeline)
    pipeline.spawn("producer")
    pipeline.wait_for_cursor(dice.randint(source.first, source.first + 4))
    with psycopg.connect(pipeline.database_url, autocommit=True) as admin:
        ended = admin.execute(
            "select pg_terminate_backend(a.pid) from pg_stat_activity a join pg_locks l using (pid) "
            "where l.locktype = 'advisory' and l.granted and a.datname = current_database() "
            "and a.application_name = 'lumenstream-sink-lock'"
        ).fetchall()
    assert ended == [(True,)]
    pipeline.roles[leader].accepted.add(ExitCode.FENCED)
    pipeline.wait_for_end()
    baseline.check(pipeline)
    assert len(leaders(pipeline)) == 1
