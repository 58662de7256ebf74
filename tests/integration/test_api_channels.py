"""Pipelined reads: values and rows, errors and cancellation in between, statements kept and let go."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psycopg
import pytest
import uvloop
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api import channels
from api.channels import Channels, statement_of
from tests.plugins.proxy import TcpProxy

LARGER_THAN_A_READ = 40_000  # bytes; libpq reads 16 KiB at a time
MOMENT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def run(url: str, body: Callable[[Channels], Awaitable[None]], maximum: int = 1, *, prepared: bool = True) -> None:
    """On the server's event loop, which tells of a reset connection in its own way."""

    async def main() -> None:
        opened = Channels(url, {"connect_timeout": 10}, maximum, prepared=prepared)
        try:
            await body(opened)
        finally:
            opened.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("prepared", [True, False])
def test_values_come_back_as_they_went(empty_database_url: str, prepared: bool) -> None:
    values = {
        "number": -(1 << 63),
        "truth": True,
        "text": 'a "quoted" \\ {text}, 100%',
        "raw": bytes(range(256)),
        "moment": MOMENT,
        "nothing": None,
        "numbers": [1, -2, None],
        "texts": ['"', "\\", "{,}", ""],
        "raws": [b"", b'\x00"\\'],
        "moments": [MOMENT],
    }
    kinds = ("bigint", "bool", "text", "bytea", "timestamptz", "text", "bigint[]", "text[]", "bytea[]", "timestamptz[]")
    statement = "SELECT " + ", ".join(f"%({name})s::{kind}" for name, kind in zip(values, kinds, strict=True)) + ", 7 %% 4"

    async def body(opened: Channels) -> None:
        for _ in range(2):
            assert await opened.run(statement, values) == [(*values.values(), 3)]

    run(empty_database_url, body, prepared=prepared)


def test_reads_go_out_together_and_each_gets_its_own(empty_database_url: str) -> None:
    async def body(opened: Channels) -> None:
        rows = await asyncio.gather(*(opened.run("SELECT %(n)s::int, pg_backend_pid()", {"n": number}) for number in range(50)))
        assert [row[0][0] for row in rows] == list(range(50))
        assert len({row[0][1] for row in rows}) <= 3

    run(empty_database_url, body, maximum=3)


def test_an_error_is_that_of_its_statement_only(empty_database_url: str) -> None:
    async def body(opened: Channels) -> None:
        await opened.run("SELECT 1", {})
        found = await asyncio.gather(
            opened.run("SELECT 1 / %(n)s::int", {"n": 0}),
            opened.run("SELECT nonsense", {}),
            opened.run("SELECT 1 / %(n)s::int", {"n": 1}),
            return_exceptions=True,
        )
        assert [type(one) for one in found] == [errors.DivisionByZero, errors.UndefinedColumn, list]

    run(empty_database_url, body)


def test_what_nobody_waits_for_is_cancelled(empty_database_url: str) -> None:
    async def body(opened: Channels) -> None:
        await opened.run("SELECT 1", {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await opened.run("SELECT pg_sleep(60)", {})
        assert await opened.run("SELECT 2", {}) == [(2,)]
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%%'"
        for _ in range(500):
            if await opened.run(busy, {}) == [(0,)]:
                return
            await asyncio.sleep(0.02)
        pytest.fail("the statement still runs")

    run(empty_database_url, body)


def test_a_connection_that_ends_says_so_and_is_replaced(empty_database_url: str) -> None:
    async def body(opened: Channels) -> None:
        ((backend,),) = await opened.run("SELECT pg_backend_pid()", {})
        waiting = asyncio.create_task(opened.run("SELECT pg_sleep(60)", {}))
        await asyncio.sleep(0)
        with psycopg.connect(empty_database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        with pytest.raises(errors.AdminShutdown):
            await waiting
        ((another,),) = await opened.run("SELECT pg_backend_pid()", {})
        assert another != backend

    run(empty_database_url, body)


def test_a_read_that_meets_the_end_of_its_connection_hears_so(empty_database_url: str) -> None:
    async def body(opened: Channels) -> None:
        for _ in range(10):
            ((backend,),) = await opened.run("SELECT pg_backend_pid()", {})
            with psycopg.connect(empty_database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
            with pytest.raises(errors.AdminShutdown):  # the server's FATAL is unread when its RST comes
                async with asyncio.timeout(10):
                    await opened.run("SELECT 1", {})

    run(empty_database_url, body)


def test_an_answer_that_came_before_a_reset_is_read(empty_database_url: str) -> None:
    conninfo = conninfo_to_dict(empty_database_url)
    proxy = TcpProxy(int(str(conninfo["port"]))).start()

    async def body(opened: Channels) -> None:
        await opened.run("SELECT 1", {})
        (socket,) = [channel._socket for channel in opened._open]
        reading = asyncio.create_task(opened.run("SELECT repeat('x', %(n)s::int)", {"n": LARGER_THAN_A_READ}))
        await asyncio.sleep(0)
        for _ in range(500):
            if unread(socket) > LARGER_THAN_A_READ:
                break
            time.sleep(0.01)  # noqa: ASYNC251 - the loop must not see the answer before the reset
        proxy.cut()
        assert await reading == [("x" * LARGER_THAN_A_READ,)]

    try:
        run(make_conninfo(empty_database_url, host="127.0.0.1", port=proxy.port), body)
    finally:
        proxy.cut()


def unread(socket: int) -> int:
    """Bytes that wait in a socket."""
    return int.from_bytes(fcntl.ioctl(socket, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_statements_that_are_not_used_are_let_go(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_PREPARED", 3)

    async def body(opened: Channels) -> None:
        for number in (*range(6), *range(6)):
            assert await opened.run(f"SELECT {number}", {}) == [(number,)]
        ((kept,),) = await opened.run("SELECT count(*) FROM pg_prepared_statements", {})
        assert kept == 3

    run(empty_database_url, body)


def test_a_name_that_stands_twice_is_one_parameter() -> None:
    found = statement_of("SELECT %(a)s, %(b)s, %(a)s")
    assert (found.text, found.names) == (b"SELECT $1, $2, $1", ("a", "b"))
