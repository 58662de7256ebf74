"""PostgreSQL for every role: connections with limits, the schema check, the cursors of `ingest_store`, and error classes.

Data flow: settings in, psycopg connections out. Nothing here knows a room's tables except `ingest_store` and `schema_migrations`,
which all roles share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Final, Literal, LiteralString

import psycopg
import psycopg_pool
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from lumenstream.errors import IntegrityError, LumenstreamError, SchemaVersionError, UnreachableError
from lumenstream.settings import DatabaseSettings
from schemas.version import SCHEMA_VERSION

Connection = psycopg.Connection[TupleRow]
Edition = Literal["plain", "apache", "timescale"]

# A peer that vanishes without a word is noticed after about idle + interval x count seconds.
KEEPALIVE_IDLE_SECONDS: Final = 10
KEEPALIVE_INTERVAL_SECONDS: Final = 3
KEEPALIVE_COUNT: Final = 3
TCP_USER_TIMEOUT_MS: Final = 20_000
PATIENT_STATEMENT_SECONDS: Final = 600  # of commands that read or drop much; the limit of the settings is for queries
POOL_MAX_IDLE_SECONDS: Final = 60.0
POOL_MAX_LIFETIME_SECONDS: Final = 30 * 60.0

# TimescaleDB ends a transaction (53400) that changes compressed chunks and opens more rows than this; 0: no limit.
DECOMPRESSION_LIMIT: Final = "timescaledb.max_tuples_decompressed_per_dml_transaction"

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_U64: Final = (1 << 64) - 1


class Cursor(StrEnum):
    """Keys of `ingest_store` (spec/data.md 4). A key that is absent or 0 means: never started."""

    LATEST = "latest_ingest_ledger"  # highest ledger fully committed
    OLDEST = "oldest_ingest_ledger"  # lowest ledger available
    PUBLISHED = "publisher_cursor"  # highest ledger whose state changes were published; absent: there never was a publisher


LEDGER_CHANNEL: Final = "lumenstream_ledger"  # NOTIFY of each live transaction: its last ledger, as text
NETWORK_ID: Final = "network_id"  # key of `ingest_store`: whose ledgers these are, hex; set by the sink with its first ledger
CHECKPOINT: Final = "checkpoint"  # key of `ingest_store`: the ledger whose state began this database, colon, its hash


def describe(conninfo: str) -> str:
    """host:port/database of a connection string, never the password."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        return "the database"
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def connection_arguments(settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
    """libpq parameters besides the URL, for connections and pools alike: time-outs, keepalives, a name in pg_stat_activity."""
    options = str(conninfo_to_dict(settings.url.get_secret_value()).get("options") or "")
    return {
        "application_name": application_name,
        "connect_timeout": settings.connect_timeout_seconds,
        "keepalives": 1,
        "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": KEEPALIVE_COUNT,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        "options": f"{options} -c statement_timeout={settings.statement_timeout_seconds}s".strip(),
    }


def unreachable(conninfo: str, error: Exception) -> UnreachableError:
    """The error that ends a command when the database does not answer."""
    first_line = str(error).strip().partition("\n")[0]
    return UnreachableError(
        f"the database at {describe(conninfo)} does not answer: {first_line}",
        hint="is it running, does the database exist, and is LUMENSTREAM_DATABASE__URL right?",
    )


def connect(settings: DatabaseSettings, *, application_name: str, autocommit: bool = False, patient: bool = False) -> Connection:
    """A connection. `patient`: a statement may take ten minutes at least. UnreachableError names the host, never the password."""
    url = settings.url.get_secret_value()
    if patient:
        limit = max(settings.statement_timeout_seconds, PATIENT_STATEMENT_SECONDS)
        settings = settings.model_copy(update={"statement_timeout_seconds": limit})
    try:
        return psycopg.connect(url, autocommit=autocommit, **connection_arguments(settings, application_name))
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from error


@contextmanager
def clear_errors(settings: DatabaseSettings) -> Iterator[None]:
    """Around a command's work: a database that goes away in the middle is UnreachableError, else LumenstreamError with what it
    said."""
    try:
        yield
    except psycopg.Error as error:
        url = settings.url.get_secret_value()
        if is_away(error):
            raise unreachable(url, error) from error
        raise LumenstreamError(
            f"the database at {describe(url)} refuses it: {error.sqlstate or ''} {error}".strip(),
            hint="no transaction was half done; if it is neither a right, nor a limit, nor a full disk, please report it",
        ) from error


def pool(
    settings: DatabaseSettings, *, application_name: str, autocommit: bool = False
) -> psycopg_pool.ConnectionPool[Connection]:
    """An open pool whose first connections answer. UnreachableError when they do not within the connect time-out."""
    url = settings.url.get_secret_value()
    made: psycopg_pool.ConnectionPool[Connection] = psycopg_pool.ConnectionPool(
        url,
        kwargs={"autocommit": autocommit, **connection_arguments(settings, application_name)},
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        timeout=settings.connect_timeout_seconds,
        max_idle=POOL_MAX_IDLE_SECONDS,
        max_lifetime=POOL_MAX_LIFETIME_SECONDS,
        name=application_name,
        open=False,
    )
    try:
        made.open(wait=True, timeout=settings.connect_timeout_seconds)
    except psycopg_pool.PoolTimeout as error:
        made.close()
        raise unreachable(url, error) from error
    return made


def edition(conn: Connection) -> Edition:
    """Plain PostgreSQL, or which licence of TimescaleDB is created in this database."""
    match _one(conn.execute("select current_setting('timescaledb.license', true)").fetchone()):
        case None | "":
            return "plain"
        case "timescale":
            return "timescale"
        case _:
            return "apache"


def lift_decompression_limit(conn: Connection) -> None:
    """Until the transaction ends, it may change compressed chunks of any size. A server without this limit stays as it is."""
    conn.execute(
        "select set_config(%(name)s, '0', true) where current_setting(%(name)s, true) is not null", {"name": DECOMPRESSION_LIMIT}
    )


def schema_version(conn: Connection) -> int:
    """The newest migration applied, 0 for none."""
    if _one(conn.execute("select to_regclass('schema_migrations')").fetchone()) is None:
        return 0
    return int(_one(conn.execute("select coalesce(max(version), 0) from schema_migrations").fetchone()))


# What the newest migrations ask of a program; a row that does not say so comes from a runner that did not know the question.
OLDEST_PROGRAM: Final[LiteralString] = (
    "select coalesce(max(coalesce((to_jsonb(m) ->> 'oldest_program')::int, version)), 0) from schema_migrations m "
    "where version > %(version)s"
)


def check_schema(conn: Connection) -> None:
    """SchemaVersionError unless this program can read and write the schema that the database has.

    A newer one will do while its migrations only added to the schema: old roles go on while new ones take over.
    """
    found = schema_version(conn)
    if found < SCHEMA_VERSION:
        raise SchemaVersionError(
            f"the database schema is at version {found}, this program needs {SCHEMA_VERSION}", hint="run lumenstream migrate"
        )
    if found > SCHEMA_VERSION < _one(conn.execute(OLDEST_PROGRAM, {"version": SCHEMA_VERSION}).fetchone()):
        raise SchemaVersionError(
            f"the database schema is at version {found}, this program knows {SCHEMA_VERSION}", hint="upgrade this program"
        )


def check_network(conn: Connection, network_id: bytes) -> None:
    """IntegrityError when the database holds the ledgers of another network. One that holds none yet is anybody's."""
    row = conn.execute("select value from ingest_store where key = %s", (NETWORK_ID,)).fetchone()
    if row is not None and row[0] != network_id.hex():
        raise IntegrityError(
            f"the database holds ledgers of network {row[0]}, settings say {network_id.hex()}",
            hint="a database belongs to one network: is LUMENSTREAM_DATABASE__URL or LUMENSTREAM_NETWORK__NAME wrong?",
        )


def advisory_key(text: str) -> int:
    """FNV-1a 64 of a lock's name, as the signed number that PostgreSQL's advisory locks take."""
    value = _FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _FNV_PRIME & _U64
    return value - (1 << 64) if value >> 63 else value


def get_cursor(conn: Connection, key: str) -> int:
    """The ledger at a cursor, 0 when it was never set. ValueError when the value is not a number."""
    row = conn.execute("select value from ingest_store where key = %s", (key,)).fetchone()
    return int(row[0]) if row else 0


def get_checkpoint(conn: Connection) -> tuple[int, str]:
    """The ledger whose state began this database, and its hash, empty where it is not known; 0 when it began with a ledger."""
    row = conn.execute("select value from ingest_store where key = %s", (CHECKPOINT,)).fetchone()
    ledger, _, ledger_hash = (row[0] if row else "0").partition(":")
    return int(ledger), ledger_hash


def update_cursor(conn: Connection, key: str, ledger: int) -> None:
    """Set a cursor, whatever it was."""
    conn.execute(
        "insert into ingest_store (key, value) values (%s, %s) on conflict (key) do update set value = excluded.value",
        (key, str(ledger)),
    )


def update_cursor_min(conn: Connection, key: str, ledger: int) -> None:
    """Lower a cursor, or set one that never was; nothing happens when it is lower already. Safe from many sessions at once."""
    conn.execute(
        "insert into ingest_store as s (key, value) values (%s, %s) on conflict (key) do update "
        "set value = least(nullif(s.value::bigint, 0), excluded.value::bigint)::text",
        (key, str(ledger)),
    )


def compare_and_swap_cursor(conn: Connection, key: str, expected: int, ledger: int) -> bool:
    """Move a cursor if it stands at `expected`; 0 also means absent. False: another writer moved it."""
    statement: LiteralString
    if expected == 0:
        statement = (
            "insert into ingest_store (key, value) values (%(key)s, %(new)s) "
            "on conflict (key) do update set value = excluded.value where ingest_store.value = '0'"
        )
    else:
        statement = "update ingest_store set value = %(new)s where key = %(key)s and value = %(old)s"
    return conn.execute(statement, {"key": key, "old": str(expected), "new": str(ledger)}).rowcount == 1


_CLASS_OF_SQLSTATE: Final = {
    "23505": "unique_violation",
    "23503": "foreign_key_violation",
    "23502": "not_null_violation",
    "23514": "check_violation",
    "40001": "serialization_failure",
    "40P01": "deadlock",
    "57014": "query_canceled",
    "57P01": "admin_shutdown",
    "53400": "configuration_limit",
    "08000": "connection_error",
    "08003": "connection_error",
    "08006": "connection_error",
}
_PERMANENT_CLASSES: Final = frozenset({"22", "23", "42"})  # bad data, violated constraint, wrong statement or right
_AWAY_CLASSES: Final = frozenset({"", "08", "57"})  # no word from it, connections, an operator's intervention or a time-out
_PERMANENT_STATES: Final = frozenset({"53400"})  # a limit of the server's settings; the rest of class 53 passes (a full disk)


def error_class(error: BaseException) -> str:
    """The class of a failed database call, for metrics (spec/data.md 6)."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return _CLASS_OF_SQLSTATE.get(error.sqlstate, "postgres_error")
    match error:
        case psycopg_pool.PoolTimeout() | TimeoutError() | errors.ConnectionTimeout():
            return "context_deadline_exceeded"
        case psycopg.OperationalError():
            return "connection_error"
        case psycopg.InterfaceError():
            return "connection_closed"
        case _:
            return "unknown"


def is_permanent(error: psycopg.Error) -> bool:
    """True when the same statement would fail again: retrying only hides it."""
    state = error.sqlstate or ""
    return state[:2] in _PERMANENT_CLASSES or state in _PERMANENT_STATES


def is_away(error: psycopg.Error) -> bool:
    """True when the server is gone, goes, or did not answer in time, whatever was asked of it."""
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return lost and (error.sqlstate or "")[:2] in _AWAY_CLASSES


def _one(row: TupleRow | None) -> Any:
    if row is None:
        raise psycopg.DataError("a query that always gives one row gave none")
    return row[0]
