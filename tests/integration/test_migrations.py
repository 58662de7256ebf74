"""Migrations: up and down, checksums, concurrent runners, on TimescaleDB and on plain PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lumenstream.database import (
    Cursor,
    check_schema,
    compare_and_swap_cursor,
    edition,
    get_cursor,
    update_cursor,
    update_cursor_min,
)
from lumenstream.embedded import EmbeddedPostgres, MissingWheelError
from lumenstream.errors import ConfigurationError, SchemaVersionError, UnreachableError
from migrations import runner
from schemas.processors import PROCESSORS
from schemas.state_changes import Category, Reason

HYPERTABLES = {
    "transactions",
    "transactions_accounts",
    "operations",
    "operations_accounts",
    "state_changes",
    "claimable_balance_events",
    "trades",
}
_CATALOG = (
    (
        "select 'column', table_name || '.' || column_name, data_type || ' ' || is_nullable || coalesce(column_default, '') "
        "from information_schema.columns where table_schema = 'public'"
    ),
    (
        "select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint "
        "where connamespace = 'public'::regnamespace and conrelid <> 0"
    ),
    "select 'index', indexname::text, indexdef from pg_indexes where schemaname = 'public'",
    (
        "select 'options', relname::text, array_to_string(reloptions, ' ') from pg_class "
        "where relnamespace = 'public'::regnamespace and relkind in ('r', 'i')"
    ),
    (
        "select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal "
        "and tgrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)"
    ),
    (
        "select 'function', p.oid::regprocedure::text, md5(prosrc) from pg_proc p where pronamespace = 'public'::regnamespace "
        "and not exists (select 1 from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
    ),
)


@pytest.fixture(scope="module")
def plain_server() -> Iterator[EmbeddedPostgres]:
    try:
        server = EmbeddedPostgres().start()
    except MissingWheelError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(params=["as chosen", "plain"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database: on the run's server, and on plain PostgreSQL from the wheel."""
    if request.param == "as chosen":
        yield request.getfixturevalue("empty_database_url")
        return
    server: EmbeddedPostgres = request.getfixturevalue("plain_server")
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("drop database if exists migrations_test with (force)")
        admin.execute("create database migrations_test")
    yield server.url.replace("/lumenstream", "/migrations_test")


def catalog(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return sorted(row for query in _CATALOG for row in conn.execute(query.encode()) if "schema_migrations" not in row[1])


def test_down_undoes_up_at_every_step(url: str) -> None:
    snapshots = []
    for version in range(runner.LATEST + 1):
        runner.migrate(url, version)
        snapshots.append(catalog(url))
    assert snapshots[0] == []
    for version in range(runner.LATEST - 1, -1, -1):
        assert runner.migrate(url, version) == [f"down {runner.load()[version].label}"]
        assert catalog(url) == snapshots[version]
    assert len(runner.migrate(url)) == runner.LATEST
    assert catalog(url) == snapshots[-1]


def test_a_second_run_does_nothing(url: str) -> None:
    assert runner.migrate(url) == [f"up {migration.label}" for migration in runner.load()]
    assert runner.migrate(url) == []
    assert [(row.version, row.changed, row.applied_at is not None) for row in runner.status(url)] == [
        (version, False, True) for version in range(1, runner.LATEST + 1)
    ]
    with psycopg.connect(url) as conn:
        assert runner.current_version(conn) == runner.LATEST
        check_schema(conn)


def test_a_changed_file_is_an_error(url: str) -> None:
    runner.migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("update schema_migrations set checksum = 'other' where version = 2")
    with pytest.raises(SchemaVersionError, match="0002_balances changed"):
        runner.migrate(url)
    assert [row.changed for row in runner.status(url)] == [False, True, *[False] * (runner.LATEST - 2)]


def test_a_newer_database_is_an_error(url: str) -> None:
    runner.migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("insert into schema_migrations (version, name, checksum) values (9000, 'later', '')")
        with pytest.raises(SchemaVersionError, match="9000_later") as caught:
            runner.migrate(url)
        with pytest.raises(SchemaVersionError) as too_new:
            check_schema(conn)
    assert "upgrade" in caught.value.hint and "upgrade" in too_new.value.hint


def test_a_newer_database_that_was_only_added_to_will_do(url: str) -> None:
    """Old roles go on, and may start again, while new ones take over (docs/runbook.md, upgrade)."""
    runner.migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        later = "insert into schema_migrations (version, name, checksum, oldest_program) values (%s, 'later', '', %s)"
        conn.execute(later, (9000, 0))
        check_schema(conn)
        conn.execute(later, (9001, runner.LATEST))
        check_schema(conn)
        conn.execute(later, (9002, 9002))
        with pytest.raises(SchemaVersionError, match="9002"):
            check_schema(conn)


def test_a_migration_says_which_programs_it_leaves_behind() -> None:
    first, *_ = runner.load()
    assert first.oldest_program == 0
    assert replace(first, up="-- needs programs of schema version 12\nselect 1").oldest_program == 12


_SHAPE = (
    "select table_name || '.' || column_name, data_type, is_nullable = 'NO', column_default is not null "
    "from information_schema.columns where table_schema = 'public'"
)
_RULES = (
    "select conrelid::regclass || '.' || conname, conrelid::regclass::text from pg_constraint "
    "where connamespace = 'public'::regnamespace and conrelid <> 0 and contype in ('c', 'u', 'f', 'p', 'x')"
)


def breaks(before: dict[str, tuple[Any, ...]], after: dict[str, tuple[Any, ...]], rules: set[tuple[str, str]]) -> list[str]:
    """What a program that knows `before` would stumble over in `after`. `rules`: new constraints with their tables."""
    tables = {column.partition(".")[0] for column in before}
    found = [f"{column} is gone" for column in before.keys() - after.keys()]
    found += [f"{column} has another type" for column in before.keys() & after.keys() if before[column][0] != after[column][0]]
    found += [f"{column} must be filled" for column in before.keys() & after.keys() if after[column][1] and not before[column][1]]
    for column in after.keys() - before.keys():
        _, required, has_default = after[column]
        if column.partition(".")[0] in tables and required and not has_default:
            found.append(f"{column} is new, and must be filled")
    return found + [f"{name} is a new rule" for name, table in rules if table in tables]


def test_migrations_only_add_unless_they_say_so(empty_database_url: str) -> None:
    """An old program goes on while a newer schema is there: nothing it reads goes, nothing it does not write is required."""
    before: dict[str, tuple[Any, ...]] = {}
    rules: set[tuple[str, str]] = set()
    undeclared = {}
    for migration in runner.load():
        runner.migrate(empty_database_url, migration.version)
        with psycopg.connect(empty_database_url) as conn:
            after = {name: tuple(rest) for name, *rest in conn.execute(_SHAPE).fetchall()}
            now = {(name, table) for name, table in conn.execute(_RULES).fetchall()}
        found = breaks(before, after, now - rules)
        if found and migration.oldest_program < migration.version:
            undeclared[migration.label] = found
        before, rules = after, now
    assert undeclared == {}
    assert breaks({"t.a": ("text", False, False)}, {"t.b": ("text", True, False)}, {("t.c", "t")}) == [
        "t.a is gone",
        "t.b is new, and must be filled",
        "t.c is a new rule",
    ]


def test_an_old_database_asks_for_migrate(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for version in (None, 1):
            if version is not None:
                runner.migrate(url, version)
            with pytest.raises(SchemaVersionError) as caught:
                check_schema(conn)
            assert caught.value.hint == "run lumenstream migrate"


def test_concurrent_runners_queue(url: str) -> None:
    done: list[list[str]] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            done.append(runner.migrate(url))
        except Exception as error:  # noqa: BLE001 (asserted below)
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(map(len, done)) == [0, 0, 0, runner.LATEST]


def test_a_failing_file_leaves_nothing_behind(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = runner.load()[0], runner.Migration(2, "bad", "create table half (a int); select 1 / 0;", "drop table half;")
    monkeypatch.setattr(runner, "_known", lambda: (good, bad, bad))
    with pytest.raises(psycopg.errors.DivisionByZero):
        runner.migrate(url)
    with psycopg.connect(url) as conn:
        assert runner.current_version(conn) == 1
        assert conn.execute("select to_regclass('half')").fetchone() == (None,)


def test_processors_are_registered(url: str) -> None:
    runner.migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        rows = conn.execute("select name, version, required_from from processors").fetchall()
        assert set(rows) == {(spec.name, spec.version, 1) for spec in PROCESSORS.values()}
        conn.execute("delete from processors where name = 'accounts'")
        conn.execute("update processors set version = 0 where name = 'trustlines'")
        update_cursor(conn, Cursor.LATEST, 500)
        runner.migrate(url)
        again: dict[str, int] = dict(conn.execute("select name, required_from from processors").fetchall())
        assert again == dict.fromkeys(PROCESSORS, 1) | {"accounts": 1500}
        assert conn.execute("select version from processors where name = 'trustlines'").fetchone() == (1,)


def test_hypertables_where_there_are_any(url: str) -> None:
    runner.migrate(url)
    with psycopg.connect(url) as conn:
        if edition(conn) == "plain":
            pytest.skip("plain PostgreSQL has plain tables")
        rows = conn.execute("select hypertable_name, time_interval::text from timescaledb_information.dimensions").fetchall()
        assert {tuple(row) for row in rows} == {(table, "1 day") for table in HYPERTABLES}


@pytest.mark.needs("timescaledb-community")
def test_columnstore_settings_of_the_community_edition(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("select hypertable::text, segmentby from timescaledb_information.hypertable_compression_settings")
        segments: dict[str, str | None] = dict(rows.fetchall())
    assert {table for table, column in segments.items() if column == "account_id"} == {
        "transactions_accounts",
        "operations_accounts",
        "state_changes",
        "claimable_balance_events",
    }


def test_checks_name_the_taxonomy(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'state_changes'::regclass"
        ).fetchall()
    text = " ".join(definition for (definition,) in rows)
    assert all(f"'{name}'" in text for name in [*Category, *Reason])


def test_cursors(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        assert get_cursor(conn, "x") == 0
        for never in ("y", "z"):
            update_cursor_min(conn, never, 5)
            assert get_cursor(conn, never) == 5
            update_cursor(conn, "z", 0)
        assert not compare_and_swap_cursor(conn, "x", 3, 4)
        assert compare_and_swap_cursor(conn, "x", 0, 10)
        assert not compare_and_swap_cursor(conn, "x", 0, 11)
        assert compare_and_swap_cursor(conn, "x", 10, 11)
        threads = [threading.Thread(target=_lower, args=(database_url, value)) for value in (9, 3, 7, 4, 8, 6, 5, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert get_cursor(conn, "x") == 3


def _lower(url: str, value: int) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        update_cursor_min(conn, "x", value)


def test_no_server_is_one_clear_line_without_the_password() -> None:
    with pytest.raises(UnreachableError) as caught:
        runner.migrate("postgresql://u:secret@127.0.0.1:1/nothing")
    assert "127.0.0.1:1/nothing" in str(caught.value) and "secret" not in str(caught.value)


def test_files_must_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "0002_b.up.sql").write_text("select 1")
    (tmp_path / "0002_b.down.sql").write_text("select 1")
    with pytest.raises(ConfigurationError, match="0002_b"):
        runner.load(tmp_path)
    (tmp_path / "b.sql").write_text("")
    with pytest.raises(ConfigurationError, match="not named"):
        runner.load(tmp_path)
