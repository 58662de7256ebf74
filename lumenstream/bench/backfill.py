"""Ledgers a second of `lumenstream backfill`, end to end: files, `ledgers.backfill`, workers, a sink, committed ranges.

The live pipeline commits the last ledger only; then the command fills everything before it. `ledgers_per_second` counts from the
start of the command, so it holds the start of its processes; `steady_...` from the first committed range to the last.
"""

from __future__ import annotations

import os
import resource
import time
from typing import Any

import orjson
import psycopg

from lumenstream.bench.pipeline import BenchPipeline, made_ledgers
from lumenstream.embedded.processes import ChildProcess, Command
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings

DEFAULT_LEDGERS = 200
DEFAULT_WORKERS = 1
DEFAULT_RANGE_SIZE = 16
TIMEOUT_SECONDS = 900.0


def run(settings: Settings) -> dict[str, Any]:
    """LUMENSTREAM_BENCH_LEDGERS and LUMENSTREAM_BENCH_WORKERS set how many there are; the range size is 16 unless the setting
    says otherwise, so that a short run has ranges to share out."""
    count = int(os.environ.get("LUMENSTREAM_BENCH_LEDGERS", DEFAULT_LEDGERS))
    workers = int(os.environ.get("LUMENSTREAM_BENCH_WORKERS", DEFAULT_WORKERS))
    range_size = int(os.environ.get("LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE", DEFAULT_RANGE_SIZE))
    with BenchPipeline(settings, "backfill") as pipeline:
        folder = pipeline.folder / "ledgers"
        folder.mkdir()
        ledgers = made_ledgers(settings, count + 1)
        first = last = 0
        for made in ledgers:
            first, last = first or made.sequence, made.sequence
            if made.sequence < first + count:
                (folder / f"{made.sequence}.xdr").write_bytes(made.data)
            else:
                pipeline.fill(iter([made]))
        pipeline.start("sink")
        pipeline.start("process")
        pipeline.wait_for_cursor(last, TIMEOUT_SECONDS)
        pipeline.stop("process")
        used = _cpu_of_children()
        started = time.monotonic()
        command = pipeline.command_line(
            *("backfill", "--start", str(first), "--end", str(last - 1), "--workers", str(workers)),
            *("--source", "files", "--path", str(folder), "--log-dir", str(pipeline.folder), "--json"),
        )
        environment = {**command.environment, "LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE": str(range_size)}
        child = ChildProcess("backfill", Command(command.argv, command.log, environment, command.working_directory))
        with child:
            code = child.wait(TIMEOUT_SECONDS)
        wall = time.monotonic() - started
        if code != 0:
            raise LumenstreamError(f"the backfill ended with exit code {code}:\n{child.log_tail()}")
        used = _cpu_of_children() - used
        rows = pipeline.rows()
        steady, steady_ledgers = _steady(pipeline.url)
        summary = orjson.loads(child.log_tail(1))
    return {
        "ledgers": count,
        "workers": workers,
        "range_size": range_size,
        "seconds": round(wall, 2),
        "ledgers_per_second": round(count / wall, 1),
        "job_seconds": summary["seconds"],
        "steady_ledgers_per_second": round(steady_ledgers / steady, 1) if steady else None,
        "rows": rows,
        "rows_per_second": round(sum(rows.values()) / wall),
        "cpu_ms_per_ledger": round(1000 * used / count, 1),  # of the command, its workers and its sink
    }


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
