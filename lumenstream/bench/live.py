"""From publish to visible: pubnet ledgers, one a second, from the hand-over to the Kafka client to the commit in the database,
and to the first answer of GraphQL with the ledger's last transaction, which is asked for as soon as the commit is heard.

Beside it how long GraphQL takes to answer for a ledger's last transaction once it is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import httpx

from lumenstream.bench.paced import VISIBLE_WITHIN_SECONDS, WARM_UP_LEDGERS, milliseconds, report, send_paced
from lumenstream.bench.pipeline import PUBNET_ID, BenchPipeline, made_ledgers
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from lumenstream.xdr import decode_ledger

DEFAULT_LEDGERS: Final = 60
INTERVAL_SECONDS: Final = 1.0
ASK_AGAIN_SECONDS: Final = 0.002
_ANSWER_SECONDS: Final = 10.0

_QUERY: Final = "query ($hash: String!) { transactionByHash(hash: $hash) { hash operations { edges { node { id } } } } }"


def run(settings: Settings) -> dict[str, Any]:
    """Keys of `paced.report`, and workers, graphql_visible_ms (p50, p99, max: as visible_ms, until GraphQL has answered with the
    ledger's last transaction), graphql_ms: the first answer about the last transaction, asked when all is over."""
    count = settings.bench.ledgers or DEFAULT_LEDGERS
    with BenchPipeline(settings, "live") as pipeline:
        for role, *arguments in (("sink",), ("process", "--workers", str(settings.bench.workers)), ("serve",)):
            pipeline.start(role, *arguments)
        now = int(time.time())
        ledgers = list(made_ledgers(settings, count + WARM_UP_LEDGERS, close_time=now, seconds_between=1))
        last = {made.sequence: decode_ledger(made.data, PUBNET_ID).transactions[-1].hash.hex() for made in ledgers}
        url = f"http://127.0.0.1:{pipeline.ports['serve']}/graphql/query"
        with Asking(url, last) as asking:
            paced = send_paced(pipeline, ledgers, INTERVAL_SECONDS, asking.heard)
            answered = asking.answered()
        delays = [answered[sequence] - at for sequence, at in paced.sent.items()]
        started = time.monotonic()
        answer = _ask(httpx, url, last[ledgers[-1].sequence])
        if not _is_there(answer):
            raise LumenstreamError(f"transaction {last[ledgers[-1].sequence]} was there and is not any more: {answer}")
        graphql = time.monotonic() - started
    return {
        "workers": settings.bench.workers,
        **report(paced, pipeline),
        "graphql_visible_ms": milliseconds(delays),
        "graphql_ms": round(1000 * graphql, 1),
    }


class Asking:
    """Asks GraphQL for one transaction of every ledger whose commit was heard, one after the other, in a thread of its own, so
    that neither sending nor listening waits for an answer. `transactions`: by ledger the hash."""

    def __init__(self, url: str, transactions: Mapping[int, str]) -> None:
        self._url = url
        self._open = dict(transactions)
        self._answers: dict[int, Future[float]] = {}
        self._client = httpx.Client()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="asking")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def heard(self, cursor: int) -> None:
        """A commit up to ledger `cursor`."""
        for sequence in [sequence for sequence in self._open if sequence <= cursor]:
            self._answers[sequence] = self._pool.submit(self._wait, self._open.pop(sequence))

    def answered(self) -> dict[int, float]:
        """By ledger when GraphQL had answered with its transaction, in monotonic seconds. LumenstreamError when it did not."""
        return {sequence: answer.result() for sequence, answer in self._answers.items()}

    def _wait(self, transaction: str) -> float:
        deadline = time.monotonic() + VISIBLE_WITHIN_SECONDS
        while not _is_there(answer := _ask(self._client, self._url, transaction)):
            if time.monotonic() >= deadline:
                raise LumenstreamError(f"transaction {transaction} is committed and GraphQL does not know it: {answer}")
            time.sleep(ASK_AGAIN_SECONDS)
        return time.monotonic()


def _ask(client: Any, url: str, transaction: str) -> Any:
    return client.post(url, json={"query": _QUERY, "variables": {"hash": transaction}}, timeout=_ANSWER_SECONDS).json()


def _is_there(answer: Any) -> bool:
    return bool((answer.get("data") or {}).get("transactionByHash"))
