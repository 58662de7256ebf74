"""Compiled plans against graphql-core: for every query both must give the same bytes.

The recorded queries of the other API tests are compared there, by the application of the fixture `api`; here are random ones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from prometheus_client import REGISTRY

from api.database import Database
from api.execution import OK, Answer, Request
from api.live.feed import Feed
from api.schema import graphql_schema
from tests.integration.random_queries import Query, queries
from tests.integration.test_api_world import (
    ALICE,
    BothWays,
    Tally,
    fill,
    serving,
    settings_for,
    text,
    transaction_hash,
    world_database,
)

EXAMPLES = 120


class World:
    """Two executors on one database, in an event loop of their own."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.database = Database(settings_for(url).database)
        self.executor = BothWays(graphql_schema(), settings_for(url), self.database, Feed(settings_for(url).database))

    def answer(self, query: Query) -> Answer:
        """The answer, which both ways gave."""
        request = Request(query.text, query.variables, None, False)
        return self.loop.run_until_complete(self.executor.answer(request, "request"))

    def close(self) -> None:
        self.loop.run_until_complete(self.database.__aexit__(None, None, None))
        self.loop.close()


@pytest.fixture(scope="module")
def shared(admin_url: str, template_database: str) -> Iterator[World]:
    """One world for the tests of this module, which only read."""
    with world_database(admin_url, template_database) as url:
        made = World(url)
        yield made
        made.close()


@pytest.fixture
def world(shared: World) -> World:
    shared.executor.tally = Tally()
    return shared


def test_random_queries_get_the_same_bytes(world: World) -> None:
    schema = graphql_schema()
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(queries(schema))
    def compare(query: Query) -> None:
        answer = world.answer(query)
        assume(answer.status == OK)
        seen["errors" if answer.body.startswith(b'{"errors"') else "data"] += 1

    compare()
    assert seen["data"] > EXAMPLES / 5
    assert seen["errors"] > EXAMPLES / 20
    assert world.executor.tally.planned > EXAMPLES / 3


@pytest.mark.parametrize(
    "text",
    [
        "{ transactions(first: 2) { edges { node { hash operations(first: 1) { edges { node { id } } } } } } }",
        "{ a: transactions(first: 1) { edges { cursor } } b: transactions(last: 1) { edges { cursor } } }",
        "query($no: Boolean! = false) { transactions { edges @include(if: $no) { cursor } pageInfo { hasNextPage } } }",
        "{ ...R } fragment R on Query { __typename stateChanges(first: 3) { edges { node { type account { address } } } } }",
        f'{{ balancesByAccountAddress(address: "{text(ALICE)}") {{ __typename balance tokenType }} }}',
        f'{{ accountByAddress(address: "{text(ALICE)}") {{ transactions {{ totalCount {{ count exact }} }} }} }}',
        f'{{ transactionByHash(hash: "{"00" * 32}") {{ hash }} }}',
        '{ accountByAddress(address: "nobody") { address } }',
        '{ balancesByAccountAddress(address: "nobody") { balance } }',
    ],
)
def test_a_plan_answers(world: World, text: str) -> None:
    """None of these is left to graphql-core."""
    world.answer(Query(text, {}))
    assert world.executor.tally == Tally(planned=1, walked=0)


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { queryType { name } } }",
        '{ a: transactionByHash(hash: "x") { hash } b: transactionByHash(hash: "y") { hash } }',
        "{ transactions(first: 1000) { edges { node { operations(first: 1000) { edges { cursor } } } } } }",
        "query($n: Int!) { transactions(first: $n) { edges { cursor } } }",
    ],
)
def test_a_plan_leaves_the_rest_to_graphql_core(world: World, text: str) -> None:
    world.answer(Query(text, {}))
    assert world.executor.tally == Tally(planned=0, walked=1)
    world.answer(Query("{ transactions(first: 1) { edges { node { hash } } } }", {}))
    assert world.executor.tally == Tally(planned=1, walked=1)


def test_a_database_that_fails_is_one_masked_error(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE transactions RENAME TO transactions_gone")
    world = World(database_url)
    query = Query("query($h: String!) { transactionByHash(hash: $h) { hash } }", {"h": transaction_hash(1).hex()})
    assert b'"internal server error"' in world.answer(query).body
    assert world.executor.tally == Tally(planned=1, walked=0)
    world.close()


def test_plans_can_be_switched_off(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        fill(connection)
    with serving(database_url, plans=False) as served:
        before = REGISTRY.get_sample_value("lumenstream_api_executions_total", {"by": "planned"})
        for _ in range(2):
            served.data("{ transactions(first: 1) { edges { node { hash } } } }")
        assert REGISTRY.get_sample_value("lumenstream_api_executions_total", {"by": "planned"}) == before
