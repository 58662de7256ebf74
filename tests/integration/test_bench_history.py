"""Rows that benchmarks find under them: as many as asked for, where they were asked for, and keys and indexes are back."""

from __future__ import annotations

import os

import psycopg
import pytest
from pydantic import SecretStr

from lumenstream.bench import bulk, history, plans
from lumenstream.bench.history import DAY, EVENING, HISTORY, PARTNER, Scale
from lumenstream.bench.plan_reads import reads
from lumenstream.settings import DatabaseSettings, Settings

ROWS = 3_050
LINKS = ("transactions_accounts", "operations_accounts")


def indexes(connection: psycopg.Connection[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return connection.execute(
        "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"
    ).fetchall()


def test_history_is_deep_and_its_indexes_are_back(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "STEP_ROWS", 1_000)
    scale = Scale(ROWS, DAY, EVENING - DAY, first_ledger=1_000_000)
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = indexes(connection)
        history.deepen(database_url, ROWS)
        assert indexes(connection) == before
        for table in HISTORY:
            others = f"where account_id <> '\\x{PARTNER.hex()}'" if table in LINKS else ""
            found = connection.execute(
                f"select count(*), min(ledger_created_at), max(ledger_created_at) from {table} {others}".encode()
            ).fetchone()
            assert found == (ROWS, DAY, scale.closed_at(1_000_000 + scale.ledgers - 1)), table
        assert scale.closed_at(1_000_000 + scale.ledgers) <= EVENING


def test_an_error_of_a_table_comes_out(database_url: str) -> None:
    columns = ("ledger_created_at", "tx_to_id", "account_id")
    with pytest.raises(psycopg.errors.DivisionByZero):
        bulk.load(
            database_url, {"transactions_accounts": (columns, lambda first, last: f"SELECT now(), {last} / 0, 'x'::bytea")}, 5
        )


def test_plans_are_told_and_the_database_is_gone_afterwards(admin_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("transaction by hash", "ledger by sequence")
    monkeypatch.setattr(plans, "reads", lambda scale: {name: read for name, read in reads(scale).items() if name in chosen})
    left_over = "lumenstream_bench_plans_of_99999999"  # of a process that cannot be
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f"create database {left_over}".encode())
        result = plans.run(Settings(database=DatabaseSettings(url=SecretStr(admin_url))), rows=1_000)
        names = admin.execute("select datname from pg_database").fetchall()
    assert set(result["reads"]) == set(chosen)
    assert all(0 < found["buffers"] < plans.MAX_BUFFERS for found in result["reads"].values())
    # A thousand rows are scanned sooner than looked up, and that is said; `ledgers` is no table of history.
    assert (result["rows"], result["sequential"], result["over"]) == (1_000, ["transaction by hash"], [])
    assert not {left_over, f"lumenstream_bench_plans_of_{os.getpid()}"} & {name for (name,) in names}
