"""What the database says: cursors, missing ledgers, required processors, retention, jobs and what they failed at."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

import psycopg

from lumenstream import database, retention
from lumenstream.database import Connection, Cursor
from lumenstream.errors import LumenstreamError
from lumenstream.failedranges import FailedRange, failed_ranges
from lumenstream.presence import Missing, missing_ledgers
from lumenstream.settings import DatabaseSettings
from schemas.version import SCHEMA_VERSION

COUNT_TIMEOUT_S: Final = 5
SHOWN_FAILURES: Final = 10
LOOKED_AT_FAILURES: Final = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetentionStatus:
    """`keep` in words, empty when everything is kept; times are ISO 8601."""

    keep: str = ""
    held_by: str = ""
    dropped_before: str | None = None
    ran_at: str | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A backfill or replay command at work."""

    job: str
    first: int
    last: int
    processors: tuple[str, ...]
    ranges: int
    done_ranges: int
    failed_ranges: int
    pauses_retention: bool
    started_at: str


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """`error` is empty when all is well; `answered` is false when the database could not be asked. `gaps`, `missing` and
    `failed_ranges` are None where looking took too long: `lumenstream verify` and the maintenance role take their time."""

    cursor: int = 0
    oldest: int = 0
    published: int = 0
    ledgers: int = 0
    gaps: int | None = 0
    missing: int | None = 0
    shown_gaps: tuple[tuple[int, int], ...] = ()
    close_time: str | None = None
    published_close_time: str | None = None
    schema_version: int = 0
    edition: str = ""
    required_processors: tuple[str, ...] = ()
    retention: RetentionStatus = RetentionStatus()
    jobs: tuple[JobStatus, ...] = ()
    failed_ranges: tuple[FailedRange, ...] | None = ()
    error: str = ""
    answered: bool = True


@dataclass(slots=True)
class GapCount:
    """The last count of missing ledgers, which reads all of an index, and is believed for a while."""

    believed_seconds: float
    _taken_at: float = field(default=-1e9, init=False)
    _last: Missing | None = field(default=None, init=False)

    def take(self, connection: Connection) -> Missing | None:
        if time.monotonic() - self._taken_at >= self.believed_seconds:
            self._last = _in_time(connection, missing_ledgers)
            self._taken_at = time.monotonic()
        return self._last


def database_status(settings: DatabaseSettings, count: GapCount | None = None) -> DatabaseStatus:
    """Ask the database. One that does not answer is part of the answer."""
    try:
        with database.connect(settings, application_name="lumenstream-status", autocommit=True) as connection:
            version = database.schema_version(connection)
            if version == 0:
                return DatabaseStatus(edition=database.edition(connection), error="no schema: run lumenstream migrate")
            if version < SCHEMA_VERSION:
                return DatabaseStatus(
                    schema_version=version, edition=database.edition(connection), error="an old schema: run lumenstream migrate"
                )
            return _found(connection, version, (count or GapCount(0)).take(connection))
    except (LumenstreamError, psycopg.Error) as error:
        return DatabaseStatus(error=str(error).strip().partition("\n")[0], answered=False)


def _found(connection: Connection, version: int, missing: Missing | None) -> DatabaseStatus:
    cursor = database.get_cursor(connection, Cursor.LATEST)
    published = database.get_cursor(connection, Cursor.PUBLISHED)
    lowest, highest = connection.execute("select min(sequence), max(sequence) from ledgers").fetchone() or (None, None)
    names = connection.execute("select name from processors where required_from <= %s + 1 order by name", (cursor,))
    failures = _in_time(connection, lambda asked: failed_ranges(asked, LOOKED_AT_FAILURES))
    return DatabaseStatus(
        cursor=cursor,
        oldest=database.get_cursor(connection, Cursor.OLDEST),
        published=published,
        ledgers=0 if highest is None else highest - lowest + 1 - (missing.ledgers if missing else 0),
        gaps=None if missing is None else missing.gaps,
        missing=None if missing is None else missing.ledgers,
        shown_gaps=() if missing is None else missing.shown,
        close_time=_close_time(connection, highest),
        published_close_time=_close_time(connection, published),
        schema_version=version,
        edition=database.edition(connection),
        required_processors=tuple(str(name) for (name,) in names),
        retention=_retention(retention.read(connection)),
        jobs=tuple(_job(job) for job in retention.running_jobs(connection)),
        failed_ranges=None if failures is None else tuple(failures[:SHOWN_FAILURES]),
    )


def _in_time(connection: Connection, look: Callable[[Connection], T]) -> T | None:
    """What `look` finds; None when it takes longer than a view may take."""
    try:
        with connection.transaction():
            connection.execute(f"set local statement_timeout = '{COUNT_TIMEOUT_S}s'")
            return look(connection)
    except psycopg.errors.QueryCanceled:
        return None


def _retention(found: retention.Retention) -> RetentionStatus:
    keep = "" if found.keep is None else str(found.keep).removesuffix(", 0:00:00")
    return RetentionStatus(keep, found.held_by, _iso(found.dropped_before), _iso(found.ran_at))


def _job(job: retention.RunningJob) -> JobStatus:
    return JobStatus(
        job=job.job,
        first=job.first,
        last=job.last,
        processors=job.processors or (),
        ranges=job.ranges,
        done_ranges=job.done_ranges,
        failed_ranges=job.failed_ranges,
        pauses_retention=job.pauses_retention,
        started_at=job.started_at.isoformat(),
    )


def _close_time(connection: Connection, sequence: Any) -> str | None:
    row = connection.execute("select closed_at from ledgers where sequence = %s", (sequence,)).fetchone()
    return None if row is None else _iso(row[0])


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
