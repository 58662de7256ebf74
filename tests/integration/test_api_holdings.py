"""What an account has and did beyond the reference: tokens, shares, allowances, offers, trades, claimable balances; and ledgers.

Expectations are worked out from what `api_market_world` wrote, by the rules of the specification.
"""

from __future__ import annotations

from typing import Any

import pytest

from schemas import assets, strkey, toid
from tests.integration.api_market_world import (
    BALANCES,
    CLAIMABLE_NOW,
    DAVE,
    ERIN,
    GOLD,
    OFFERS,
    POOLS,
    PREDICATES,
    SILVER,
    TRADES,
)
from tests.integration.test_api_http import statements
from tests.integration.test_api_world import (
    ALICE,
    CAROL,
    FIRST_LEDGER,
    LAST,
    LEDGERS,
    TRANSACTIONS,
    VAULT,
    Api,
    api,
    once,
    settings_for,
    text,
    transaction_hash,
)

__all__ = ["api", "once"]  # the fixtures

NETWORK = settings_for("").network.network_id()
USD = f"USDC:{text(CAROL)}"
USD_TOKEN = text(assets.contract_address(NETWORK, assets.ALPHANUM4, "USDC", CAROL))
XLM_TOKEN = text(assets.contract_address(NETWORK, assets.NATIVE, "native", None))
NATIVE = {"name": "native", "tokenId": XLM_TOKEN}
DOLLARS = {"name": USD, "tokenId": USD_TOKEN}
TOKENS = sorted((GOLD, SILVER), key=lambda token: assets.contract_uuid(token).hex())

ACCOUNT_LISTS = {
    "balances": ("tokenId", 6),
    "sep41Allowances": ("spender tokenId", 4),
    "claimableBalances": ("id", len(BALANCES)),
    "offers": ("idString", OFFERS),
    "trades": ("idString", TRADES),
}
ERINS_LISTS = {"claimableBalanceEvents": ("idString", 4)}
ROOT_LISTS = {"ledgers": ("sequence", LEDGERS), "liquidityPools": ("id", len(POOLS))}
LISTS = [
    *((f'accountByAddress(address: "{text(DAVE)}")', name, *rest) for name, rest in ACCOUNT_LISTS.items()),
    *((f'accountByAddress(address: "{text(ERIN)}")', name, *rest) for name, rest in ERINS_LISTS.items()),
    *(("", name, *rest) for name, rest in ROOT_LISTS.items()),
]


def page(api: Api, parent: str, name: str, node: str, **arguments: Any) -> dict[str, Any]:
    """One page of a list, with its total."""
    query = f"""query($first: Int, $after: String, $last: Int, $before: String) {{ {parent or "here: __typename"}
        {"{" if parent else ""} {name}(first: $first, after: $after, last: $last, before: $before) {{
            edges {{ cursor node {{ {node} }} }} pageInfo {{ startCursor endCursor hasNextPage hasPreviousPage }}
            totalCount {{ count exact }} }} }} {"}" if parent else ""}"""
    data = api.data(query, **arguments)
    found: dict[str, Any] = (data["accountByAddress"] if parent else data)[name]
    return found


@pytest.mark.parametrize(("parent", "name", "node", "size"), LISTS, ids=lambda value: str(value)[:24])
def test_walks_in_both_directions_equal_the_whole_list(api: Api, parent: str, name: str, node: str, size: int) -> None:
    whole = page(api, parent, name, node)
    nodes = [edge["node"] for edge in whole["edges"]]
    assert len(nodes) == size
    assert whole["totalCount"] == {"count": size, "exact": True}
    assert whole["pageInfo"]["startCursor"] == whole["edges"][0]["cursor"]
    assert len({str(node) for node in nodes}) == size
    for step in (1, 2, size):
        forward: list[Any] = []
        info, after = {"hasNextPage": True, "hasPreviousPage": True}, None
        while info["hasNextPage"]:
            part = page(api, parent, name, node, first=step, after=after)
            info = part["pageInfo"]
            assert info["hasPreviousPage"] is (after is not None)
            forward += [edge["node"] for edge in part["edges"]]
            after = info["endCursor"]
        backward: list[Any] = []
        info, before = {"hasNextPage": True, "hasPreviousPage": True}, None
        while info["hasPreviousPage"]:
            part = page(api, parent, name, node, last=step, before=before)
            info = part["pageInfo"]
            assert info["hasNextPage"] is (before is not None)
            backward = [edge["node"] for edge in part["edges"]] + backward
            before = info["startCursor"]
        assert forward == backward == nodes
    beyond = page(api, parent, name, node, first=1, after=whole["pageInfo"]["endCursor"])
    assert beyond["edges"] == []
    assert beyond["pageInfo"] == {"startCursor": None, "endCursor": None, "hasNextPage": False, "hasPreviousPage": True}


@pytest.mark.parametrize("name", ["balances", "sep41Allowances", "claimableBalances"])
@pytest.mark.parametrize(
    "cursor", ["?", "MQ==", "djE6YQ==", "djE6YTpi", "djE6Y2xhc3NpYzpuYXRpdmU=", "djE6c2FjOm5hdGl2ZQ==", "djI6eDp5"]
)
def test_a_cursor_of_another_list_is_bad_input(api: Api, name: str, cursor: str) -> None:
    query = (
        f"query($a: String!, $c: String!) {{ accountByAddress(address: $a) {{ {name}(after: $c) {{ edges {{ cursor }} }} }} }}"
    )
    answer = api.run(query, a=text(DAVE), c=cursor)
    if "errors" not in answer:  # one text is as good a key of a claimable balance as any
        assert (name, cursor) == ("claimableBalances", "djE6YQ==")
        return
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


BALANCE = """__typename balance rawBalance tokenId tokenType
    ... on SEP41Balance { name symbol decimals lastModifiedLedger }
    ... on LiquidityPoolBalance { lastModifiedLedger reserves { asset { name tokenId } amount rawAmount }
        pool { id feeBasisPoints totalShares rawTotalShares trustlineCount lastModifiedLedger } }"""


def sep41(token: bytes) -> dict[str, Any]:
    named = {GOLD: ("Gold", "GLD", 18), SILVER: ("", "", 0)}[token]
    return {
        "__typename": "SEP41Balance",
        "balance": f"1{'0' * 17}.0000001",
        "rawBalance": str(10**24 + 1),
        "tokenId": text(token),
        "tokenType": "SEP41",
        **dict(zip(("name", "symbol", "decimals"), named, strict=True)),
        "lastModifiedLedger": LAST,
    }


def test_balances_of_all_kinds_in_the_order_of_their_sources(once: Api) -> None:
    query = f"query($a: String!) {{ accountByAddress(address: $a) {{ balances {{ edges {{ node {{ {BALANCE} }} }} }} }} }}"
    before = statements()
    edges = once.data(query, a=text(DAVE))["accountByAddress"]["balances"]["edges"]
    assert statements() - before == 5  # four kinds, and all pools
    native, *tokens = (edge["node"] for edge in edges)
    assert (native["__typename"], native["balance"], native["rawBalance"]) == ("NativeBalance", "10.0000000", "100000000")
    assert tokens[:2] == [sep41(token) for token in TOKENS]
    shares = {node["tokenId"]: node for node in tokens[2:]}
    assert sorted(shares) == sorted(POOLS[:3])
    assert shares[POOLS[2]] == {
        "__typename": "LiquidityPoolBalance",
        "balance": "0.0000003",
        "rawBalance": "3",
        "tokenId": POOLS[2],
        "tokenType": "LIQUIDITY_POOL",
        "lastModifiedLedger": 8,
        "reserves": [
            {"asset": NATIVE, "amount": "2.0000000", "rawAmount": "20000000"},
            {"asset": DOLLARS, "amount": "0.0000005", "rawAmount": "5"},
        ],
        "pool": {
            "id": POOLS[2],
            "feeBasisPoints": 30,
            "totalShares": "7.0000000",
            "rawTotalShares": "70000000",
            "trustlineCount": 2,
            "lastModifiedLedger": 9,
        },
    }


def test_a_muxed_address_holds_what_the_account_behind_it_holds(api: Api) -> None:
    query = """query($a: String!) { accountByAddress(address: $a) { balances { edges { node { tokenId rawBalance } } }
        claimableBalances { totalCount { count } } offers { totalCount { count } } trades { totalCount { count } } } }"""
    plain = api.data(query, a=text(DAVE))
    assert api.data(query, a=strkey.from_storage(bytes((strkey.MUXED,)) + DAVE[1:], 7)) == plain
    assert plain["accountByAddress"]["trades"] == {"totalCount": {"count": TRADES}}
    contract = api.data(query, a=strkey.from_storage(bytes((strkey.MUXED_CONTRACT,)) + VAULT[1:], 7))["accountByAddress"]
    assert len(contract["balances"]["edges"]) == 1


def test_clients_of_the_reference_see_no_pool_shares_unless_they_ask(api: Api) -> None:
    query = "query($a: String!, $p: Boolean! = false) { balancesByAccountAddress(address: $a, poolShares: $p) { __typename } }"
    kinds = ["NativeBalance", "SEP41Balance", "SEP41Balance"]
    assert [found["__typename"] for found in api.data(query, a=text(DAVE))["balancesByAccountAddress"]] == kinds
    asked = api.data(query, a=text(DAVE), p=True)["balancesByAccountAddress"]
    assert [found["__typename"] for found in asked] == kinds + ["LiquidityPoolBalance"] * 3


def test_balances_of_twenty_accounts_cost_a_statement_for_each_kind(once: Api) -> None:
    others = [text(bytes((strkey.ACCOUNT,)) + bytes([number]) * 32) for number in range(16)]
    asked = [text(DAVE), text(ERIN), text(GOLD), text(SILVER), *others]
    query = (
        "query($a: [String!]!) { balancesByAccountAddresses(addresses: $a, poolShares: true) { address balances { tokenId } } }"
    )
    before = statements()
    found = once.data(query, a=asked)["balancesByAccountAddresses"]
    assert statements() - before == 5  # native, trustlines, SAC, SEP-41, pool shares
    assert [entry["address"] for entry in found] == asked
    assert [len(entry["balances"]) for entry in found[:3]] == [6, 2, 0]


def test_allowances_that_have_not_expired(api: Api) -> None:
    query = """query($a: String!) { accountByAddress(address: $a) { sep41Allowances { edges { node {
        owner spender tokenId amount expirationLedger lastModifiedLedger } } } } }"""
    edges = api.data(query, a=text(DAVE))["accountByAddress"]["sep41Allowances"]["edges"]
    # By spender's bytes (contracts before accounts), then by the contract's key.
    assert [edge["node"] for edge in edges] == [
        {
            "owner": text(DAVE),
            "spender": text(spender),
            "tokenId": text(token),
            "amount": str(10**20),
            "expirationLedger": expiration,
            "lastModifiedLedger": LAST - 2,
        }
        for spender, expiration in ((GOLD, LAST + 1), (ERIN, LAST))
        for token in TOKENS
    ]


def test_claimable_balances_and_who_may_claim_them_now(once: Api) -> None:
    fields = """id asset { name tokenId } amount rawAmount sponsorAddress creatorAddress createdLedger createdAt isClawbackEnabled
        lastModifiedLedger claimants { address predicate canClaimNow }"""
    query = (
        f"query($a: String!) {{ accountByAddress(address: $a) {{ claimableBalances {{ edges {{ node {{ {fields} }} }} }} }} }}"
    )
    before = statements()
    edges = once.data(query, a=text(DAVE))["accountByAddress"]["claimableBalances"]["edges"]
    assert statements() - before == 2
    found = {edge["node"]["id"]: edge["node"] for edge in edges}
    assert list(found) == sorted(BALANCES)
    claimants = sorted((text(DAVE), text(ERIN)), key=strkey.decode)
    for number, balance in enumerate(BALANCES):
        node = found[balance]
        assert [one["address"] for one in node["claimants"]] == claimants
        assert {one["canClaimNow"] for one in node.pop("claimants")} == {CLAIMABLE_NOW[number]}
        assert node == {
            "id": balance,
            "asset": DOLLARS,
            "amount": f"{number + 1}.0000000",
            "rawAmount": str(10**7 * (number + 1)),
            "sponsorAddress": text(ERIN),
            "creatorAddress": text(ERIN) if number else None,
            "createdLedger": LAST if number else None,
            "createdAt": "2026-03-01T12:00:25.25Z" if number else None,
            "isClawbackEnabled": number % 2 == 1,
            "lastModifiedLedger": LAST,
        }
    one = once.data(f'{{ claimableBalance(id: "{BALANCES[1]}") {{ claimants {{ predicate }} }} }}')["claimableBalance"]
    assert one["claimants"][0]["predicate"] == '{"before":1000000000}'
    assert PREDICATES[1] == {"before": 1_000_000_000}


def test_what_became_of_claimable_balances(once: Api) -> None:
    query = """query($a: String!) { accountByAddress(address: $a) { claimableBalanceEvents { edges { node {
        idString kind balanceId address asset { name } amount rawAmount ledgerNumber ledgerCreatedAt
        claimableBalance { id } operation { id } transaction { hash } } } } } }"""
    before = statements()
    edges = once.data(query, a=text(ERIN))["accountByAddress"]["claimableBalanceEvents"]["edges"]
    assert statements() - before == 4
    to_id = toid.transaction_id(LAST, 2)
    kinds = [edge["node"]["kind"] for edge in edges]
    assert kinds == ["CREATED", "CREATED", "CLAIMED", "CLAWED_BACK"]
    assert [edge["node"]["claimableBalance"] for edge in edges] == [{"id": BALANCES[0]}, {"id": BALANCES[1]}, None, None]
    last = edges[-1]["node"]
    del last["claimableBalance"]
    assert last == {
        "idString": f"{to_id}-{to_id + 1}-4",
        "kind": "CLAWED_BACK",
        "balanceId": "00000000" + "ab" * 32,
        "address": text(ERIN),
        "asset": {"name": "native"},
        "amount": "0.0000007",
        "rawAmount": "7",
        "ledgerNumber": LAST,
        "ledgerCreatedAt": "2026-03-01T12:00:25.25Z",
        "operation": {"id": to_id + 1},
        "transaction": {"hash": transaction_hash(to_id).hex()},
    }


def test_offers(api: Api) -> None:
    fields = """id idString sellerAddress selling { name tokenId } buying { name tokenId } amount rawAmount price priceN priceD
        isPassive sponsorAddress lastModifiedLedger"""
    found = api.data(f"{{ offer(id: {2**53 + 1}) {{ {fields} }} }}")["offer"]
    assert found == {
        "id": 2**53 + 1,
        "idString": str(2**53 + 1),
        "sellerAddress": text(DAVE),
        "selling": NATIVE,
        "buying": DOLLARS,
        "amount": "0.0000015",
        "rawAmount": "15",
        "price": "0.6666667",
        "priceN": 2,
        "priceD": 3,
        "isPassive": True,
        "sponsorAddress": None,
        "lastModifiedLedger": LAST,
    }
    assert api.data("{ offer(id: 1) { id } }") == {"offer": None}


TRADE = """idString kind takerAddress makerAddress liquidityPoolId offerId sold { asset { name tokenId } amount rawAmount }
    bought { asset { name } amount } price priceN priceD ledgerNumber ledgerCreatedAt operation { id } transaction { idString }"""


def trades(api: Api, arguments: str = "") -> list[dict[str, Any]]:
    query = f'{{ accountByAddress(address: "{text(DAVE)}") {{ trades{arguments} {{ edges {{ node {{ {TRADE} }} }} }} }} }}'
    return [edge["node"] for edge in api.data(query)["accountByAddress"]["trades"]["edges"]]


def test_trades_on_both_sides_in_the_order_of_the_ledger(api: Api) -> None:
    found = trades(api)
    assert [node["idString"].rsplit("-", 1)[1] for node in found] == ["2", "4", "6", "1", "3", "5"]
    to_id = toid.transaction_id(LAST, 1)
    assert found[3] == {
        "idString": f"{to_id}-{to_id + 1}-1",
        "kind": "ORDERBOOK",
        "takerAddress": text(DAVE),
        "makerAddress": text(ERIN),
        "liquidityPoolId": None,
        "offerId": str(2**53),
        "sold": {"asset": NATIVE, "amount": "3.0000000", "rawAmount": "30000000"},
        "bought": {"asset": {"name": USD}, "amount": "2.0000000"},
        "price": None,
        "priceN": "2",
        "priceD": "0",
        "ledgerNumber": LAST,
        "ledgerCreatedAt": "2026-03-01T12:00:25.25Z",
        "operation": {"id": to_id + 1},
        "transaction": {"idString": str(to_id)},
    }
    assert {node["kind"] for node in found if node["liquidityPoolId"]} == {"LIQUIDITY_POOL"}
    assert [node["makerAddress"] for node in found].count(text(DAVE)) == 2


def test_trades_of_an_asset_and_between_ledgers(api: Api) -> None:
    assert len(trades(api, '(asset: "native")')) == 4
    assert len(trades(api, f'(asset: "{USD}")')) == TRADES
    assert trades(api, '(asset: "nothing")') == []
    assert {node["ledgerNumber"] for node in trades(api, f"(fromLedger: {LAST})")} == {LAST}
    assert {node["ledgerNumber"] for node in trades(api, f"(toLedger: {LAST - 1})")} == {LAST - 1}
    assert len(trades(api, '(since: "2026-03-01T12:00:25.25Z")')) == 3


def test_ledgers_and_what_is_in_them(api: Api) -> None:
    fields = """sequence hash previousHash closedAt protocolVersion transactionCount successfulTransactionCount operationCount
        stateChangeCount transactions(first: 2) { edges { node { idString } cursor } totalCount { count } }"""
    found = api.data(f"{{ ledger(sequence: {LAST}) {{ {fields} }} }}")["ledger"]
    ids = [toid.transaction_id(LAST, order) for order in (1, 2)]
    inner = found.pop("transactions")
    assert [edge["node"]["idString"] for edge in inner["edges"]] == [str(number) for number in ids]
    assert inner["totalCount"] == {"count": TRANSACTIONS}
    assert found == {
        "sequence": LAST,
        "hash": "00" * 32,
        "previousHash": "00" * 32,
        "closedAt": "2026-03-01T12:00:25.25Z",
        **dict.fromkeys(
            ("protocolVersion", "transactionCount", "successfulTransactionCount", "operationCount", "stateChangeCount"), 1
        ),
    }
    after = inner["edges"][1]["cursor"]
    rest = api.data(f'{{ ledger(sequence: {LAST}) {{ transactions(after: "{after}") {{ edges {{ node {{ idString }} }} }} }} }}')
    assert len(rest["ledger"]["transactions"]["edges"]) == TRANSACTIONS - 2
    assert api.data("{ ledger(sequence: 1) { hash } }") == {"ledger": None}


def test_ledgers_with_their_transactions_cost_two_statements(once: Api) -> None:
    before = statements()
    found = once.data("{ ledgers { edges { node { sequence transactions { edges { node { ledgerNumber } } } } } } }")["ledgers"]
    assert statements() - before == 2
    assert [edge["node"]["sequence"] for edge in found["edges"]] == list(range(FIRST_LEDGER, LAST + 1))
    for edge in found["edges"]:
        inner = edge["node"]["transactions"]["edges"]
        assert [one["node"]["ledgerNumber"] for one in inner] == [edge["node"]["sequence"]] * TRANSACTIONS


@pytest.mark.parametrize(
    ("arguments", "sequences"),
    [
        (f"fromLedger: {LAST - 1}", [LAST - 1, LAST]),
        (f"toLedger: {FIRST_LEDGER}", [FIRST_LEDGER]),
        ('since: "2026-03-01T12:00:20.25Z"', [LAST - 1, LAST]),
        ('until: "2026-03-01T12:00:05Z"', [FIRST_LEDGER]),
        (f"fromLedger: {FIRST_LEDGER + 1}, toLedger: {FIRST_LEDGER + 1}", [FIRST_LEDGER + 1]),
        ("fromLedger: 4294967295", []),
        ("toLedger: 0", []),
        ('since: "2027-01-01T00:00:00Z"', []),
        ('until: "2025-01-01T00:00:00Z"', []),
    ],
)
def test_bounds_mean_the_same_on_every_list(api: Api, arguments: str, sequences: list[int]) -> None:
    query = f"""query($a: String!) {{
        ledgers({arguments}) {{ edges {{ node {{ ledgerNumber: sequence }} }} totalCount {{ count }} }}
        transactions({arguments}) {{ edges {{ node {{ ledgerNumber }} }} totalCount {{ count }} }}
        operations({arguments}) {{ edges {{ node {{ ledgerNumber }} }} totalCount {{ count }} }}
        stateChanges({arguments}, first: 100) {{ edges {{ node {{ ledgerNumber }} }} totalCount {{ count }} }}
        accountByAddress(address: $a) {{
            transactions({arguments}) {{ edges {{ node {{ ledgerNumber }} }} totalCount {{ count }} }}
            operations({arguments}) {{ edges {{ node {{ ledgerNumber }} }} totalCount {{ count }} }}
            stateChanges({arguments}) {{ edges {{ node {{ ledgerNumber }} }} totalCount {{ count }} }} }} }}"""
    found = api.data(query, a=text(ALICE))
    account = found.pop("accountByAddress")
    for name, listed in [*found.items(), *account.items()]:
        assert sorted({edge["node"]["ledgerNumber"] for edge in listed["edges"]}) == sequences, name
        assert listed["totalCount"]["count"] == len(listed["edges"]), name


def test_pools_and_ids_that_are_none(api: Api) -> None:
    assert api.data(f'{{ liquidityPool(id: "{POOLS[1]}") {{ reserves {{ rawAmount }} }} }}') == {
        "liquidityPool": {"reserves": [{"rawAmount": "10000000"}, {"rawAmount": "5"}]}
    }
    assert api.data(f'{{ liquidityPool(id: "{"0" * 64}") {{ id }} claimableBalance(id: "{"0" * 72}") {{ id }} }}') == {
        "liquidityPool": None,
        "claimableBalance": None,
    }
    for query in ('{ liquidityPool(id: "AB") { id } }', '{ claimableBalance(id: "x") { id } }'):
        assert api.code(query) == "BAD_USER_INPUT"


def test_bounds_with_nothing_between_are_bad_input(api: Api) -> None:
    assert api.code("{ ledgers(fromLedger: 2, toLedger: 1) { edges { cursor } } }") == "BAD_USER_INPUT"
    assert (
        api.code('{ transactions(since: "2026-03-01T12:00:00Z", until: "2026-03-01T11:00:00Z") { edges { cursor } } }')
        == "BAD_USER_INPUT"
    )
