"""Hot standby: the live sink is killed with SIGKILL while ledgers come; how long until the standby commits the next one?"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import psycopg

from lumenstream.bench.pipeline import BenchPipeline, made_ledgers, percentile
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings

ROUNDS: Final = 5
INTERVAL_SECONDS: Final = 0.5
LEDGERS: Final = 240
WITHIN_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.005


def run(settings: Settings) -> dict[str, Any]:
    """Keys: rounds, takeover_seconds (p50, max): from the kill to the first commit after it, at two pubnet ledgers a second.

    It holds the poll of the standby (`sink.standby_poll_seconds`), its start of reading, and the wait for the next ledger.
    """
    with BenchPipeline(settings, "failover") as pipeline:
        pipeline.start("process")
        pipeline.start("sink", name="sink-0")
        stop, sent = threading.Event(), threading.Thread(target=lambda: _send(pipeline, settings, stop), daemon=True)
        sent.start()
        try:
            seconds = [_round(pipeline, number) for number in range(ROUNDS)]
        finally:
            stop.set()
            sent.join()
    return {
        "rounds": ROUNDS,
        "takeover_seconds": {"p50": round(percentile(seconds, 0.5), 2), "max": round(max(seconds), 2)},
    }


def _round(pipeline: BenchPipeline, number: int) -> float:
    """Add a standby, let the leader commit, kill it."""
    pipeline.start("sink", name=f"sink-{number + 1}")
    with psycopg.connect(pipeline.url, autocommit=True) as connection:
        _wait_for_commit(connection, _cursor(connection))
        before = _cursor(connection)
        killed = time.monotonic()
        pipeline.kill(f"sink-{number}")
        before = max(before, _cursor(connection))  # it may have committed once more before the signal reached it
        _wait_for_commit(connection, before)
        return time.monotonic() - killed


def _wait_for_commit(connection: psycopg.Connection[Any], before: int) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while _cursor(connection) <= before:
        if time.monotonic() > deadline:
            raise LumenstreamError(f"nothing was committed after ledger {before} within {WITHIN_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _cursor(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select value::int from ingest_store where key = 'latest_ingest_ledger'").fetchone()
    return int(row[0]) if row else 0


def _send(pipeline: BenchPipeline, settings: Settings, stop: threading.Event) -> None:
    producer, previous = pipeline.producer(), None
    for made in made_ledgers(settings, LEDGERS):
        if stop.wait(INTERVAL_SECONDS):
            break
        pipeline.send(producer, made, previous)
        producer.flush(10)
        previous = made.sequence
