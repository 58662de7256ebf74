"""Subscriptions over WebSocket and Server-Sent Events: order, resumption, limits, and what happens when a server goes away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client import REGISTRY
from stellar_sdk import Keypair
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from lumenstream.client.signing import Signer
from lumenstream.embedded.processes import free_port
from tests.integration.test_api_world import (
    ALICE,
    BOB,
    CAROL,
    FIRST_LEDGER,
    LEDGERS,
    TRANSACTIONS,
    Api,
    fill,
    fill_ledger,
    fill_transaction,
    own_api,
    serving,
    text,
)

__all__ = ["own_api"]  # the fixture

PATH = "/graphql/query"
PROTOCOL = Subprotocol("graphql-transport-ws")
NEXT = FIRST_LEDGER + LEDGERS
WAIT_S = 60.0
LEDGER_EVENTS = (
    "subscription($after: String, $ledger: UInt32) { ledgers(after: $after, afterLedger: $ledger) { cursor node { sequence } } }"
)
CHANGES = """subscription($address: String!, $after: String, $ledger: UInt32, $filter: AccountStateChangeFilterInput) {
    accountStateChanges(address: $address, after: $after, afterLedger: $ledger, filter: $filter) {
        cursor node { idString reason ledgerNumber transaction { hash } } } }"""


class Socket:
    """A client of the protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, kind: str, **fields: Any) -> None:
        self._connection.send(json.dumps({"type": kind, **fields}))

    def receive(self) -> dict[str, Any]:
        """The next message that is no ping."""
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(WAIT_S))
            if message["type"] != "ping":
                return message

    def subscribe(self, query: str, identity: str = "1", **variables: Any) -> None:
        self.send("subscribe", id=identity, payload={"query": query, "variables": variables})

    def event(self) -> dict[str, Any]:
        """The edge in the next answer."""
        message = self.receive()
        assert (message["type"], "errors" in message["payload"]) == ("next", False), message
        (edge,) = message["payload"]["data"].values()
        return dict(edge)

    def events(self, number: int) -> list[dict[str, Any]]:
        return [self.event() for _ in range(number)]

    def close_code(self) -> int:
        with pytest.raises(ConnectionClosed) as closed:
            self._drain()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    def _drain(self) -> None:
        while True:
            self._connection.recv(WAIT_S)


@contextmanager
def raw_socket(url: str, **options: Any) -> Iterator[Socket]:
    address = url.replace("http:", "ws:") + PATH
    with connect(address, subprotocols=[PROTOCOL], open_timeout=WAIT_S, close_timeout=1, **options) as connection:
        yield Socket(connection)


@contextmanager
def socket(api: Api, **payload: Any) -> Iterator[Socket]:
    with raw_socket(str(api.http.base_url).rstrip("/")) as opened:
        opened.send("connection_init", payload=payload)
        assert opened.receive()["type"] == "connection_ack"
        yield opened


def commit(url: str, ledger: int) -> None:
    """A ledger in one transaction with its notification, as the sink does it."""
    with psycopg.connect(url) as connection:
        for order in range(1, TRANSACTIONS + 1):
            fill_transaction(connection, ledger, order)
        fill_ledger(connection, ledger)
        connection.execute("update ingest_store set value = %s where key = 'latest_ingest_ledger'", (str(ledger),))
        connection.execute("select pg_notify('lumenstream_ledger', %s)", (str(ledger),))


def changes_of(url: str, account: bytes, after_ledger: int = 0) -> list[str]:
    """Ids of an account's state changes in order, from the table."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "select to_id, operation_id, state_change_id from state_changes where account_id = %s and ledger_number > %s "
            "order by 1, 2, 3",
            (account, after_ledger),
        )
        return ["-".join(map(str, row)) for row in rows]


def test_ledgers_come_as_they_are_committed(own_api: Api, database_url: str) -> None:
    with socket(own_api) as client:
        client.subscribe(LEDGER_EVENTS)
        client.subscribe("{ __typename }", "2")
        assert client.receive() == {"type": "next", "id": "2", "payload": {"data": {"__typename": "Query"}}}
        assert client.receive() == {"type": "complete", "id": "2"}
        for ledger in range(NEXT, NEXT + 3):
            commit(database_url, ledger)
            assert client.event()["node"]["sequence"] == ledger


def test_an_account_is_followed_from_a_ledger_and_resumed_at_a_cursor(own_api: Api, database_url: str) -> None:
    """Every row once and in order, over connections that break and ledgers that come meanwhile."""
    address, seen, cursor = text(ALICE), [], None
    for ledger in (NEXT, NEXT + 1, NEXT + 2):
        with socket(own_api) as client:
            given: dict[str, Any] = {"ledger": FIRST_LEDGER + 1} if cursor is None else {"after": cursor}
            client.subscribe(CHANGES, address=address, **given)
            for edge in client.events(7):
                seen.append(edge["node"]["idString"])
                cursor = edge["cursor"]
        commit(database_url, ledger)
    with socket(own_api) as client:
        client.subscribe(CHANGES, address=address, after=cursor)
        expected = changes_of(database_url, ALICE, FIRST_LEDGER + 1)
        seen += [edge["node"]["idString"] for edge in client.events(len(expected) - len(seen))]
        commit(database_url, NEXT + 3)
        seen += [edge["node"]["idString"] for edge in client.events(len(changes_of(database_url, ALICE, NEXT + 2)))]
    assert seen == changes_of(database_url, ALICE, FIRST_LEDGER + 1)


def test_an_account_that_nothing_happened_to_is_not_woken(own_api: Api, database_url: str) -> None:
    """CAROL takes part in nothing, so no read is made for her; ALICE's subscription beside it goes on."""

    def reads() -> float:
        value = REGISTRY.get_sample_value("lumenstream_api_queries_total", {"query": "state_changes_of_account"})
        return value or 0.0

    with socket(own_api) as client:
        client.subscribe(CHANGES, "carol", address=text(CAROL))
        client.subscribe(CHANGES, "filtered", address=text(BOB), filter={"category": "FLAGS"}, ledger=0)
        assert client.event()["node"]["reason"] == "SET"
        before = reads()
        client.subscribe(CHANGES, "alice", address=text(ALICE))
        commit(database_url, NEXT)
        count = len(changes_of(database_url, ALICE, NEXT - 1))
        assert [edge["node"]["ledgerNumber"] for edge in client.events(count)] == [NEXT] * count
        assert reads() - before <= 4, "ALICE twice, BOB once, who takes part in every transaction"


def test_transactions_of_all_and_of_one(own_api: Api, database_url: str) -> None:
    query = "subscription($address: String) { transactions(address: $address) { cursor node { hash } } }"
    listed = "{ transactions(last: 4) { edges { cursor node { hash } } } }"
    with socket(own_api) as client:
        for address in (None, text(ALICE)):
            client.subscribe(query, str(address), address=address)
        client.subscribe("{ __typename }", "known")
        assert [client.receive()["id"] for _ in range(2)] == ["known", "known"]
        commit(database_url, NEXT)
        messages = [client.receive() for _ in range(2 * TRANSACTIONS)]
    edges = own_api.data(listed)["transactions"]["edges"]
    for address in (None, text(ALICE)):
        got = [message["payload"]["data"]["transactions"] for message in messages if message["id"] == str(address)]
        assert got == edges


def test_arguments_are_refused_before_anything_begins(own_api: Api) -> None:
    with socket(own_api) as client:
        for code, variables in (
            ("INVALID_ADDRESS", {"address": "G"}),
            ("BAD_USER_INPUT", {"address": text(ALICE), "after": "x"}),
            ("BAD_USER_INPUT", {"address": text(ALICE), "after": "MTox", "ledger": 1}),
            ("GRAPHQL_VALIDATION_FAILED", {}),
        ):
            client.subscribe(CHANGES, **variables)
            message = client.receive()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", code)
        client.subscribe("subscription { ledgers { nonsense } }")
        assert client.receive()["payload"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    answer = own_api.http.post(PATH, json={"query": "subscription { ledgers { cursor } }"})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (422, "GRAPHQL_VALIDATION_FAILED")


def test_a_subscription_is_ended_by_the_client(own_api: Api, database_url: str) -> None:
    with socket(own_api) as client:
        client.subscribe(LEDGER_EVENTS)
        client.send("complete", id="1")
        client.send("ping", payload={"n": 1})
        assert client.receive() == {"type": "pong", "payload": {"n": 1}}
        client.subscribe(LEDGER_EVENTS)
        commit(database_url, NEXT)
        assert client.event()["node"]["sequence"] == NEXT


@pytest.mark.parametrize(
    ("code", "messages"),
    [
        (4400, ["{"]),
        (4400, ["[]"]),
        (4401, ['{"type":"subscribe","id":"1","payload":{"query":"{ __typename }"}}']),
        (4429, ['{"type":"connection_init"}', '{"type":"connection_init"}']),
        (4400, ['{"type":"connection_init"}', '{"type":"nonsense"}']),
        (4400, ['{"type":"connection_init"}', '{"type":"subscribe","id":1,"payload":{}}']),
        (
            4409,
            [
                '{"type":"connection_init"}',
                *['{"type":"subscribe","id":"1","payload":{"query":"subscription { ledgers { cursor } }"}}'] * 2,
            ],
        ),
    ],
)
def test_what_breaks_the_protocol_closes_the_connection(own_api: Api, code: int, messages: list[str]) -> None:
    with raw_socket(str(own_api.http.base_url).rstrip("/")) as client:
        for message in messages:
            client._connection.send(message)
        assert client.close_code() == code


def test_limits_of_a_connection_and_of_a_process(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        fill(connection)
    with serving(database_url, max_subscriptions=2, max_subscriptions_per_connection=2) as api, socket(api) as one:
        for identity in "12":
            one.subscribe(LEDGER_EVENTS, identity, ledger=NEXT - 2)
            one.event()
        one.subscribe(LEDGER_EVENTS, "3")
        assert "at most 2" in one.receive()["payload"][0]["message"]
        with socket(api) as other:
            other.subscribe(LEDGER_EVENTS)
            assert "as many subscriptions as it takes" in other.receive()["payload"][0]["message"]
            one.send("complete", id="1")
            one.send("ping")
            one.receive()
            other.subscribe(LEDGER_EVENTS, ledger=NEXT - 2)
            assert other.event()["node"]["sequence"] == NEXT - 1


def test_with_keys_the_handshake_is_signed(database_url: str) -> None:
    pair = Keypair.from_raw_ed25519_seed(bytes([7]) * 32)
    signer = Signer(pair.secret)
    with serving(database_url, auth_public_keys=pair.public_key) as api:
        url = str(api.http.base_url).rstrip("/")
        with raw_socket(url) as client:
            client.send("connection_init")
            assert client.close_code() == 4401
        with socket(api, authorization=signer.headers("GET", PATH)["Authorization"]) as client:
            client.subscribe("{ __typename }")
            assert client.receive()["type"] == "next"
        with raw_socket(url, additional_headers=signer.headers("GET", PATH)) as client:
            client.send("connection_init")
            assert client.receive()["type"] == "connection_ack"
        assert api.http.get("/stream/ledgers").status_code == 401


def events_of(response: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, comments left out."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if not line and event:
            yield event
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def test_plain_events_resume_at_their_last_id(own_api: Api, database_url: str) -> None:
    path = f"/stream/accounts/{text(ALICE)}/state-changes"
    expected = changes_of(database_url, ALICE, NEXT - 2)
    with own_api.http.stream("GET", path, params={"afterLedger": NEXT - 2}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        coming = events_of(response)
        first = [next(coming) for _ in range(3)]
    assert [json.loads(event["data"])["idString"] for event in first] == expected[:3]
    assert json.loads(first[0]["data"])["account"] == {"address": text(ALICE)}
    headers = {"last-event-id": first[-1]["id"]}
    with own_api.http.stream("GET", path, params={"afterLedger": NEXT - 2}, headers=headers) as response:
        coming = events_of(response)
        rest = [next(coming) for _ in expected[3:]]
        commit(database_url, NEXT)
        rest += [next(coming) for _ in changes_of(database_url, ALICE, NEXT - 1)]
    assert [json.loads(event["data"])["idString"] for event in rest] == changes_of(database_url, ALICE, NEXT - 2)[3:]


@pytest.mark.parametrize("path", ["/stream/ledgers", "/stream/transactions", f"/stream/accounts/{text(BOB)}/transactions"])
def test_every_plain_stream(own_api: Api, path: str) -> None:
    with own_api.http.stream("GET", path, params={"afterLedger": FIRST_LEDGER}) as response:
        node = json.loads(next(events_of(response))["data"])
    assert node.get("sequence", node.get("ledgerNumber")) == FIRST_LEDGER + 1


@pytest.mark.parametrize(
    "path", ["/stream/accounts/G/state-changes", "/stream/ledgers?after=x", "/stream/ledgers?afterLedger=-1"]
)
def test_plain_arguments_are_refused(own_api: Api, path: str) -> None:
    answer = own_api.http.get(path)
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


def test_a_graphql_request_for_events(own_api: Api, database_url: str) -> None:
    headers = {"accept": "text/event-stream"}
    body = {"query": LEDGER_EVENTS, "variables": {"ledger": NEXT - 2}}
    with own_api.http.stream("POST", PATH, json=body, headers=headers) as response:
        coming = events_of(response)
        got = next(coming)
        assert (got["event"], json.loads(got["data"])["data"]["ledgers"]["node"]) == ("next", {"sequence": NEXT - 1})
        commit(database_url, NEXT)
        assert json.loads(next(coming)["data"])["data"]["ledgers"]["node"] == {"sequence": NEXT}
    single = own_api.http.post(PATH, json={"query": "{ __typename }"}, headers=headers).text
    assert single == 'event: next\ndata: {"data":{"__typename":"Query"}}\n\nevent: complete\ndata: \n\n'
    refused = own_api.http.post(PATH, json={"query": "{ nonsense }"}, headers=headers).text
    assert "GRAPHQL_VALIDATION_FAILED" in refused and refused.endswith("event: complete\ndata: \n\n")


def test_a_feed_whose_connection_is_cut_misses_nothing(own_api: Api, database_url: str) -> None:
    with socket(own_api) as client:
        client.subscribe(LEDGER_EVENTS, ledger=NEXT - 2)
        assert client.event()["node"]["sequence"] == NEXT - 1
        with psycopg.connect(database_url, autocommit=True) as admin:
            cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lumenstream-api-feed'"
            assert admin.execute(cut + " and datname = current_database()").fetchall() == [(True,)]
        commit(database_url, NEXT)
        assert client.event()["node"]["sequence"] == NEXT


def test_a_killed_server_loses_nothing(database_url: str, tmp_path: Path) -> None:
    """kill -9 of the API between events: a client that comes back with its last cursor sees every row once."""
    with psycopg.connect(database_url) as connection:
        fill(connection)
    seen: list[str] = []
    cursor: str | None = None
    expected = changes_of(database_url, ALICE)
    while len(seen) < len(expected):
        with api_process(database_url, tmp_path) as (url, process), raw_socket(url) as client:
            client.send("connection_init")
            assert client.receive()["type"] == "connection_ack"
            client.subscribe(CHANGES, address=text(ALICE), **({"ledger": 0} if cursor is None else {"after": cursor}))
            for edge in client.events(min(40, len(expected) - len(seen))):
                seen.append(edge["node"]["idString"])
                cursor = edge["cursor"]
            process.kill()
    assert seen == expected


def test_a_server_that_is_asked_to_stop_lets_subscribers_go(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url) as connection:
        fill(connection)
    with api_process(database_url, tmp_path) as (url, process), raw_socket(url) as client:
        client.send("connection_init")
        client.receive()
        client.subscribe(LEDGER_EVENTS, ledger=NEXT - 2)
        client.event()
        with httpx.stream("GET", f"{url}/stream/ledgers", params={"afterLedger": NEXT - 2}, timeout=WAIT_S) as response:
            coming = events_of(response)
            next(coming)
            process.terminate()
            assert client.close_code() in (1001, 1012)
            assert list(coming) == []
        assert process.wait(WAIT_S) == 0


@contextmanager
def api_process(
    url: str, folder: Path, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`lumenstream serve` as a process of its own, once it answers."""
    port = port or free_port()
    environment = {"LUMENSTREAM_DATABASE__URL": url, "PATH": "/usr/bin:/bin", **(settings or {})}
    with (folder / "api.log").open("ab") as log:
        command = [sys.executable, "-m", "lumenstream", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + WAIT_S
        while True:
            try:
                httpx.get(f"{address}/health", timeout=WAIT_S)
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "api.log").read_text()
                time.sleep(0.05)
        yield address, process
    finally:
        process.kill()
        process.wait(WAIT_S)
