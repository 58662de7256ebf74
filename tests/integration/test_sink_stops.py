"""What the live sink waits for in the open, and what stops it: missing parts, failures, contradictions, other writers."""

from __future__ import annotations

import random
import time
import urllib.request
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from lumenstream.embedded.processes import free_port
from lumenstream.errors import FencedError, IntegrityError, LumenstreamError
from schemas.messages import PartKind
from schemas.processors import PROCESSORS
from sinks.timescale.writer import Writer
from tests.integration.sink_world import (
    PARTITIONS,
    WAIT_S,
    RunningSink,
    World,
    dump,
    health,
    make_chain,
    make_ledger,
    run_until,
    wait_for,
)
from tests.plugins.servers import KafkaForTest


@pytest.fixture
def world(kafka: KafkaForTest, database_url: str) -> World:
    kafka.create_topic("ledger-changes", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    return World(kafka.bootstrap, kafka.topic_prefix, database_url)


def test_a_missing_part_is_visible_and_then_made_good(world: World) -> None:
    chain, port = make_chain(6, 100, 4), free_port()
    world.send(chain[:2])
    world.send(chain[2:3], [name for name in chain[2].parts if name != "accounts"])
    world.send(chain[3:])
    with RunningSink(world.settings(http_port=port, missing_part_seconds=0.5)) as running:
        wait_for(lambda: world.cursor() == 101)
        wait_for(lambda: health(port)[0] == 503)
        waiting = health(port)[1]["waiting"]
        assert (waiting["ledger"], waiting["missing"]) == (102, ["accounts"])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b'lumenstream_sink_missing_part{processor="accounts"} 1.0' in answer.read()
        world.send(chain[2:3], ["accounts"])
        wait_for(lambda: world.cursor() == 103)
        wait_for(lambda: health(port)[0] == 200)
    assert running.error is None


def test_a_failed_processor_is_named_and_its_later_part_goes_on(world: World) -> None:
    chain, port = make_chain(6, 100, 2), free_port()
    world.send(chain[:1])
    world.send(chain[1:], [name for name in chain[1].parts if name != "trustlines"])
    world.send(chain[1:], ["trustlines"], kind=PartKind.FAILURE, value=b"ValueError: no such asset")
    with RunningSink(world.settings(http_port=port)) as running:
        wait_for(lambda: health(port)[0] == 503)
        assert health(port)[1]["problems"] == ["ledger 101: trustlines failed: ValueError: no such asset"]
        world.send(chain[1:], ["trustlines"])
        wait_for(lambda: world.cursor() == 101)
    assert running.error is None


@pytest.mark.parametrize(
    ("other", "text"),
    [({"network_id": "ab" * 32}, "network"), ({"ledger_hash": "ab" * 32}, "hash"), ({"schema": 99}, "part schema 99")],
)
def test_what_contradicts_the_chain_stops_it(world: World, other: dict[str, Any], text: str) -> None:
    chain = make_chain(6, 100, 2)
    world.send(chain[:1])
    world.send(chain[1:], ["participants"])
    world.send(chain[1:], ["accounts"], **other)
    with RunningSink(world.settings()) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and text in str(running.error)
    assert world.cursor() in (0, 100)


def test_a_fork_stops_it(world: World) -> None:
    chain = make_chain(6, 100, 2)
    world.send(chain[:1])
    run_until(world, 100)
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute("update ledgers set hash = %s", (b"\1" * 32,))
    world.send(chain[1:])
    with RunningSink(world.settings()) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError)


def test_a_stream_that_starts_past_the_cursor_stops_it(world: World) -> None:
    world.send(make_chain(6, 100, 1))
    run_until(world, 100)
    world.send([make_ledger(random.Random(1), 200, None)])
    with RunningSink(world.settings()) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and "produce --from 101" in running.error.hint


def test_bytes_that_are_no_part_stop_it(world: World) -> None:
    chain = make_chain(6, 100, 1)
    world.send(chain, ["trustlines", "accounts", "token_transfers"])
    world.send(chain, ["participants"], value=b"no part")
    world.send(
        chain, [name for name in chain[0].parts if name not in ("trustlines", "accounts", "token_transfers", "participants")]
    )
    with RunningSink(world.settings()) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and "ledger 100" in str(running.error)


def test_rows_the_database_refuses_stop_it(world: World) -> None:
    world.send(make_chain(6, 100, 1))
    run_until(world, 100)
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute("alter table transactions add constraint none check (fee_charged < 0) not valid")
    world.send(make_chain(6, 100, 2)[1:])
    with RunningSink(world.settings()) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, LumenstreamError) and "23514" in str(running.error)
    assert world.cursor() == 100


def test_another_writer_that_moves_the_cursor_fences_it(world: World) -> None:
    chain = make_chain(6, 100, 3)
    world.send(chain[:1])
    with RunningSink(world.settings()) as running:
        wait_for(lambda: world.cursor() == 100)
        with psycopg.connect(world.database_url, autocommit=True) as conn:
            conn.execute("update ingest_store set value = '150' where key = 'latest_ingest_ledger'")
        world.send(chain[1:])
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, FencedError)
    assert len(dump(world.database_url)["ledgers"]) == 1


def test_a_new_processor_is_waited_for_from_its_ledger_on(world: World) -> None:
    chain = make_chain(6, 100, 6)
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        with RunningSink(world.settings()) as running:
            world.send(chain[:2])
            wait_for(lambda: world.cursor() == 101)
            conn.execute("insert into processors (name, version, required_from) values ('later', 1, 104)")
            world.send(chain[2:])
            wait_for(lambda: world.cursor() == 103)
            time.sleep(0.3)
            assert world.cursor() == 103
            conn.execute("delete from processors where name = 'later'")
            wait_for(lambda: world.cursor() == 105)
    assert running.error is None


def test_a_full_disk_is_waited_out_with_growing_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: the back-off began anew with every term, so a sink with a full disk went round ten times a second."""
    attempts: list[float] = []
    commit = Writer.commit

    def refuse(writer: Writer, *arguments: Any) -> Any:
        attempts.append(time.monotonic())
        if len(attempts) < 5:
            raise psycopg.errors.DiskFull("no space left on device")
        return commit(writer, *arguments)

    monkeypatch.setattr(Writer, "commit", refuse)
    world.send(make_chain(6, 100, 1))
    with RunningSink(world.settings()) as running:
        wait_for(lambda: world.cursor() == 100)
    assert running.error is None
    pauses = [after - before for before, after in pairwise(attempts)]
    assert all(pause > at_least for pause, at_least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True)), pauses


def test_a_raised_version_makes_parts_of_old_workers_missing(world: World) -> None:
    chain, port = make_chain(6, 100, 3), free_port()
    version = PROCESSORS["effects"].version
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        with RunningSink(world.settings(http_port=port)) as running:
            world.send(chain[:1])
            wait_for(lambda: world.cursor() == 100)
            conn.execute("update processors set version = %s where name = 'effects'", (version + 1,))
            world.send(chain[1:])
            wait_for(lambda: health(port)[1].get("waiting", {}).get("outdated") == {"effects": version})
            assert world.cursor() == 100
            world.send(chain[1:2], ["effects"], version=version + 1)
            world.send(chain[2:], ["effects"], version=version + 2)
            wait_for(lambda: world.cursor() == 102)
    assert running.error is None


def test_a_topic_made_anew_that_grew_past_the_stored_offsets(world: World, kafka: KafkaForTest) -> None:
    """Guards: the sink began in the middle of the new topic and waited for a ledger that lies before."""
    chain = make_chain(6, 100, 40)
    world.send(chain[:8])
    run_until(world, 107)
    kafka.create_topic("again.ledger-changes", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    again = World(world.bootstrap, f"{world.topic_prefix}again.", world.database_url)
    again.send(chain[8:])
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute("update sink_offsets set topic = %s", (again.topic,))
        first = conn.execute('select min("offset") from sink_offsets').fetchone()
        assert first is not None and first[0] > 1
    run_until(again, 139)
    dumped = dump(world.database_url)
    assert [row[0] for row in dumped["ledgers"]] == list(range(100, 140))


@pytest.mark.needs("kafka")
def test_parts_that_the_broker_deleted_are_never_jumped_over(world: World) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    chain = make_chain(6, 100, 12)
    world.send(chain[:4])
    run_until(world, 103)
    world.send(chain[4:])
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    end = len(chain[0].parts) * 2
    for future in admin.delete_records([TopicPartition(world.topic, 0, end)]).values():
        future.result(WAIT_S)
    with RunningSink(world.settings()) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and "produce --from 104" in running.error.hint
    world.send(chain[4:5])  # what produce --from would bring about
    run_until(world, 111)
