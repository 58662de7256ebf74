"""`kill -9` of a job's sink, of its workers and of its command at named points: run again, the command ends as it should."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from lumenstream.errors import ExitCode
from sinks.timescale.layouts import HISTORY
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import Pipeline, Source
from tests.chaos.snapshot import Snapshot, difference, snapshot

RANGE_LEDGERS: Final = 2
SMALLEST_GAP: Final = 5
COMMAND_SECONDS: Final = 240.0
JOBS: Final = ("backfill_jobs", "backfill_ranges")  # what a job writes about itself
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
    pipeline = finished(make_pipeline)
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
    pipeline = finished(make_pipeline)
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


def finished(make_pipeline: MakePipeline) -> Pipeline:
    """A pipeline that has ingested everything and runs on."""
    pipeline = make_pipeline(environment={"LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE": str(RANGE_LEDGERS)})
    pipeline.start_all()
    pipeline.wait_for_end()
    return pipeline


def some_ledgers(source: Source, dice: random.Random) -> tuple[int, int]:
    """The first and the last of those that a job is to do."""
    first = dice.randint(source.first, source.last - SMALLEST_GAP)
    return first, dice.randint(first + SMALLEST_GAP - 1, source.last - 1)


def check(pipeline: Pipeline, baseline: Baseline) -> None:
    """The tables are those of the undisturbed run."""
    found, wanted = (without_jobs(tables) for tables in (snapshot(pipeline.database_url), baseline.tables))
    assert not (problem := difference(found, wanted)), problem


def dig(pipeline: Pipeline, first: int, last: int) -> None:
    """Take ledgers out of the history, as if they had never been ingested."""
    inside = sql.SQL("from ledgers where sequence between {} and {}").format(first, last)
    with psycopg.connect(pipeline.database_url) as connection:
        for table, columns in HISTORY.items():
            assert "ledger_created_at" in columns
            connection.execute(
                sql.SQL("delete from {} where ledger_created_at in (select closed_at {})").format(sql.Identifier(table), inside)
            )
        assert connection.execute(sql.SQL("delete {}").format(inside)).rowcount == last - first + 1


def falsify(pipeline: Pipeline, first: int, last: int) -> None:
    """Rows of each of these ledgers are wrong, others are not there."""
    inside = sql.SQL("ledger_created_at in (select closed_at from ledgers where sequence between {} and {})").format(first, last)
    with psycopg.connect(pipeline.database_url) as connection:
        changed = connection.execute(sql.SQL("update transactions set fee_charged = fee_charged + 1 where {}").format(inside))
        deleted = connection.execute(sql.SQL("delete from state_changes where {}").format(inside))
        assert changed.rowcount > 0 and deleted.rowcount > 0


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


def without_jobs(tables: Snapshot) -> Snapshot:
    """Every table but those in which jobs write about themselves."""
    rows = {name: rows for name, rows in tables.rows.items() if name not in JOBS}
    return Snapshot(rows)
