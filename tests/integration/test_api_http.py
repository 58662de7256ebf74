"""The API over HTTP: statuses, errors, limits, health, the query page, and how many statements a query costs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY

from api.server import run
from lumenstream.embedded.processes import free_port
from lumenstream.errors import SchemaVersionError
from tests.integration.test_api_world import (
    ALICE,
    LAST,
    TO_ID,
    Api,
    api,
    fill,
    own_api,
    serving,
    settings_for,
    text,
    transaction_hash,
)

__all__ = ["api", "own_api"]  # the fixtures

PATH = "/graphql/query"
SMALL = "{ transactions(first: 1) { edges { node { hash } } } }"


def nested(fields: str, times: int) -> str:
    """`a b` twice: { a { b { a { b { __typename } } } } }"""
    names = fields.split() * times
    return "".join(f"{{ {name} " for name in names) + "{ __typename " + "} " * (len(names) + 1)


def statements() -> float:
    """Statements that this process has sent to a database."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "lumenstream_api_queries"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def test_a_query_by_post_and_by_get(api: Api) -> None:
    query = "query One($n: Int) { transactions(first: $n) { edges { node { hash } } } } query Two { __typename }"
    posted = api.http.post(PATH, json={"query": query, "variables": {"n": 1}, "operationName": "One"})
    parameters = {"query": query, "variables": '{"n": 1}', "operationName": "One"}
    got = api.http.get(PATH, params=parameters, headers={"accept": "application/json"})
    assert (posted.status_code, got.status_code) == (200, 200)
    assert posted.json() == got.json()
    assert posted.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", posted.headers["x-request-id"])


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"content": b"{"}),
        (400, {"content": b"[]"}),
        (400, {"content": b"{}"}),
        (400, {"json": {"query": 1}}),
        (400, {"json": {"query": SMALL, "variables": []}}),
        (400, {"json": {"query": SMALL, "operationName": 1}}),
        (413, {"content": b" " * 200_000}),
        (413, {"content": iter([b" " * 60_000] * 3)}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (415, {"content": b"{}", "headers": {"content-type": ""}}),
    ],
)
def test_what_is_not_a_graphql_request(api: Api, status: int, request_: dict[str, Any]) -> None:
    answer = api.http.post(PATH, **{"headers": {"content-type": "application/json; charset=utf-8"}, **request_})
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


UNKNOWN_KIND = "Unknown field 'kind' on type 'AccountStateChangeFilterInput'."
FILTER = 'query($f: AccountStateChangeFilterInput) { accountByAddress(address: "G") { stateChanges(filter: $f) { __typename } } }'


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        ("{ nonsense }", {}, "Unknown field 'nonsense' on type 'Query'."),
        ("{ ledger(sequence: 1) { hsh } }", {}, "Unknown field 'hsh' on type 'Ledger'. Did you mean 'hash'?"),
        (FILTER.replace("$f)", '{kind: "A"})').replace("($f: AccountStateChangeFilterInput)", ""), {}, UNKNOWN_KIND),
        (FILTER, {"f": {"kind": "BALANCE"}}, UNKNOWN_KIND),
        (
            FILTER,
            {"f": {"category": 5}},
            "Variable '$f' has invalid value at .category: String cannot represent a non string value: 5",
        ),
    ],
)
def test_an_unknown_field_is_named_plainly(api: Api, query: str, variables: dict[str, Any], message: str) -> None:
    for _ in range(2):  # the second time, a valid document goes to a plan
        answer = api.http.post(PATH, json={"query": query, "variables": variables})
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["message"]) == (422, message)
        assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
        assert error["locations"]


@pytest.mark.parametrize(
    ("status", "code", "body"),
    [
        (422, "GRAPHQL_PARSE_FAILED", {"query": ""}),
        (422, "GRAPHQL_PARSE_FAILED", {"query": "{ transactions "}),
        (422, "GRAPHQL_PARSE_FAILED", {"query": "{ " + "__typename " * 6000 + "}"}),
        (422, "GRAPHQL_VALIDATION_FAILED", {"query": "{ nonsense }"}),
        (422, "GRAPHQL_VALIDATION_FAILED", {"query": "query A { __typename } query B { __typename }"}),
        (422, "GRAPHQL_VALIDATION_FAILED", {"query": "query A { __typename }", "operationName": "B"}),
        (422, "GRAPHQL_VALIDATION_FAILED", {"query": "{ operationById(id: 9223372036854775808) { id } }"}),
        (
            422,
            "GRAPHQL_VALIDATION_FAILED",
            {"query": "query($id: Int64!) { operationById(id: $id) { id } }", "variables": {"id": "x"}},
        ),
        (422, "GRAPHQL_VALIDATION_FAILED", {"query": "query($id: Int64!) { operationById(id: $id) { id } }"}),
        (200, "INVALID_TRANSACTION_HASH", {"query": '{ transactionByHash(hash: "xyz") { hash } }'}),
        (200, "INVALID_TRANSACTION_HASH", {"query": f'{{ transactionByHash(hash: "{"0 " * 32}") {{ hash }} }}'}),
        (200, "NOT_FOUND", {"query": f'{{ transactionByHash(hash: "{"0" * 64}") {{ hash }} }}'}),
        (200, "NOT_FOUND", {"query": "{ operationById(id: 1) { id } }"}),
        (200, "INVALID_ADDRESS", {"query": '{ accountByAddress(address: "") { address } }'}),
        (200, "INVALID_ADDRESS", {"query": f'{{ accountByAddress(address: "{text(ALICE)[:-1]}A") {{ address }} }}'}),
        (200, "INVALID_ADDRESS", {"query": '{ balancesByAccountAddress(address: "G") { balance } }'}),
        (200, "EMPTY_ADDRESSES", {"query": "{ balancesByAccountAddresses(addresses: []) { address } }"}),
        (
            200,
            "TOO_MANY_ADDRESSES",
            {
                "query": "query($a: [String!]!) { balancesByAccountAddresses(addresses: $a) { address } }",
                "variables": {"a": ["G"] * 21},
            },
        ),
        (
            200,
            "COMPLEXITY_LIMIT_EXCEEDED",
            {"query": "{ " + " ".join(f"a{n}: transactions(first: 100) {{ edges {{ cursor }} }}" for n in range(51)) + " }"},
        ),
        (
            200,
            "QUERY_TOO_DEEP",
            {"query": "{ operationById(id: 1) " + nested("transaction operations(first:1) edges node", 4) + " }"},
        ),
    ],
)
def test_errors_have_their_code_and_status(api: Api, status: int, code: str, body: dict[str, Any]) -> None:
    answer = api.http.post(PATH, json=body)
    assert answer.status_code == status
    assert {error["extensions"]["code"] for error in answer.json()["errors"]} == {code}


def test_aliases_cannot_ask_for_more_reads_than_the_allowance(own_api: Api) -> None:
    before = statements()
    many = " ".join(f"a{number}: operationById(id: {TO_ID + 1}) {{ id }}" for number in range(300))
    answer = own_api.run(f"{{ {many} }}")
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"COMPLEXITY_LIMIT_EXCEEDED"}
    assert len([found for found in answer["data"].values() if found]) == 100
    assert statements() - before == 100


def test_the_first_requests_open_no_more_connections_than_allowed(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        fill(connection)
    many = " ".join(f"a{number}: operationById(id: {TO_ID + 1}) {{ id }}" for number in range(60))
    opened = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lumenstream-api'"
    with serving(database_url) as served, psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(2):
            assert len(served.data(f"{{ {many} }}")) == 60
        row = connection.execute(opened).fetchone()
    assert row is not None
    assert 1 <= row[0] <= settings_for(database_url).database.pool_max


def test_errors_say_what_helps(api: Api) -> None:
    many = api.run("query($a: [String!]!) { balancesByAccountAddresses(addresses: $a) { address } }", a=["G"] * 21)
    assert many["errors"][0]["extensions"] == {"code": "TOO_MANY_ADDRESSES", "limit": 20, "provided": 21}
    second = api.run("query($a: [String!]!) { balancesByAccountAddresses(addresses: $a) { address } }", a=[text(ALICE), "G1"])
    assert second["errors"][0]["extensions"] == {"code": "INVALID_ADDRESS", "index": 1, "address": "G1"}
    assert api.run('{ transactionByHash(hash: "ab") { hash } }')["errors"][0]["extensions"]["hash"] == "ab"


def test_unknown_paths_and_methods(api: Api) -> None:
    missing = api.http.get("/nothing")
    assert (missing.status_code, missing.json()) == (404, {"error": "The resource at the url requested was not found."})
    wrong = api.http.delete(PATH)
    assert (wrong.status_code, list(wrong.json())) == (405, ["error"])


def test_options_say_what_is_allowed(api: Api) -> None:
    answer = api.http.options(PATH)
    assert (answer.status_code, answer.headers["allow"]) == (200, "OPTIONS, GET, POST")


def test_a_mutation_by_get_is_refused(api: Api) -> None:
    assert api.http.get(PATH, params={"query": "mutation { registerAccount }"}).status_code == 405


def test_the_token_limit_and_aliases_are_bounded_by_settings(database_url: str) -> None:
    with serving(database_url, max_tokens=100, max_depth=3, introspection=False) as small:
        assert small.http.post(PATH, json={"query": "{ " + "__typename " * 200 + "}"}).status_code == 422
        assert small.code(SMALL.replace("hash", "accounts { address }")) == "QUERY_TOO_DEEP"
        assert small.code("{ __schema { types { name } } }") == "GRAPHQL_VALIDATION_FAILED"


ALL_RELATIONS = """{ transactions(first: 20) { edges { node {
    accounts { address }
    operations(first: 2) { edges { node { accounts { address } transaction { hash }
        stateChanges(first: 2) { edges { node { account { address } operation { id } transaction { hash } } } } } } }
    stateChanges(first: 3) { edges { node { operation { id } transaction { hash } } } } } } } }"""


def test_a_query_costs_a_statement_for_each_relation_not_for_each_row(own_api: Api) -> None:
    before = statements()
    found = own_api.data(ALL_RELATIONS)["transactions"]["edges"]
    assert len(found) == 20
    assert all(len(edge["node"]["operations"]["edges"]) >= 1 for edge in found)
    # transactions; accounts, operations and state changes of each; accounts, transaction and state changes of the operations;
    # operation and transaction of both lists of state changes (loaded in one batch where they meet).
    assert statements() - before <= 11


def test_aliases_with_their_own_pages_do_not_disturb_each_other(api: Api) -> None:
    query = """query($hash: String!) { transactionByHash(hash: $hash) {
        one: stateChanges(first: 1) { edges { node { idString } } pageInfo { hasNextPage } }
        five: stateChanges(first: 5) { edges { node { idString ... on StandardBalanceChange { amount } } } }
        back: stateChanges(last: 2) { edges { node { idString } } } } }"""
    found = api.data(query, hash=transaction_hash(TO_ID).hex())["transactionByHash"]
    assert [len(found[name]["edges"]) for name in ("one", "five", "back")] == [1, 5, 2]
    assert found["five"]["edges"][0]["node"]["amount"] == "100"
    assert found["one"]["edges"][0]["node"]["idString"] == found["five"]["edges"][0]["node"]["idString"]


def test_internal_errors_are_masked_and_named_by_request(own_api: Api, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE operations RENAME TO operations_gone")
    answer = own_api.http.post(PATH, json={"query": "{ operations { edges { cursor } } }"})
    assert answer.status_code == 200
    error = answer.json()["errors"][0]
    assert error["message"] == "internal server error"
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": answer.headers["x-request-id"]}


def test_health_tells_cursor_and_lag(api: Api) -> None:
    answer = api.http.get("/health")
    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["backend_latest_ledger"]) == ("ok", LAST)
    assert body["latest_ledger_closed_at"] == "2026-03-01T12:00:25.25Z"
    assert body["lag_seconds"] >= 0
    assert api.http.get("/ready").status_code == 200


def test_health_before_the_first_ledger(database_url: str) -> None:
    with serving(database_url) as served:
        assert served.http.get("/health").status_code == 503
        assert served.http.get("/ready").status_code == 200


def test_health_and_queries_without_a_database() -> None:
    with serving("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1") as served:
        assert served.http.get("/health").status_code == 503
        assert served.http.get("/ready").status_code == 503
        assert served.code(SMALL) == "INTERNAL_SERVER_ERROR"


def test_the_schema_must_be_there(empty_database_url: str) -> None:
    with serving(empty_database_url) as served:
        assert served.http.get("/ready").json()["error"].startswith("the database schema is at version 0")


def test_metrics(api: Api) -> None:
    sent, timed = statements(), REGISTRY.get_sample_value("lumenstream_api_query_seconds_count") or 0.0
    api.data(SMALL)
    assert REGISTRY.get_sample_value("lumenstream_api_query_seconds_count") == timed + (statements() - sent) > timed
    shown = api.http.get("/metrics").text
    assert 'lumenstream_api_queries_total{query="transactions"}' in shown
    assert 'lumenstream_api_request_seconds_count{path="/graphql/query",status="200"}' in shown


def test_connections_that_died_are_replaced(own_api: Api, database_url: str) -> None:
    own_api.data(SMALL)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'lumenstream-api'"
        )
    own_api.data(SMALL)


def test_the_pages_need_nothing_from_elsewhere(api: Api) -> None:
    for path in ("/", PATH):
        answer = api.http.get(path, headers={"accept": "text/html,*/*"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "://" not in answer.text
        parts = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', answer.text)
        assert len(parts) == 2
        for part in parts:
            assert api.http.get(part).status_code == 200
    assert api.http.get("/static/..%2fserver.py").status_code == 404
    assert api.http.get("/static/none.js").status_code == 404


def test_the_query_page_can_be_switched_off(database_url: str) -> None:
    with serving(database_url, query_page=False) as served:
        assert served.http.get("/", headers={"accept": "text/html"}).status_code == 404
        assert served.http.get(PATH, headers={"accept": "text/html"}).status_code == 400


def test_a_request_that_takes_too_long_ends_and_frees_the_server(database_url: str) -> None:
    with serving(database_url, request_timeout_seconds=0.5) as served, psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
        answer = served.http.post(PATH, json={"query": SMALL})
        assert answer.status_code == 504
        assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lumenstream-api' AND state = 'active' "
            "AND datname = current_database()"
        )
        deadline = time.monotonic() + 10
        while (row := holder.execute(waiting).fetchone()) != (0,) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert row == (0,)
        holder.rollback()
        served.data(SMALL)


def test_balances_that_cannot_be_read(own_api: Api, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE native_balances RENAME TO native_balances_gone")
    one = own_api.run("query($a: String!) { balancesByAccountAddress(address: $a) { balance } }", a=text(ALICE))
    assert one["errors"][0]["message"] == "failed to process account balances"
    assert one["errors"][0]["extensions"] == {"code": "INTERNAL_ERROR"}
    many = own_api.data("query($a: [String!]!) { balancesByAccountAddresses(addresses: $a) { error } }", a=[text(ALICE)])
    assert many == {"balancesByAccountAddresses": [{"error": "failed to process account balances"}]}


SERVE = """
import sys
from api.server import run
from lumenstream.settings import DatabaseSettings, load_settings
settings = load_settings(api__port=int(sys.argv[2]))
run(settings.model_copy(update={"database": DatabaseSettings.model_validate({"url": sys.argv[1]})}))
"""


def test_the_program_finishes_requests_under_way_on_sigterm(database_url: str) -> None:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", SERVE, database_url, str(port)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client, ThreadPoolExecutor() as threads:
            deadline = time.monotonic() + 30
            while not answers(client) and time.monotonic() < deadline:
                time.sleep(0.1)
            with psycopg.connect(database_url) as holder:
                holder.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
                under_way = threads.submit(client.post, PATH, json={"query": SMALL})
                time.sleep(0.5)
                server.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                assert server.poll() is None
            assert under_way.result(timeout=30).json() == {"data": {"transactions": {"edges": []}}}
        assert server.wait(timeout=30) in (0, -signal.SIGTERM)
    finally:
        server.kill()
        server.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_the_program_does_not_start_on_the_wrong_schema(empty_database_url: str) -> None:
    with pytest.raises(SchemaVersionError):
        run(settings_for(empty_database_url))
