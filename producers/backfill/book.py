"""Table backfill_ranges from the command's side, and what else a job reads of the database. Waits for a database that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

import psycopg

from lumenstream import metrics, retention
from lumenstream.database import Connection, Cursor, check_network, check_schema, clear_errors, connect, get_cursor, is_permanent
from lumenstream.errors import UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from producers.backfill import plan
from producers.backfill.plan import Range

_RETRY_SECONDS: Final = 1.0
_GIVE_UP_SECONDS: Final = 120.0

T = TypeVar("T")
_log = get_logger("backfill")


class Place(NamedTuple):
    """Where the raw message of a committed ledger lies; `topic` with its prefix."""

    sequence: int
    ledger_hash: str
    topic: str
    partition: int
    offset: int


class Ended(NamedTuple):
    first: int
    state: str
    error: str


class Book:
    """One connection, made again when it breaks. UnreachableError when the database stays away for two minutes.

    SchemaVersionError, and IntegrityError for the database of another network: before a job changes anything.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        try:
            check_schema(self._connected())
            check_network(self._connected(), settings.network.network_id())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def cursor(self) -> int:
        return self._do(lambda connection: get_cursor(connection, Cursor.LATEST))

    def present(self, start: int, end: int) -> list[Range]:
        return self._do(lambda connection: plan.present(connection, start, end))

    def before(self, sequence: int) -> int | None:
        """The highest ledger below."""
        row = self._do(lambda c: c.execute("select max(sequence) from ledgers where sequence < %s", (sequence,)).fetchone())
        return None if row is None else row[0]

    def processors(self) -> list[str]:
        """The names that the live sink knows."""
        return [name for (name,) in self._do(lambda c: c.execute("select name from processors").fetchall())]

    def horizon(self) -> datetime | None:
        """What closed earlier is dropped before a job could end; None when everything is kept."""
        horizon = self._do(retention.read).horizon
        return None if horizon is None else horizon + retention.MARGIN

    def places(self, wanted: Range) -> list[Place]:
        rows = self._do(
            lambda c: c.execute(
                'select sequence, hash, topic, partition, "offset" from ledgers where sequence between %s and %s', wanted
            ).fetchall()
        )
        return [Place(sequence, digest.hex(), topic, partition, offset) for sequence, digest, topic, partition, offset in rows]

    def begin(self, job: str, ranges: Sequence[Range], parts: Sequence[str], processors: Sequence[str] | None) -> None:
        """Write the plan down. What another job left open among these ledgers is superseded; old jobs are forgotten."""

        def write(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(
                    "update backfill_ranges set state = 'superseded', updated_at = now() "
                    "where state = 'open' and first_ledger <= %s and last_ledger >= %s",
                    (ranges[-1].last, ranges[0].first),
                )
                connection.execute(
                    "delete from backfill_ranges where state <> 'open' and updated_at < now() - make_interval(days => %s)",
                    (self._settings.backfill.keep_days,),
                )
                connection.execute("delete from backfill_ranges where job = %s", (job,))
                connection.execute(
                    "insert into backfill_ranges (job, first_ledger, last_ledger, parts, processors) "
                    "select %s, first, last, %s, %s from unnest(%s::int[], %s::int[]) as r (first, last)",
                    (
                        job,
                        list(parts),
                        None if processors is None else list(processors),
                        [planned.first for planned in ranges],
                        [planned.last for planned in ranges],
                    ),
                )

        self._do(write)

    def ended(self, job: str, firsts: Sequence[int]) -> list[Ended]:
        """Of these ranges, those that are not open any more."""
        rows = self._do(
            lambda c: c.execute(
                "select first_ledger, state, error from backfill_ranges "
                "where job = %s and first_ledger = any(%s) and state <> 'open'",
                (job, list(firsts)),
            ).fetchall()
        )
        return [Ended(*row) for row in rows]

    def fail(self, job: str, first: int, error: str) -> None:
        self._do(
            lambda c: c.execute(
                "update backfill_ranges set state = 'failed', error = %s, updated_at = now() "
                "where job = %s and first_ledger = %s and state = 'open'",
                (error.replace("\0", ""), job, first),
            )
        )

    def end(self, job: str) -> None:
        """Nobody works on what is still open. This commit waits for the disk, and so for every commit of the job before it."""
        self._do(
            lambda c: c.execute(
                "update backfill_ranges set state = case state when 'open' then 'superseded' else state end, "
                "updated_at = case state when 'open' then now() else updated_at end where job = %s",
                (job,),
            )
        )

    def _do(self, work: Callable[[Connection], T]) -> T:
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            try:
                return work(self._connected())
            except (psycopg.Error, UnreachableError) as error:
                if time.monotonic() > deadline or (isinstance(error, psycopg.Error) and is_permanent(error)):
                    with clear_errors(self._settings.database):
                        raise
                metrics.SERVER_ERRORS.labels("database").inc()
                _log.warning("waiting for the database", error=str(error).strip())
                self.close()
                time.sleep(_RETRY_SECONDS)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(
                self._settings.database, application_name="lumenstream-backfill", autocommit=True, patient=True
            )
        return self._connection
