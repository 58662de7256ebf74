"""The Python client, both forms of it, and `lumenstream query`, against the API on a small world."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stellar_sdk import Keypair

from lumenstream.client import (
    ApiError,
    ApiUnavailableError,
    AsyncClient,
    Client,
    NotAuthorizedError,
    NotFoundError,
    Range,
    Signer,
    StateChangeFilter,
)
from lumenstream.embedded.processes import free_port
from tests.integration.test_api_live import NEXT, api_process, changes_of, commit
from tests.integration.test_api_world import (
    ALICE,
    BOB,
    FIRST_LEDGER,
    LAST,
    TO_ID,
    TRANSACTIONS,
    VAULT,
    Api,
    api,
    fill,
    own_api,
    serving,
    text,
    transaction_hash,
)

__all__ = ["api", "own_api"]  # the fixtures

PAIR = Keypair.from_raw_ed25519_seed(bytes([7]) * 32)


def url_of(served: Api) -> str:
    return str(served.http.base_url)


def asked(url: str, method: str, *arguments: Any, **named: Any) -> Any:
    """The answer of both clients, which must be the same."""
    with Client(url) as client:
        expected = getattr(client, method)(*arguments, **named)

    async def ask() -> Any:
        async with AsyncClient(url) as other:
            return await getattr(other, method)(*arguments, **named)

    assert asyncio.run(ask()) == expected
    return expected


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type[Any]) -> dict[str, list[str]]:
        public = inspect.getmembers(kind, inspect.isfunction)
        return {name: [*inspect.signature(method).parameters] for name, method in public if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def test_one_transaction_and_its_parts(api: Api) -> None:
    digest = transaction_hash(TO_ID).hex()
    found = asked(url_of(api), "transaction_by_hash", digest)
    assert (found.hash, found.ledger_number, found.fee_charged, found.is_fee_bump) == (digest, LAST, 100, True)
    (operation,) = asked(url_of(api), "transaction_operations", digest).items
    assert (operation.id, operation.transaction_hash, operation.operation_type) == (TO_ID + 1, digest, "PAYMENT")
    assert asked(url_of(api), "operation_by_id", TO_ID + 1) == operation
    changes = asked(url_of(api), "operation_state_changes", TO_ID + 1).items
    assert {change.kind for change in changes} >= {"StandardBalanceChange", "SignerChange", "AllowanceChange", "ReservesChange"}
    assert asked(url_of(api), "transaction_state_changes", digest, within=Range(last=2)).items == changes[-2:]


def test_every_kind_of_state_change_is_read(api: Api) -> None:
    (page,) = (asked(url_of(api), "account_state_changes", text(BOB)),)
    by_kind = {(change.kind, change.reason): change for change in page.items}
    assert by_kind["StandardBalanceChange", "MINT"].amount == str(10**30)
    assert by_kind["SignerChange", "ADD"].new_weight == 5
    assert by_kind["TrustlineChange", "UPDATE"].new_limit == "922337203685.4775807"
    assert by_kind["AllowanceChange", "UPDATE"].amount == "42"
    assert by_kind["BalanceAuthorizationChange", "SET"].flags == ("authorized", "authorized_to_maintain_liabilities")
    assert by_kind["ReservesChange", "SPONSOR"].sponsored_data == "colour"


@pytest.mark.parametrize("method", ["ledgers", "transactions", "operations", "state_changes"])
def test_root_lists(api: Api, method: str) -> None:
    page = asked(url_of(api), method, within=Range(first=3, from_ledger=FIRST_LEDGER + 1))
    assert (len(page.items), page.has_next) == (3, True)
    number = page.items[0].sequence if method == "ledgers" else page.items[0].ledger_number
    assert number == FIRST_LEDGER + 1
    assert asked(url_of(api), method, within=Range(last=1)).items


def test_balances(api: Api) -> None:
    native, *lines = asked(url_of(api), "balances", text(ALICE))
    assert (native.kind, native.balance, native.raw_balance) == ("NativeBalance", "123.4567890", "1234567890")
    assert {line.code for line in lines} == {"USDC", "LONGCODE"}
    many = asked(url_of(api), "balances_of", [text(VAULT), text(BOB)])
    assert [(entry.address, len(entry.balances)) for entry in many] == [(text(VAULT), 1), (text(BOB), 0)]


def test_a_list_is_walked_page_by_page(api: Api) -> None:
    with Client(url_of(api)) as client:
        walked = [*client.iterate(client.account_transactions, text(ALICE), within=Range(first=5))]
        whole = client.account_transactions(text(ALICE), Range(first=100)).items
        assert tuple(walked) == whole
        chosen = StateChangeFilter(category="BALANCE", reason="CREDIT")
        credits_only = [*client.iterate(client.account_state_changes, text(ALICE), within=Range(first=7), chosen=chosen)]
    assert {change.reason for change in credits_only} == {"CREDIT"}

    async def walk() -> list[Any]:
        async with AsyncClient(url_of(api)) as other:
            pages = other.iterate(other.account_transactions, text(ALICE), within=Range(first=5))
            return [transaction async for transaction in pages]

    assert asyncio.run(walk()) == walked


def test_errors_have_types(api: Api) -> None:
    with Client(url_of(api)) as client:
        with pytest.raises(NotFoundError) as missing:
            client.transaction_by_hash("0" * 64)
        assert missing.value.code == "NOT_FOUND"
        with pytest.raises(ApiError) as invalid:
            client.balances("G")
        assert invalid.value.code == "INVALID_ADDRESS"
        with pytest.raises(ApiError, match="nonsense"):
            client.query("{ nonsense }")
        assert client.ledger(1) is None
    with Client(f"http://127.0.0.1:{free_port()}", timeout_seconds=2) as client, pytest.raises(ApiUnavailableError):
        client.query("{ __typename }")


def test_requests_are_signed(database_url: str) -> None:
    with serving(database_url, auth_public_keys=PAIR.public_key, rate_limit="6/hour") as served:
        with Client(url_of(served)) as stranger, pytest.raises(NotAuthorizedError):
            stranger.query("{ __typename }")
        with Client(url_of(served)) as stranger, pytest.raises(NotAuthorizedError):
            next(stranger.follow_ledgers())
        with Client(url_of(served), Signer(PAIR.secret)) as client:
            assert client.query("{ __typename }") == {"__typename": "Query"}
            assert next(client.stream("{ __typename }")) == {"__typename": "Query"}
            for _ in range(4):
                client.query("{ __typename }")
            with pytest.raises(ApiUnavailableError) as busy:
                client.query("{ __typename }")
            assert busy.value.retry_after_seconds


def test_events_are_followed(own_api: Api, database_url: str) -> None:
    with Client(url_of(own_api)) as client:
        events = client.follow_ledgers(after_ledger=NEXT - 2)
        first = next(events)
        assert first.item.sequence == NEXT - 1
        commit(database_url, NEXT)
        assert next(events).item.sequence == NEXT
        assert next(client.follow_ledgers(after=first.cursor)).item.sequence == NEXT
        transactions = client.follow_transactions(text(ALICE), after_ledger=NEXT - 1)
        assert [next(transactions).item.ledger_number for _ in range(TRANSACTIONS)] == [NEXT] * TRANSACTIONS


FOLLOWERS: list[Callable[..., Any]] = [Client, AsyncClient]


@pytest.mark.parametrize("kind", FOLLOWERS)
def test_a_subscription_outlives_its_server(kind: Callable[..., Any], database_url: str, tmp_path: Path) -> None:
    """The API is killed while a client follows: it sees every row once and in order."""
    with psycopg.connect(database_url) as connection:
        fill(connection)
    port = free_port()
    expected = changes_of(database_url, ALICE)
    stops = (30, len(expected))

    def run(serve: int, seen: int, step: Callable[[int], None]) -> None:
        with api_process(database_url, tmp_path, port) as (_, process):
            step(stops[serve] - seen)
            process.kill()

    seen: list[str] = []
    url = f"http://127.0.0.1:{port}"
    if kind is Client:
        with Client(url) as client:
            events = client.follow_state_changes(text(ALICE), after_ledger=0)
            for serve in range(len(stops)):
                run(serve, len(seen), lambda number: seen.extend(next(events).item.id for _ in range(number)))
    else:
        asyncio.run(_followed(url, run, stops, seen))
    assert seen == expected


async def _followed(url: str, run: Callable[..., None], stops: tuple[int, ...], seen: list[str]) -> None:
    async with AsyncClient(url) as client:
        events = client.follow_state_changes(text(ALICE), after_ledger=0)
        loop = asyncio.get_running_loop()

        async def take(number: int) -> None:
            seen.extend([(await anext(events)).item.id for _ in range(number)])

        for serve in range(len(stops)):
            await asyncio.to_thread(run, serve, len(seen), lambda n: asyncio.run_coroutine_threadsafe(take(n), loop).result())


def run_query(api_url: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lumenstream", "query", *arguments, "--url", api_url]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_data(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "query.graphql"
    file.write_text("query($n: Int) { ledgers(last: $n) { edges { node { sequence } } } }")
    expected = {"ledgers": {"edges": [{"node": {"sequence": LAST}}]}}
    done = run_query(url_of(api), f"@{file}", "--variables", '{"n": 1}')
    assert (done.returncode, json.loads(done.stdout)) == (0, expected)
    assert json.loads(run_query(url_of(api), "-", "--variables", '{"n": 1}', stdin=file.read_text()).stdout) == expected


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (8, ["{ nonsense }"]),
        (5, ["{"]),
        (5, ["@/nowhere/query.graphql"]),
        (5, ["{ __typename }", "--variables", "[]"]),
        (5, ["{ __typename }", "--variables", "{"]),
    ],
)
def test_the_command_says_what_is_wrong(api: Api, code: int, arguments: list[str]) -> None:
    done = run_query(url_of(api), *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
