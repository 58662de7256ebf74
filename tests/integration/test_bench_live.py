"""What the benchmark of the live path hears of GraphQL: when it answered for a ledger's transaction, not before that is there."""

from __future__ import annotations

import time

import psycopg
import pytest

from lumenstream.bench import live
from lumenstream.bench.live import Asking
from lumenstream.bench.paced import milliseconds
from lumenstream.errors import LumenstreamError
from schemas import toid
from tests.integration import test_api_world as world
from tests.integration.test_api_world import START_S, Api, fill_transaction, own_api, transaction_hash

__all__ = ["own_api"]  # a fixture

LEDGERS = range(world.FIRST_LEDGER + world.LEDGERS, world.FIRST_LEDGER + world.LEDGERS + 3)  # after those that are there
HASHES = {ledger: transaction_hash(toid.transaction_id(ledger, 1)).hex() for ledger in LEDGERS}


def commit(url: str, ledger: int) -> None:
    with psycopg.connect(url) as connection:
        fill_transaction(connection, ledger, 1)


def test_every_ledger_heard_of_is_answered_for_once_it_is_committed(own_api: Api, database_url: str) -> None:
    first, second, third = LEDGERS
    commit(database_url, first)
    with Asking(f"{own_api.http.base_url}/graphql/query", HASHES) as asking:
        asking.heard(first)
        asking.heard(second)
        asking._answers[first].result(START_S)
        committed = time.monotonic()
        commit(database_url, second)
        answered = asking.answered()
        commit(database_url, third)
        asking.heard(third)
        assert asking.answered().keys() == {*LEDGERS}
    assert answered.keys() == {first, second}
    assert answered[first] <= committed <= answered[second]


def test_a_ledger_that_graphql_never_knows_is_an_error(own_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "VISIBLE_WITHIN_SECONDS", 0.1)
    with Asking(f"{own_api.http.base_url}/graphql/query", HASHES) as asking:
        asking.heard(LEDGERS[0])
        with pytest.raises(LumenstreamError, match=HASHES[LEDGERS[0]]):
            asking.answered()


def test_shares_of_delays() -> None:
    assert milliseconds([number / 1000 for number in range(1, 101)]) == {"p50": 51.0, "p99": 100.0, "max": 100.0}
