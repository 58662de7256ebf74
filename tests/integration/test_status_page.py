"""/status and /status.json of the API: from a real database and a real role's pages, with what is wrong in plain sight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from lumenstream import metrics, retention
from lumenstream.database import Cursor, update_cursor
from lumenstream.embedded.processes import free_port
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import DatabaseSettings, HttpSettings, NetworkSettings, Settings, StatusSettings
from lumenstream.status.database import GapCount
from tests.integration.test_api_world import serving_with

FAILURE = "effects failed: <b>boom</b>"
BROKEN_RANGE = "the source does not have <ledger> 5"


@pytest.fixture
def sink() -> Iterator[RoleServer]:
    """A role that waits for a part."""
    waiting = {"ledger": 13, "missing": ["effects"], "failures": {"effects": "boom"}, "seconds": 7.0}
    health = Health(ok=False, ready=True, details={"role": "sink", "problems": [FAILURE], "waiting": waiting})
    metrics.SINK_IS_LEADER.set(1)
    metrics.CURSOR_LEDGER.set(12)
    metrics.CURSOR_CLOSE_TIME.set(1_700_000_060)
    server = RoleServer(HttpSettings(), 0, lambda: health, setting="sink.http_port").start()
    yield server
    server.stop()
    metrics.SINK_IS_LEADER.set(0)
    metrics.CURSOR_LEDGER.set(0)
    metrics.CURSOR_CLOSE_TIME.set(0)


def fill(url: str) -> None:
    """Ledgers 2 to 12 without 5 to 7 and 9, retention that is held, a range that failed and one that was mended since."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "insert into ledgers select n, '', '', n - 1, to_timestamp(1700000000 + 5 * n), 22, 0, 0, 0, 0, 'ledgers', 0, n "
            "from generate_series(2, 12) n where n not in (5, 6, 7, 9)"
        )
        update_cursor(connection, Cursor.LATEST, 12)
        update_cursor(connection, Cursor.OLDEST, 2)
        update_cursor(connection, Cursor.PUBLISHED, 10)
        connection.execute("update retention set keep = '90 days', held_by = 'backfill-x pauses retention', ran_at = now()")
        connection.execute(
            "insert into backfill_ranges (job, first_ledger, last_ledger, parts, state, error) "
            "values ('backfill-x', 5, 7, '{}', 'failed', %s), ('backfill-x', 9, 9, '{}', 'open', '')",
            (BROKEN_RANGE,),
        )
        connection.execute(
            "insert into backfill_ranges (job, first_ledger, last_ledger, parts, state, error, updated_at) "
            "values ('mended', 2, 4, '{}', 'failed', 'once', now() - interval '2 hours'), "
            "('mending', 2, 4, '{}', 'done', '', now() - interval '1 hour')"
        )


def settings_for(url: str, **status: Any) -> Settings:
    return Settings(
        network=NetworkSettings(name="sandbox"),
        database=DatabaseSettings.model_validate({"url": url}),
        status=StatusSettings(**status),
    )


def test_the_page_shows_what_is_wrong_and_nothing_is_markup(database_url: str, sink: RoleServer) -> None:
    fill(database_url)
    targets = f"sink=http://127.0.0.1:{sink.port},worker=http://127.0.0.1:{free_port()}"
    entry = retention.JobEntry("backfill-x", 5, 9, None, True)
    lease = retention.Lease(DatabaseSettings.model_validate({"url": database_url}), entry, 30)
    with lease, serving_with(settings_for(database_url, targets=targets)) as api:
        answer = api.http.get("/status")
        found = api.http.get("/status.json").json()
    page = answer.text
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert "http://" not in page.replace('xmlns="http://', "") and "https://" not in page and "<script" not in page
    assert "<b>boom" not in page and "&lt;b&gt;boom" in page and "&lt;ledger&gt; 5" in page
    assert "prefers-color-scheme: dark" in page and 'content="light dark"' in page
    nonce = re.search(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
    assert nonce is not None and f'<style nonce="{nonce[1]}">' in page
    for text in (
        "5-7",
        "9",
        "backfill-x pauses retention",
        "90 days",
        "0 of 2",
        "effects failed: boom",
        "worker: does not answer",
    ):
        assert text in page, text
    base = found["database"]
    assert (found["cursor"], base["oldest"], base["missing"], base["gaps"], base["ledgers"]) == (12, 2, 4, 2, 7)
    assert base["shown_gaps"] == [[5, 7], [9, 9]]
    assert [(job["job"], job["ranges"], job["failed_ranges"]) for job in base["jobs"]] == [("backfill-x", 2, 1)]
    assert [(failed["first"], failed["last"], failed["error"]) for failed in base["failed_ranges"]] == [(5, 7, BROKEN_RANGE)]
    assert found["problems"] == ["worker: does not answer", f"sink: {FAILURE}"]
    stage = next(stage for stage in found["stages"] if stage["name"] == "sink")
    assert (stage["up"], stage["ledger"], stage["waiting"]["missing"]) == (True, 12, ["effects"])


def test_lag_in_time_counts_close_times(database_url: str, sink: RoleServer) -> None:
    fill(database_url)
    metrics.PUBLISHED_LEDGER.set(10)
    targets = f"sink=http://127.0.0.1:{sink.port},publisher=http://127.0.0.1:{sink.port}"
    with serving_with(settings_for(database_url, targets=targets)) as api:
        stages = {stage["name"]: stage for stage in api.http.get("/status.json").json()["stages"]}
    metrics.PUBLISHED_LEDGER.set(0)
    assert (stages["publisher"]["lag"], stages["publisher"]["lag_seconds"]) == (2, 10.0)
    assert stages["sink"]["lag_seconds"] == 0


def test_a_database_that_is_away_is_said_and_the_page_can_be_turned_off(sink: RoleServer) -> None:
    url = f"postgresql://u:secret@127.0.0.1:{free_port()}/x"
    with serving_with(settings_for(url, targets=f"sink=http://127.0.0.1:{sink.port}")) as api:
        page = api.http.get("/status")
        assert page.status_code == 200 and "does not answer" in page.text and "secret" not in page.text
    with serving_with(settings_for(url, page=False)) as api:
        assert api.http.get("/status").status_code == api.http.get("/status.json").status_code == 404


def test_a_count_of_gaps_is_believed_for_a_while(database_url: str) -> None:
    fill(database_url)
    count, fresh = GapCount(3600), GapCount(0)
    with psycopg.connect(database_url, autocommit=True) as connection:
        first = count.take(connection)
        connection.execute("delete from ledgers where sequence = 11")
        assert first is not None and first.ledgers == 4 and count.take(connection) == first
        later = fresh.take(connection)
        assert later is not None and later.ledgers == 5
