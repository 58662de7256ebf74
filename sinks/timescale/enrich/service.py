"""Enrichment: batch by batch, many contracts at a time, with a pause that spares the RPC server; once, or going on.

Stop it at any time: what was found is written contract by contract, and the next run asks for what is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final, NamedTuple

import psycopg

from lumenstream import metrics
from lumenstream.database import Connection, check_network, check_schema, connect, is_permanent, unreachable
from lumenstream.errors import IntegrityError, LumenstreamError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.retry import Retry, RetryPolicy, Stopped
from lumenstream.roleserver import Health, RoleServer
from lumenstream.rpc import RpcClient
from lumenstream.settings import Settings
from sinks.timescale.enrich import book
from sinks.timescale.enrich.book import Wanted
from sinks.timescale.enrich.calls import Metadata, Refused, TokenCalls
from sinks.timescale.service import stop_on_signals

_HINT: Final = "is the RPC server up and LUMENSTREAM_PRODUCER__RPC_URL right?"

_log = get_logger("enrich")


class Summary(NamedTuple):
    """What a run did. `refused`: contracts that do not tell, or tell what cannot be believed; `lacking`: still without."""

    filled: int = 0
    refused: int = 0
    lacking: int = 0
    interrupted: bool = False


def run_once(settings: Settings, *, again: bool = False, stop: threading.Event | None = None) -> Summary:
    """Ask for every token that lacks metadata. `again`: also for those that were tried within `enrich.again_hours`.

    UnreachableError when the RPC server or the database does not answer, IntegrityError when either is of another network.
    """
    asked = stop or threading.Event()
    with stop_on_signals(asked), RpcClient(settings.producer.rpc_url) as client:
        return _Enrichment(settings, client, asked).round(again=again)


def run(settings: Settings, *, again: bool = False, stop: threading.Event | None = None) -> None:
    """The same, and again every `enrich.poll_seconds` until stopped. Servers that go away are waited for."""
    asked = stop or threading.Event()
    with stop_on_signals(asked), RpcClient(settings.producer.rpc_url) as client:
        enrichment = _Enrichment(settings, client, asked)
        server = RoleServer(settings.http, settings.enrich.http_port, enrichment.health, setting="enrich.http_port").start()
        _log.info("enrichment started", rpc=client.server, http_port=server.port)
        try:
            while not asked.is_set():
                enrichment.turn(again=again)
                again = False
                asked.wait(settings.enrich.poll_seconds)
        finally:
            server.stop()


class _Enrichment:
    def __init__(self, settings: Settings, client: RpcClient, stop: threading.Event) -> None:
        self._settings = settings
        self._client = client
        self._stop = stop
        self._calls = TokenCalls(client, settings.network.resolved_passphrase())
        self._checked = False
        self._problem = ""
        self._last: Summary | None = None

    def health(self) -> Health:
        details = {"role": "enrichment", "error": self._problem, "tokens_without_metadata": self._last and self._last.lacking}
        return Health(ok=not self._problem, ready=self._last is not None and not self._problem, details=details)

    def turn(self, *, again: bool) -> None:
        """A round of the service: a server that is away is reported, and the next round goes on."""
        try:
            self._last = self.round(again=again)
            self._problem = ""
        except UnreachableError as error:
            self._problem = str(error)
            _log.warning("the round was cut short, the next one goes on", error=self._problem)

    def round(self, *, again: bool) -> Summary:
        """Every token that is due, once."""
        settings = self._settings
        try:
            with connect(settings.database, application_name="lumenstream-enrich", autocommit=True) as connection:
                check_schema(connection)
                check_network(connection, settings.network.network_id())
                return self._round(connection, again)
        except psycopg.Error as error:
            if is_permanent(error):
                raise LumenstreamError(
                    f"the database refuses enrichment: {error.sqlstate} {error}".strip(), hint="what was filled so far stays"
                ) from error
            metrics.SERVER_ERRORS.labels("database").inc()
            raise unreachable(settings.database.url.get_secret_value(), error) from error

    def _round(self, connection: Connection, again: bool) -> Summary:
        settings, summary = self._settings.enrich, Summary()
        before = book.now(connection) - (timedelta() if again else timedelta(hours=settings.again_hours))
        try:
            while not self._stop.is_set() and (batch := book.wanted(connection, before, settings.batch_contracts)):
                self._check_network()
                filled, refused = self._batch(connection, batch)
                summary = summary._replace(filled=summary.filled + filled, refused=summary.refused + refused)
                if len(batch) == settings.batch_contracts:
                    self._stop.wait(settings.pause_seconds)
        except Stopped:
            _log.info("stopped, the next run asks for what is left")
        lacking = book.lacking(connection)
        metrics.TOKENS_WITHOUT_METADATA.set(lacking)
        return summary._replace(lacking=lacking, interrupted=self._stop.is_set())

    def _batch(self, connection: Connection, batch: list[Wanted]) -> tuple[int, int]:
        """How many were filled, and how many refused. What is known is written even when a later one ends the batch."""
        filled = refused = 0
        with ThreadPoolExecutor(self._settings.enrich.concurrency, thread_name_prefix="enrich") as pool:
            asked = [(token, pool.submit(self._ask, token)) for token in batch]
            try:
                for token, answer in asked:
                    found = answer.result()
                    if isinstance(found, Metadata):
                        filled += book.fill(connection, token, found)
                        metrics.ENRICHED_TOKENS.labels("filled").inc()
                    else:
                        book.remember(connection, token, found)
                        refused += 1
                        metrics.ENRICHED_TOKENS.labels("refused").inc()
                        _log.warning("a token without metadata", contract=token.contract, reason=found)
            finally:
                pool.shutdown(cancel_futures=True)
        return filled, refused

    def _ask(self, token: Wanted) -> Metadata | str:
        """Metadata, or why there is none."""
        ask: Callable[[str, Retry], Metadata] = self._calls.asset_contract if token.is_asset else self._calls.sep41
        try:
            return ask(token.contract, self._retry())
        except Refused as refused:
            return str(refused)

    def _check_network(self) -> None:
        """IntegrityError when the RPC server serves another network. Asked once."""
        if self._checked:
            return
        found = self._retry().run(f"getNetwork at {self._client.server}", lambda: self._client.call("getNetwork"))
        if found.get("passphrase") != self._settings.network.resolved_passphrase():
            raise IntegrityError(
                f"{self._client.server} serves network {found.get('passphrase')!r}, "
                f"settings say {self._settings.network.resolved_passphrase()!r}",
                hint="set LUMENSTREAM_NETWORK__NAME or another RPC URL",
            )
        self._checked = True

    def _retry(self) -> Retry:
        producer = self._settings.producer
        policy = RetryPolicy(producer.source_attempts, producer.source_backoff_seconds, producer.source_backoff_max_seconds)
        return Retry(policy, self._stop.wait, lambda _: metrics.SERVER_ERRORS.labels("rpc").inc(), hint=_HINT)
