"""A worker joins or leaves every two seconds: partitions move all the time, and nothing of it shows in the tables."""

from __future__ import annotations

import random
import time
from itertools import count
from typing import Final

import pytest

from tests.chaos.conftest import Baselines, MakePipeline
from tests.chaos.pipeline import Pipeline, sandbox_source
from tests.plugins.chaos import seeds

pytestmark = pytest.mark.timeout(1500)

CHANGE_SECONDS: Final = 2.0
SHORT_SECONDS: Final = 20.0
LONG_SECONDS: Final = 300.0
LONG_EVERY_SEEDS: Final = 10  # with many seeds, every so many of them last long
MOST_WORKERS: Final = 3
BACK_SECONDS: Final = 300.0
END_SECONDS: Final = 90.0


def test_workers_come_and_go(
    make_pipeline: MakePipeline, baselines: Baselines, chaos_seed: int, dice: random.Random, pytestconfig: pytest.Config
) -> None:
    many = len(seeds(pytestconfig)) > 1
    seconds = LONG_SECONDS if many and chaos_seed % LONG_EVERY_SEEDS == 0 else SHORT_SECONDS
    source = sandbox_source(chaos_seed, int(seconds))
    baseline = baselines.of(source)
    pipeline = make_pipeline(source=source.paced(1.0))
    pipeline.start("publisher")
    pipeline.spawn("sink")
    pipeline.spawn("worker-0")
    pipeline.spawn("producer")
    come_and_go(pipeline, dice, seconds)
    pipeline.wait_for_end(BACK_SECONDS)
    baseline.check(pipeline)


def come_and_go(pipeline: Pipeline, dice: random.Random, seconds: float) -> None:
    """Every two seconds a new worker, or one less: killed, or asked to go. At least one is left, and the last ones stay."""
    names = (f"worker-{number}" for number in count(1))
    working, leaving = ["worker-0"], list[str]()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        due = time.monotonic() + CHANGE_SECONDS
        if len(working) == 1 or (len(working) < MOST_WORKERS and dice.random() < 0.5):
            working.append(next(names))
            pipeline.spawn(working[-1])
        else:
            name = working.pop(dice.randrange(len(working)))
            if dice.random() < 0.5:
                pipeline.kill(name)
            else:
                pipeline.roles[name].terminate()
                leaving.append(name)
        time.sleep(max(0.0, due - time.monotonic()))
        ended = [name for name in working if not pipeline.roles[name].running]
        assert not ended, f"{ended} ended unasked\n{pipeline.report()}"
    for name in leaving:
        role = pipeline.roles[name]
        assert role.exit_code(END_SECONDS) in role.accepted, f"{name} did not end well\n{role.log()}"
