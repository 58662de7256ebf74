"""Applies `NNNN_name.up.sql` and `NNNN_name.down.sql` in order, one transaction each, and keeps book in `schema_migrations`.

A lock lets concurrent runners queue; a file that changed after it was applied is an error. TimescaleDB is created where the
server offers it; the files themselves degrade by edition (`current_setting('timescaledb.license', true)`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
from psycopg.abc import QueryNoTemplate

from lumenstream.database import Connection, Cursor, advisory_key, edition, get_cursor, schema_version, unreachable
from lumenstream.errors import ConfigurationError, SchemaVersionError
from lumenstream.logs import get_logger
from schemas.processors import PROCESSORS
from schemas.version import SCHEMA_VERSION

DIRECTORY: Final = Path(__file__).parent
CONNECT_TIMEOUT_SECONDS: Final = 10
NEW_PROCESSOR_MARGIN_LEDGERS: Final = 1000
_FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.(up|down)\.sql")
_LOCK: Final = "lumenstream-migrate"

_CREATE_BOOK: Final = """
create table if not exists schema_migrations (
    version    integer primary key,
    name       text not null,
    checksum   text not null,
    applied_at timestamptz not null default now()
);
alter table schema_migrations add column if not exists oldest_program integer
"""
_NEEDS: Final = re.compile(r"-- needs programs of schema version (\d+)\n")

_log = get_logger("migrations")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    up: str
    down: str

    @property
    def label(self) -> str:
        return f"{self.version:04d}_{self.name}"

    @property
    def oldest_program(self) -> int:
        """The lowest schema version of programs that may run on the result; 0: any, because it only adds to the schema.

        A migration that changes or removes what programs use says so in its first line (docs/runbook.md, upgrade).
        """
        found = _NEEDS.match(self.up)
        return 0 if found is None else int(found[1])

    @property
    def checksum(self) -> str:
        """SHA-256 of the up file, in hex."""
        return hashlib.sha256(self.up.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Status:
    """One migration, known to this program or only to the database. `applied_at` is ISO 8601, None when not applied."""

    version: int
    name: str
    applied_at: str | None
    changed: bool  # the file is not the one that was applied, or this program does not have it


def load(directory: Path = DIRECTORY) -> list[Migration]:
    """The migrations of a directory in order. ConfigurationError for a missing half, a gap or a number used twice."""
    halves: dict[tuple[int, str], dict[str, str]] = {}
    for path in sorted(directory.glob("*.sql")):
        if (match := _FILE.fullmatch(path.name)) is None:
            raise ConfigurationError(f"{path.name} is not named NNNN_name.up.sql or NNNN_name.down.sql")
        halves.setdefault((int(match[1]), match[2]), {})[match[3]] = path.read_text(encoding="utf-8")
    found = [
        Migration(version, name, texts.get("up", ""), texts.get("down", "")) for (version, name), texts in sorted(halves.items())
    ]
    for position, migration in enumerate(found, start=1):
        if migration.version != position or not migration.up or not migration.down:
            raise ConfigurationError(
                f"migration {migration.label}: numbers must follow each other, each with an up and a down file"
            )
    return found


@cache
def _known() -> tuple[Migration, ...]:
    return tuple(load())


LATEST: Final = len(_known())
if LATEST != SCHEMA_VERSION:
    raise ConfigurationError(f"schemas/version.py says {SCHEMA_VERSION}, the newest migration is {LATEST}")


def current_version(conn: Connection) -> int:
    """The newest migration applied, 0 for none."""
    return schema_version(conn)


def migrate(conninfo: str, target: int | None = None) -> list[str]:
    """Bring the schema to `target` (None: the newest), up or down, and register the processors when it is the newest.

    Returns what was done, for example `up 0001_ground`. SchemaVersionError when the database holds a migration that this program
    does not know or that changed since; UnreachableError when the database does not answer.
    """
    goal = LATEST if target is None else target
    if not 0 <= goal <= LATEST:
        raise ConfigurationError(f"there is no schema version {goal}", hint=f"0 to {LATEST}")
    done: list[str] = []
    with _connection(conninfo) as conn, _locked(conn):
        _create_timescaledb(conn)
        conn.execute(_CREATE_BOOK)
        _check_applied(conn)
        version = current_version(conn)
        for migration in _known()[version:goal]:
            with conn.transaction():
                conn.execute(_trusted(migration.up))
                conn.execute(
                    "insert into schema_migrations (version, name, checksum, oldest_program) values (%s, %s, %s, %s)",
                    (migration.version, migration.name, migration.checksum, migration.oldest_program),
                )
            done.append(f"up {migration.label}")
        for migration in reversed(_known()[goal:version]):
            with conn.transaction():
                conn.execute(_trusted(migration.down))
                conn.execute("delete from schema_migrations where version = %s", (migration.version,))
            done.append(f"down {migration.label}")
        if goal == LATEST:
            with conn.transaction():
                register_processors(conn)
    if done:
        _log.info("migrated", database_version=goal, steps=done)
    return done


def status(conninfo: str) -> list[Status]:
    """Every migration, applied or not, in order."""
    with _connection(conninfo) as conn:
        applied = _applied(conn)
    known = {migration.version: migration for migration in _known()}
    rows: list[Status] = []
    for version in sorted(known.keys() | applied.keys()):
        name, checksum, applied_at = applied.get(version, ("", "", None))
        migration = known.get(version)
        changed = applied_at is not None and (migration is None or migration.checksum != checksum)
        rows.append(Status(version, migration.name if migration else name, applied_at, changed))
    return rows


def register_processors(conn: Connection) -> None:
    """Enter the processors of `schemas.processors`, and raise the versions of those that are known.

    On a database without a cursor they are required from ledger 1. A processor that is new to a running pipeline is required 1000
    ledgers past the cursor: time to start its workers; what it would have said about earlier ledgers comes by replay.
    """
    cursor = get_cursor(conn, Cursor.LATEST)
    required_from = cursor + NEW_PROCESSOR_MARGIN_LEDGERS if cursor else 1
    for spec in PROCESSORS.values():
        conn.execute(
            "insert into processors (name, version, required_from) values (%s, %s, %s) "
            "on conflict (name) do update set version = excluded.version where processors.version < excluded.version",
            (spec.name, spec.version, required_from),
        )


@contextmanager
def _connection(conninfo: str) -> Iterator[Connection]:
    try:
        conn = psycopg.connect(
            conninfo, autocommit=True, application_name="lumenstream-migrate", connect_timeout=CONNECT_TIMEOUT_SECONDS
        )
    except psycopg.OperationalError as error:
        raise unreachable(conninfo, error) from error
    except psycopg.ProgrammingError:  # its text may hold a part of the password
        raise ConfigurationError("the database URL is malformed", hint="mend LUMENSTREAM_DATABASE__URL") from None
    with conn:
        yield conn


@contextmanager
def _locked(conn: Connection) -> Iterator[None]:
    """One runner at a time in this database. The lock falls with the session, so a killed runner blocks nobody."""
    key = advisory_key(_LOCK)
    conn.execute("select pg_advisory_lock(%s)", (key,))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("select pg_advisory_unlock(%s)", (key,))


def _create_timescaledb(conn: Connection) -> None:
    """Create the extension where the server has it loaded; say in one line what we have to do without.

    `timescaledb.disable_load` exists only where the library is preloaded: creating the extension elsewhere ends the session.
    """
    offered = conn.execute(
        "select current_setting('timescaledb.disable_load', true) is not null "
        "from pg_available_extensions where name = 'timescaledb' and installed_version is null"
    ).fetchone()
    if offered is not None and offered[0]:
        try:
            conn.execute("create extension if not exists timescaledb")
        except psycopg.errors.InsufficientPrivilege as error:
            _log.warning("timescaledb is available but may not be created by this user", error=str(error))
    match edition(conn):
        case "plain":
            _log.warning("no timescaledb here: plain tables, no chunks, compression or retention policies")
        case "apache":
            _log.info("timescaledb, Apache edition: chunks, but no compression or retention policies")
        case "timescale":
            _log.info("timescaledb, community edition: chunks and compression")


def _check_applied(conn: Connection) -> None:
    known = {migration.version: migration for migration in _known()}
    for version, (name, checksum, _) in _applied(conn).items():
        if version not in known:
            raise SchemaVersionError(
                f"the database has migration {version:04d}_{name}, which this program does not know", hint="upgrade this program"
            )
        if known[version].checksum != checksum:
            raise SchemaVersionError(
                f"migration {known[version].label} changed after it was applied",
                hint="restore the file as it was and put the change into a new migration",
            )


def _applied(conn: Connection) -> dict[int, tuple[str, str, str]]:
    if schema_version(conn) == 0:
        return {}
    rows = conn.execute("select version, name, checksum, applied_at from schema_migrations order by version")
    return {version: (name, checksum, applied_at.isoformat()) for version, name, checksum, applied_at in rows}


def _trusted(text: str) -> QueryNoTemplate:
    """SQL from our own files, which psycopg takes as bytes: its literal-string check cannot see where a file came from."""
    return text.encode()
