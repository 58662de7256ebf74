"""`kill -9` of a job's sink, of its workers and of its command at named points: run again, the command ends as it should."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from lumenstream.errors import ExitCode
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.jobs import RANGE_LEDGERS, RANGES, check, dig, falsify, finished, some_ledgers
from tests.chaos.pipeline import Pipeline, Source

COMMAND_SECONDS: Final = 240.0
# How often a job over n ledgers reaches the point at least, as a share of n.
POINTS: Final[Mapping[str, float]] = {
    "backfill.in_range": 1 / RANGE_LEDGERS,
    "backfill.before_commit": 1 / RANGE_LEDGERS,
    "backfill.after_commit": 1 / RANGE_LEDGERS,
    "worker.before_send": 1.0,
    "worker.after_send": 1.0,
    "worker.before_ack": 1.0,
}

# Of the command itself, in the order in which it comes to them; all but the first once a range.
COMMAND_POINTS: Final = ("job.after_plan", "job.after_send", "job.after_range")
PER_RANGE: Final = COMMAND_POINTS[1:]


def test_a_backfill_is_killed(
    make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random, tmp_path: Path
) -> None:
    pipeline = finished(make_pipeline(environment=RANGES))
    point = dice.choice([*POINTS])
    first, last = some_ledgers(source, dice)
    hit = dice.randint(1, max(1, int((last - first + 1) * POINTS[point]) - 1))
    print(f"ledgers {first} to {last} are missing, killed at {point}:{hit}")
    dig(pipeline, first, last)
    command = ("backfill", "--start", str(source.first), "--end", str(source.last))
    assert run_job(pipeline, tmp_path, *command, crashpoint=f"{point}:{hit}") == ExitCode.FAILED
    assert run_job(pipeline, tmp_path, *command) == ExitCode.OK
    check(pipeline, baseline)
    baseline.check_events(pipeline)


@pytest.mark.parametrize("job", ["backfill", "replay"])
def test_the_command_is_killed(
    job: str, make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random, tmp_path: Path
) -> None:
    """At each of its points in turn. The next command begins at once, while the helpers of the killed one are still ending."""
    pipeline = finished(make_pipeline(environment=RANGES))
    harm: Callable[[Pipeline, int, int], None] = dig if job == "backfill" else falsify
    for point in COMMAND_POINTS:
        first, last = some_ledgers(source, dice)
        ranges = last // RANGE_LEDGERS - first // RANGE_LEDGERS + 1
        hit = dice.randint(1, ranges) if point in PER_RANGE else 1
        print(f"{job} of ledgers {first} to {last}, killed at {point}:{hit}")
        harm(pipeline, first, last)
        ends = ("--start", "--end") if job == "backfill" else ("--from", "--to")
        command = (job, ends[0], str(first), ends[1], str(last))
        assert run_job(pipeline, tmp_path, *command, crashpoint=f"{point}:{hit}") == -signal.SIGKILL
        assert run_job(pipeline, tmp_path, *command) == ExitCode.OK
        check(pipeline, baseline)
    baseline.check_events(pipeline)


def run_job(pipeline: Pipeline, folder: Path, *arguments: str, crashpoint: str = "") -> int:
    """The exit code of a command with a worker and a sink of its own, as soon as it has ended; they may end later."""
    output = folder / "job.log"
    with output.open("w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "lumenstream", *arguments, "--log-dir", str(folder / "job")],
            env=pipeline.environment() | {"LUMENSTREAM_CRASHPOINT": crashpoint},
            stdout=log,
            stderr=log,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    print(output.read_text())
    return done.returncode
