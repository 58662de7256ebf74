"""Commands that read for long: they may take longer than a query, and a database that goes away meanwhile is one clear line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest

from lumenstream import retention
from lumenstream.database import Connection, Cursor, update_cursor
from lumenstream.errors import ExitCode, UnreachableError
from lumenstream.settings import DatabaseSettings, NetworkSettings, Settings
from producers.backfill.book import Book
from sinks.timescale.checkpoint.firstrun import patient
from tests.plugins.proxy import TcpProxy, port_of, through
from tests.plugins.servers import KafkaForTest

LIMIT_SECONDS = 1  # of a query, in the settings of these commands
WAIT_SECONDS = 60.0
COMMANDS = {
    ("verify",): "lumenstream-verify",
    ("publish", "--from", "5", "--to", "6"): "lumenstream-publisher",
}


@pytest.fixture
def filled_url(database_url: str) -> str:
    """Ledgers 5 and 6, which are empty."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into ledgers select n, int4send(n), int4send(n - 1), n - 1, now(), 22, 0, 0, 0, 0, 'ledgers', 0, n "
            "from generate_series(5, 6) n"
        )
        update_cursor(connection, Cursor.LATEST, 6)
        update_cursor(connection, Cursor.OLDEST, 5)
    return database_url


@contextmanager
def stuck(
    url: str, database_url: str, kafka: KafkaForTest, command: tuple[str, ...]
) -> Iterator[tuple[subprocess.Popen[str], Connection]]:
    """The command, waiting for a lock that the connection holds, for longer than a query may take."""
    environment = os.environ | {
        "LUMENSTREAM_NETWORK__NAME": "sandbox",
        "LUMENSTREAM_DATABASE__URL": url,
        "LUMENSTREAM_DATABASE__STATEMENT_TIMEOUT_SECONDS": str(LIMIT_SECONDS),
        "LUMENSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "LUMENSTREAM_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
    }
    with psycopg.connect(database_url) as lock, psycopg.connect(database_url, autocommit=True) as looking:
        lock.execute("lock table state_changes in access exclusive mode")
        arguments = [sys.executable, "-m", "lumenstream", *command]
        with subprocess.Popen(arguments, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            try:
                wait_until_too_long(looking, COMMANDS[command], lambda: child.poll() is None)
                yield child, lock
            finally:
                child.kill()


def wait_until_too_long(looking: Connection, name: str, alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not waits_too_long(looking, name):
        assert alive() and time.monotonic() < deadline
        time.sleep(0.05)


def waits_too_long(looking: Connection, name: str) -> bool:
    row = looking.execute(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s "
        "and wait_event_type = 'Lock' and query_start < now() - make_interval(secs => %s)",
        (name, LIMIT_SECONDS * 1.5),
    ).fetchone()
    return row is not None and row[0] > 0


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_long_statement_is_not_cut_off(filled_url: str, kafka: KafkaForTest, command: tuple[str, ...]) -> None:
    """Guards: the limit of a query of the API ended the command with a traceback."""
    with stuck(filled_url, filled_url, kafka, command) as (child, lock):
        lock.rollback()
        out, error = child.communicate(timeout=WAIT_SECONDS)
    assert child.returncode == 0, error
    assert out in ("2 ledgers between 5 and 6, 0 findings\n", "0 events sent\n")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_goes_away_is_one_clear_line(
    filled_url: str, kafka: KafkaForTest, command: tuple[str, ...], tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    proxy = tcp_proxy(port_of(filled_url))
    with stuck(through(filled_url, proxy.port), filled_url, kafka, command) as (child, _):
        proxy.cut()
        _, error = child.communicate(timeout=WAIT_SECONDS)
    assert child.returncode == ExitCode.UNREACHABLE, error
    assert "does not answer" in error.splitlines()[-1] and "Traceback" not in error


def test_a_job_waits_for_a_drop_of_history_that_takes_long(filled_url: str) -> None:
    """Guards: whoever drops holds the lock under which a job enters itself."""
    settings = DatabaseSettings.model_validate({"url": filled_url, "statement_timeout_seconds": LIMIT_SECONDS})
    entry = retention.JobEntry("backfill-x", 5, 6, None, pauses_retention=False)
    with (
        psycopg.connect(filled_url) as drop,
        psycopg.connect(filled_url, autocommit=True) as looking,
        ThreadPoolExecutor(1) as other,
    ):
        retention.lock(drop)
        entered = other.submit(retention.Lease(settings, entry, 30).__enter__)
        wait_until_too_long(looking, "lumenstream-job", lambda: not entered.done())
        drop.rollback()
        lease = entered.result(WAIT_SECONDS)
        assert [job.job for job in retention.running_jobs(looking)] == ["backfill-x"]
        lease.__exit__(None, None, None)
        assert retention.running_jobs(looking) == []


def test_a_transaction_of_hours_says_that_the_database_went_away(filled_url: str, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    """Of `bootstrap`, `verify --checkpoint` and `rebuild-state`."""
    proxy = tcp_proxy(port_of(filled_url))

    def work() -> None:
        with patient(connection):
            proxy.cut()
            connection.execute("select 1")

    with psycopg.connect(through(filled_url, proxy.port)) as connection:
        with pytest.raises(UnreachableError, match="the database failed, nothing was written"):
            work()
        assert connection.closed


def test_a_job_gives_up_on_a_database_that_stays_away(
    filled_url: str, tcp_proxy: Callable[[int], TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.backfill.book._GIVE_UP_SECONDS", -1.0)
    proxy = tcp_proxy(port_of(filled_url))
    network, url = NetworkSettings(name="sandbox"), through(filled_url, proxy.port)
    with closing(Book(Settings(network=network, database=DatabaseSettings.model_validate({"url": url})))) as book:
        assert book.cursor() == 6
        proxy.cut()
        with pytest.raises(UnreachableError, match="does not answer"):
            book.cursor()
