"""`kill -9` of a backfill's sink and workers at their named points: the job says that it failed; run again, it fills the gap."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

import psycopg
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


def test_a_backfill_is_killed(make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random) -> None:
    settings = {"LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE": str(RANGE_LEDGERS)}
    pipeline = make_pipeline(environment=settings)
    pipeline.start_all()
    pipeline.wait_for_end()
    point = dice.choice([*POINTS])
    first = dice.randint(source.first, source.last - SMALLEST_GAP)
    last = dice.randint(first + SMALLEST_GAP - 1, source.last - 1)
    hit = dice.randint(1, max(1, int((last - first + 1) * POINTS[point]) - 1))
    print(f"ledgers {first} to {last} are missing, killed at {point}:{hit}")
    dig(pipeline, first, last)
    assert backfill(pipeline, source, f"{point}:{hit}") == ExitCode.FAILED
    assert backfill(pipeline, source) == ExitCode.OK
    found, wanted = (without_jobs(tables) for tables in (snapshot(pipeline.database_url), baseline.tables))
    assert not (problem := difference(found, wanted)), problem
    baseline.check_events(pipeline)


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


def backfill(pipeline: Pipeline, source: Source, crashpoint: str = "") -> int:
    """The exit code of `lumenstream backfill` over the whole history, with a worker and a sink of its own."""
    command = [sys.executable, "-m", "lumenstream", "backfill", "--start", str(source.first), "--end", str(source.last)]
    done = subprocess.run(
        command,
        env=pipeline.environment() | {"LUMENSTREAM_CRASHPOINT": crashpoint},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    print(done.stdout, done.stderr)
    return done.returncode


def without_jobs(tables: Snapshot) -> Snapshot:
    """Every table but those in which jobs write about themselves."""
    rows = {name: rows for name, rows in tables.rows.items() if name not in JOBS}
    return Snapshot(rows)
