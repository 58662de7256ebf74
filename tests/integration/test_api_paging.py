"""Paging through every list: walks in both directions equal the whole list, and what filters and bounds leave."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import strkey, toid
from tests.integration.test_api_world import (
    ALICE,
    BOB,
    FIRST_LEDGER,
    LAST,
    LEDGERS,
    MUXED,
    MUXED_ID,
    TO_ID,
    TRANSACTIONS,
    Api,
    api,
    text,
    transaction_hash,
)

__all__ = ["api"]  # the fixture

TRANSACTION_COUNT = LEDGERS * TRANSACTIONS
OPERATION_COUNT = LEDGERS * sum(range(1, TRANSACTIONS + 1))
CREDITS_AND_FEES = OPERATION_COUNT + TRANSACTION_COUNT

PAGE_INFO = "pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"
ARGUMENTS = "first: $first, after: $after, last: $last, before: $before"
HEAD = "query($first: Int, $after: String, $last: Int, $before: String)"
ON_TO_ID = toid.transaction_id(LAST, 4)

LISTS = {
    "transactions": ((), "transactions(%s)", "idString", TRANSACTION_COUNT),
    "operations": ((), "operations(%s)", "idString", OPERATION_COUNT),
    "stateChanges": ((), "stateChanges(%s)", "idString", CREDITS_AND_FEES + 13),
    "account transactions": (
        ("accountByAddress",),
        f'accountByAddress(address: "{text(ALICE)}") {{ transactions(%s)',
        "idString",
        TRANSACTION_COUNT,
    ),
    "account operations": (
        ("accountByAddress",),
        f'accountByAddress(address: "{text(ALICE)}") {{ operations(%s)',
        "idString",
        OPERATION_COUNT,
    ),
    "account state changes": (
        ("accountByAddress",),
        f'accountByAddress(address: "{text(ALICE)}") {{ stateChanges(%s)',
        "idString",
        CREDITS_AND_FEES,
    ),
    "transaction operations": (
        ("transactionByHash",),
        f'transactionByHash(hash: "{transaction_hash(ON_TO_ID).hex()}") {{ operations(%s)',
        "idString",
        4,
    ),
    "transaction state changes": (
        ("transactionByHash",),
        f'transactionByHash(hash: "{transaction_hash(TO_ID).hex()}") {{ stateChanges(%s)',
        "idString",
        15,
    ),
    "operation state changes": (("operationById",), f"operationById(id: {TO_ID + 1}) {{ stateChanges(%s)", "idString", 14),
}


class List:
    """One list of the API, by name."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._path, field, node, self.size = LISTS[name]
        closing = "}" * len(self._path)
        self._query = f"{HEAD} {{ {field % ARGUMENTS} {{ edges {{ cursor node {{ {node} }} }} {PAGE_INFO} }} {closing} }}"
        self._name = field.rpartition("{ ")[2].partition("(")[0]

    def page(self, **arguments: Any) -> tuple[list[str], dict[str, Any]]:
        found = self._api.data(self._query, **arguments)
        for step in (*self._path, self._name):
            found = found[step]
        edges, info = found["edges"], found["pageInfo"]
        assert info["startCursor"] == (edges[0]["cursor"] if edges else None)
        assert info["endCursor"] == (edges[-1]["cursor"] if edges else None)
        return [edge["node"]["idString"] for edge in edges], info

    def forward(self, first: int) -> list[str]:
        """The whole list, page by page from the beginning."""
        seen: list[str] = []
        after = None
        while True:
            page, info = self.page(first=first, after=after)
            assert info["hasPreviousPage"] is (after is not None)
            seen += page
            if not info["hasNextPage"]:
                return seen
            assert len(page) == first
            after = info["endCursor"]

    def backward(self, last: int) -> list[str]:
        """The whole list, page by page from the end."""
        seen: list[str] = []
        before = None
        while True:
            page, info = self.page(last=last, before=before)
            assert info["hasNextPage"] is (before is not None)
            seen = page + seen
            if not info["hasPreviousPage"]:
                return seen
            assert len(page) == last
            before = info["startCursor"]


@pytest.mark.parametrize("name", LISTS)
def test_walks_in_both_directions_equal_the_whole_list(api: Api, name: str) -> None:
    listed = List(api, name)
    whole, info = listed.page(first=100)
    if listed.size <= 100:
        assert len(whole) == listed.size
        assert not info["hasNextPage"]
    for size in (1, 3, 7) if listed.size < 20 else (7, 12, 50):
        assert listed.forward(size) == listed.backward(size)
        assert listed.forward(size)[:100] == whole
    assert len(listed.forward(50)) == listed.size
    assert len(set(listed.forward(50))) == listed.size


@pytest.mark.parametrize("name", LISTS)
def test_a_cursor_without_a_size_is_honoured(api: Api, name: str) -> None:
    listed = List(api, name)
    whole = listed.forward(50)
    _, info = listed.page(first=2)
    assert listed.page(after=info["endCursor"])[0] == whole[2:52]
    _, info = listed.page(last=2)
    assert listed.page(before=info["startCursor"])[0] == whole[:-2][-50:]


def test_past_the_end_is_an_empty_page(api: Api) -> None:
    listed = List(api, "transactions")
    _, info = listed.page(last=1)
    assert listed.page(first=5, after=info["endCursor"]) == (
        [],
        {"startCursor": None, "endCursor": None, "hasNextPage": False, "hasPreviousPage": True},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"first": 1, "last": 1},
        {"first": 0},
        {"last": -1},
        {"first": 101},
        {"last": 101},
        {"first": 1, "before": "MTox"},
        {"last": 1, "after": "MTox"},
        {"after": "MTox", "before": "MTox"},
        {"after": "?"},
        {"after": "MQ=="},
        {"after": "MTotMQ=="},
    ],
)
def test_contradicting_arguments_are_bad_input(api: Api, arguments: dict[str, Any]) -> None:
    answer = api.run(f"{HEAD} {{ transactions({ARGUMENTS}) {{ pageInfo {{ endCursor }} }} }}", **arguments)
    assert answer["data"] == {"transactions": None}
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


FILTERED = """query($address: String!, $filter: AccountStateChangeFilterInput, $since: Time, $until: Time) {
    accountByAddress(address: $address) { stateChanges(filter: $filter, since: $since, until: $until, first: 100) {
        edges { node { idString type reason ledgerNumber operation { id } transaction { hash innerHash } } } } } }"""


def filtered(api: Api, address: bytes = BOB, **variables: Any) -> list[dict[str, Any]]:
    found = api.data(FILTERED, address=text(address), **variables)["accountByAddress"]["stateChanges"]["edges"]
    return [edge["node"] for edge in found]


def test_filters_are_joined_by_and(api: Api) -> None:
    assert len(filtered(api)) == 13
    assert [node["reason"] for node in filtered(api, filter={"category": "TRUSTLINE"})] == ["UPDATE", "REMOVE"]
    assert [node["type"] for node in filtered(api, filter={"reason": "UPDATE"})] == ["TRUSTLINE", "ALLOWANCE"]
    assert len(filtered(api, filter={"category": "TRUSTLINE", "reason": "UPDATE"})) == 1
    assert filtered(api, filter={"category": "NO_SUCH"}) == []
    assert len(filtered(api, ALICE, filter={"operationId": TO_ID + 1})) == 1
    assert len(filtered(api, ALICE, filter={"operationId": str(TO_ID + 1)})) == 1
    for inner in (False, True):
        digest = transaction_hash(TO_ID, inner=inner).hex()
        nodes = filtered(api, ALICE, filter={"transactionHash": digest})
        assert len(nodes) == 2
        assert digest in nodes[0]["transaction"].values()
    assert filtered(api, ALICE, filter={"transactionHash": "00" * 32}) == []


def test_bounds_of_the_close_time_are_inclusive(api: Api) -> None:
    bounds = {"since": "2026-03-01T12:00:05.25Z", "until": "2026-03-01T13:00:10.250000+01:00"}
    assert {node["ledgerNumber"] for node in filtered(api, ALICE, **bounds)} == {FIRST_LEDGER + 1, FIRST_LEDGER + 2}
    backwards = api.code(FILTERED, address=text(ALICE), since=bounds["until"], until=bounds["since"])
    assert backwards == "BAD_USER_INPUT"


def test_a_muxed_account_has_its_own_history(api: Api) -> None:
    query = "query($a: String!) { accountByAddress(address: $a) { address transactions { edges { node { hash } } } } }"
    address = strkey.from_storage(MUXED, MUXED_ID)
    found = api.data(query, a=address)["accountByAddress"]
    assert found["address"] == address
    assert len(found["transactions"]["edges"]) == TRANSACTION_COUNT
    other = strkey.from_storage(MUXED, 7)
    assert api.data(query, a=other)["accountByAddress"]["transactions"]["edges"] == []
