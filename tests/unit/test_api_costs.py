"""What operations cost: every list weighs its rows, the limit is exact, and the queries of the clients we know stay within it."""

from __future__ import annotations

from typing import Any, Final

import pytest
from graphql import FragmentDefinitionNode, GraphQLObjectType, get_named_type, get_operation_ast, parse

from api import limits
from api.errors import ClientError, Code
from api.schema import graphql_schema
from lumenstream.settings import ApiSettings

PAGE_INFO: Final = "pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"
TRANSACTION: Final = "hash envelopeXdr feeCharged resultCode metaXdr ledgerNumber ledgerCreatedAt isFeeBump ingestedAt"
OPERATION: Final = "id operationType operationXdr resultCode successful ledgerNumber ledgerCreatedAt ingestedAt"
CHANGE: Final = """__typename type reason ingestedAt ledgerCreatedAt ledgerNumber account { address }
    ... on StandardBalanceChange { tokenId amount } ... on AccountChange { funderAddress }
    ... on SignerChange { signerAddress signerWeights } ... on SignerThresholdsChange { thresholds }
    ... on MetadataChange { keyValue } ... on FlagsChange { flags } ... on TrustlineChange { tokenId limit liquidityPoolId }
    ... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId sponsoredTrustline sponsoredData }
    ... on BalanceAuthorizationChange { tokenId liquidityPoolId flags }"""
BALANCE: Final = """__typename balance tokenId tokenType
    ... on NativeBalance { minimumBalance buyingLiabilities sellingLiabilities lastModifiedLedger }
    ... on TrustlineBalance { code issuer type limit buyingLiabilities sellingLiabilities lastModifiedLedger isAuthorized
        isAuthorizedToMaintainLiabilities }
    ... on SACBalance { code issuer decimals isAuthorized isClawbackEnabled } ... on SEP41Balance { name symbol decimals }"""


def listed(name: str, node: str, rows: str = "(first: 100)") -> str:
    return f"{name}{rows} {{ edges {{ node {{ {node} }} cursor }} {PAGE_INFO} }}"


WITHIN: Final = {
    "Query": "{{ {} }}",
    "Account": '{{ accountByAddress(address: "x") {{ {} }} }}',
    "Ledger": "{{ ledger(sequence: 1) {{ {} }} }}",
    "Transaction": '{{ transactionByHash(hash: "x") {{ {} }} }}',
    "Operation": "{{ operationById(id: 1) {{ {} }} }}",
}
HISTORY: Final = f"{TRANSACTION} }} cursor operations {{ {OPERATION} }} stateChanges {{ {CHANGE} "

# What the reference's own client asks, with every field that it knows, by pages of a hundred; and what it costs.
CLIENT: Final = {
    "transaction by hash": ("Transaction", TRANSACTION, 10),
    "transactions": ("Query", listed("transactions", TRANSACTION), 1_700),
    "operations": ("Query", listed("operations", OPERATION), 1_600),
    "state changes": ("Query", listed("stateChanges", CHANGE), 3_600),
    "an account's state changes": ("Account", listed("stateChanges", CHANGE), 3_601),
    "a transaction's state changes": ("Transaction", listed("stateChanges", CHANGE), 3_601),
    "balances": ("Query", f'balancesByAccountAddress(address: "x") {{ {BALANCE} }}', 26),
    "balances of many": (
        "Query",
        f'balancesByAccountAddresses(addresses: ["x"]) {{ address error balances {{ {BALANCE} }} }}',
        561,
    ),
    "a page of history": ("Account", f"transactions(first: 100) {{ edges {{ node {{ {HISTORY} }} }} {PAGE_INFO} }}", 5_501),
}


def settings(**given: Any) -> ApiSettings:
    return ApiSettings.model_validate(given)


def cost(query: str, variables: dict[str, Any] | None = None) -> limits.Cost:
    document = parse(query)
    operation = get_operation_ast(document)
    assert operation is not None
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    return limits.weigh(graphql_schema(), operation, fragments, variables or {}, settings())


@pytest.mark.parametrize("name", CLIENT)
def test_the_queries_of_the_reference_s_client_cost_what_they_did(name: str) -> None:
    parent, fields, complexity = CLIENT[name]
    assert cost(WITHIN[parent].format(fields)).complexity == complexity <= settings().max_complexity


def test_every_list_with_pages_weighs_its_rows() -> None:
    paged = [
        (kind.name, name)
        for kind in graphql_schema().type_map.values()
        if isinstance(kind, GraphQLObjectType)
        for name, field in kind.fields.items()
        if "first" in field.args
    ]
    assert {name for _, name in paged} >= {"transactions", "balances", "trades", "ledgers", "liquidityPools", "sep41Allowances"}
    for parent, name in paged:
        field = getattr(graphql_schema().type_map[parent], "fields")[name]  # noqa: B009 (an object type, seen above)
        assert get_named_type(field.type).name.endswith("Connection"), (parent, name)
        above = 0 if parent == "Query" else 1
        for rows, times in (("(first: 7)", 7), ("(last: 3)", 3), ("", 50), ("(first: 1000)", 100)):
            query = WITHIN[parent].format(f"{name}{rows} {{ edges {{ cursor }} }}")
            assert cost(query).complexity == above + times * 2, query


def test_accounts_and_totals_weigh_more_than_one() -> None:
    assert cost('{ transactionByHash(hash: "x") { accounts { address } } }').complexity == 1 + 50
    assert cost("{ operationById(id: 1) { accounts { address } } }").complexity == 1 + 50
    assert cost("{ ledgers(first: 1) { totalCount { count exact } } }").complexity == 10 + 2
    assert cost("{ ledgers { totalCount { count } } }").complexity == 50 * (10 + 1)


def test_a_query_at_the_limit_runs_and_one_beyond_does_not() -> None:
    document = parse(WITHIN["Query"].format(CLIENT["transactions"][1]))
    operation = get_operation_ast(document)
    assert operation is not None
    limits.check(graphql_schema(), operation, {}, {}, settings(max_complexity=1_700))
    with pytest.raises(ClientError) as refused:
        limits.check(graphql_schema(), operation, {}, {}, settings(max_complexity=1_699))
    assert refused.value.extensions == {"code": Code.COMPLEXITY_LIMIT_EXCEEDED}
    limits.check(graphql_schema(), operation, {}, {}, settings(max_depth=4))
    with pytest.raises(ClientError) as refused:
        limits.check(graphql_schema(), operation, {}, {}, settings(max_depth=3))
    assert refused.value.extensions == {"code": Code.QUERY_TOO_DEEP}


@pytest.mark.parametrize(("rows", "times"), [(7, 7), (7.0, 7), (100.0, 100), (1e9, 100), (None, 50)])
def test_rows_asked_for_by_a_variable_weigh_the_same_in_every_form_of_a_number(rows: float | None, times: int) -> None:
    query = "query($n: Int) { ledgers(first: $n) { edges { cursor } } }"
    assert cost(query, {"n": rows}).complexity == times * 2
