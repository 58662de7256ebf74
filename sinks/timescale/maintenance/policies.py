"""TimescaleDB's own jobs and settings, made to match ours: changed in place where they differ, so that their history stays.

The chunk interval is for every edition with chunks. Columnstore settings, compression and retention jobs need the community
edition. Its retention job drops a table's chunks by itself, so it only runs while nothing holds history back.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString, NamedTuple

from psycopg import sql
from psycopg.types.json import Jsonb

from lumenstream.database import Connection
from lumenstream.logs import get_logger
from lumenstream.settings import MaintenanceSettings
from sinks.timescale.layouts import HISTORY

RETENTION_SCHEDULE: Final = "1 hour"
FIRST_RUN_AFTER: Final = "1 hour"  # a new policy would otherwise start at once, before anything could hold it
SPARSE_INDEX_FROM: Final = (2, 22)  # the first version that takes them as a setting of the table
RETENTION: Final = "policy_retention"
COMPRESSION: Final = "policy_compression"

# Columns that queries compare with `=` and that neither segments nor order find.
BLOOM: Final[dict[str, tuple[str, ...]]] = {
    "transactions": ("hash", "inner_hash"),
    "transactions_accounts": (),
    "operations": ("operation_type",),
    "operations_accounts": (),
    "state_changes": ("state_change_category", "state_change_reason"),
    "claimable_balance_events": ("balance_id",),
    "trades": ("taker_account_id", "maker_account_id"),
}

_JOB: Final[LiteralString] = (
    "select job_id, config, schedule_interval, scheduled from timescaledb_information.jobs "
    "where proc_name = %s and hypertable_schema = current_schema() and hypertable_name = %s"
)
_log = get_logger("maintenance")


class _Job(NamedTuple):
    job_id: int
    config: dict[str, Any]
    schedule: Any
    scheduled: bool


def converge_chunk_interval(connection: Connection, interval: str) -> list[str]:
    """For chunks to come. Returns the tables that had another one."""
    changed = []
    for table in HISTORY:
        row = connection.execute(
            "select time_interval = %s::interval from timescaledb_information.dimensions "
            "where hypertable_schema = current_schema() and hypertable_name = %s",
            (interval, table),
        ).fetchone()
        if row is not None and not row[0]:
            connection.execute("select set_chunk_time_interval(%s::regclass, %s::interval)", (table, interval))
            changed.append(table)
    return changed


def converge_jobs(connection: Connection, settings: MaintenanceSettings, *, held: bool) -> list[str]:
    """Retention and compression of every history table. Returns what was done, in a few words each."""
    done = []
    for table in HISTORY:
        done += _converge_retention(connection, table, settings.retention_period, scheduled=not held)
        done += _converge_compression(connection, table, settings)
    return done


def converge_columnstore(connection: Connection) -> list[str]:
    """Bloom filters of compressed chunks. Returns the tables that had others; none where the server does not take them."""
    if _version(connection) < SPARSE_INDEX_FROM or not _takes_blooms(connection):
        return []
    changed = []
    for table, columns in BLOOM.items():
        if not columns or _blooms(connection, table) == set(columns):
            continue
        wanted = ",".join(f'bloom("{column}")' for column in columns)
        statement = sql.SQL("alter table {} set (timescaledb.sparse_index = {})")
        connection.execute(statement.format(sql.Identifier(table), sql.Literal(wanted)))
        changed.append(table)
    return changed


def _converge_retention(connection: Connection, table: str, keep: str, *, scheduled: bool) -> list[str]:
    job = _job(connection, RETENTION, table)
    if not keep:
        if job is None:
            return []
        connection.execute("select remove_retention_policy(%s::regclass)", (table,))
        return [f"{table}: retention removed"]
    if job is None:
        row = connection.execute(
            "select add_retention_policy(%s::regclass, drop_after => %s::interval, schedule_interval => %s::interval, "
            "initial_start => now() + %s::interval)",
            (table, keep, RETENTION_SCHEDULE, FIRST_RUN_AFTER),
        ).fetchone()
        assert row is not None
        if not scheduled:
            connection.execute("select alter_job(%s, scheduled => false)", (row[0],))
        return [f"{table}: retention added"]
    if _same(connection, job.config.get("drop_after"), keep) and job.scheduled == scheduled:
        return []
    connection.execute(
        "select alter_job(%s, scheduled => %s, config => %s)", (job.job_id, scheduled, Jsonb(job.config | {"drop_after": keep}))
    )
    return [f"{table}: retention changed"]


def _converge_compression(connection: Connection, table: str, settings: MaintenanceSettings) -> list[str]:
    job = _job(connection, COMPRESSION, table)
    if not settings.compress_after:
        if job is None:
            return []
        connection.execute("select remove_compression_policy(%s::regclass)", (table,))
        return [f"{table}: compression removed"]
    if job is None:
        connection.execute(
            "select add_compression_policy(%s::regclass, compress_after => %s::interval, schedule_interval => %s::interval)",
            (table, settings.compress_after, settings.compress_schedule),
        )
        job = _job(connection, COMPRESSION, table)
        assert job is not None
        _alter_compression(connection, job, settings)
        return [f"{table}: compression added"]
    return [f"{table}: compression changed"] if _alter_compression(connection, job, settings) else []


def _alter_compression(connection: Connection, job: _Job, settings: MaintenanceSettings) -> bool:
    """False when nothing differs."""
    chunks = settings.compress_max_chunks
    if (
        _same(connection, job.config.get("compress_after"), settings.compress_after)
        and _same(connection, str(job.schedule), settings.compress_schedule)
        and job.config.get("maxchunks_to_compress", 0) == chunks
    ):
        return False
    config = job.config | {"compress_after": settings.compress_after, "maxchunks_to_compress": chunks}
    connection.execute(
        "select alter_job(%s, schedule_interval => %s::interval, config => %s)",
        (job.job_id, settings.compress_schedule, Jsonb(config)),
    )
    return True


def _job(connection: Connection, procedure: str, table: str) -> _Job | None:
    row = connection.execute(_JOB, (procedure, table)).fetchone()
    return None if row is None else _Job(*row)


def _same(connection: Connection, found: str | None, wanted: str) -> bool:
    """Two lengths of time, however they are written."""
    row = connection.execute("select %s::text::interval = %s::text::interval", (found, wanted)).fetchone()
    return row is not None and row[0] is True


def _version(connection: Connection) -> tuple[int, int]:
    row = connection.execute("select extversion from pg_extension where extname = 'timescaledb'").fetchone()
    major, minor, *_ = (row[0] if row else "0.0").split(".")
    return int(major), int(minor)


def _takes_blooms(connection: Connection) -> bool:
    """Whether the server lets tables have them: a setting of the server, on by default."""
    row = connection.execute("select current_setting('timescaledb.enable_sparse_index_bloom', true)").fetchone()
    return row is not None and row[0] == "on"


def _blooms(connection: Connection, table: str) -> set[str]:
    """The columns for which the table's settings ask for a bloom filter, not those that TimescaleDB adds for an index."""
    row = connection.execute(
        "select index from timescaledb_information.hypertable_columnstore_settings where hypertable = %s::regclass", (table,)
    ).fetchone()
    found = row[0] if row is not None and row[0] is not None else []
    return {entry["column"] for entry in found if entry.get("type") == "bloom" and entry.get("source") == "config"}
