"""Alerts can fire: the rules under Prometheus' own checker, and what they ask for on the pages of running roles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml
from annotated_types import Le

from lumenstream.embedded.processes import free_port
from lumenstream.failedranges import MAX_RANGE_LEDGERS, failed_ranges
from lumenstream.settings import DatabaseSettings, KafkaSettings, MaintenanceSettings, NetworkSettings, Settings
from lumenstream.status import Endpoint, Samples, scrape
from producers.backfill.book import Book
from schemas.processors import PROCESSORS
from sinks.timescale import maintenance
from tests.integration.sink_world import wait_for
from tests.servers.cache import Unavailable
from tests.servers.promtool import promtool

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "ops/prometheus"
NOWHERE = "127.0.0.1:9"  # the discard port: nothing answers

AddRange = Callable[..., None]


def page(role: str, port: int, *, alive: Callable[[], bool]) -> Samples:
    """The role's metrics, once it answers."""
    found: list[Samples] = []

    def answers() -> bool:
        assert alive(), f"the {role} ended"
        samples = scrape(Endpoint(role, f"http://127.0.0.1:{port}"))
        if samples is not None:
            found.append(samples)
        return bool(found)

    wait_for(answers)
    return found[-1]


def check_rules(test: Path) -> None:
    """What the file says of its rules holds under Prometheus' own checker."""
    try:
        checker = promtool()
    except Unavailable as reason:
        pytest.skip(str(reason))
    done = subprocess.run(
        [checker, "test", "rules", test.name], cwd=test.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_fires_when_it_has_to_and_not_while_all_is_well() -> None:
    """Guards: a first failure that was no rise, a sum of nothing that is not 0, a role's 0 that looked like a stuck source."""
    check_rules(RULES / "alerts_test.yml")


def test_workers_are_scaled_by_what_waits_on_all_partitions(tmp_path: Path) -> None:
    """Guards: a metric that was 0 as soon as one worker was at the tip. A job's workers are not of this Deployment."""
    (rule,) = yaml.safe_load((REPOSITORY / "ops/kubernetes/adapter-rules.yaml").read_text(encoding="utf-8"))["externalRules"]
    recorded = {"record": "scaled_by", "expr": rule["metricsQuery"]}
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "adapter", "rules": [recorded]}]}), encoding="utf-8")
    waiting = {("tip", "ledgers"): 0, ("slow", "ledgers"): 300, ("slow", "ledgers.retry"): 2, ("job", "ledgers.backfill"): 9_000}
    series = [
        {"series": f'{rule["seriesQuery"]}{{instance="{instance}", topic="{topic}"}}', "values": f"{messages}x8"}
        for (instance, topic), messages in waiting.items()
    ]
    expected = {"expr": "scaled_by", "eval_time": "2m", "exp_samples": [{"labels": "scaled_by", "value": 302}]}
    test = {"interval": "15s", "input_series": series, "promql_expr_test": [expected]}
    (tmp_path / "test.yml").write_text(
        json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [test]}), encoding="utf-8"
    )
    check_rules(tmp_path / "test.yml")


def test_a_fresh_worker_tells_no_failure_of_each_of_its_processors() -> None:
    """Before it has met any ledger, and even the broker: a counter that is born as 1 never rose."""
    port = free_port()
    command = [sys.executable, "-m", "lumenstream", "process", "--kafka-bootstrap", NOWHERE, "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUMENSTREAM_")}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL) as worker:
        try:
            samples = page("worker", port, alive=lambda: worker.poll() is None)
        finally:
            worker.kill()
    assert samples.by_label("lumenstream_processor_failures_total", "processor") == dict.fromkeys(PROCESSORS, 0.0)


@contextmanager
def maintaining(database_url: str) -> Iterator[Callable[[], Samples]]:
    """A maintenance role at work. Yields what reads its metrics."""
    port, stop = free_port(), threading.Event()
    settings = Settings(
        network=NetworkSettings(name="sandbox"),
        database=DatabaseSettings.model_validate({"url": database_url}),
        maintenance=MaintenanceSettings(http_port=port, every_seconds=1),
    )
    role = threading.Thread(target=maintenance.run, args=(settings, stop))
    role.start()
    try:
        yield lambda: page("maintenance", port, alive=role.is_alive)
    finally:
        stop.set()
        role.join()


@pytest.fixture
def add(database_url: str) -> Iterator[AddRange]:
    """Writes a range into table backfill_ranges, `ago` seconds old."""
    with psycopg.connect(database_url, autocommit=True) as connection:

        def write(job: str, first: int, last: int, state: str, ago: int, processors: list[str] | None = None) -> None:
            connection.execute(
                "insert into backfill_ranges (job, first_ledger, last_ledger, parts, processors, state, updated_at) "
                "values (%s, %s, %s, '{effects}', %s, %s, now() - make_interval(secs => %s))",
                (job, first, last, processors, state, ago),
            )

        yield write


def test_a_failed_range_is_told_by_the_maintenance_role(database_url: str, add: AddRange) -> None:
    """Guards: only the backfill sinks counted it, on ports nobody scrapes, until their job ended."""
    add("a", 64, 127, "failed", 60)
    add("a", 128, 191, "done", 60)
    add("a", 192, 255, "open", 60)
    with maintaining(database_url) as metrics:
        wait_for(lambda: metrics().highest("lumenstream_failed_ranges") == 1)


def test_a_failure_is_over_when_later_ranges_wrote_all_that_it_was_to_write(database_url: str, add: AddRange) -> None:
    def left() -> int:
        with psycopg.connect(database_url, autocommit=True) as connection:
            return len(failed_ranges(connection))

    longest = KafkaSettings.model_fields["backfill_range_size"].metadata
    assert MAX_RANGE_LEDGERS in [limit.le for limit in longest if isinstance(limit, Le)]
    assert left() == 0
    add("history", 64, 127, "failed", 90)
    add("replay", 64, 127, "failed", 80, ["effects"])
    add("before", 64, 127, "done", 100)
    add("other rows", 64, 127, "done", 70, ["trades"])
    add("first half", 60, 99, "done", 60, ["effects", "trades"])
    assert left() == 2
    add("second half", 100, 140, "done", 50)
    assert left() == 1, "the replay's rows are written, of the history's only the second half is"
    add("first half again", 64, 100, "done", 40)
    assert left() == 0


def test_the_end_of_a_job_does_not_renew_what_it_failed_at(database_url: str, add: AddRange) -> None:
    """Guards: a range mended by a second job while the first one was still alive counted as failed again when that one ended."""
    add("first", 64, 127, "failed", 60)
    add("first", 128, 191, "open", 60)
    add("second", 64, 127, "done", 30)
    settings = Settings(network=NetworkSettings(name="sandbox"), database=DatabaseSettings.model_validate({"url": database_url}))
    with closing(Book(settings)) as book:
        book.end("first")
    with psycopg.connect(database_url, autocommit=True) as connection:
        states = connection.execute("select first_ledger, state from backfill_ranges where job = 'first' order by 1").fetchall()
        assert states == [(64, "failed"), (128, "superseded")] and failed_ranges(connection) == []
