"""Live catch-up, end to end: ledger files, producer, topic, workers, the live sink, every table; everything on this machine.

Sink and workers stand ready, then the producer starts. The clock runs from the first commit to the last, and CPU seconds cover
the same stretch, by process. With a depth the history tables hold so many rows each beforehand, in the chunks written to.
"""

from __future__ import annotations

from typing import Any, Final

from lumenstream.bench import history
from lumenstream.bench.pipeline import BenchPipeline, made_ledgers, write_files
from lumenstream.settings import Settings

DEFAULT_LEDGERS: Final = 600
TIMEOUT_SECONDS: Final = 900.0


def run(settings: Settings) -> dict[str, Any]:
    """Keys: ledgers, workers, depth, seconds, ledgers_per_second, rows_per_second, rows (by table), cpu_seconds and
    cpu_ms_per_ledger (by process), ledgers_per_commit."""
    count, workers, depth = settings.bench.ledgers or DEFAULT_LEDGERS, settings.bench.workers, settings.bench.depth
    with BenchPipeline(settings, "ingest") as pipeline:
        folder = pipeline.folder / "lake"
        last = write_files(folder, made_ledgers(settings, count, close_time=int(history.EVENING.timestamp())))[-1].sequence
        if depth:
            history.deepen(pipeline.url, depth)
        before = pipeline.rows()
        pipeline.start("sink")
        pipeline.start("process", "--workers", str(workers))
        pipeline.start("produce", "--source", "files", "--path", str(folder))
        moves: list[tuple[int, float]] = []
        for cursor, at in pipeline.commits(last, TIMEOUT_SECONDS):
            if not moves:
                pipeline.cpu.begin()
            pipeline.cpu.sample_now_and_then()
            moves.append((cursor, at))
        pipeline.cpu.sample()
        rows = {table: found - before[table] for table, found in pipeline.rows().items()}
    (first, started), (_, ended) = moves[0], moves[-1]
    measured, seconds = last - first, ended - started
    return {
        "ledgers": count,
        "workers": workers,
        "depth": depth,
        "seconds": round(seconds, 2),
        "ledgers_per_second": round(measured / seconds, 1),
        "rows_per_second": round(sum(rows.values()) / count * measured / seconds),
        "rows": rows,
        "ledgers_per_commit": round(measured / max(1, len(moves) - 1), 1),
        **pipeline.cpu.report(measured),
    }
