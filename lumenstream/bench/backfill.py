"""Ledgers a second of `lumenstream backfill`, end to end: a data lake, `ledgers.backfill`, workers, a sink, committed ranges.

The live pipeline commits the last ledger only; then the command fills everything before it. `ledgers_per_second` counts from the
start of the command, so it holds the start of its processes; `steady_...` from the first committed range to the last. With a
depth the history tables hold so many rows each beforehand, in the chunks written to.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any, Final

import psycopg

from lumenstream.bench import history
from lumenstream.bench.cpu import SAMPLE_SECONDS, commands_below
from lumenstream.bench.lake import MadeLedger
from lumenstream.bench.lakefiles import write_lake
from lumenstream.bench.pipeline import BenchPipeline, made_ledgers
from lumenstream.embedded.processes import ChildProcess
from lumenstream.errors import LumenstreamError
from lumenstream.settings import PASSPHRASES, Settings
from producers.sources.lake import Layout

DEFAULT_LEDGERS: Final = 600
DEFAULT_RANGE_SIZE: Final = 16
LAYOUT: Final = Layout(1, 64_000)  # as the public lakes are: one ledger an object
TIMEOUT_SECONDS: Final = 900.0
_END_SECONDS: Final = 0.02  # how closely the end of the command is seen


def run(settings: Settings) -> dict[str, Any]:
    """Keys: ledgers, workers, depth, range_size, seconds, ledgers_per_second and rows_per_second (with the start of the
    processes), steady_ledgers_per_second, rows (by table, those of the depth left out), cpu_seconds and cpu_ms_per_ledger (by
    process, their start included). The range size is 16 unless LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE says otherwise, so that a
    short run has ranges to share out."""
    count, workers, depth = settings.bench.ledgers or DEFAULT_LEDGERS, settings.bench.workers, settings.bench.depth
    range_size = int(os.environ.get("LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE", DEFAULT_RANGE_SIZE))
    with BenchPipeline(settings, "backfill") as pipeline:
        ledgers = list(made_ledgers(settings, count + 1, close_time=int(history.EVENING.timestamp())))
        first, last = ledgers[0].sequence, ledgers[-1].sequence
        lake = pipeline.folder / "lake"
        write_lake(lake, ((made.sequence, made.data) for made in ledgers[:-1]), LAYOUT, PASSPHRASES["pubnet"])
        if depth:
            history.deepen(pipeline.url, depth)
        before = pipeline.rows()
        _commit_one(pipeline, ledgers[-1])
        del ledgers
        arguments = ("--start", str(first), "--end", str(last - 1), "--workers", str(workers))
        source = ("--source", "lake", "--lake-url", str(lake), "--log-dir", str(pipeline.folder), "--json")
        command = pipeline.command_line("backfill", *arguments, *source)
        environment = {**command.environment, "LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE": str(range_size)}
        child = ChildProcess("backfill", replace(command, environment=environment))
        pipeline.cpu.begin()
        started = time.monotonic()
        with child:
            _watch(pipeline, child)
            code = child.wait(TIMEOUT_SECONDS)
        wall = time.monotonic() - started
        if code != 0:
            raise LumenstreamError(f"the backfill ended with exit code {code}:\n{child.log_tail()}")
        rows = {table: found - before[table] for table, found in pipeline.rows().items()}
        steady, steady_ledgers = _steady(pipeline.url)
    return {
        "ledgers": count,
        "workers": workers,
        "depth": depth,
        "range_size": range_size,
        "seconds": round(wall, 2),
        "ledgers_per_second": round(count / wall, 1),
        "steady_ledgers_per_second": round(steady_ledgers / steady, 1) if steady else None,
        "rows": rows,
        "rows_per_second": round(sum(rows.values()) / wall),
        **pipeline.cpu.report(count),
    }


def _commit_one(pipeline: BenchPipeline, ledger: MadeLedger) -> None:
    """The live pipeline brings in the last ledger, so that there is a gap to fill."""
    pipeline.start("sink")
    pipeline.start("process")
    pipeline.fill(iter([ledger]))
    pipeline.wait_for_cursor(ledger.sequence, TIMEOUT_SECONDS)
    pipeline.stop("process")
    pipeline.stop("sink")


def _watch(pipeline: BenchPipeline, child: ChildProcess) -> None:
    """Sample what the command and its workers and sinks use, until it ends."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    sampled = 0.0
    while child.running and (now := time.monotonic()) < deadline:
        if now - sampled >= SAMPLE_SECONDS:
            sampled = now
            pipeline.cpu.sample({child.pid: "backfill", **commands_below(child.pid)})
        time.sleep(_END_SECONDS)


def _steady(url: str) -> tuple[float, int]:
    """Seconds from the first committed range to the last, and the ledgers committed in them."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "with ranges as (select updated_at, ingested_at, count(*) as ledgers from ledgers join backfill_ranges "
            "on sequence between first_ledger and last_ledger group by 1, 2) "
            "select extract(epoch from max(ingested_at) - min(ingested_at))::float, "
            "sum(ledgers) - (select ledgers from ranges order by ingested_at limit 1) from ranges"
        ).fetchone()
    return (row[0], int(row[1])) if row is not None else (0.0, 0)
