"""Which servers a test run gets when some ways to have them are closed, and what it then reports."""

from __future__ import annotations

import json
import os

import pytest

from tests.servers import choose
from tests.servers.cache import REPOSITORY, Unavailable
from tests.servers.choose import Chosen, Servers

UNREACHABLE = "127.0.0.1:1"

ONLY_THE_WHEELS = """
import pytest
from tests.servers import choose
from tests.servers.cache import Unavailable

def closed():
    raise Unavailable("closed for this test")

def pytest_configure(config):
    for way in ("kafka_from_environment", "kafka_in_docker", "kafka_from_jars"):
        setattr(choose, f"_{way}", closed)
    for way in ("database_from_environment", "database_in_docker", "database_in_private_root"):
        setattr(choose, f"_{way}", closed)
"""

SOME_TESTS = """
import psycopg
import pytest

@pytest.mark.needs("kafka")
def test_of_retention(kafka): ...

@pytest.mark.needs("timescaledb")
def test_of_chunks(database_url): ...

def test_of_topics(kafka):
    kafka.create_topic("ledgers")

def test_of_tables(empty_database_url):
    psycopg.connect(empty_database_url).close()
"""


def unavailable() -> Chosen:
    raise Unavailable("not here")


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choose.KAFKA_VARIABLE, UNREACHABLE)
    servers = Servers()
    assert servers.bootstrap == UNREACHABLE
    assert servers.has(choose.KAFKA)
    servers.close()


def test_another_process_gets_what_was_chosen(monkeypatch: pytest.MonkeyPatch, admin_url: str) -> None:
    """The processes of a parallel run use the servers that the first one started, or know why there are none."""
    monkeypatch.delenv(choose.KAFKA_VARIABLE, raising=False)
    for way in ("_kafka_in_docker", "_kafka_from_jars", "_kafka_from_wheel"):
        monkeypatch.setattr(choose, way, unavailable)
    monkeypatch.setenv(choose.DATABASE_VARIABLE, admin_url)
    first = Servers()
    other = Servers.handed_over(json.loads(json.dumps(first.describe())))
    assert other.database_url == admin_url
    assert other.edition == first.edition
    assert other.has(choose.TIMESCALEDB) == first.has(choose.TIMESCALEDB)
    with pytest.raises(Unavailable, match="is not set; not here"):
        _ = other.bootstrap
    other.close()
    first.close()


def test_every_reason_is_told_when_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choose.KAFKA_VARIABLE, raising=False)
    for way in ("_kafka_in_docker", "_kafka_from_jars", "_kafka_from_wheel"):
        monkeypatch.setattr(choose, way, unavailable)
    servers = Servers()
    with pytest.raises(Unavailable, match=f"{choose.KAFKA_VARIABLE} is not set; not here; not here; not here"):
        _ = servers.bootstrap
    assert [str(server) for server in servers.started()] == [f"{choose.KAFKA_VARIABLE} is not set; not here; not here; not here"]
    servers.close()


def test_with_database_keeps_the_rest_of_the_url() -> None:
    url = "postgresql://me:secret@127.0.0.1:5432/postgres?sslmode=disable"
    assert choose.with_database(url, "other") == "postgresql://me:secret@127.0.0.1:5432/other?sslmode=disable"


def test_on_the_wheels_the_tests_that_did_not_run_are_named(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{pytester.path}")
    pytester.makepyfile(only_the_wheels=ONLY_THE_WHEELS)
    path = pytester.makepyfile(SOME_TESTS)
    plugins = ("only_the_wheels", "tests.plugins.servers")
    configuration = ("-o", "markers=needs", "-o", "markers=unit")
    arguments = [word for plugin in plugins for word in ("-p", plugin)]
    result = pytester.runpytest_subprocess(*arguments, *configuration, path)
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "used: Tansu from its wheel",
            "  passed over: closed for this test",
            "used: PostgreSQL from its wheel",
            "not run: *::test_of_retention: needs kafka, *",
            "not run: *::test_of_chunks: needs timescaledb, *",
        ]
    )
