"""From produce to visible: one ledger a second, full pubnet ledgers, until GraphQL answers for the ledger's last transaction."""

from __future__ import annotations

import os
import time
from typing import Any

import httpx

from lumenstream.bench.pipeline import PUBNET_ID, BenchPipeline, made_ledgers, percentile
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from lumenstream.xdr import decode_ledger

DEFAULT_LEDGERS = 40
WARM_UP_LEDGERS = 5
INTERVAL_SECONDS = 1.0
POLL_SECONDS = 0.002
VISIBLE_WITHIN_SECONDS = 30.0

_QUERY = "query ($hash: String!) { transactionByHash(hash: $hash) { hash operations { edges { node { id } } } } }"


def run(settings: Settings) -> dict[str, Any]:
    """Keys: ledgers, visible_ms (p50, p99, max), all in milliseconds from the moment the ledger is handed to the Kafka client.
    LUMENSTREAM_BENCH_LIVE_LEDGERS sets the number of ledgers."""
    count = int(os.environ.get("LUMENSTREAM_BENCH_LIVE_LEDGERS", DEFAULT_LEDGERS))
    delays = []
    with BenchPipeline(settings, "live") as pipeline, httpx.Client(timeout=10) as client:
        for role in ("sink", "process", "serve"):
            pipeline.start(role)
        url = f"http://127.0.0.1:{pipeline.ports['serve']}/graphql/query"
        producer = pipeline.producer()
        previous = None
        for made in list(made_ledgers(settings, count + WARM_UP_LEDGERS)):
            transaction = decode_ledger(made.data, PUBNET_ID).transactions[-1].hash.hex()
            started = time.monotonic()
            pipeline.send(producer, made, previous)
            producer.flush(10)
            _wait_until_visible(client, url, transaction, started)
            delays.append(time.monotonic() - started)
            previous = made.sequence
            time.sleep(max(0.0, INTERVAL_SECONDS - (time.monotonic() - started)))
    measured = [1000 * delay for delay in delays[WARM_UP_LEDGERS:]]
    return {
        "ledgers": len(measured),
        "visible_ms": {
            "p50": round(percentile(measured, 0.5), 1),
            "p99": round(percentile(measured, 0.99), 1),
            "max": round(max(measured), 1),
        },
    }


def _wait_until_visible(client: httpx.Client, url: str, transaction: str, started: float) -> None:
    while time.monotonic() - started < VISIBLE_WITHIN_SECONDS:
        answer = client.post(url, json={"query": _QUERY, "variables": {"hash": transaction}}).json()
        if (answer.get("data") or {}).get("transactionByHash"):
            return
        time.sleep(POLL_SECONDS)
    raise LumenstreamError(f"transaction {transaction} was not visible within {VISIBLE_WITHIN_SECONDS:.0f} s: {answer}")
