"""From publish to visible: pubnet ledgers, one a second, from the hand-over to the Kafka client to the commit in the database.

Beside it how long GraphQL takes to answer for a ledger's last transaction once it is there.
"""

from __future__ import annotations

import time
from typing import Any, Final

import httpx

from lumenstream.bench.paced import WARM_UP_LEDGERS, report, send_paced
from lumenstream.bench.pipeline import PUBNET_ID, BenchPipeline, made_ledgers
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from lumenstream.xdr import decode_ledger

DEFAULT_LEDGERS: Final = 60
INTERVAL_SECONDS: Final = 1.0

_QUERY: Final = "query ($hash: String!) { transactionByHash(hash: $hash) { hash operations { edges { node { id } } } } }"


def run(settings: Settings) -> dict[str, Any]:
    """Keys of `paced.report`, and workers, graphql_ms: the first answer about the last transaction."""
    count = settings.bench.ledgers or DEFAULT_LEDGERS
    with BenchPipeline(settings, "live") as pipeline:
        for role, *arguments in (("sink",), ("process", "--workers", str(settings.bench.workers)), ("serve",)):
            pipeline.start(role, *arguments)
        now = int(time.time())
        ledgers = list(made_ledgers(settings, count + WARM_UP_LEDGERS, close_time=now, seconds_between=1))
        paced = send_paced(pipeline, ledgers, INTERVAL_SECONDS)
        transaction = decode_ledger(ledgers[-1].data, PUBNET_ID).transactions[-1].hash.hex()
        answered = _ask(f"http://127.0.0.1:{pipeline.ports['serve']}/graphql/query", transaction)
    return {"workers": settings.bench.workers, **report(paced, pipeline), "graphql_ms": round(1000 * answered, 1)}


def _ask(url: str, transaction: str) -> float:
    started = time.monotonic()
    answer = httpx.post(url, json={"query": _QUERY, "variables": {"hash": transaction}}, timeout=10).json()
    if not (answer.get("data") or {}).get("transactionByHash"):
        raise LumenstreamError(f"transaction {transaction} is committed and GraphQL does not know it: {answer}")
    return time.monotonic() - started
