"""The live sink between a real broker and a real database: order, repeats, crashes, standbys, servers that go away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from lumenstream import metrics
from lumenstream.embedded.processes import free_port
from lumenstream.errors import FencedError
from lumenstream.status import Endpoint, Monitor
from sinks.timescale import service
from sinks.timescale.writer import Committed, Writer
from tests.integration.sink_world import (
    PARTITIONS,
    TABLES,
    WAIT_S,
    FakeLedger,
    RunningSink,
    World,
    dump,
    health,
    make_chain,
    phase,
    reach,
    run_until,
    wait_for,
)
from tests.plugins.proxy import TcpProxy, port_of, through
from tests.plugins.servers import KafkaForTest
from tests.servers.kafka import KafkaServer

PROGRAM = "from lumenstream.settings import Settings; from sinks import timescale; timescale.run(Settings())"


@pytest.fixture
def world(kafka: KafkaForTest, database_url: str) -> World:
    kafka.create_topic("ledger-changes", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    return World(kafka.bootstrap, kafka.topic_prefix, database_url)


def reference(world: World, chain: list[FakeLedger]) -> dict[str, list[tuple[Any, ...]]]:
    """The tables after an undisturbed run on a database of its own, which is the same one emptied afterwards."""
    prepared = World(world.bootstrap, world.topic_prefix, world.database_url, {"group_ledgers": 1})
    run_until(prepared, chain[-1].sequence)
    tables = dump(world.database_url)
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute(f"truncate {', '.join([*TABLES, 'sink_offsets'])}".encode())
    return tables


@contextmanager
def program(world: World, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The sink in a process of its own."""
    settings = {
        "LUMENSTREAM_KAFKA__BOOTSTRAP": world.bootstrap,
        "LUMENSTREAM_KAFKA__TOPIC_PREFIX": world.topic_prefix,
        "LUMENSTREAM_KAFKA__PARTITIONS": str(PARTITIONS),
        "LUMENSTREAM_DATABASE__URL": world.database_url,
        "LUMENSTREAM_SINK__HTTP_PORT": "0",
        "LUMENSTREAM_SINK__STANDBY_POLL_SECONDS": "0.1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | settings | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT_S)


def test_repeated_and_reordered_parts_end_equal(world: World) -> None:
    chain = make_chain(11, 1000, 60)
    world.send(chain)
    expected = reference(world, chain)
    rng = random.Random(11)
    parts = [(ledger, name) for ledger in chain for name in ledger.parts for _ in range(rng.randrange(1, 6))]
    rng.shuffle(parts)
    shuffled = World(world.bootstrap, world.topic_prefix, world.database_url, {"reorder_window_ledgers": 7, "group_threshold": 3})
    shuffled.send_parts(parts)
    run_until(shuffled, chain[-1].sequence)
    found = dump(world.database_url)
    for table in expected:
        assert found[table] == expected[table], table


def test_a_restart_goes_on_where_it_was(world: World) -> None:
    chain = make_chain(4, 100, 30)
    world.send(chain[:10])
    world.send(chain[10:11], ["participants"])
    run_until(world, 109)
    with psycopg.connect(world.database_url) as conn:
        offsets: dict[int, int] = dict(conn.execute('select partition, "offset" from sink_offsets').fetchall())
    processors = len(chain[0].parts)
    assert offsets[110 % PARTITIONS] == processors * len([s for s in range(100, 110) if s % PARTITIONS == 110 % PARTITIONS])
    world.send(chain[10:11], [name for name in chain[10].parts if name != "participants"])
    world.send(chain[11:])
    run_until(world, 129)
    with psycopg.connect(world.database_url) as conn:
        assert conn.execute("select count(*) from ledgers").fetchone() == (30,)


@pytest.mark.parametrize("group", ["1", "16"])
@pytest.mark.parametrize("point", ["sink.after_start", "sink.before_commit:2", "sink.in_copy:7", "sink.after_commit:2"])
def test_killed_anywhere_nothing_is_lost_or_written_twice(world: World, point: str, group: str) -> None:
    chain = make_chain(8, 100, 40)
    world.send(chain)
    grouping = {"LUMENSTREAM_SINK__GROUP_LEDGERS": group, "LUMENSTREAM_SINK__GROUP_THRESHOLD": "0"}
    with program(world, LUMENSTREAM_CRASHPOINT=point, **grouping) as process:
        assert process.wait(WAIT_S) == -signal.SIGKILL
    killed_at = world.cursor()
    partial = dump(world.database_url, without=["trustline_balances", "native_balances", "sac_balances"])
    assert len(partial["ledgers"]) == (killed_at - 99 if killed_at else 0) < len(chain)
    assert {row[5] for row in partial["transactions"]} == set(range(100, killed_at + 1))
    run_until(world, 139)
    found = dump(world.database_url)
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute(f"truncate {', '.join([*TABLES, 'sink_offsets'])}".encode())
    assert reference(world, chain) == found


def test_a_standby_takes_over_and_never_writes_before(world: World) -> None:
    metrics.ASSIGNED_PARTITIONS.clear()  # of consumers that other tests ran in this process
    chain = make_chain(6, 100, 20)
    world.send(chain[:10])
    with program(world) as leader:
        wait_for(lambda: world.cursor() == 109)
        port = free_port()
        monitor = Monitor([Endpoint("sink", f"http://127.0.0.1:{port}")])
        with RunningSink(world.settings(http_port=port)) as standby:
            wait_for(lambda: phase(port) == "standby")
            (row,) = monitor.sample().stages
            assert (row.note, row.partitions) == ("standing by", None)
            world.send(chain[10:15])
            wait_for(lambda: world.cursor() == 114)
            assert phase(port) == "standby"
            leader.kill()
            wait_for(lambda: phase(port) == "leader")
            world.send(chain[15:])
            wait_for(lambda: world.cursor() == 119)
            (row,) = monitor.sample().stages
            assert (row.note, row.partitions) == ("leading", PARTITIONS)
    assert standby.error is None


def test_sigterm_ends_it_cleanly(world: World) -> None:
    world.send(make_chain(6, 100, 3))
    with program(world) as process:
        wait_for(lambda: world.cursor() == 102)
        process.terminate()
        assert process.wait(WAIT_S) == 0


def test_a_lost_lock_that_another_sink_took_fences_it(world: World) -> None:
    world.send(make_chain(6, 100, 1))
    with RunningSink(world.settings(standby_poll_seconds=60)) as first:
        wait_for(lambda: world.cursor() == 100)
        with RunningSink(world.settings(standby_poll_seconds=0.01)) as second, psycopg.connect(world.database_url) as conn:
            time.sleep(0.3)
            conn.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and objsubid = 1 "
                "and database = (select oid from pg_database where datname = current_database())"
            )
            wait_for(lambda: not first.alive or not second.alive)
    errors = [sink.error for sink in (first, second) if sink.error is not None]
    assert len(errors) == 1 and isinstance(errors[0], FencedError)


def test_a_database_that_is_away_is_waited_for(world: World, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    chain, port = make_chain(6, 100, 30), free_port()
    proxy = tcp_proxy(port_of(world.database_url))
    behind = World(world.bootstrap, world.topic_prefix, through(world.database_url, proxy.port))
    world.send(chain[:5])
    with RunningSink(behind.settings(http_port=port)) as running:
        wait_for(lambda: world.cursor() == 104)
        for first in range(5, 30, 5):
            proxy.cut()
            world.send(chain[first : first + 5])
            wait_for(lambda: health(port)[0] == 503)
            proxy.restore()
            reach(world, 104 + first)
        wait_for(lambda: health(port)[0] == 200)
    assert running.error is None
    assert len(dump(world.database_url)["ledgers"]) == 30


def test_a_standby_is_well_again_with_the_database(world: World, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    port = free_port()
    proxy = tcp_proxy(port_of(world.database_url))
    behind = World(world.bootstrap, world.topic_prefix, through(world.database_url, proxy.port))
    world.send(make_chain(6, 100, 1))
    with RunningSink(world.settings()):
        reach(world, 100)
        with RunningSink(behind.settings(http_port=port, standby_poll_seconds=0.05)) as standby:
            wait_for(lambda: phase(port) == "standby")
            proxy.cut()
            wait_for(lambda: health(port)[0] == 503)
            proxy.restore()
            wait_for(lambda: health(port)[0] == 200)
            assert phase(port) == "standby"
        assert standby.error is None


def test_a_commit_whose_answer_is_lost_is_not_repeated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ambiguous(Writer):
        lost = 0

        def commit(self, *arguments: Any) -> Committed:
            done = super().commit(*arguments)
            if Ambiguous.lost < 3:
                Ambiguous.lost += 1
                raise psycopg.OperationalError("the connection was lost in COMMIT")
            return done

    monkeypatch.setattr(service, "Writer", Ambiguous)
    world.send(make_chain(6, 100, 10))
    run_until(world, 109)
    assert Ambiguous.lost == 3
    assert len(dump(world.database_url)["ledgers"]) == 10


def test_a_broker_that_dies_is_waited_for(own_kafka: KafkaServer, database_url: str) -> None:
    broker, port = KafkaForTest(own_kafka.bootstrap, "own."), free_port()
    broker.create_topic("ledger-changes", PARTITIONS)
    world, chain = World(broker.bootstrap, broker.topic_prefix, database_url), make_chain(6, 100, 10)
    world.send(chain[:5])
    with RunningSink(world.settings(http_port=port)) as running:
        reach(world, 104)
        own_kafka.kill()
        wait_for(lambda: health(port)[0] == 503)
        assert health(port)[1]["problems"][0].startswith("kafka: ")
        own_kafka.restart()
        wait_for(lambda: health(port)[0] == 200)
        world.send(chain[5:])
        reach(world, 109)
    assert running.error is None


def test_it_waits_for_the_topic(kafka: KafkaForTest, database_url: str) -> None:
    world, port = World(kafka.bootstrap, kafka.topic_prefix, database_url), free_port()
    with RunningSink(world.settings(http_port=port)) as running:
        wait_for(lambda: phase(port) == "waiting for kafka")
        kafka.create_topic("ledger-changes", PARTITIONS)
        world.send(make_chain(1, 100, 2))
        wait_for(lambda: world.cursor() == 101)
    assert running.error is None
