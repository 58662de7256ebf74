"""Who may write: the session that holds an advisory lock of the database, on a connection of its own.

The lock lives as long as the session, so a killed sink frees it at once. The cursor's compare-and-swap fences what a lock cannot:
a writer that does not know yet that it lost its session.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import psycopg

from lumenstream.database import Connection, advisory_key, check_network, check_schema, connect
from lumenstream.errors import FencedError
from lumenstream.logs import get_logger
from lumenstream.metrics import SINK_IS_LEADER
from lumenstream.settings import Settings

LOCK_NAME: Final = "lumenstream-sink"  # not of a network: a database belongs to one, and has its own lock space

_log = get_logger("sink.leader")


class Required(NamedTuple):
    """Table `processors`: by name the first ledger whose part is required, and the lowest version of the part."""

    first: dict[str, int]
    versions: dict[str, int]


class Leadership:
    """The writer's lock of a database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._network_id = settings.network.network_id()
        self._key = advisory_key(LOCK_NAME)
        self._connection: Connection | None = None
        self._former_pid: int | None = None

    def acquire(self, stop: threading.Event, standing_by: Callable[[], None] = lambda: None) -> bool:
        """Wait for the lock; False when stopped. `standing_by` hears when another session has it.

        FencedError when we had it before and somebody else has it now, SchemaVersionError, IntegrityError when the database is
        of another network.

        UnreachableError or psycopg errors when the database does not answer: call again.
        """
        self._drop()
        connection = self._connection = connect(
            self._settings.database, application_name="lumenstream-sink-lock", autocommit=True
        )
        check_schema(connection)
        said = False
        while not stop.is_set():
            row = connection.execute("select pg_try_advisory_lock(%s)", (self._key,)).fetchone()
            check_network(connection, self._network_id)
            if row is not None and row[0]:
                self._former_pid = connection.info.backend_pid
                SINK_IS_LEADER.set(1)
                _log.info("the writer's lock is ours", network=self._settings.network.name)
                return True
            self._check_holder(connection)
            if not said:
                _log.info("another sink writes, standing by", network=self._settings.network.name)
                standing_by()
                said = True
            stop.wait(self._settings.sink.standby_poll_seconds)
        return False

    def probe(self) -> Required:
        """Prove that the lock's session lives. Its answer is what is required, fresh every time."""
        if self._connection is None:
            raise psycopg.OperationalError("the lock's connection is gone")
        rows = self._connection.execute("select name, required_from, version from processors order by name").fetchall()
        return Required({name: first for name, first, _ in rows}, {name: version for name, _, version in rows})

    def release(self) -> None:
        """Give the lock back, for a standby to take."""
        self._drop()
        self._former_pid = None

    def _drop(self) -> None:
        SINK_IS_LEADER.set(0)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _check_holder(self, connection: Connection) -> None:
        """After a loss: our own dead session may still hold the lock for a while; anybody else means that we were replaced."""
        if self._former_pid is None:
            return
        # An advisory lock of one bigint shows as its two halves, with objsubid 1.
        row = connection.execute(
            "select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1 "
            "and database = (select oid from pg_database where datname = current_database()) "
            "and ((classid::bigint << 32) | objid::bigint) = %s",
            (self._key,),
        ).fetchone()
        if row is not None and row[0] != self._former_pid:
            raise FencedError(
                "this sink lost the writer's lock and another one has it now",
                hint="start it again: it will stand by for the other",
            )
