"""What retention and the jobs that write old history agree on, in tables `retention` and `backfill_jobs`.

`lumenstream maintain` drops history under a lock and looks at the jobs first; a job takes the same lock to enter itself, so that
when it begins no drop is under way. A job's entry expires unless the job puts that off: a killed one stops nothing for long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, LiteralString, NamedTuple, Self

import psycopg

from lumenstream.database import Connection, advisory_key, clear_errors, connect, edition
from lumenstream.errors import LumenstreamError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import DatabaseSettings

LEASE_SECONDS: Final = 120
RENEW_SECONDS: Final = 15.0
MARGIN: Final = timedelta(hours=1)  # a job must be able to end before retention reaches what it writes
POLICY_STOP_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.5
_LOCK_NAME: Final = "lumenstream-retention"
ALIVE: Final[LiteralString] = "ended_at is null and expires_at > now()"
_RENEW: Final[LiteralString] = (
    "update backfill_jobs set expires_at = now() + make_interval(secs => %(lease)s) where job = %(job)s"
)
_END: Final[LiteralString] = (
    "update backfill_jobs set ended_at = now(), expires_at = least(expires_at, now()) where job = %(job)s"
)

_log = get_logger("retention")


class Retention(NamedTuple):
    """Table `retention`. `keep` None: everything is kept; `horizon`: what closed earlier is dropped, or will be."""

    keep: timedelta | None
    horizon: datetime | None
    dropped_before: datetime | None
    held_by: str
    ran_at: datetime | None


class RunningJob(NamedTuple):
    """A backfill or replay command that is at work. `processors` None: whole ledgers."""

    job: str
    first: int
    last: int
    processors: tuple[str, ...] | None
    pauses_retention: bool
    started_at: datetime
    ranges: int
    done_ranges: int
    failed_ranges: int


class JobEntry(NamedTuple):
    """What a job enters itself with."""

    job: str
    first: int
    last: int
    processors: Sequence[str] | None
    pauses_retention: bool


def read(connection: Connection) -> Retention:
    """What is in force according to the last run of `lumenstream maintain`."""
    row = connection.execute("select keep, now() - keep, dropped_before, held_by, ran_at from retention").fetchone()
    return Retention(*row) if row is not None else Retention(None, None, None, "", None)


def running_jobs(connection: Connection) -> list[RunningJob]:
    """The jobs whose commands are alive, oldest first."""
    rows = connection.execute(
        "select j.job, j.first_ledger, j.last_ledger, j.processors, j.pauses_retention, j.started_at, count(r.state), "
        "count(*) filter (where r.state = 'done'), count(*) filter (where r.state = 'failed') "
        f"from backfill_jobs j left join backfill_ranges r using (job) where {ALIVE} group by j.job order by j.started_at"
    ).fetchall()
    return [RunningJob(job, first, last, tuple(names) if names else None, *rest) for job, first, last, names, *rest in rows]


def lock(connection: Connection) -> None:
    """Inside a transaction: no other session enters a job or drops history before it ends."""
    connection.execute("select pg_advisory_xact_lock(%s)", (advisory_key(_LOCK_NAME),))


def schedule_policies(connection: Connection, *, scheduled: bool) -> None:
    """Community edition: let TimescaleDB's own retention jobs run, or not. A run that has begun goes on."""
    connection.execute(
        "select alter_job(job_id, scheduled => %(wanted)s) from timescaledb_information.jobs "
        "where proc_name = 'policy_retention' and hypertable_schema = current_schema() and scheduled <> %(wanted)s",
        {"wanted": scheduled},
    )


def _wait_for_policies(connection: Connection) -> None:
    """Until no retention job of TimescaleDB runs. LumenstreamError when one does not end."""
    deadline = time.monotonic() + POLICY_STOP_SECONDS
    while True:
        row = connection.execute(
            "select s.hypertable_name from timescaledb_information.job_stats s join timescaledb_information.jobs using (job_id) "
            "where proc_name = 'policy_retention' and s.job_status = 'Running' limit 1"
        ).fetchone()
        if row is None:
            return
        if time.monotonic() > deadline:
            raise LumenstreamError(
                f"the retention policy of {row[0]} does not end", hint="look at timescaledb_information.job_stats"
            )
        time.sleep(_POLL_SECONDS)


class Lease:
    """A job's entry while its command runs. Use as a context manager; it is renewed by a thread with a connection of its own."""

    def __init__(self, settings: DatabaseSettings, entry: JobEntry, keep_days: int) -> None:
        self._settings = settings
        self._entry = entry
        self._keep_days = keep_days
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="job-lease", daemon=True)

    def __enter__(self) -> Self:
        """UnreachableError, LumenstreamError."""
        with clear_errors(self._settings), self._connection(patient=True) as connection:
            with connection.transaction():
                lock(connection)  # whoever drops history may hold it for as long as the drop takes
                connection.execute(
                    f"delete from backfill_jobs where not ({ALIVE}) and expires_at < now() - make_interval(days => %s)",
                    (self._keep_days,),
                )
                connection.execute(
                    "insert into backfill_jobs (job, first_ledger, last_ledger, processors, pauses_retention, expires_at) "
                    "values (%s, %s, %s, %s, %s, now() + make_interval(secs => %s))",
                    (
                        self._entry.job,
                        self._entry.first,
                        self._entry.last,
                        None if self._entry.processors is None else list(self._entry.processors),
                        self._entry.pauses_retention,
                        LEASE_SECONDS,
                    ),
                )
            self._thread.start()
            try:
                if self._entry.pauses_retention and edition(connection) == "timescale":
                    schedule_policies(connection, scheduled=False)
                    _wait_for_policies(connection)
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._thread.join(RENEW_SECONDS)
        try:
            self._execute(_END)
        except (psycopg.Error, UnreachableError) as error:
            _log.warning("the end of the job could not be noted, its entry expires", job=self._entry.job, error=str(error))

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                self._execute(_RENEW)
            except (psycopg.Error, UnreachableError) as error:
                _log.warning("the job's entry could not be renewed, trying again", job=self._entry.job, error=str(error))

    def _execute(self, statement: LiteralString) -> None:
        with self._connection() as connection:
            connection.execute(statement, {"job": self._entry.job, "lease": LEASE_SECONDS})

    def _connection(self, *, patient: bool = False) -> Connection:
        return connect(self._settings, application_name="lumenstream-job", autocommit=True, patient=patient)
