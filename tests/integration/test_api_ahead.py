"""A transaction's operations are read together with it: one statement, the answer as when they are read by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from api.paging import encode_cursor
from tests.integration.test_api_http import statements
from tests.integration.test_api_world import TO_ID, Api, BothWays, once, serving, transaction_hash, world_database

__all__ = ["once"]  # the fixture

OPERATIONS = 5
LIST = """edges { node { id idString operationType operationXdr successful accounts { address } } cursor }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount { count }"""
MORE_OPERATIONS = """INSERT INTO operations
    (id, operation_type, operation_xdr, result_code, successful, ledger_number, ledger_created_at)
    SELECT id + n, 'PAYMENT', '\\x0102', 'op_success', true, ledger_number, ledger_created_at
    FROM operations, generate_series(1, %s) n WHERE id = %s"""
HASH = transaction_hash(TO_ID).hex()
INNER = transaction_hash(TO_ID, inner=True).hex()


@pytest.fixture(scope="module")
def deep(admin_url: str, template_database: str) -> Iterator[Api]:
    """The world, with a transaction of several operations, asked both ways."""
    with world_database(admin_url, template_database) as url:
        with psycopg.connect(url) as connection:
            connection.execute(MORE_OPERATIONS, (OPERATIONS - 1, TO_ID + 1))
        with serving(url, BothWays) as served:
            yield served


def by_hash(api: Api, arguments: str, digest: str, **variables: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operations as they are read together with the transaction, and as they are read by themselves: one of two aliases."""
    declared = ", ".join(["$hash: String!", *(f"${name}: {'Int' if name in 'nm' else 'String'}" for name in variables)])
    query = f"query({declared}) {{ transactionByHash(hash: $hash) {{ hash %s }} }}"
    together, alone = (
        api.run(query % wanted, hash=digest, **variables)
        for wanted in (
            f"operations{arguments} {{ {LIST} }}",
            f"operations{arguments} {{ {LIST} }} other: operations(first: 1) {{ edges {{ cursor }} }}",
        )
    )
    for answer in (together, alone):
        if answer["data"]:
            answer["data"]["transactionByHash"].pop("other", None)
    return together, alone


@pytest.mark.parametrize("digest", [HASH, INNER])
@pytest.mark.parametrize(
    ("arguments", "variables", "numbers"),
    [
        ("", {}, [1, 2, 3, 4, 5]),
        ("(first: 2)", {}, [1, 2]),
        ("(last: 2)", {}, [4, 5]),
        ("(first: $n, after: $c)", {"n": 2, "c": encode_cursor(TO_ID + 2)}, [3, 4]),
        (f'(before: "{encode_cursor(TO_ID + 3)}", last: 3)', {}, [1, 2]),
        ("(first: $n, last: $m)", {"n": None, "m": 1}, [5]),
        ("(first: null)", {}, [1, 2, 3, 4, 5]),
        ("(after: $c)", {"c": encode_cursor(TO_ID + 5)}, []),
    ],
)
def test_a_page_of_operations_is_the_same_read_together_and_alone(
    deep: Api, digest: str, arguments: str, variables: dict[str, Any], numbers: list[int]
) -> None:
    together, alone = by_hash(deep, arguments, digest, **variables)
    assert together == alone
    edges = together["data"]["transactionByHash"]["operations"]["edges"]
    assert [edge["node"]["id"] - TO_ID for edge in edges] == numbers
    assert together["data"]["transactionByHash"]["operations"]["totalCount"] == {"count": OPERATIONS}


@pytest.mark.parametrize("arguments", ["(first: 0)", "(first: 1, last: 1)", '(after: "x")', "(first: 101)"])
def test_a_page_that_is_refused_is_refused_at_its_own_field(deep: Api, arguments: str) -> None:
    together, alone = by_hash(deep, arguments, HASH)
    assert together == alone
    (error,) = together["errors"]
    assert error["path"] == ["transactionByHash", "operations"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert together["data"] == {"transactionByHash": {"hash": HASH, "operations": None}}


def test_operations_cost_no_statement_of_their_own(once: Api) -> None:
    wanted = "{ edges { node { id } } }"
    for selection, expected in (
        ("hash", 1),
        (f"operations {wanted}", 1),
        (f"ops: operations(last: 1) {wanted}", 1),
        (f"... on Transaction {{ operations {wanted} }}", 1),
        (f"a: operations {wanted} b: operations(first: 1) {wanted}", 3),
        (f"operations @include(if: true) {wanted}", 2),
        ("operations @skip(if: true) { edges { cursor } } hash", 1),
    ):
        before = statements()
        once.data(f'{{ transactionByHash(hash: "{HASH}") {{ {selection} }} }}')
        assert statements() - before == expected, selection
    before = statements()
    assert once.code(f'{{ transactionByHash(hash: "{"0" * 64}") {{ operations {wanted} }} }}') == "NOT_FOUND"
    assert statements() - before == 2  # neither an outer hash nor an inner one
