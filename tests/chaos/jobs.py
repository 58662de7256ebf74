"""What the tests of jobs share: a pipeline that has come to its end, harm to its history, and a check that it is mended."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg import sql

from sinks.timescale.layouts import HISTORY
from tests.chaos.conftest import Baseline
from tests.chaos.pipeline import Pipeline, Source
from tests.chaos.snapshot import Snapshot, difference, snapshot

RANGE_LEDGERS: Final = 2
RANGES: Final[Mapping[str, str]] = {"LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE": str(RANGE_LEDGERS)}
SMALLEST_GAP: Final = 5
JOBS: Final = ("backfill_jobs", "backfill_ranges")  # what a job writes about itself


def finished(pipeline: Pipeline) -> Pipeline:
    """The pipeline when it has ingested everything; it runs on."""
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


def without_jobs(tables: Snapshot) -> Snapshot:
    """Every table but those in which jobs write about themselves."""
    rows = {name: rows for name, rows in tables.rows.items() if name not in JOBS}
    return Snapshot(rows)
