"""A small network in the tables, written by SQL, for the tests of the API; and the tests of every type on it.

Six ledgers of four transactions; transaction n of a ledger has n operations; every operation credits ALICE; the first transaction
is a fee bump. All categories of state changes happen in the last ledger.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from graphql import GraphQLSchema
from psycopg import sql
from psycopg.types.json import Jsonb

from api.database import Database
from api.execution import Answer, Executor, Request
from api.live.feed import Feed
from api.server import create_app
from lumenstream.embedded.processes import free_port
from lumenstream.settings import DatabaseSettings, Settings, load_settings
from schemas import assets, strkey, toid
from tests.integration.api_market_world import fill_market
from tests.plugins.servers import copied_database

FIRST_LEDGER = 1000
LEDGERS = 6
TRANSACTIONS = 4
CLOSED = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
INGESTED = datetime(2026, 3, 1, 13, tzinfo=UTC)

ALICE, BOB, CAROL = (bytes((strkey.ACCOUNT,)) + hashlib.sha256(name).digest() for name in (b"alice", b"bob", b"carol"))
TOKEN, VAULT = (bytes((strkey.CONTRACT,)) + hashlib.sha256(name).digest() for name in (b"token", b"vault"))
MUXED = bytes((strkey.MUXED,)) + ALICE[1:]
MUXED_ID = (1 << 64) - 5
POOL = "ab" * 32
START_S = 30.0


def text(address: bytes) -> str:
    return strkey.encode(address)


def closed_at(ledger: int) -> datetime:
    return CLOSED + timedelta(seconds=5 * (ledger - FIRST_LEDGER))


def transaction_hash(to_id: int, inner: bool = False) -> bytes:
    return hashlib.sha256(f"{to_id}{'inner' if inner else ''}".encode()).digest()


Change = dict[str, Any]


def changes_of_every_kind(to_id: int, operation_id: int) -> list[Change]:
    """One or two rows of each category, on BOB."""
    kinds: list[tuple[str, str, Change]] = [
        ("BALANCE", "MINT", {"token_id": TOKEN, "amount": str(10**30), "to_muxed_id": "77"}),
        ("ACCOUNT", "CREATE", {"creator_account_id": ALICE}),
        ("ACCOUNT", "MERGE", {"destination_account_id": CAROL}),
        ("SIGNER", "ADD", {"signer_account_id": CAROL, "signer_weight_new": 5}),
        ("SIGNATURE_THRESHOLD", "HIGH", {"threshold_old": 1, "threshold_new": 3}),
        ("METADATA", "HOME_DOMAIN", {"key_value": Jsonb({"home_domain": {"old": "a.org", "new": "b.org"}})}),
        ("METADATA", "DATA_ENTRY", {"data_entry_name": "colour", "key_value": Jsonb({"colour": {"new": "cmVk"}})}),
        ("FLAGS", "SET", {"flags": 2 | 4}),
        ("TRUSTLINE", "UPDATE", {"token_id": TOKEN, "trustline_limit_old": 15, "trustline_limit_new": 2**63 - 1}),
        ("TRUSTLINE", "REMOVE", {"liquidity_pool_id": POOL}),
        ("RESERVES", "SPONSOR", {"sponsor_account_id": ALICE, "sponsored_data": "colour"}),
        ("BALANCE_AUTHORIZATION", "SET", {"token_id": TOKEN, "flags": 1 | 64}),
        (
            "ALLOWANCE",
            "UPDATE",
            {"token_id": TOKEN, "spender_account_id": VAULT, "amount": "42", "key_value": Jsonb({"live_until_ledger": 9000})},
        ),
    ]
    common = {"to_id": to_id, "operation_id": operation_id, "account_id": BOB}
    return [
        {**common, "state_change_id": 1000 + number, "state_change_category": category, "state_change_reason": reason, **columns}
        for number, (category, reason, columns) in enumerate(kinds)
    ]


def put(connection: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join(sql.Placeholder() * len(row))
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, places), list(row.values())
    )


def fill(connection: psycopg.Connection[Any]) -> None:
    """Write the world."""
    for ledger in range(FIRST_LEDGER, FIRST_LEDGER + LEDGERS):
        for order in range(1, TRANSACTIONS + 1):
            fill_transaction(connection, ledger, order)
    last = FIRST_LEDGER + LEDGERS - 1
    stamp = {"ledger_number": last, "ledger_created_at": closed_at(last), "ingested_at": INGESTED}
    to_id = toid.transaction_id(last, 1)
    for change in changes_of_every_kind(to_id, to_id + 1):
        put(connection, "state_changes", {**change, **stamp})
    fill_ledgers(connection)
    fill_balances(connection)
    fill_market(partial(put, connection), last, closed_at, f"USDC:{text(CAROL)}")


def fill_transaction(connection: psycopg.Connection[Any], ledger: int, order: int) -> None:
    to_id = toid.transaction_id(ledger, order)
    stamp = {"ledger_number": ledger, "ledger_created_at": closed_at(ledger), "ingested_at": INGESTED}
    link = {"ledger_created_at": closed_at(ledger)}
    bump = order == 1
    put(
        connection,
        "transactions",
        {
            "to_id": to_id,
            "hash": transaction_hash(to_id),
            "inner_hash": transaction_hash(to_id, inner=True) if bump else None,
            "envelope_xdr": "AAAA",
            "fee_charged": 100 * order,
            "result_code": "TransactionResultCodeTxSuccess",
            "is_fee_bump": bump,
            **stamp,
        },
    )
    for account in (ALICE, BOB):
        put(connection, "transactions_accounts", {"tx_to_id": to_id, "account_id": account, **link})
    put(connection, "transactions_accounts", {"tx_to_id": to_id, "account_id": MUXED, "account_muxed_id": -5, **link})
    fee = {"to_id": to_id, "operation_id": 0, "state_change_id": 1, "account_id": ALICE, "token_id": TOKEN, "amount": "100"}
    put(connection, "state_changes", {**fee, "state_change_category": "BALANCE", "state_change_reason": "DEBIT", **stamp})
    for index in range(1, order + 1):
        operation = {"id": to_id + index, "operation_type": "PAYMENT", "operation_xdr": b"\x01\x02", "result_code": "op_success"}
        put(connection, "operations", {**operation, "successful": True, **stamp})
        put(connection, "operations_accounts", {"operation_id": to_id + index, "account_id": ALICE, **link})
        credit = {**fee, "operation_id": to_id + index, "amount": str(index)}
        put(connection, "state_changes", {**credit, "state_change_category": "BALANCE", "state_change_reason": "CREDIT", **stamp})


def fill_ledgers(connection: psycopg.Connection[Any]) -> None:
    for ledger in range(FIRST_LEDGER, FIRST_LEDGER + LEDGERS):
        fill_ledger(connection, ledger)
    put(connection, "ingest_store", {"key": "latest_ingest_ledger", "value": str(FIRST_LEDGER + LEDGERS - 1)})
    put(connection, "ingest_store", {"key": "oldest_ingest_ledger", "value": str(FIRST_LEDGER)})


def fill_ledger(connection: psycopg.Connection[Any], ledger: int) -> None:
    counts = ("protocol_version", "transaction_count", "successful_transaction_count", "operation_count", "state_change_count")
    row = {"sequence": ledger, "hash": bytes(32), "previous_hash": bytes(32), "closed_at": closed_at(ledger)}
    row |= dict.fromkeys(counts, 1) | {"topic": "ledgers", "partition": 0, "offset": 0}
    put(connection, "ledgers", row)


def fill_balances(connection: psycopg.Connection[Any]) -> None:
    put(connection, "native_balances", {"account_id": ALICE, "balance": 123_4567890, "minimum_balance": 10_000_000})
    for code, flags in (("USDC", 1), ("LONGCODE", 2)):
        asset_id = assets.asset_uuid(code, CAROL).hex()
        put(connection, "trustline_assets", {"id": asset_id, "code": code, "issuer": text(CAROL)})
        line = {"account_id": ALICE, "asset_id": asset_id, "balance": 5, "trust_limit": 2**63 - 1, "flags": flags}
        put(connection, "trustline_balances", {**line, "last_modified_ledger": 1005})
    contract_id = assets.contract_uuid(TOKEN).hex()
    token = {"id": contract_id, "contract_id": text(TOKEN), "type": "SAC", "code": "USDC", "issuer": text(CAROL), "decimals": 7}
    put(connection, "contract_tokens", token)
    put(connection, "sac_balances", {"account_id": VAULT, "contract_id": contract_id, "balance": 10**25 + 1})


def settings_for(url: str, **api: Any) -> Settings:
    flags = {name if "__" in name else f"api__{name}": value for name, value in api.items()}
    database = DatabaseSettings.model_validate({"url": url, "connect_timeout_seconds": 2})
    return load_settings(**flags).model_copy(update={"database": database})


@dataclass
class Tally:
    """Who answered."""

    planned: int = 0
    walked: int = 0


class BothWays(Executor):
    """Answers by graphql-core, then by a compiled plan, and fails when the bytes differ."""

    def __init__(self, schema: GraphQLSchema, settings: Settings, database: Database, feed: Feed) -> None:
        super().__init__(schema, settings, database, feed)
        self.tally = Tally()

    async def answer(self, request: Request, request_id: str) -> Answer:
        walked = await self.walked(request, request_id)
        planned = await self.planned(request, request_id)
        if planned is None:
            self.tally.walked += 1
        else:
            self.tally.planned += 1
            assert planned == walked, f"{request}\nplanned: {planned.body.decode()}\nwalked:  {walked.body.decode()}"
        return walked


class Api:
    """A client of one application."""

    def __init__(self, client: httpx.Client) -> None:
        self.http = client

    def run(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole answer."""
        answer: dict[str, Any] = self.http.post("/graphql/query", json={"query": query, "variables": variables}).json()
        return answer

    def data(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        answer = self.run(query, **variables)
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found

    def code(self, query: str, **variables: Any) -> str:
        """The code of the first error."""
        code: str = self.run(query, **variables)["errors"][0]["extensions"]["code"]
        return code


@contextmanager
def serving(url: str, executor: type[Executor] = Executor, **api: Any) -> Iterator[Api]:
    """The application on a database, with these of the API's settings."""
    with serving_with(settings_for(url, **api), executor) as served:
        yield served


@contextmanager
def serving_with(settings: Settings, executor: type[Executor] = Executor) -> Iterator[Api]:
    """The application behind a real HTTP server on a free port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings, executor), port=port, log_config=None))
    thread = threading.Thread(target=server.run, name="api", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_S) as client:
            yield Api(client)
    finally:
        server.should_exit = True
        thread.join(START_S)


@pytest.fixture(scope="module")
def api(admin_url: str, template_database: str) -> Iterator[Api]:
    """The API on the world, shared by the tests of a module, which only read."""
    with world(admin_url, template_database, BothWays) as served:
        yield served


@pytest.fixture(scope="module")
def once(admin_url: str, template_database: str) -> Iterator[Api]:
    """As `api`, but each query is executed one way only: for tests that count statements."""
    with world(admin_url, template_database, Executor) as served:
        yield served


@contextmanager
def world(admin_url: str, template_database: str, executor: type[Executor]) -> Iterator[Api]:
    """The API on a database with the world in it."""
    with world_database(admin_url, template_database) as url, serving(url, executor) as served:
        yield served


@contextmanager
def world_database(admin_url: str, template_database: str) -> Iterator[str]:
    """The URL of a database with the world in it."""
    with copied_database(admin_url, template_database) as url:
        with psycopg.connect(url) as connection:
            fill(connection)
        yield url


@pytest.fixture
def own_api(database_url: str) -> Iterator[Api]:
    """The API on a world of the test's own."""
    with psycopg.connect(database_url) as connection:
        fill(connection)
    with serving(database_url) as served:
        yield served


LAST = FIRST_LEDGER + LEDGERS - 1
TO_ID = toid.transaction_id(LAST, 1)


def test_a_transaction_by_outer_and_inner_hash(api: Api) -> None:
    query = """query($hash: String!) { transactionByHash(hash: $hash) {
        hash innerHash idString envelopeXdr metaXdr feeCharged feeChargedString resultCode ledgerNumber ledgerCreatedAt isFeeBump
        ingestedAt operations { edges { node { id idString operationType operationXdr resultCode successful ledgerNumber
        ledgerCreatedAt ingestedAt transaction { hash } accounts { address } } cursor } pageInfo { hasNextPage } }
        accounts { address } stateChanges(first: 2) { edges { node { type reason } } pageInfo { hasNextPage } } } }"""
    found = api.data(query, hash=transaction_hash(TO_ID).hex())["transactionByHash"]
    assert found == api.data(query, hash=transaction_hash(TO_ID, inner=True).hex())["transactionByHash"]
    operation = found.pop("operations")["edges"][0]["node"]
    assert found.pop("accounts") == [{"address": strkey.encode(address)} for address in sorted((ALICE, BOB))] + [
        {"address": strkey.from_storage(MUXED, MUXED_ID)}
    ]
    assert found == {
        "hash": transaction_hash(TO_ID).hex(),
        "innerHash": transaction_hash(TO_ID, inner=True).hex(),
        "idString": str(TO_ID),
        "envelopeXdr": "AAAA",
        "metaXdr": None,
        "feeCharged": 100,
        "feeChargedString": "100",
        "resultCode": "TransactionResultCodeTxSuccess",
        "ledgerNumber": LAST,
        "ledgerCreatedAt": "2026-03-01T12:00:25.25Z",
        "isFeeBump": True,
        "ingestedAt": "2026-03-01T13:00:00Z",
        "stateChanges": {
            "edges": [{"node": {"type": "BALANCE", "reason": "DEBIT"}}, {"node": {"type": "BALANCE", "reason": "CREDIT"}}],
            "pageInfo": {"hasNextPage": True},
        },
    }
    assert operation == {
        "id": TO_ID + 1,
        "idString": str(TO_ID + 1),
        "operationType": "PAYMENT",
        "operationXdr": "AQI=",
        "resultCode": "op_success",
        "successful": True,
        "ledgerNumber": LAST,
        "ledgerCreatedAt": "2026-03-01T12:00:25.25Z",
        "ingestedAt": "2026-03-01T13:00:00Z",
        "transaction": {"hash": transaction_hash(TO_ID).hex()},
        "accounts": [{"address": text(ALICE)}],
    }


EVERY_CHANGE = """query($id: Int64!) { operationById(id: $id) { stateChanges { edges { node {
    __typename type reason ledgerNumber account { address } operation { id } transaction { hash }
    ... on StandardBalanceChange { token: tokenId amount toMuxedId }
    ... on AccountChange { funderAddress creatorAddress destinationAddress }
    ... on SignerChange { signerAddress signerWeights oldWeight newWeight }
    ... on SignerThresholdsChange { thresholds oldThreshold newThreshold }
    ... on MetadataChange { keyValue name oldValue newValue }
    ... on FlagsChange { flags }
    ... on TrustlineChange { tokenId limit liquidityPoolId oldLimit newLimit }
    ... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId sponsoredTrustline sponsoredData
        signerAddress }
    ... on BalanceAuthorizationChange { tokenId liquidityPoolId flags }
    ... on AllowanceChange { token: tokenId spender amount expirationLedger }
    } } } } }"""


def test_every_kind_of_state_change(api: Api) -> None:
    edges = api.data(EVERY_CHANGE, id=str(TO_ID + 1))["operationById"]["stateChanges"]["edges"]
    nodes = [edge["node"] for edge in edges]
    common = {"ledgerNumber": LAST, "operation": {"id": TO_ID + 1}, "transaction": {"hash": transaction_hash(TO_ID).hex()}}
    for node in nodes:
        assert {name: node.pop(name) for name in common} == common
    assert nodes.pop(0)["account"] == {"address": text(ALICE)}
    assert all(node.pop("account") == {"address": text(BOB)} for node in nodes)
    kinds = [(node.pop("__typename"), node.pop("type"), node.pop("reason")) for node in nodes]
    token, highest = text(TOKEN), "922337203685.4775807"
    assert list(zip(kinds, nodes, strict=True)) == [
        (("StandardBalanceChange", "BALANCE", "MINT"), {"token": token, "amount": str(10**30), "toMuxedId": "77"}),
        (
            ("AccountChange", "ACCOUNT", "CREATE"),
            {"funderAddress": text(ALICE), "creatorAddress": text(ALICE), "destinationAddress": None},
        ),
        (
            ("AccountChange", "ACCOUNT", "MERGE"),
            {"funderAddress": None, "creatorAddress": None, "destinationAddress": text(CAROL)},
        ),
        (
            ("SignerChange", "SIGNER", "ADD"),
            {"signerAddress": text(CAROL), "signerWeights": '{"old": null, "new": 5}', "oldWeight": None, "newWeight": 5},
        ),
        (
            ("SignerThresholdsChange", "SIGNATURE_THRESHOLD", "HIGH"),
            {"thresholds": '{"old": "1", "new": "3"}', "oldThreshold": 1, "newThreshold": 3},
        ),
        (
            ("MetadataChange", "METADATA", "HOME_DOMAIN"),
            {"keyValue": '{"home_domain":"b.org"}', "name": None, "oldValue": "a.org", "newValue": "b.org"},
        ),
        (
            ("MetadataChange", "METADATA", "DATA_ENTRY"),
            {"keyValue": '{"colour":{"new":"cmVk"}}', "name": "colour", "oldValue": None, "newValue": "cmVk"},
        ),
        (("FlagsChange", "FLAGS", "SET"), {"flags": ["auth_required", "auth_revocable"]}),
        (
            ("TrustlineChange", "TRUSTLINE", "UPDATE"),
            {
                "tokenId": token,
                "limit": f'{{"old": "0.0000015", "new": "{highest}"}}',
                "liquidityPoolId": None,
                "oldLimit": "0.0000015",
                "newLimit": highest,
            },
        ),
        (
            ("TrustlineChange", "TRUSTLINE", "REMOVE"),
            {"tokenId": None, "limit": None, "liquidityPoolId": POOL, "oldLimit": None, "newLimit": None},
        ),
        (
            ("ReservesChange", "RESERVES", "SPONSOR"),
            {
                "sponsoredAddress": None,
                "sponsorAddress": text(ALICE),
                "liquidityPoolId": None,
                "claimableBalanceId": None,
                "sponsoredTrustline": None,
                "sponsoredData": "colour",
                "signerAddress": None,
            },
        ),
        (
            ("BalanceAuthorizationChange", "BALANCE_AUTHORIZATION", "SET"),
            {"tokenId": token, "liquidityPoolId": None, "flags": ["authorized", "authorized_to_maintain_liabilities"]},
        ),
        (
            ("AllowanceChange", "ALLOWANCE", "UPDATE"),
            {"token": token, "spender": text(VAULT), "amount": "42", "expirationLedger": 9000},
        ),
    ]


def test_a_fee_has_no_operation(api: Api) -> None:
    query = """query($hash: String!) { transactionByHash(hash: $hash) { stateChanges(first: 1) { edges { node {
        idString operation { id } ... on StandardBalanceChange { amount } } } } } }"""
    edges = api.data(query, hash=transaction_hash(TO_ID).hex())["transactionByHash"]["stateChanges"]["edges"]
    assert edges == [{"node": {"idString": f"{TO_ID}-0-1", "operation": None, "amount": "100"}}]


BALANCES = """balance rawBalance tokenId tokenType __typename
    ... on NativeBalance { minimumBalance buyingLiabilities sellingLiabilities lastModifiedLedger numSubentries }
    ... on TrustlineBalance { code issuer type limit buyingLiabilities sellingLiabilities lastModifiedLedger
        isAuthorized isAuthorizedToMaintainLiabilities }
    ... on SACBalance { code issuer decimals isAuthorized isClawbackEnabled }
    ... on SEP41Balance { name symbol decimals }"""


def test_balances_of_an_account(api: Api) -> None:
    query = f"query($address: String!) {{ balancesByAccountAddress(address: $address) {{ {BALANCES} }} }}"
    native, *lines = api.data(query, address=text(ALICE))["balancesByAccountAddress"]
    network = settings_for("").network.network_id()
    assert native == {
        "__typename": "NativeBalance",
        "balance": "123.4567890",
        "rawBalance": "1234567890",
        "tokenId": text(assets.contract_address(network, assets.NATIVE, "native", None)),
        "tokenType": "NATIVE",
        "minimumBalance": "1.0000000",
        "buyingLiabilities": "0.0000000",
        "sellingLiabilities": "0.0000000",
        "lastModifiedLedger": 0,
        "numSubentries": 0,
    }
    by_code = {line["code"]: line for line in lines}
    assert by_code["USDC"] == {
        "__typename": "TrustlineBalance",
        "balance": "0.0000005",
        "rawBalance": "5",
        "tokenId": text(assets.contract_address(network, assets.ALPHANUM4, "USDC", CAROL)),
        "tokenType": "CLASSIC",
        "code": "USDC",
        "issuer": text(CAROL),
        "type": "credit_alphanum4",
        "limit": "922337203685.4775807",
        "buyingLiabilities": "0.0000000",
        "sellingLiabilities": "0.0000000",
        "lastModifiedLedger": 1005,
        "isAuthorized": True,
        "isAuthorizedToMaintainLiabilities": False,
    }
    assert by_code["LONGCODE"]["type"] == "credit_alphanum12"
    assert by_code["LONGCODE"]["isAuthorizedToMaintainLiabilities"]
    assert by_code["LONGCODE"]["tokenId"] == text(assets.contract_address(network, assets.ALPHANUM12, "LONGCODE", CAROL))


def test_balances_of_many_keep_the_order_given(api: Api) -> None:
    query = (
        f"""query($a: [String!]!) {{ balancesByAccountAddresses(addresses: $a) {{ address error balances {{ {BALANCES} }} }} }}"""
    )
    asked = [text(VAULT), text(BOB), text(ALICE), text(BOB)]
    found = api.data(query, a=asked)["balancesByAccountAddresses"]
    assert [entry["address"] for entry in found] == asked[:3]
    assert [len(entry["balances"]) for entry in found] == [1, 0, 3]
    assert found[0]["balances"] == [
        {
            "__typename": "SACBalance",
            "balance": "1000000000000000000.0000001",
            "rawBalance": str(10**25 + 1),
            "tokenId": text(TOKEN),
            "tokenType": "SAC",
            "code": "USDC",
            "issuer": text(CAROL),
            "decimals": 7,
            "isAuthorized": True,
            "isClawbackEnabled": False,
        }
    ]
