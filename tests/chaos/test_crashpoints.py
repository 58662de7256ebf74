"""`kill -9` of every role at every named point: after a restart the tables and events are those of an undisturbed run."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.conftest import Baseline, Baselines, MakePipeline
from tests.chaos.pipeline import COMMANDS, ONE_BY_ONE, Pipeline, files_source, wait_for_crash
from tests.plugins.paths import REPOSITORY

PUBNET: Final = (51_000_294, 63_092_990)  # the first and the last of the folder
ROOMS: Final = ("lumenstream", "producers", "processors", "sinks", "api")
GROUPING: Final = ("sink", "publisher")
# How often a run of n ledgers reaches the point at least, as a share of n, where ledgers go one by one; 0: once.
CRASHPOINTS: Final[Mapping[str, float]] = {
    "producer.before_send": 1.0,
    "producer.after_send": 1.0,
    "producer.after_flush": 0,
    "worker.before_send": 1.0,
    "worker.after_send": 1.0,
    "worker.before_ack": 1.0,
    "sink.after_start": 0,
    "sink.in_copy": 1.0,
    "sink.before_commit": 1.0,
    "sink.after_commit": 1.0,
    "publisher.before_delivery": 1.0,
    "publisher.after_delivery": 1.0,
    "publisher.after_cursor": 1.0,
}


def test_every_crashpoint_has_a_case() -> None:
    """A new crash point without a case fails here: those of the pipeline's roles are below, others in tests of their own."""
    sources = [path.read_text(encoding="utf-8") for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"\bcrashpoint\(\s*f?\"([^\"]+)\"", text)}
    assert CRASHPOINTS.keys() == {name for name in named if name.partition(".")[0] in COMMANDS}
    tests = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("*.py"))
    assert [name for name in sorted(named) if f'"{name}' not in tests] == []


@pytest.mark.parametrize("crashpoint", CRASHPOINTS)
def test_killed_at(crashpoint: str, make_pipeline: MakePipeline, baseline: Baseline, dice: random.Random) -> None:
    role = crashpoint.partition(".")[0]
    ledgers = len(baseline.tables.rows["ledgers"])
    groups = dice.choice((True, False))
    hit = dice.randint(1, most_hits(crashpoint, ledgers, groups=groups))
    print(f"{ledgers} ledgers, killed at {crashpoint}:{hit}, groups: {groups}")
    pipeline = make_pipeline(environment={} if groups else ONE_BY_ONE)
    pipeline.start_all({role: f"{crashpoint}:{hit}"})
    wait_for_crash(pipeline, role)
    pipeline.spawn(role)
    pipeline.wait_for_end()
    baseline.check(pipeline)


def most_hits(crashpoint: str, ledgers: int, *, groups: bool) -> int:
    """How often a run reaches the point in any case: on a slow machine all ledgers may go in one group."""
    return 1 if groups and crashpoint.startswith(GROUPING) else max(1, int(ledgers * CRASHPOINTS[crashpoint]))


def test_every_role_is_killed_at_once(make_pipeline: MakePipeline, baseline: Baseline, dice: random.Random) -> None:
    """All four die in one run, each at a point of its own, and come back while the others are down or dying."""
    kill_every_role(make_pipeline(environment=ONE_BY_ONE), baseline, dice)


def test_every_role_is_killed_on_real_ledgers(
    make_pipeline: MakePipeline, baselines: Baselines, shared_ledgers: Path, dice: random.Random
) -> None:
    """The same on heavy ledgers of a folder that has gaps: who comes back must find the predecessor that is none by number."""
    source = files_source(shared_ledgers / "pubnet", PUBNET[0], PUBNET[-1])
    kill_every_role(make_pipeline(source=source, environment=ONE_BY_ONE), baselines.of(source), dice)


def kill_every_role(pipeline: Pipeline, baseline: Baseline, dice: random.Random) -> None:
    """Let each role run into a crash point of its own in the first half of the ledgers, and start it again."""
    ledgers = len(baseline.tables.rows["ledgers"])
    chosen = {}
    for role in COMMANDS:
        name = dice.choice([name for name in CRASHPOINTS if name.startswith(f"{role}.")])
        chosen[role] = f"{name}:{dice.randint(1, max(1, most_hits(name, ledgers, groups=False) // 2))}"
    print(f"{ledgers} ledgers, killed at {chosen}")
    pipeline.start_all(chosen)
    for role in ("producer", "worker", "sink", "publisher"):
        wait_for_crash(pipeline, role)
        pipeline.spawn(role)
    pipeline.wait_for_end()
    baseline.check(pipeline)
