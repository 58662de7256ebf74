"""Databases of benchmarks on the configured server: made when missing, dropped at the end unless kept for the next run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from lumenstream.errors import UnreachableError
from lumenstream.settings import Settings


@contextmanager
def bench_database(settings: Settings, name: str, *, keep: bool = False) -> Iterator[str]:
    """The URL of a database of this name, not migrated. UnreachableError where there is no server."""
    admin_url = settings.database.url.get_secret_value()
    try:
        admin = psycopg.connect(admin_url, autocommit=True, connect_timeout=settings.database.connect_timeout_seconds)
    except psycopg.OperationalError as error:
        raise UnreachableError(f"no database for the benchmark: {str(error).strip()}", hint="make servers-up") from error
    with admin:
        if admin.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        yield psycopg.conninfo.make_conninfo(admin_url, dbname=name)
    finally:
        if not keep:
            with psycopg.connect(admin_url, autocommit=True) as admin:
                admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
