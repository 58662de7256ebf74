"""The API's reads: autocommit statements without session settings, so that PgBouncer in transaction mode may stand in between
(1.21 or newer, else with `database.prepared_statements` off).

The time limit of a statement is kept here, not by a session setting: when it passes, the server is asked to cancel it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from api.channels import Channels
from api.errors import ClientError, Code
from api.tracing import Tracer
from lumenstream import database, logs, metrics
from lumenstream.settings import DatabaseSettings

_log = logs.get_logger("api")
_APPLICATION: Final = "lumenstream-api"
_CONNECTION_LOST: Final = frozenset({"connection_error", "connection_closed", "admin_shutdown"})

DATABASE_ERRORS: Final = (psycopg.Error, TimeoutError, OSError)

MAX_STATEMENTS: Final = 100

_executions = lru_cache(maxsize=512)(metrics.API_QUERIES.labels)  # finding a label's counter costs more than counting

Row = TypeVar("Row")
Values = Mapping[str, Any]


class Reader(Protocol):
    """What reads go through."""

    async def fetch(self, name: str, statement: str, values: Values, row: Callable[[Sequence[Any]], Row]) -> list[Row]: ...


class Allowance:
    """The reads of one request: no more than MAX_STATEMENTS, whatever aliases it uses. Batches keep honest queries far below."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._left = MAX_STATEMENTS

    async def fetch(self, name: str, statement: str, values: Values, row: Callable[[Sequence[Any]], Row]) -> list[Row]:
        """COMPLEXITY_LIMIT_EXCEEDED when the allowance is used up."""
        if self._left <= 0:
            raise ClientError(Code.COMPLEXITY_LIMIT_EXCEEDED, f"operation needs more than {MAX_STATEMENTS} reads")
        self._left -= 1
        return await self._reader.fetch(name, statement, values, row)


class Database:
    """Opens with the application and closes after the last request. `fetch` is safe to call from many tasks at once."""

    def __init__(self, settings: DatabaseSettings, slow_seconds: float = math.inf, traces: Tracer | None = None) -> None:
        self._slow_seconds = slow_seconds
        self._traces = traces
        url = settings.url.get_secret_value()
        arguments = database.connection_arguments(settings, _APPLICATION)
        arguments["options"] = str(conninfo_to_dict(url).get("options") or "")
        self._timeout_seconds = settings.statement_timeout_seconds
        self._channels = Channels(url, arguments, settings.pool_max, prepared=settings.prepared_statements)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channels.close()

    async def fetch(self, name: str, statement: str, values: Values, row: Callable[[Sequence[Any]], Row]) -> list[Row]:
        """All rows of a read. `name` is the query's in the metrics. A connection that turns out to be dead is replaced once."""
        _executions(name).inc()
        started = time.perf_counter()
        try:
            found = await self._traced(name, statement, values)
        finally:
            self._note_time(name, time.perf_counter() - started)
        return [row(values_of_row) for values_of_row in found]

    async def _traced(self, name: str, statement: str, values: Values) -> list[TupleRow]:
        if self._traces is None:
            return await self._found(name, statement, values)
        with self._traces.read(name) as span:
            found = await self._found(name, statement, values)
            span.set_attribute("db.response.returned_rows", len(found))
            return found

    def _note_time(self, name: str, seconds: float) -> None:
        """Waiting for a connection counts: to the client it is the same. The values asked for are not logged."""
        metrics.API_QUERY_SECONDS.observe(seconds)
        if seconds > self._slow_seconds:
            metrics.API_SLOW_QUERIES.labels(name).inc()
            _log.warning("a slow query", query=name, seconds=round(seconds, 3))

    async def _found(self, name: str, statement: str, values: Values) -> list[TupleRow]:
        async with asyncio.timeout(self._timeout_seconds):
            try:
                return await self._run(statement, values)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                reason = database.error_class(error)
                if reason not in _CONNECTION_LOST:
                    raise
                _log.warning("a read is repeated on a new connection", query=name, reason=reason)
                metrics.SERVER_ERRORS.labels("database").inc()
                return await self._run(statement, values)

    async def _run(self, statement: str, values: Values) -> list[TupleRow]:
        return await self._channels.run(statement, values)
