"""A database belongs to the network of its first ledger: every role refuses it for another one."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg
import pytest

from api.server import run as serve
from lumenstream import database
from lumenstream.cli import checks
from lumenstream.cli.checkresult import Level
from lumenstream.errors import IntegrityError
from lumenstream.settings import NetworkSettings, Settings
from producers.backfill import Job, Request
from producers.backfill.book import Book
from producers.backfill.plan import Range
from producers.position import database_cursor
from producers.publisher import Publisher
from sinks.timescale.leader import Leadership
from sinks.timescale.verify import verify
from tests.integration.sink_world import PARTITIONS, RunningSink, World, make_chain, run_until, wait_for
from tests.integration.test_api_world import serving
from tests.plugins.servers import KafkaForTest


@pytest.fixture
def world(kafka: KafkaForTest, database_url: str) -> World:
    kafka.create_topic("ledger-changes", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    return World(kafka.bootstrap, kafka.topic_prefix, database_url)


def of_testnet(settings: Settings) -> Settings:
    return settings.model_copy(update={"network": NetworkSettings(name="testnet")})


def test_every_role_refuses_the_database_of_another_network(world: World) -> None:
    world.send(make_chain(6, 100, 2))
    run_until(world, 101)
    own, other = world.settings(), of_testnet(world.settings())
    with RunningSink(other) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and "the database holds ledgers of network" in str(running.error)
    with pytest.raises(IntegrityError, match="the database holds ledgers"):
        Publisher(other, threading.Event()).run()
    with pytest.raises(IntegrityError, match="the database holds ledgers"):
        database_cursor(other)
    with pytest.raises(IntegrityError, match="the database holds ledgers"):
        serve(other)
    with pytest.raises(IntegrityError, match="the database holds ledgers"):
        verify(other)
    assert [result.level for result in checks.run(other) if "the database holds ledgers" in result.text] == [Level.FAIL]
    assert database_cursor(own) == 101


def test_a_job_of_another_network_supersedes_nothing(world: World) -> None:
    """Guards: it took the open ranges of a running job over, and sent ledgers that every worker refused."""
    world.send(make_chain(6, 100, 2))
    run_until(world, 101)
    with closing(Book(world.settings())) as book:
        book.begin("running", [Range(100, 101)], ["participants"], None)
        for request in (Request(100, 101), Request(100, 101, rewrite=True)):
            with pytest.raises(IntegrityError, match="the database holds ledgers"):
                Job(of_testnet(world.settings()), request, threading.Event())
        assert book.ended("running", [100]) == []


def test_health_of_the_api_names_both_networks(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into ingest_store values ('network_id', %s), ('latest_ingest_ledger', '5')", ("ab" * 32,))
    with serving(database_url) as served:
        answer = served.http.get("/health")
    assert answer.status_code == 503 and "ab" * 32 in answer.json()["error"]


def test_a_database_from_before_the_key_gets_it_with_the_next_ledger(world: World) -> None:
    chain = make_chain(6, 100, 2)
    world.send(chain[:1])
    run_until(world, 100)
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute("delete from ingest_store where key = 'network_id'")
        world.send(chain[1:])
        run_until(world, 101)
        database.check_network(connection, world.settings().network.network_id())
        with pytest.raises(IntegrityError):
            database.check_network(connection, bytes(32))


def test_one_writer_whatever_the_network_is_called(world: World) -> None:
    """Guards: the lock had the network's name in it, so two names meant two writers."""
    renamed = NetworkSettings(name="mine", passphrase=world.settings().network.resolved_passphrase())
    first, second = Leadership(world.settings()), Leadership(world.settings().model_copy(update={"network": renamed}))
    stop = threading.Event()
    try:
        assert first.acquire(stop)
        timer = threading.Timer(0.5, stop.set)
        timer.start()
        assert not second.acquire(stop)
    finally:
        first.release()
        second.release()
