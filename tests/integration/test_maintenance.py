"""Retention, compression and the oldest cursor: on the run's TimescaleDB, on plain PostgreSQL, and what only one edition has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from lumenstream import retention
from lumenstream.database import DECOMPRESSION_LIMIT, Cursor, advisory_key, edition, get_cursor, update_cursor
from lumenstream.embedded import EmbeddedPostgres, MissingWheelError
from lumenstream.settings import DatabaseSettings, MaintenanceSettings, NetworkSettings, Settings
from migrations import runner
from sinks.timescale import maintenance
from sinks.timescale.layouts import HISTORY
from sinks.timescale.maintenance import policies
from sinks.timescale.maintenance.service import Outcome
from tests.servers.choose import with_database

LEDGERS = 100  # one an hour; those before the last two days or so are older than what is kept
KEEP = "2 days"
DELETED = 10  # ledgers in a transaction, on plain PostgreSQL

# One row of every history table for ledger n that closed at t.
_ID = "((n::bigint << 32) + 4096)"
_ROWS = {
    "transactions": f"{_ID}, decode(lpad(to_hex(n), 64, '0'), 'hex'), 100, 'ok', n, t",
    "transactions_accounts": f"'\\x30', {_ID}, t",
    "operations": f"{_ID} + 1, 'PAYMENT', 'ok', true, n, t",
    "operations_accounts": f"'\\x30', {_ID} + 1, t",
    "state_changes": f"{_ID}, {_ID} + 1, 1, 'BALANCE', 'DEBIT', n, t, '\\x30'",
    "claimable_balance_events": f"{_ID}, {_ID} + 1, 1, n, t, 'b', 'CREATED', '\\x30', 'native', 1",
    "trades": f"{_ID}, {_ID} + 1, 1, n, t, 'LIQUIDITY_POOL', '\\x30', 'pool', 'native', 1, 'native', 1, 1, 1",
}
_ID_COLUMNS = {"transactions_accounts": "tx_to_id", "operations": "id", "operations_accounts": "operation_id"}
_COLUMNS = {
    "transactions": "to_id, hash, fee_charged, result_code, ledger_number, ledger_created_at",
    "transactions_accounts": "account_id, tx_to_id, ledger_created_at",
    "operations": "id, operation_type, result_code, successful, ledger_number, ledger_created_at",
    "operations_accounts": "account_id, operation_id, ledger_created_at",
    "state_changes": "to_id, operation_id, state_change_id, state_change_category, state_change_reason, ledger_number, "
    "ledger_created_at, account_id",
    "claimable_balance_events": "to_id, operation_id, event_id, ledger_number, ledger_created_at, balance_id, kind, account_id, "
    "asset, amount",
    "trades": "to_id, operation_id, trade_id, ledger_number, ledger_created_at, kind, taker_account_id, liquidity_pool_id, "
    "sold_asset, sold_amount, bought_asset, bought_amount, price_n, price_d",
}


@pytest.fixture(scope="module")
def plain_server() -> Iterator[EmbeddedPostgres]:
    """Plain PostgreSQL from the wheel, with a migrated template."""
    try:
        server = EmbeddedPostgres().start()
    except MissingWheelError as error:
        pytest.skip(str(error))
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("create database template_maintenance")
    runner.migrate(with_database(server.url, "template_maintenance"))
    yield server
    server.stop()


@pytest.fixture
def plain_url(plain_server: EmbeddedPostgres) -> str:
    with psycopg.connect(plain_server.url, autocommit=True) as admin:
        admin.execute("drop database if exists maintenance_test with (force)")
        admin.execute("create database maintenance_test template template_maintenance")
    return with_database(plain_server.url, "maintenance_test")


@pytest.fixture(params=["as chosen", "plain"])
def url(request: pytest.FixtureRequest) -> str:
    """A migrated database: on the run's server, and on plain PostgreSQL from the wheel."""
    return str(request.getfixturevalue("database_url" if request.param == "as chosen" else "plain_url"))


def settings_for(url: str, **changes: object) -> Settings:
    wanted = {"retention_period": KEEP, "delete_ledgers": 50, "http_port": 0, "every_seconds": 1, **changes}
    return Settings(
        network=NetworkSettings(name="sandbox"),
        database=DatabaseSettings.model_validate({"url": url}),
        maintenance=MaintenanceSettings.model_validate(wanted),
    )


def fill(url: str) -> datetime:
    """A ledger an hour up to now, each with a row in every table, and the cursors. Returns when the last one closed."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with psycopg.connect(url) as connection:
        arguments = {"last": LEDGERS, "now": now}
        every = (
            "from generate_series(1, %(last)s) as n, lateral (select %(now)s - make_interval(hours => %(last)s - n) as t) as u"
        )
        for table in HISTORY:
            connection.execute(f"insert into {table} ({_COLUMNS[table]}) select {_ROWS[table]} {every}".encode(), arguments)
        connection.execute(
            f"insert into ledgers select n, '', '', n - 1, t, 22, 1, 1, 1, 1, 'ledgers', 0, n {every}".encode(), arguments
        )
        update_cursor(connection, Cursor.LATEST, LEDGERS)
        update_cursor(connection, Cursor.OLDEST, 1)
    return now


def first_and_count(url: str) -> dict[str, tuple[int, int]]:
    """By table, the lowest ledger and how many ledgers have rows."""
    found = {}
    with psycopg.connect(url) as connection:
        for table in HISTORY:
            query = sql.SQL("select min({0} >> 32), count(distinct {0} >> 32) from {1}")
            column = sql.Identifier(_ID_COLUMNS.get(table, "to_id"))
            found[table] = connection.execute(query.format(column, sql.Identifier(table))).fetchone()
        found["ledgers"] = connection.execute("select min(sequence), count(*) from ledgers").fetchone()
        oldest = get_cursor(connection, Cursor.OLDEST)
    assert all(row is not None for row in found.values())
    kept = {table: (int(row[0]), int(row[1])) for table, row in found.items() if row is not None}
    assert oldest == kept["ledgers"][0]
    return kept


def expected_oldest(now: datetime) -> int:
    """The first ledger of the day that the retention period reaches into: days are the chunks."""
    reached = datetime.now(UTC) - timedelta(days=2)
    return LEDGERS - int((now - reached.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() // 3600)


def test_what_is_older_goes_everywhere_and_the_oldest_cursor_tells(url: str) -> None:
    now = fill(url)
    oldest = expected_oldest(now)
    outcome = maintenance.run_once(settings_for(url))
    assert outcome.worked and outcome.held_by == ""
    assert (outcome.oldest, outcome.dropped_ledgers) == (oldest, oldest - 1)
    assert set(first_and_count(url).values()) == {(oldest, LEDGERS - oldest + 1)}
    again = maintenance.run_once(settings_for(url))
    assert (again.dropped_ledgers, again.oldest) == (0, oldest)
    with psycopg.connect(url) as connection:
        state = retention.read(connection)
    assert state.keep == timedelta(days=2) and state.held_by == "" and state.dropped_before is not None


@pytest.mark.parametrize("point", ["maintain.in_drop:3", "maintain.before_oldest", "maintain.after_drop"])
def test_killed_in_a_drop_the_next_run_comes_to_the_same_end(url: str, point: str) -> None:
    """Between two tables, before the oldest cursor moves, and after a transaction, of which plain PostgreSQL needs several."""
    now = fill(url)
    oldest = expected_oldest(now)
    code, out = maintain_once(url, point)
    assert (code, out) == (-signal.SIGKILL, "")
    with psycopg.connect(url) as connection:
        found = edition(connection)
    if found != "timescale":  # there its own jobs may go on with the drop
        batch = DELETED if found == "plain" else oldest - 1
        gone = batch if point == "maintain.after_drop" else 0
        assert set(first_and_count(url).values()) == {(gone + 1, LEDGERS - gone)}  # whole ledgers, and the cursor at the first
    code, out = maintain_once(url)
    assert code == 0 and out.endswith(f" ledgers dropped, the oldest is {oldest}\n"), out
    assert set(first_and_count(url).values()) == {(oldest, LEDGERS - oldest + 1)}
    with psycopg.connect(url) as connection:
        state = retention.read(connection)
    assert state.held_by == "" and state.dropped_before is not None and state.ran_at is not None


def maintain_once(url: str, crashpoint: str = "") -> tuple[int, str]:
    """Exit code and standard output of `lumenstream maintain --once`."""
    environment = {
        "LUMENSTREAM_NETWORK__NAME": "sandbox",
        "LUMENSTREAM_DATABASE__URL": url,
        "LUMENSTREAM_MAINTENANCE__RETENTION_PERIOD": KEEP,
        "LUMENSTREAM_MAINTENANCE__DELETE_LEDGERS": str(DELETED),
        "LUMENSTREAM_CRASHPOINT": crashpoint,
    }
    done = subprocess.run(
        [sys.executable, "-m", "lumenstream", "maintain", "--once"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    print(done.stderr)
    return done.returncode, done.stdout


def test_nothing_goes_without_a_retention_period(url: str) -> None:
    fill(url)
    outcome = maintenance.run_once(settings_for(url, retention_period=""))
    assert (outcome.dropped_ledgers, outcome.oldest) == (0, 1)
    assert set(first_and_count(url).values()) == {(1, LEDGERS)}
    with psycopg.connect(url) as connection:
        assert retention.read(connection).keep is None


def pause(url: str, *, pauses: bool, job: str = "backfill-test") -> retention.Lease:
    entry = retention.JobEntry(job, 1, 20, None, pauses)
    return retention.Lease(DatabaseSettings.model_validate({"url": url}), entry, 30)


def test_a_job_pauses_retention_until_it_ends(url: str) -> None:
    fill(url)
    with pause(url, pauses=True):
        outcome = maintenance.run_once(settings_for(url))
        assert (outcome.dropped_ledgers, outcome.oldest) == (0, 1)
        assert outcome.held_by == "backfill-test pauses retention"
        with psycopg.connect(url) as connection:
            assert retention.read(connection).held_by == outcome.held_by
            assert [job.job for job in retention.running_jobs(connection)] == ["backfill-test"]
    assert maintenance.run_once(settings_for(url)).dropped_ledgers > 0


def test_the_pause_of_a_killed_job_expires(url: str) -> None:
    fill(url)
    lease = pause(url, pauses=True)
    lease.__enter__()
    with psycopg.connect(url) as connection:
        connection.execute("update backfill_jobs set expires_at = now() - interval '1 second'")
    assert maintenance.run_once(settings_for(url)).dropped_ledgers > 0
    with psycopg.connect(url) as connection:
        assert retention.running_jobs(connection) == []
    lease.__exit__(None, None, None)


def test_ranges_that_a_job_still_writes_are_kept(url: str) -> None:
    fill(url)
    with pause(url, pauses=False):
        with psycopg.connect(url) as connection:
            connection.execute(
                "insert into backfill_ranges (job, first_ledger, last_ledger, parts) values ('backfill-test', 5, 12, '{}')"
            )
        outcome = maintenance.run_once(settings_for(url))
        assert (outcome.dropped_ledgers, outcome.held_by) == (0, "backfill-test still writes from ledger 5 on")
        with psycopg.connect(url) as connection:
            connection.execute("update backfill_ranges set state = 'done'")
        assert maintenance.run_once(settings_for(url)).dropped_ledgers > 0


def test_what_is_not_published_is_kept(url: str) -> None:
    fill(url)
    with psycopg.connect(url) as connection:
        update_cursor(connection, Cursor.PUBLISHED, 9)
    outcome = maintenance.run_once(settings_for(url))
    assert (outcome.dropped_ledgers, outcome.held_by) == (0, "the publisher has only come to ledger 9")
    with psycopg.connect(url) as connection:
        update_cursor(connection, Cursor.PUBLISHED, LEDGERS)
    assert maintenance.run_once(settings_for(url)).dropped_ledgers > 0


def test_a_live_sink_that_catches_up_through_old_ledgers_is_left_alone(url: str) -> None:
    fill(url)
    with psycopg.connect(url) as connection:
        connection.execute("delete from ledgers where sequence > 20")
        update_cursor(connection, Cursor.LATEST, 20)
    outcome = maintenance.run_once(settings_for(url))
    assert outcome.dropped_ledgers == 0 and outcome.held_by.startswith("ledger 20 at the cursor is itself older")


def test_a_drop_may_open_compressed_chunks_of_any_size(url: str) -> None:
    """Guards: rows deleted across the end of a compressed chunk ran into TimescaleDB's limit of 100,000 opened rows."""
    fill(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table limits (said text)")
        connection.execute(
            "create function note() returns trigger language plpgsql as "
            f"$$ begin insert into limits values (current_setting('{DECOMPRESSION_LIMIT}', true)); return null; end $$"
        )
        connection.execute("create trigger note after delete on ledgers for each statement execute function note()")
        wanted = None if edition(connection) == "plain" else "0"
        assert maintenance.run_once(settings_for(url)).dropped_ledgers > 0
        assert set(connection.execute("select said from limits").fetchall()) == {(wanted,)}


def test_history_that_somebody_else_dropped_is_forgotten(url: str) -> None:
    fill(url)
    with psycopg.connect(url) as connection:
        for table in HISTORY:
            column = _ID_COLUMNS.get(table, "to_id")
            connection.execute(f"delete from {table} where {column} < {31 << 32}".encode())
        connection.execute("update ledgers set transaction_count = 0 where sequence = 1")
    assert maintenance.run_once(settings_for(url, retention_period="")).oldest == 31
    assert set(first_and_count(url).values()) == {(31, LEDGERS - 30)}


def test_empty_ledgers_at_the_beginning_stay(url: str) -> None:
    fill(url)
    with psycopg.connect(url) as connection:
        connection.execute(f"delete from transactions where to_id < {4 << 32}".encode())
        connection.execute("update ledgers set transaction_count = 0 where sequence < 4")
    assert maintenance.run_once(settings_for(url, retention_period="")).oldest == 1


@pytest.mark.needs("timescaledb")
def test_chunks_of_another_size_leave_no_half_ledgers(database_url: str) -> None:
    """Chunks made before the interval was changed reach across the boundary: what lies before it is deleted row by row."""
    now = fill(database_url)
    settings = settings_for(database_url, chunk_interval="6 hours")
    outcome = maintenance.run_once(settings)
    assert {change for change in outcome.changed if change in HISTORY} == set(HISTORY)
    reached = datetime.now(UTC) - timedelta(days=2)
    boundary = reached.replace(hour=reached.hour // 6 * 6, minute=0, second=0, microsecond=0)
    oldest = LEDGERS - int((now - boundary).total_seconds() // 3600)
    assert outcome.oldest == oldest
    assert set(first_and_count(database_url).values()) == {(oldest, LEDGERS - oldest + 1)}
    assert not set(HISTORY) & set(maintenance.run_once(settings).changed)


def test_a_second_one_leaves_the_work_to_the_first(url: str) -> None:
    settings = settings_for(url)
    stop = threading.Event()
    thread = threading.Thread(target=maintenance.run, args=(settings, stop))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_lock_key(),))
        thread.start()
        assert maintenance.run_once(settings) == Outcome(worked=False)
        connection.execute("select pg_advisory_unlock(%s)", (_lock_key(),))
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def _lock_key() -> int:
    return advisory_key("lumenstream-maintenance")


# --- TimescaleDB's community edition -----------------------------------------------------------------------------------


def jobs(url: str, procedure: str) -> dict[str, tuple[int, dict[str, object], timedelta, bool]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select hypertable_name, job_id, config, schedule_interval, scheduled from timescaledb_information.jobs "
            "where proc_name = %s",
            (procedure,),
        ).fetchall()
    return {table: (number, config, schedule, scheduled) for table, number, config, schedule, scheduled in rows}


@pytest.mark.needs("timescaledb-community")
def test_policies_follow_the_settings_in_place(database_url: str) -> None:
    fill(database_url)
    maintenance.run_once(settings_for(database_url, compress_after="3 days", compress_schedule="1 hour"))
    kept, packed = jobs(database_url, policies.RETENTION), jobs(database_url, policies.COMPRESSION)
    assert set(kept) == set(packed) == set(HISTORY)
    assert {str(config["drop_after"]) for _, config, _, _ in kept.values()} == {"2 days"}
    assert {config["compress_after"] for _, config, _, _ in packed.values()} == {"3 days"}
    changed = settings_for(database_url, retention_period="4 days", compress_after="1 day", compress_max_chunks=5)
    assert len(maintenance.run_once(changed).changed) == 2 * len(HISTORY)
    assert maintenance.run_once(changed).changed == ()
    later, packed_later = jobs(database_url, policies.RETENTION), jobs(database_url, policies.COMPRESSION)
    assert {table: job[0] for table, job in later.items()} == {table: job[0] for table, job in kept.items()}
    assert {table: job[0] for table, job in packed_later.items()} == {table: job[0] for table, job in packed.items()}
    assert {config["drop_after"] for _, config, _, _ in later.values()} == {"4 days"}
    assert {(config["maxchunks_to_compress"], schedule) for _, config, schedule, _ in packed_later.values()} == {
        (5, timedelta(hours=12))
    }
    maintenance.run_once(settings_for(database_url, retention_period="", compress_after=""))
    assert jobs(database_url, policies.RETENTION) == jobs(database_url, policies.COMPRESSION) == {}


@pytest.mark.needs("timescaledb-community")
def test_a_pause_stops_the_policies_and_maintenance_starts_them_again(database_url: str) -> None:
    fill(database_url)
    settings = settings_for(database_url)
    with pause(database_url, pauses=True):
        maintenance.run_once(settings)
        assert {scheduled for *_, scheduled in jobs(database_url, policies.RETENTION).values()} == {False}
    maintenance.run_once(settings)
    assert {scheduled for *_, scheduled in jobs(database_url, policies.RETENTION).values()} == {True}
    with pause(database_url, pauses=True, job="another"):  # at once, not with the next run
        assert {scheduled for *_, scheduled in jobs(database_url, policies.RETENTION).values()} == {False}


@pytest.mark.needs("timescaledb-community")
def test_columnstore_settings_are_those_of_the_tables(database_url: str) -> None:
    fill(database_url)
    maintenance.run_once(settings_for(database_url, retention_period=""))
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute(
            "select hypertable::text, segmentby, orderby from timescaledb_information.hypertable_columnstore_settings"
        ).fetchall()
        found = {table: (segments or "", order) for table, segments, order in rows}
        assert {table: segments for table, (segments, _) in found.items()} == {
            "transactions": "",
            "transactions_accounts": "account_id",
            "operations": "",
            "operations_accounts": "account_id",
            "state_changes": "account_id",
            "claimable_balance_events": "account_id",
            "trades": "",
        }
        assert all(order.startswith("ledger_created_at DESC") for _, order in found.values())
        assert found["state_changes"][1] == "ledger_created_at DESC,to_id DESC,operation_id DESC,state_change_id DESC"
        blooms = connection.execute(
            "select h.hypertable::text, i ->> 'column' from timescaledb_information.hypertable_columnstore_settings h, "
            "jsonb_array_elements(h.index) i where i ->> 'type' = 'bloom' and i ->> 'source' = 'config'"
        ).fetchall()
        assert set(blooms) == {(table, column) for table, columns in policies.BLOOM.items() for column in columns}
        skipped = connection.execute(
            "select distinct h.table_name, s.column_name from _timescaledb_catalog.chunk_column_stats s "
            "join _timescaledb_catalog.hypertable h on h.id = s.hypertable_id"
        ).fetchall()
        assert ("transactions", "to_id") in skipped and ("operations", "id") in skipped
        for table in HISTORY:
            connection.execute(sql.SQL("select compress_chunk(c) from show_chunks({}) c").format(sql.Literal(table)))
        row = connection.execute("select count(*) from timescaledb_information.chunks where is_compressed").fetchone()
        assert row is not None and row[0] >= len(HISTORY)
        assert edition(connection) == "timescale"
    oldest = maintenance.run_once(settings_for(database_url)).oldest
    assert set(first_and_count(database_url).values()) == {(oldest, LEDGERS - oldest + 1)} and oldest > 1
