"""Ledgers a second from topic `ledgers` to committed rows: one worker, one sink, everything on this machine.

The topic is filled first; then worker and sink start, and the clock runs from the first commit to the last. CPU seconds cover the
same stretch, by process.
"""

from __future__ import annotations

import os
from typing import Any

from lumenstream.bench.pipeline import BenchPipeline, made_ledgers
from lumenstream.settings import Settings

DEFAULT_LEDGERS = 240
TIMEOUT_SECONDS = 900.0


def run(settings: Settings) -> dict[str, Any]:
    """Keys: ledgers, ledgers_per_second, rows_per_second, rows (by table), cpu_seconds and cpu_ms_per_ledger (by process).
    LUMENSTREAM_BENCH_LEDGERS sets the number of ledgers."""
    count = int(os.environ.get("LUMENSTREAM_BENCH_LEDGERS", DEFAULT_LEDGERS))
    moves: list[tuple[int, float]] = []
    before: dict[str, float] = {}
    with BenchPipeline(settings, "ingest") as pipeline:
        sent = pipeline.fill(made_ledgers(settings, count))

        def seen(cursor: int, at: float) -> None:
            if not moves:
                before.update(pipeline.cpu_seconds())
            moves.append((cursor, at))

        pipeline.start("sink")
        pipeline.start("process")
        pipeline.wait_for_cursor(sent[-1].sequence, TIMEOUT_SECONDS, seen)
        after = pipeline.cpu_seconds()
        rows = pipeline.rows()
    (first, started), (last, ended) = moves[0], moves[-1]
    measured, seconds = last - first, ended - started
    cpu = {name: round(after[name] - before.get(name, 0.0), 2) for name in after}
    return {
        "ledgers": count,
        "measured_ledgers": measured,
        "seconds": round(seconds, 2),
        "ledgers_per_second": round(measured / seconds, 1),
        "rows_per_second": round(sum(rows.values()) / count * measured / seconds),
        "rows": rows,
        "cpu_seconds": cpu,
        "cpu_ms_per_ledger": {name: round(1000 * used / measured, 1) for name, used in cpu.items()},
    }
