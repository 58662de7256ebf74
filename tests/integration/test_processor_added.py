"""A processor is added to a pipeline that runs: its parts are ignored until it is required, waited for from then on, and a replay
tells its past."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from lumenstream.embedded.processes import free_port
from migrations import runner
from schemas.history import history_processors
from schemas.processors import PROCESSORS
from sinks.timescale.backfill.ranges import OpenRange, Planned
from sinks.timescale.backfill.writer import RangeWriter
from tests.integration.sink_world import (
    NETWORK,
    PARTITIONS,
    FakeLedger,
    RunningSink,
    World,
    dump,
    gather,
    health,
    make_chain,
    reach,
    wait_for,
)
from tests.integration.test_sink_writer import write
from tests.plugins.servers import KafkaForTest

ADDED = ("liquidity_pools", "claimable_balances", "trades")
MARGIN = 3


@pytest.fixture
def world(kafka: KafkaForTest, database_url: str) -> World:
    """The database of a pipeline that does not know the new processors yet."""
    kafka.create_topic("ledger-changes", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("delete from processors where name = any(%s)", (list(ADDED),))
    return World(kafka.bootstrap, kafka.topic_prefix, database_url)


def rows(world: World, table: str, column: str) -> set[int]:
    with psycopg.connect(world.database_url) as conn:
        return {value for (value,) in conn.execute(f"select distinct {column} from {table}".encode()).fetchall()}


def sequences(chain: Sequence[FakeLedger]) -> set[int]:
    return {ledger.sequence for ledger in chain}


def test_parts_are_ignored_until_required(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "NEW_PROCESSOR_MARGIN_LEDGERS", MARGIN)
    chain, port = make_chain(11, 100, 12), free_port()
    known = [name for name in PROCESSORS if name not in ADDED]
    with RunningSink(world.settings(http_port=port)) as running:
        world.send(chain[:5], known)  # 100 to 104: nobody knows the new ones
        reach(world, 104)
        runner.migrate(world.database_url)
        with psycopg.connect(world.database_url) as conn:
            required: dict[str, int] = dict(conn.execute("select name, required_from from processors").fetchall())
        assert required == dict.fromkeys(known, 1) | dict.fromkeys(ADDED, 107)

        world.send(chain[5:6], known)  # 105: their workers are not there yet, which holds nothing up
        world.send(chain[6:7])  # 106: they are, too early
        reach(world, 106)
        assert rows(world, "trades", "ledger_number") == set()
        assert rows(world, "liquidity_pools", "last_modified_ledger") == set()

        world.send(chain[7:8], known)  # 107: required
        wait_for(lambda: "waiting" in health(port)[1], "the sink waits")
        assert set(health(port)[1]["waiting"]["missing"]) == set(ADDED)
        assert world.cursor() == 106
        world.send(chain[7:8], ADDED)
        world.send(chain[8:])
        reach(world, 111)
    assert running.error is None
    expected = sequences(chain[7:])
    assert rows(world, "trades", "ledger_number") == expected
    assert rows(world, "claimable_balance_events", "ledger_number") == expected
    assert rows(world, "claimable_balances", "created_ledger") == expected
    assert rows(world, "liquidity_pools", "last_modified_ledger") <= expected
    assert rows(world, "state_changes", "ledger_number") == sequences(chain)


def test_a_replay_fills_the_past(database_url: str, empty_database_url: str) -> None:
    """The range that a job plans, written from parts of the added processors and of participants, which name the ledgers."""
    history = ("claimable_balance_events", "trades")
    runner.migrate(empty_database_url)
    whole, known = make_chain(11, 100, 6), make_chain(11, 100, 6)
    for ledger in known:
        for name in ADDED:
            ledger.parts[name].rows.clear()
    write(empty_database_url, whole, 1)
    write(database_url, known, 1)
    expected, before = dump(empty_database_url), dump(database_url)
    assert all(expected[table] and not before[table] for table in history)

    needed = ("participants", *history_processors(ADDED))
    planned = Planned("job", 100, 105, frozenset(needed), history_processors(ADDED), is_open=True)
    gathered = {ledger.sequence: gather(ledger, needed) for ledger in whole}
    with psycopg.connect(database_url) as conn, psycopg.connect(database_url, autocommit=True) as parents:
        conn.execute(
            "insert into backfill_ranges (job, first_ledger, last_ledger, parts, processors) values (%s, %s, %s, %s, %s)",
            ("job", 100, 105, list(needed), list(history_processors(ADDED))),
        )
        conn.commit()
        written = RangeWriter(conn, parents, NETWORK.name, 64).write(OpenRange(planned, 0, 0, gathered))
    assert written is not None
    after = dump(database_url)
    assert {table: after[table] for table in history} == {table: expected[table] for table in history}
    assert {table: rows for table, rows in after.items() if table not in history} == {
        table: rows for table, rows in before.items() if table not in history
    }
