"""Clients that follow the API while the sink and the API are killed: every row once, in order, none missing."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import psycopg
import pytest

from lumenstream.client import Client
from lumenstream.embedded.processes import free_port
from schemas import strkey
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import Pipeline, Source
from tests.integration.test_api_live import api_process

pytestmark = pytest.mark.timeout(300)

PACE_SECONDS: Final = 0.3
END_SECONDS: Final = 60.0


class Followed(NamedTuple):
    """What a client was told: ledgers, and ids of an account's state changes."""

    ledgers: list[int]
    changes: list[str]


def follow(url: str, address: str, first: int, last: int) -> Followed:
    """Follow the ledgers until the last was told of, then one account's state changes from the start."""
    with Client(url) as client:
        ledgers = []
        for event in client.follow_ledgers(after_ledger=first - 1):
            ledgers.append(event.item.sequence)
            if event.item.sequence == last:
                break
        known = [change.id for change in client.iterate(client.account_state_changes, address)]
        events = client.follow_state_changes(address, after_ledger=first - 1)
        return Followed(ledgers, [next(events).item.id for _ in known])


def busiest_account(pipeline: Pipeline) -> str:
    """The account with most state changes."""
    with psycopg.connect(pipeline.database_url) as connection:
        row = connection.execute(
            "select account_id from state_changes group by account_id order by count(*) desc, account_id limit 1"
        ).fetchone()
    assert row is not None
    return strkey.encode(row[0])


def changes_of(pipeline: Pipeline, address: str) -> list[str]:
    with psycopg.connect(pipeline.database_url) as connection:
        rows = connection.execute(
            "select to_id, operation_id, state_change_id from state_changes where account_id = %s order by 1, 2, 3",
            (strkey.decode(address),),
        )
        return ["-".join(map(str, row)) for row in rows]


def test_followers_miss_nothing_when_sink_and_api_are_killed(
    make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pipeline = make_pipeline(source=source.paced(PACE_SECONDS))
    address, port, folder = busiest_account(baseline.pipeline), free_port(), tmp_path_factory.mktemp("api")
    environment = {"LUMENSTREAM_NETWORK__NAME": source.network, "LUMENSTREAM_NETWORK__PASSPHRASE": source.passphrase}
    pipeline.start("publisher")
    for name in ("sink", "worker"):
        pipeline.spawn(name)
    with ThreadPoolExecutor(1) as threads, api_process(pipeline.database_url, folder, port, environment) as (url, first):
        following = threads.submit(follow, url, address, source.first, source.last)
        pipeline.spawn("producer")
        pipeline.wait_for_cursor(dice.randint(source.first, source.first + 3))
        pipeline.kill("sink")
        first.kill()
        pipeline.spawn("sink")
        with api_process(pipeline.database_url, folder, port, environment):
            pipeline.wait_for_end()
            told = following.result(END_SECONDS)
    assert told.ledgers == [*range(source.first, source.last + 1)]
    assert told.changes == changes_of(pipeline, address) != []
    baseline.check(pipeline)
