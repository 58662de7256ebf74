"""One connection of a process that listens for committed ledgers and wakes the subscriptions they concern.

The sink sends NOTIFY with every commit. What it says is only a hint: the ledgers since the last look are read from the database,
also when nothing was heard for a while, because a proxy may swallow notifications and a connection may have been away.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, sql

from lumenstream import database, logs, metrics
from lumenstream.settings import DatabaseSettings
from schemas import toid

MAX_LEDGERS_AT_ONCE: Final = 256  # behind by more, everybody is woken instead of those concerned
_POLL_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_APPLICATION: Final = "lumenstream-api-feed"

_NEWEST: Final = (
    "SELECT l.sequence, l.closed_at FROM ingest_store c JOIN ledgers l ON l.sequence = c.value::bigint WHERE c.key = %(latest)s"
)
_BOUNDS: Final = "ledger_created_at >= %(since)s AND ledger_created_at <= %(until)s"
_CONCERNED: Final = (
    f"SELECT account_id FROM transactions_accounts WHERE {_BOUNDS} "
    "AND tx_to_id >= %(first)s::bigint AND tx_to_id < %(end)s::bigint "
    f"UNION SELECT account_id FROM state_changes WHERE {_BOUNDS} AND to_id >= %(first)s::bigint AND to_id < %(end)s::bigint"
)

_log = logs.get_logger("api")


class Newest(NamedTuple):
    """The ledger at the live cursor."""

    sequence: int
    closed_at: datetime


class Bell:
    """Wakes one subscription. Set while there may be something that it has not read."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Until it rings; at once if it rang since the last wait."""
        await self._rung.wait()
        self._rung.clear()


class Feed:
    """One per process; `start` and `stop` belong to the application's lifespan."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._everything: set[Bell] = set()
        self._accounts: dict[bytes, set[Bell]] = defaultdict(set)
        self._newest: Newest | None = None
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.closed = False  # the server drains: subscriptions end, their clients come back to another

    def close(self) -> None:
        """End every subscription; from the event loop only."""
        self.closed = True
        for bells in (self._everything, *self._accounts.values()):
            for bell in bells:
                bell.ring()

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="feed")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def newest(self) -> Newest | None:
        """The newest ledger seen; None before the first."""
        return self._newest

    async def known(self) -> Newest | None:
        """The newest ledger, as soon as the database was asked once; None while there is none."""
        await self._asked.wait()
        return self._newest

    @contextmanager
    def watch(self, account: bytes | None = None) -> Iterator[Bell]:
        """A bell that rings when a ledger was committed, or one that concerns an account (33 bytes)."""
        bell = Bell()
        group = self._everything if account is None else self._accounts[account]
        group.add(bell)
        try:
            yield bell
        finally:
            group.discard(bell)
            if account is not None and not group:
                self._accounts.pop(account, None)

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with await self._connected() as connection:
                    failures = 0
                    await self._follow(connection)
            except (psycopg.Error, OSError) as error:
                pause = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
                metrics.SERVER_ERRORS.labels("database").inc()
                _log.warning(
                    "the feed of ledgers waits for the database", reason=database.error_class(error), retry_seconds=pause
                )
                await asyncio.sleep(pause)

    async def _connected(self) -> AsyncConnection[Any]:
        arguments = database.connection_arguments(self._settings, _APPLICATION)
        return await AsyncConnection.connect(self._settings.url.get_secret_value(), autocommit=True, **arguments)

    async def _follow(self, connection: AsyncConnection[Any]) -> None:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(database.LEDGER_CHANNEL)))
        while True:
            await self._look(connection)
            self._asked.set()
            async for _ in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                pass

    async def _look(self, connection: AsyncConnection[Any]) -> None:
        found = await (await connection.execute(_NEWEST, {"latest": database.Cursor.LATEST.value})).fetchone()
        if found is None:
            return
        newest, before = Newest(*found), self._newest
        if before is not None and newest.sequence <= before.sequence:
            return
        concerned = self._accounts.keys() if before is None else await self._concerned(connection, before, newest)
        self._newest = newest
        metrics.API_FEED_LEDGER.set(newest.sequence)
        for bell in self._everything:
            bell.ring()
        for account in [*concerned]:
            for bell in self._accounts.get(account, ()):
                bell.ring()

    async def _concerned(self, connection: AsyncConnection[Any], before: Newest, newest: Newest) -> Any:
        """Accounts with subscriptions that the new ledgers concern, perhaps with others."""
        if not self._accounts:
            return ()
        if newest.sequence - before.sequence > MAX_LEDGERS_AT_ONCE:
            return self._accounts.keys()
        first, end = toid.ledger_range(before.sequence + 1, newest.sequence)
        values = {"since": before.closed_at, "until": newest.closed_at, "first": first, "end": end}
        rows = await (await connection.execute(_CONCERNED, values, binary=True)).fetchall()
        return [row[0] for row in rows]
