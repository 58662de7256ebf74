"""A thousand subscribers of one API process: memory for each, and milliseconds from a commit to all of them.

The database is made for the run and removed: a ledger is a row in `ledgers`, the cursor, and a notification, as from the sink.
Subscribers are WebSocket connections of this process, one subscription each.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from lumenstream import database
from lumenstream.bench.api import serving
from lumenstream.bench.databases import bench_database
from lumenstream.bench.pipeline import percentile
from lumenstream.client import AsyncClient, Event, Ledger
from lumenstream.embedded.processes import LOOPBACK, ChildProcess
from lumenstream.settings import Settings
from migrations import runner

DEFAULT_SUBSCRIBERS: Final = 1_000
COMMITS: Final = 20
PAUSE_SECONDS: Final = 0.5
OPENING_AT_ONCE: Final = 50
FIRST: Final = 1


def run(settings: Settings) -> dict[str, Any]:
    """Keys: subscribers; opening_seconds; memory_mib of the API before and with them, kib_each; p50_ms and p99_ms from the commit
    of a ledger to a subscriber, last_ms to the last of them (median). LUMENSTREAM_BENCH_SUBSCRIBERS: how many."""
    count = int(os.environ.get("LUMENSTREAM_BENCH_SUBSCRIBERS", DEFAULT_SUBSCRIBERS))
    with _database(settings) as url, serving(url, plans=True) as api:
        return asyncio.run(_measured(url, api, f"http://{LOOPBACK}:{api.port}", count))


async def _measured(url: str, api: ChildProcess, address: str, count: int) -> dict[str, Any]:
    before = api.rss_bytes() or 0
    async with AsyncClient(address) as client:
        started = time.monotonic()
        followers = [client.follow_ledgers(after_ledger=FIRST - 1) for _ in range(count)]
        for place in range(0, count, OPENING_AT_ONCE):
            await asyncio.gather(*(anext(follower) for follower in followers[place : place + OPENING_AT_ONCE]))
        opening = time.monotonic() - started
        delays: list[float] = []
        last: list[float] = []
        for sequence in range(FIRST + 1, FIRST + 1 + COMMITS):
            waiting = asyncio.gather(*(_arrival(follower) for follower in followers))
            await asyncio.sleep(PAUSE_SECONDS)
            committed = await asyncio.to_thread(_commit, url, sequence)
            arrived = [moment - committed for moment in await waiting]
            delays += arrived
            last.append(max(arrived))
        after = api.rss_bytes() or 0
        await asyncio.gather(*(follower.aclose() for follower in followers))
    return {
        "subscribers": count,
        "opening_seconds": round(opening, 2),
        "memory_mib": {"before": round(before / (1 << 20), 1), "with": round(after / (1 << 20), 1)},
        "kib_each": round((after - before) / count / 1024, 1),
        "p50_ms": round(percentile(delays, 0.5) * 1000, 1),
        "p99_ms": round(percentile(delays, 0.99) * 1000, 1),
        "last_ms": round(percentile(last, 0.5) * 1000, 1),
    }


async def _arrival(follower: AsyncIterator[Event[Ledger]]) -> float:
    await anext(follower)
    return time.monotonic()


def _commit(url: str, sequence: int) -> float:
    """The moment just before the commit."""
    with psycopg.connect(url) as connection:
        _put(connection, sequence)
        connection.execute("update ingest_store set value = %s where key = %s", (str(sequence), database.Cursor.LATEST.value))
        connection.execute("select pg_notify(%s, %s)", (database.LEDGER_CHANNEL, str(sequence)))
        return time.monotonic()


def _put(connection: psycopg.Connection[Any], sequence: int) -> None:
    connection.execute(
        "insert into ledgers (sequence, hash, previous_hash, closed_at, protocol_version, transaction_count, "
        'successful_transaction_count, operation_count, state_change_count, topic, partition, "offset") '
        "values (%s, %s, %s, %s, 23, 0, 0, 0, 0, 'ledgers', 0, %s)",
        (sequence, sequence.to_bytes(32, "big"), (sequence - 1).to_bytes(32, "big"), datetime.now(UTC), sequence),
    )


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The URL of a database with one ledger."""
    with bench_database(settings, f"lumenstream_bench_subscribers_{os.getpid()}") as url:
        runner.migrate(url)
        with psycopg.connect(url) as connection:
            _put(connection, FIRST)
            connection.execute("insert into ingest_store values (%s, %s)", (database.Cursor.LATEST.value, str(FIRST)))
        yield url
