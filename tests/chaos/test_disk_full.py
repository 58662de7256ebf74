"""The database's disk is full: a wait that is visible, and every ledger as soon as there is room."""

from __future__ import annotations

import random
from typing import Final

import psycopg
import pytest

from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import Source
from tests.plugins.servers import migrate_template
from tests.servers.cache import Unavailable
from tests.servers.choose import with_database
from tests.servers.timescale import TimescaleServer

LARGE_MIB: Final = 512
MOST_FREE_MIB: Final = 2
NOTICE_SECONDS: Final = 90.0
BACK_SECONDS: Final = 300.0
PACE_SECONDS: Final = 0.3


def test_disk_full(
    own_database: TimescaleServer, make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    """The tables' disk has room for the schema and little more; it grows while the sink stands before it."""
    try:
        path = own_database.small_disk(LARGE_MIB)
    except Unavailable as error:
        pytest.skip(str(error))
    with psycopg.connect(own_database.url, autocommit=True) as admin:
        admin.execute(f"create tablespace small location '{path}'".encode())
        admin.execute("create database cramped tablespace small")
    url = with_database(own_database.url, "cramped")
    migrate_template(url)
    own_database.small_disk(own_database.small_disk_use() // (1 << 20) + dice.randint(1, MOST_FREE_MIB))

    pipeline = make_pipeline(database_url=url, source=source.paced(PACE_SECONDS))
    pipeline.start_all()
    sink = pipeline.roles["sink"]
    pipeline.wait(lambda: "No space left" in str(sink.health().get("problems")), NOTICE_SECONDS, "full disk on /health")
    assert sink.health()["code"] == 503
    stopped_at = pipeline.cursor()
    print(f"the disk is full after ledger {stopped_at}")
    assert stopped_at is None or stopped_at < source.last

    own_database.small_disk(LARGE_MIB)
    pipeline.wait_for_end(BACK_SECONDS)
    pipeline.wait(lambda: sink.answers("/health"), NOTICE_SECONDS, "healthy sink")
    baseline.check(pipeline)
