"""Filters of an account's lists, its own part of each transaction, and totals: each against what the world holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas import assets, strkey, toid
from tests.integration.test_api_http import statements
from tests.integration.test_api_world import (
    ALICE,
    BOB,
    CAROL,
    LAST,
    LEDGERS,
    MUXED,
    MUXED_ID,
    TO_ID,
    TOKEN,
    TRANSACTIONS,
    VAULT,
    Api,
    api,
    once,
    serving,
    settings_for,
    text,
    transaction_hash,
)

__all__ = ["api", "once"]  # the fixtures

TRANSACTION_COUNT = LEDGERS * TRANSACTIONS
OPERATION_COUNT = LEDGERS * sum(range(1, TRANSACTIONS + 1))
KINDS_ON_BOB = 13

CHANGES = """query($a: String!, $f: AccountStateChangeFilterInput) { accountByAddress(address: $a) { stateChanges(filter: $f) {
    edges { node { type reason } } totalCount { count exact } } } }"""


@pytest.fixture
def own_asset_api(database_url: str) -> Iterator[Api]:
    """The API on a database where BOB burned some of an asset, after more changes of ALICE than are counted."""
    network = settings_for("").network.network_id()
    token = assets.contract_address(network, assets.ALPHANUM12, "LONGCODE", CAROL)
    key = "to_id, operation_id, state_change_id, ledger_number, ledger_created_at"
    kind = "state_change_category, state_change_reason, account_id, token_id"
    with psycopg.connect(database_url, autocommit=True) as connection:
        for rows, account, reason in ((10_001, ALICE, "DEBIT"), (1, BOB, "BURN")):
            connection.execute(
                f"INSERT INTO state_changes ({key}, {kind}) SELECT 1, length(%(reason)s), n, 1, now(), "
                "'BALANCE', %(reason)s, %(account)s, %(token)s FROM generate_series(1, %(rows)s) n".encode(),
                {"rows": rows, "account": account, "reason": reason, "token": token},
            )
    with serving(database_url) as served:
        yield served


def kinds(api: Api, address: bytes, **conditions: Any) -> list[tuple[str, str]]:
    """(category, reason) of the state changes that pass a filter; their total must be their number."""
    found = api.data(CHANGES, a=text(address), f=conditions)["accountByAddress"]["stateChanges"]
    assert found["totalCount"] == {"count": len(found["edges"]), "exact": True}
    return [(edge["node"]["type"], edge["node"]["reason"]) for edge in found["edges"]]


def test_by_token_and_by_its_asset(api: Api) -> None:
    of_token = [("BALANCE", "MINT"), ("TRUSTLINE", "UPDATE"), ("BALANCE_AUTHORIZATION", "SET"), ("ALLOWANCE", "UPDATE")]
    assert kinds(api, BOB, tokenId=text(TOKEN)) == of_token
    assert kinds(api, BOB, tokenId=text(TOKEN), category="TRUSTLINE") == of_token[1:2]
    assert kinds(api, BOB, tokenId=text(VAULT)) == []
    # The world's token is no asset's contract: an asset finds nothing, and both conditions together find nothing.
    assert kinds(api, BOB, asset=f"USDC:{text(CAROL)}") == []
    network = settings_for("").network.network_id()
    contract = text(assets.contract_address(network, assets.ALPHANUM4, "USDC", CAROL))
    assert kinds(api, BOB, asset=f"USDC:{text(CAROL)}", tokenId=contract) == []
    assert kinds(api, BOB, asset="native") == []


def test_an_asset_is_found_by_the_address_of_its_contract(own_asset_api: Api) -> None:
    assert kinds(own_asset_api, BOB, asset=f"LONGCODE:{text(CAROL)}") == [("BALANCE", "BURN")]


def test_by_muxed_id_and_reason(api: Api) -> None:
    assert kinds(api, BOB, toMuxedId="77") == [("BALANCE", "MINT")]
    assert kinds(api, BOB, toMuxedId="78") == []
    assert kinds(api, BOB, reason="MINT") == [("BALANCE", "MINT")]
    assert kinds(api, BOB, reason="HIGH", category="SIGNER") == []
    assert kinds(api, BOB, reason="SET") == [("FLAGS", "SET"), ("BALANCE_AUTHORIZATION", "SET")]
    assert kinds(api, BOB, reason="no such") == []


def test_fees_are_found_by_operation_zero_as_in_the_reference(api: Api) -> None:
    assert kinds(api, ALICE, operationId=0) == [("BALANCE", "DEBIT")] * TRANSACTION_COUNT
    assert kinds(api, ALICE, operationId=TO_ID + 1) == [("BALANCE", "CREDIT")]


def test_by_counterparty(api: Api) -> None:
    assert len(kinds(api, BOB, counterparty=text(ALICE))) == KINDS_ON_BOB
    assert kinds(api, BOB, counterparty=text(CAROL)) == []
    query = """query($a: String!, $c: String!) { accountByAddress(address: $a) {
        transactions(counterparty: $c) { totalCount { count } } operations(counterparty: $c) { totalCount { count } } } }"""
    for other, transactions, operations in (
        (text(BOB), TRANSACTION_COUNT, 0),
        (text(CAROL), 0, 0),
        (strkey.from_storage(MUXED, MUXED_ID), TRANSACTION_COUNT, 0),
        (strkey.from_storage(MUXED, 7), 0, 0),
        (text(ALICE), TRANSACTION_COUNT, OPERATION_COUNT),
    ):
        found = api.data(query, a=text(ALICE), c=other)["accountByAddress"]
        assert found == {
            "transactions": {"totalCount": {"count": transactions}},
            "operations": {"totalCount": {"count": operations}},
        }


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ({"tokenId": "x"}, "INVALID_ADDRESS"),
        ({"tokenId": text(ALICE)}, "INVALID_ADDRESS"),
        ({"counterparty": "x"}, "INVALID_ADDRESS"),
        ({"asset": "USD"}, "BAD_USER_INPUT"),
        ({"asset": "USD:G"}, "BAD_USER_INPUT"),
        ({"asset": f":{text(ALICE)}"}, "BAD_USER_INPUT"),
        ({"asset": f"THIRTEENCHARS:{text(ALICE)}"}, "BAD_USER_INPUT"),
        ({"asset": f"USD:{text(TOKEN)}"}, "BAD_USER_INPUT"),
        ({"asset": f"\\xZZ:{text(ALICE)}"}, "BAD_USER_INPUT"),
        ({"asset": f"\\x€:{text(ALICE)}"}, "BAD_USER_INPUT"),
        ({"transactionHash": "ab"}, "INVALID_TRANSACTION_HASH"),
    ],
)
def test_conditions_that_cannot_be(api: Api, condition: dict[str, Any], code: str) -> None:
    assert api.code(CHANGES, a=text(BOB), f=condition) == code


OWN_PART = """query($a: String!) { accountByAddress(address: $a) { transactions(first: 8) { edges { node { idString }
    operations { idString transaction { hash } }
    stateChanges { __typename idString operation { id } account { address } } } } } }"""


def test_an_account_s_own_part_of_each_transaction(once: Api) -> None:
    before = statements()
    edges = once.data(OWN_PART, a=text(ALICE))["accountByAddress"]["transactions"]["edges"]
    # The links with their transactions, operations, state changes; of these the transactions and the operations.
    assert statements() - before == 5
    for index, edge in enumerate(edges):
        order = index % TRANSACTIONS + 1
        to_id = int(edge["node"]["idString"])
        assert [one["idString"] for one in edge["operations"]] == [str(to_id + number) for number in range(1, order + 1)]
        assert {one["transaction"]["hash"] for one in edge["operations"]} == {transaction_hash(to_id).hex()}
        changes = [one["idString"] for one in edge["stateChanges"]]
        assert changes == [f"{to_id}-0-1", *(f"{to_id}-{to_id + number}-1" for number in range(1, order + 1))]
        assert {one["account"]["address"] for one in edge["stateChanges"]} == {text(ALICE)}


def test_the_part_of_another_account_is_its_own(api: Api) -> None:
    edges = api.data(OWN_PART.replace("first", "last"), a=text(BOB))["accountByAddress"]["transactions"]["edges"]
    of_last = {edge["node"]["idString"]: edge for edge in edges}[str(TO_ID)]
    assert of_last["operations"] == []  # only ALICE takes part in the operation
    assert len(of_last["stateChanges"]) == KINDS_ON_BOB
    muxed = api.data(OWN_PART, a=strkey.from_storage(MUXED, MUXED_ID))["accountByAddress"]["transactions"]["edges"]
    assert [(edge["operations"], edge["stateChanges"]) for edge in muxed] == [([], [])] * 8


def test_other_lists_of_transactions_have_no_account_of_their_own(api: Api) -> None:
    found = api.data(f"{{ transactions {{ edges {{ operations {{ id }} stateChanges {{ type }} }} }} ledger(sequence: {LAST}) {{"
                     " transactions { edges { operations { id } } } } }")  # fmt: skip
    assert {edge["operations"] for edge in found["transactions"]["edges"]} == {None}
    assert {edge["stateChanges"] for edge in found["transactions"]["edges"]} == {None}
    assert {edge["operations"] for edge in found["ledger"]["transactions"]["edges"]} == {None}


def test_totals_inside_transactions_cost_a_statement_for_each_list(once: Api) -> None:
    before = statements()
    edges = once.data("""{ transactions(first: 20) { totalCount { count } edges { node { idString
        operations(first: 1) { totalCount { count exact } } stateChanges(first: 1) { totalCount { count } edges { node {
            operation { stateChanges(first: 1) { totalCount { count } } } } } } } } } }""")["transactions"]
    # Transactions and their total; operations, state changes, and the total of each. Fees have no operation.
    assert statements() - before == 6
    assert edges["totalCount"] == {"count": TRANSACTION_COUNT}
    for index, edge in enumerate(edges["edges"]):
        order = index % TRANSACTIONS + 1
        assert edge["node"]["operations"]["totalCount"] == {"count": order, "exact": True}
        assert edge["node"]["stateChanges"]["totalCount"] == {"count": order + 1}
    of_operation = once.data(f"{{ operationById(id: {TO_ID + 1}) {{ stateChanges(first: 1) {{ totalCount {{ count }} }} }} }}")
    assert of_operation["operationById"]["stateChanges"]["totalCount"]["count"] == KINDS_ON_BOB + 1
    of_ledger = once.data(
        f"{{ ledger(sequence: {toid.ledger_of(TO_ID)}) {{ transactions(first: 1) {{ totalCount {{ count }} }} }} }}"
    )
    assert of_ledger["ledger"]["transactions"]["totalCount"]["count"] == TRANSACTIONS


def test_nobody_counts_for_ever(own_asset_api: Api) -> None:
    found = own_asset_api.data("{ stateChanges(first: 1) { totalCount { count exact } } }")["stateChanges"]
    assert found["totalCount"] == {"count": 10_000, "exact": False}
