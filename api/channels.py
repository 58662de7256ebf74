"""Reads over a few connections in libpq's pipeline mode, with prepared statements.

Statements go out as they come, answers come back in the order sent; a task waits for its own answer only. So a read costs this
process a fifth of what a pool's cursor costs it, and the database plans each statement once for every connection. Text with
%(name)s and values in, tuples out.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, adapt, errors, pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import TupleRow

from lumenstream import logs
from lumenstream.database import POOL_MAX_LIFETIME_SECONDS

MAX_PREPARED: Final = 500  # statements of one connection
MAX_CACHED_TIMES: Final = 20_000
CANCEL_SECONDS: Final = 5.0
_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s")
_LOST: Final = "the connection to the database was lost"
_STALE: Final = ("0A000", "26000")  # the plan's columns changed; the statement is gone, as behind a pooler

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's

_log = logs.get_logger("api")
_numbers = count(1)


class Statement(NamedTuple):
    """A statement as libpq takes it: `$n` for the n-th of `names`."""

    name: bytes
    text: bytes
    names: tuple[str, ...]


@lru_cache(maxsize=2048)
def statement_of(text: str) -> Statement:
    """The statement for a text with %(name)s; the same text always has the same name."""
    names: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        return f"${names.setdefault(match[1], len(names) + 1)}"

    numbered = _PLACEHOLDER.sub(place, text).replace("%%", "%")
    return Statement(f"lumenstream_{next(_numbers)}".encode(), numbered.encode(), tuple(names))


def parameter(value: object) -> bytes | None:
    """A value as the server reads it: bytes as they are, in binary; all else as text, whose type the statement tells."""
    match value:
        case bytes():
            return value
        case str():
            return value.encode()
        case bool():
            return b"t" if value else b"f"
        case int():
            return b"%d" % value
        case datetime():
            return value.isoformat().encode()
        case None:
            return None
        case list() | tuple():
            return ("{" + ",".join(map(_element, value)) + "}").encode()
        case _:
            return str(value).encode()


def _element(value: object) -> str:
    match value:
        case int() if not isinstance(value, bool):
            return str(value)
        case bytes():
            return f'"\\\\x{value.hex()}"'
        case None:
            return "NULL"
        case _:
            text = (parameter(value) or b"").decode()
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Waiting:
    """A statement under way."""

    __slots__ = ("error", "future", "result", "statement")

    def __init__(self, future: asyncio.Future[pq.abc.PGresult], statement: Statement) -> None:
        self.future = future
        self.statement = statement
        self.result: pq.abc.PGresult | None = None
        self.error: pq.abc.PGresult | None = None


class Channel:
    """One connection. Belongs to one event loop."""

    def __init__(self, connection: AsyncConnection[TupleRow], prepared: bool) -> None:
        self._connection = connection
        self._prepares = prepared
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._prepared: OrderedDict[bytes, None] = OrderedDict()
        self.waiting: deque[_Waiting] = deque()  # under way
        self._transformer = adapt.Transformer(connection)
        self._socket = self._pgconn.socket
        self._ends = select.poll()  # of no event, so it tells of nothing but the connection's end
        self._ends.register(self._socket, 0)
        self._retires_at = self._loop.time() + POOL_MAX_LIFETIME_SECONDS
        self.broken = False
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._on_readable)

    @property
    def old(self) -> bool:
        """Then it ends when it is at rest: a new connection has a backend with less behind it."""
        return self._loop.time() > self._retires_at

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> list[TupleRow]:
        """All rows. A task that is cancelled while its statement runs takes the channel with it: nobody wants the answer."""
        future: asyncio.Future[pq.abc.PGresult] = self._loop.create_future()
        try:
            self._send(statement, [values[name] for name in statement.names], future)
        except psycopg.Error:
            self.close()
            raise
        try:
            result = await future
        except asyncio.CancelledError:
            if self.waiting and self.waiting[0].future is future:
                await self._abandon()
            raise
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def close(self, error: psycopg.Error | None = None) -> None:
        """Close the connection; whoever waits gets the error."""
        if self.broken:
            return
        self.broken = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._pgconn.finish()
        for waiting in self.waiting:
            if not waiting.future.done():
                waiting.future.set_exception(error or errors.AdminShutdown(_LOST))
        self.waiting.clear()

    def _send(self, statement: Statement, values: Sequence[Any], future: asyncio.Future[pq.abc.PGresult]) -> None:
        pgconn = self._pgconn
        parameters = [*map(parameter, values)]
        formats = [pq.Format.BINARY if isinstance(value, bytes) else pq.Format.TEXT for value in values]
        if not self._prepares:
            pgconn.send_query_params(statement.text, parameters, None, formats, pq.Format.BINARY)
        else:
            if statement.name not in self._prepared:
                self._make_room()
                pgconn.send_prepare(statement.name, statement.text)
                self._prepared[statement.name] = None
            pgconn.send_query_prepared(statement.name, parameters, formats, pq.Format.BINARY)
        pgconn.pipeline_sync()
        self.waiting.append(_Waiting(future, statement))
        self._flush()

    def _make_room(self) -> None:
        if len(self._prepared) >= MAX_PREPARED:
            oldest, _ = self._prepared.popitem(last=False)
            self._pgconn.send_query_params(b"DEALLOCATE " + oldest, None)

    def _flush(self) -> None:
        if self._pgconn.flush():
            self._loop.add_writer(self._socket, self._on_writable)

    def _on_writable(self) -> None:
        try:
            if not self._pgconn.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._lose(error)

    def _on_readable(self) -> None:
        """uvloop tells of a reset connection once: then all that has come is read now, up to the error that libpq raises."""
        try:
            self._read()
            while self._pgconn.status != pq.ConnStatus.BAD and self._ends.poll(0):
                self._read()
        except psycopg.Error as error:
            self._lose(error)
            return
        if self._pgconn.status == pq.ConnStatus.BAD:
            self._lose(None)

    def _read(self) -> None:
        self._pgconn.consume_input()
        while self.waiting and not self._pgconn.is_busy():
            self._take(self._pgconn.get_result())
        if not self.waiting:
            self._pgconn.is_busy()  # parses notices and the farewell of a server that shuts down

    def _take(self, result: pq.abc.PGresult | None) -> None:
        if result is None:
            return
        waiting = self.waiting[0]
        match result.status:
            case pq.ExecStatus.PIPELINE_SYNC:
                self.waiting.popleft()
                self._finish(waiting)
            case pq.ExecStatus.TUPLES_OK:
                waiting.result = result
            case pq.ExecStatus.FATAL_ERROR:
                waiting.error = waiting.error or result
            case _:  # COMMAND_OK of a preparation, PIPELINE_ABORTED after an error
                pass

    def _finish(self, waiting: _Waiting) -> None:
        future = waiting.future
        if waiting.error is not None:
            self._prepared.pop(waiting.statement.name, None)
            error: psycopg.Error = errors.error_from_result(waiting.error)
            if error.sqlstate in _STALE:
                self.close()
                error = errors.AdminShutdown(f"{_LOST}: {error}")
            if not future.done():
                future.set_exception(error)
        elif waiting.result is None:
            self._lose(None)
        elif not future.done():
            future.set_result(waiting.result)

    def _lose(self, error: psycopg.Error | None) -> None:
        _log.warning("a connection to the database was lost", error=str(error or ""))
        self.close(errors.AdminShutdown(f"{_LOST}: {error or 'the server closed it'}"))

    async def _abandon(self) -> None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._connection.cancel_safe()
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("a statement could not be cancelled", error=str(error))
        finally:
            self.close()


class Channels:
    """As many connections as are needed, up to a limit. A read takes the least busy one: it waits behind another only when all
    are at work and no more may be opened."""

    def __init__(self, url: str, arguments: Mapping[str, Any], maximum: int, *, prepared: bool = True) -> None:
        self._url = url
        self._arguments = dict(arguments)
        self._maximum = maximum
        self._prepared = prepared
        self._open: list[Channel] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._beginning: asyncio.Task[Channel] | None = None
        self._closed = False

    async def run(self, text: str, values: Mapping[str, Any]) -> list[TupleRow]:
        """All rows of a statement. psycopg errors; AdminShutdown when the connection was lost, and another try may succeed."""
        channel = self._least_busy() or await self._first()
        return await channel.run(statement_of(text), values)

    def close(self) -> None:
        self._closed = True
        for task in (*self._opening, *filter(None, [self._beginning])):
            task.cancel()
        for channel in self._open:
            channel.close()
        self._open.clear()

    def _least_busy(self) -> Channel | None:
        best: Channel | None = None
        least = 0
        for channel in self._open:
            if channel.broken:
                continue
            under_way = len(channel.waiting)
            if not under_way:
                if not channel.old:
                    return channel
                channel.close()
            elif best is None or under_way < least:
                best, least = channel, under_way
        if best is not None and len(self._open) + len(self._opening) < self._maximum:
            task = asyncio.create_task(self._add())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return best

    async def _first(self) -> Channel:
        """The one connection that all wait for who come before there is one; when it cannot be had, all hear so at once."""
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._connected())
            self._beginning.add_done_callback(self._begun)
        return await asyncio.shield(self._beginning)

    def _begun(self, task: asyncio.Task[Channel]) -> None:
        self._beginning = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("the database could not be connected", error=str(error))

    async def _add(self) -> None:
        try:
            await self._connected()
        except psycopg.Error as error:
            _log.warning("one more connection to the database could not be opened", error=str(error))

    async def _connected(self) -> Channel:
        connection = await AsyncConnection.connect(self._url, autocommit=True, **self._arguments)
        connection.adapters.register_loader("timestamptz", _Times)
        channel = Channel(connection, self._prepared)
        if self._closed:
            channel.close()
            raise errors.AdminShutdown(_LOST)
        self._open = [kept for kept in self._open if not kept.broken] + [channel]
        return channel


class _Times(Loader):
    """timestamptz in binary. The rows of a page share few moments, so each is made once."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> datetime:
        return _moment(bytes(data))


@lru_cache(maxsize=MAX_CACHED_TIMES)
def _moment(raw: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=int.from_bytes(raw, "big", signed=True))
