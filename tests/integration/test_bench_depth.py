"""Rows that `bench ingest --depth` puts under a benchmark: as many as asked for, and keys and indexes are back."""

from __future__ import annotations

import psycopg

from lumenstream.bench.depth import fill

ROWS = 3_000
DAY = 1_795_219_200
FILLED = ("transactions", "transactions_accounts", "operations", "operations_accounts", "state_changes")


def indexes(connection: psycopg.Connection[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return connection.execute(
        "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"
    ).fetchall()


def test_history_is_deep_and_its_indexes_are_back(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        before = indexes(connection)
        fill(database_url, DAY, DAY + 3600, ROWS)
        assert indexes(connection) == before
        for table in FILLED:
            found = connection.execute(
                f"select count(*), min(ledger_created_at) >= to_timestamp(%s), max(ledger_created_at) < to_timestamp(%s) "
                f"from {table}".encode(),
                (DAY, DAY + 3600),
            ).fetchone()
            assert found == (ROWS, True, True), table
