"""Many rows into empty tables, fast: written by the database itself, in steps, several tables at once.

Keys and indexes are taken off before and built again afterwards, which costs a third of keeping them while rows come; definitions
stay the same, only fuller pages tell them from those of a database that grew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Final

import psycopg
from psycopg import sql

from lumenstream import logs

WRITERS: Final = 2
STEP_ROWS: Final = 1_000_000
STATEMENT_SECONDS: Final = 3_600
MAINTENANCE_MEMORY: Final = "256MB"

Select = Callable[[int, int], str]  # the rows from a first number to a last one, as the columns of a table
Connection = psycopg.Connection[Any]

_log = logs.get_logger("bench")


def load(url: str, tables: Mapping[str, tuple[tuple[str, ...], Select]], rows: int) -> None:
    """Write rows 0 to `rows` - 1 into every table, by its columns and its SELECT; vacuumed and analyzed when it returns.

    The first error of a table is raised when the steps under way are over; nothing else is begun then.
    """
    _at_once(partial(_load, url, table, columns, select, rows) for table, (columns, select) in tables.items())
    # Only now: rows that another writer's transaction may still not see would not count as visible to all.
    _at_once(partial(_vacuum, url, table) for table in tables)


def _at_once(jobs: Iterable[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="seed") as writers:
        tasks = [writers.submit(job) for job in jobs]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            writers.shutdown(wait=False, cancel_futures=True)
            raise


def connect(url: str) -> Connection:
    """A connection for bulk work: nobody waits for the disk, sorts have memory, no statement runs for ever."""
    connection = psycopg.connect(url, autocommit=True, connect_timeout=5)
    for name, value in (
        ("synchronous_commit", "off"),
        ("maintenance_work_mem", MAINTENANCE_MEMORY),
        ("max_parallel_maintenance_workers", "0"),  # the other writers have the other cores
        ("statement_timeout", f"{STATEMENT_SECONDS}s"),
    ):
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    return connection


def _load(url: str, table: str, columns: tuple[str, ...], select: Select, rows: int) -> None:
    started = time.monotonic()
    insert = f"INSERT INTO {table} ({', '.join(columns)}) "
    with connect(url) as connection:
        restore = _take_off(connection, table)
        for first, last in _steps(rows):
            connection.execute((insert + select(first, last)).encode())
            _log.info("seeded", table=table, rows=last + 1, of=rows, seconds=round(time.monotonic() - started))
        for statement in restore:
            connection.execute(statement)
        _log.info("indexed", table=table, indexes=len(restore), seconds=round(time.monotonic() - started))


def _vacuum(url: str, table: str) -> None:
    with connect(url) as connection:
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
    _log.info("vacuumed", table=table)


def _steps(rows: int) -> Iterator[tuple[int, int]]:
    for first in range(0, rows, STEP_ROWS):
        yield first, min(first + STEP_ROWS, rows) - 1


def _take_off(connection: Connection, table: str) -> list[bytes]:
    """Drop the primary key and all indexes of a table. Returns the statements that bring them back."""
    found = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'", (table,)
    ).fetchall()
    name = sql.Identifier(table)
    for key, _ in found:
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, sql.Identifier(key)))
    restore = [f"ALTER TABLE {table} ADD CONSTRAINT {key} {definition}".encode() for key, definition in found]
    for index, definition in connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s", (table,)
    ).fetchall():
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
        restore.append(definition.encode())
    return restore
