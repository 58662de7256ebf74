"""Recorded queries of every type over real ledgers: what the API answers is what the specification makes of the reference's rows.

Four pubnet ledgers are ingested by the processors and the sink's writer. The answers are compared with golden data, which the
reference produced at BASE and HEAD, rendered here by spec/api.md 1 to 3 without the API's code. It has no offers, trades and
claimable balances: these are compared with our tables, which other tests compare with the ledgers.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    is_introspection_type,
    parse,
    visit,
)

from api.schema import graphql_schema
from schemas import strkey
from schemas.assets import network_id
from tests.golden import queries
from tests.golden.real_database import ingest
from tests.integration.test_api_world import Api, serving
from tests.plugins.servers import copied_database

pytestmark = pytest.mark.golden

PUBNET: Final = "Public Global Stellar Network ; September 2015"
XLM: Final = "CAS3J7GYLGXMF6TDJBBYYSE3HQ6BBSMLNUQ34T6TZMYMW2EVH34XOWMA"  # the native asset's contract, on pubnet
LEDGERS: Final = 4
PAGE: Final = 90  # a hundred transactions with their accounts would be too complex
STROOPS: Final = 10**7

Row = dict[str, Any]


class Real(NamedTuple):
    """The API on the real ledgers, the reference's rows for them, and the tables."""

    api: Api
    base: dict[str, list[Row]]
    head: dict[str, list[Row]]
    tables: psycopg.Connection[Any]

    def walk(self, query: str, *path: str, **variables: Any) -> list[Any]:
        """The nodes of a whole list, read page by page."""
        nodes: list[Any] = []
        after = None
        while True:
            found: Any = self.api.data(query, first=PAGE, after=after, **variables)
            for step in path:
                found = found[step]
            nodes += [edge["node"] for edge in found["edges"]]
            if not found["pageInfo"]["hasNextPage"]:
                return nodes
            after = found["pageInfo"]["endCursor"]

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.tables.execute(statement.encode(), values).fetchall()


def golden(folder: Path) -> dict[str, list[Row]]:
    """The rows of all pubnet ledgers by family."""
    found: dict[str, list[Row]] = {}
    for line in gzip.decompress((folder / "pubnet.jsonl.gz").read_bytes()).splitlines():
        ledger = json.loads(line)
        if ledger["file"].startswith("pubnet/"):
            found.setdefault("ledgers", []).append(ledger["ledger"])
            for family, rows in ledger.items():
                if isinstance(rows, list):
                    found.setdefault(family, []).extend(rows)
    assert len(found["ledgers"]) == LEDGERS
    return found


@pytest.fixture(scope="module")
def real(admin_url: str, template_database: str, shared_ledgers: Path, shared_golden: Path) -> Iterator[Real]:
    with copied_database(admin_url, template_database) as url:
        ingest(url, sorted((shared_ledgers / "pubnet").glob("*.xdr.gz")), network_id(PUBNET))
        with serving(url, network__name="pubnet") as api, psycopg.connect(url, autocommit=True) as tables:
            yield Real(api, golden(shared_golden / "base"), golden(shared_golden / "head"), tables)


def same(ours: list[Any], theirs: list[Any]) -> None:
    """Equal as multisets of JSON; says what is on one side only."""
    one, other = (Counter(json.dumps(row, sort_keys=True) for row in rows) for rows in (ours, theirs))
    assert (list((one - other).elements())[:5], list((other - one).elements())[:5]) == ([], [])


def decimal7(stroops: int) -> str:
    return f"{stroops // STROOPS}.{stroops % STROOPS:07d}"


def nanos(moment: str) -> str:
    """RFC 3339 as the reference writes it: these ledgers closed at whole seconds."""
    assert moment.endswith("Z")
    return moment


def test_the_recorded_queries_select_every_field_of_every_type() -> None:
    schema = graphql_schema()
    selected: set[tuple[str, str]] = set()
    info = TypeInfo(schema)

    class Seen(Visitor):
        def enter_field(self, node: Any, *_: Any) -> None:
            parent = info.get_parent_type()
            if parent is None:
                return
            kinds = (
                [parent, *schema.get_implementations(parent).objects] if isinstance(parent, GraphQLInterfaceType) else [parent]
            )
            selected.update((kind.name, node.name.value) for kind in kinds)

    for text in queries.ALL.values():
        visit(parse(text), TypeInfoVisitor(info, Seen()))
    every = {
        (kind.name, field)
        for kind in schema.type_map.values()
        if isinstance(kind, GraphQLObjectType) and not is_introspection_type(kind) and kind.name != "Subscription"
        for field in kind.fields
    }
    assert every - selected == set()


def test_ledgers(real: Real) -> None:
    found = real.walk(queries.LEDGERS, "ledgers")
    counts = dict(real.rows("SELECT ledger_number, count(*) FROM state_changes GROUP BY 1"))
    failed = Counter(row["ledger_number"] for row in real.base["transactions"] if row["result_code"] not in SUCCEEDED)
    operations = Counter(row["ledger_number"] for row in real.base["operations"])
    for node, ledger in zip(found, real.base["ledgers"], strict=True):
        sequence = ledger["sequence"]
        transactions = node.pop("transactions")
        assert transactions["totalCount"] == {"count": ledger["tx_count"], "exact": True}
        assert len(transactions["edges"]) == 1
        assert node.pop("ingestedAt").endswith("Z")
        assert len(node.pop("previousHash")) == 64
        assert node == {
            "sequence": sequence,
            "hash": ledger["hash"],
            "closedAt": nanos(ledger["closed_at"]),
            "protocolVersion": ledger["protocol_version"],
            "transactionCount": ledger["tx_count"],
            "successfulTransactionCount": ledger["tx_count"] - failed[sequence],
            "operationCount": operations[sequence],
            "stateChangeCount": counts[sequence],
        }
        one = real.api.data(queries.LEDGER, sequence=sequence)["ledger"]
        assert one["hash"] == ledger["hash"]


SUCCEEDED: Final = ("TransactionResultCodeTxSuccess", "TransactionResultCodeTxFeeBumpInnerSuccess")


def transaction(row: Row) -> Row:
    return {
        "hash": row["hash"],
        "innerHash": row["inner_transaction_hash"] if row["is_fee_bump"] else None,
        "idString": str(row["to_id"]),
        "envelopeXdr": None,
        "feeCharged": row["fee_charged"],
        "feeChargedString": str(row["fee_charged"]),
        "resultCode": row["result_code"],
        "metaXdr": None,
        "ledgerNumber": row["ledger_number"],
        "ledgerCreatedAt": nanos(row["ledger_created_at"]),
        "isFeeBump": row["is_fee_bump"],
    }


def test_transactions_in_the_order_of_the_ledger(real: Real) -> None:
    found = real.walk(queries.TRANSACTIONS, "transactions")
    expected = sorted(real.base["transactions"], key=lambda row: int(row["to_id"]))
    assert len(found) == len(expected)
    links: dict[int, set[str]] = {}
    for link in real.head["transactions_accounts"]:
        links.setdefault(link["tx_to_id"], set()).add(link["account_id"])
    children = Counter(row["id"] & ~4095 for row in real.base["operations"])
    changes = Counter(row["to_id"] for row in real.base["state_changes"])
    for node, row in zip(found, expected, strict=True):
        # Who is added by sponsorship effects, which HEAD has no more, takes part too.
        assert {one["address"] for one in node.pop("accounts")} >= links.get(row["to_id"], set())
        assert node.pop("operations")["totalCount"]["count"] == children[row["to_id"]]
        assert node.pop("stateChanges")["totalCount"]["count"] == changes[row["to_id"]]
        assert node.pop("ingestedAt").endswith("Z")
        assert node == transaction(row)
    for row in expected[::97]:
        assert real.api.data(queries.TRANSACTION, hash=row["hash"])["transactionByHash"]["idString"] == str(row["to_id"])


def test_operations_in_the_order_of_the_ledger(real: Real) -> None:
    found = real.walk(queries.OPERATIONS, "operations")
    expected = sorted(real.base["operations"], key=lambda row: int(row["id"]))
    links: dict[int, set[str]] = {}
    for link in real.head["operations_accounts"]:
        links.setdefault(link["operation_id"], set()).add(link["account_id"])
    changes = Counter(row["operation_id"] for row in real.base["state_changes"])
    hashes = {row["to_id"]: row["hash"] for row in real.base["transactions"]}
    for node, row in zip(found, expected, strict=True):
        assert {one["address"] for one in node.pop("accounts")} >= links.get(row["id"], set())
        assert node.pop("stateChanges")["totalCount"]["count"] == changes[row["id"]]
        assert node.pop("ingestedAt").endswith("Z")
        assert node == {
            "id": row["id"],
            "idString": str(row["id"]),
            "operationType": row["operation_type"],
            "operationXdr": row["operation_xdr"],
            "resultCode": row["result_code"],
            "successful": row["successful"],
            "ledgerNumber": row["ledger_number"],
            "ledgerCreatedAt": nanos(row["ledger_created_at"]),
            "transaction": {"hash": hashes[row["id"] & ~4095]},
        }
    for row in expected[::97]:
        assert real.api.data(queries.OPERATION, id=str(row["id"]))["operationById"]["id"] == row["id"]


# What of a BASE row is an extra field of its type (spec/api.md 1.2), by category.
def extra(row: Row) -> Row:
    category, reason = row["state_change_category"], row["state_change_reason"]
    token, pool = row.get("token_id"), row.get("liquidity_pool_id")
    old, new = limit(row.get("trustline_limit_old")), limit(row.get("trustline_limit_new"))
    match category:
        case "BALANCE":
            return {"__typename": "StandardBalanceChange", "balanceTokenId": token, "balanceAmount": row["amount"]}
        case "ACCOUNT":
            return {"__typename": "AccountChange", "funderAddress": row.get("funder_account_id")}
        case "SIGNER":
            weights = (row.get("signer_weight_old"), row.get("signer_weight_new"))
            return {
                "__typename": "SignerChange",
                "signerAddress": row["signer_account_id"],
                "signerWeights": pair(weights),
                "oldWeight": weights[0],
                "newWeight": weights[1],
            }
        case "SIGNATURE_THRESHOLD":
            thresholds = (row.get("threshold_old"), row.get("threshold_new"))
            text = pair(tuple(None if value is None else str(value) for value in thresholds))
            fields = dict(zip(("oldThreshold", "newThreshold"), thresholds, strict=True))
            return {"__typename": "SignerThresholdsChange", "thresholds": text, **fields}
        case "FLAGS":
            return {"__typename": "FlagsChange", "flags": flags(row["flags"])}
        case "TRUSTLINE":
            text = None if old is None and new is None else pair((old, new))
            fields = {"tokenId": token, "limit": text, "liquidityPoolId": pool, "oldLimit": old, "newLimit": new}
            return {"__typename": "TrustlineChange", **fields}
        case "RESERVES":
            return {
                "__typename": "ReservesChange",
                "sponsoredAddress": row.get("sponsored_account_id"),
                "sponsorAddress": row.get("sponsor_account_id"),
                "liquidityPoolId": pool,
                "claimableBalanceId": row.get("claimable_balance_id"),
                "sponsoredTrustline": token,
                "sponsoredData": row.get("sponsored_data"),
            }
        case "BALANCE_AUTHORIZATION":
            fields = {"tokenId": token, "liquidityPoolId": pool, "flags": flags(row["flags"])}
            return {"__typename": "BalanceAuthorizationChange", **fields}
    raise AssertionError(f"{category} {reason} does not occur in these ledgers")


def limit(value: str | None) -> str | None:
    """The reference mixes stroops and decimals in one column (Q5); we show decimals."""
    return value if value is None or "." in value else decimal7(int(value))


def pair(values: tuple[Any, ...]) -> str | None:
    return None if values == (None, None) else json.dumps({"old": values[0], "new": values[1]})


def flags(mask: int | None) -> list[str]:
    names = (
        "authorized",
        "auth_required",
        "auth_revocable",
        "auth_immutable",
        "auth_clawback_enabled",
        "clawback_enabled",
        "authorized_to_maintain_liabilities",
    )
    return [name for bit, name in enumerate(names) if mask is not None and mask >> bit & 1]


def change(row: Row) -> Row:
    return {
        "type": row["state_change_category"],
        "reason": row["state_change_reason"],
        "ledgerCreatedAt": nanos(row["ledger_created_at"]),
        "ledgerNumber": row["ledger_number"],
        "account": {"address": row["account_id"]},
        "operation": {"idString": str(row["operation_id"])} if row["operation_id"] else None,
        "transaction": {"idString": str(row["to_id"])},
        **extra(row),
    }


# Facts of HEAD beside BASE's fields, which BASE's rows do not have.
OURS: Final = {
    "AccountChange": ("creatorAddress", "destinationAddress"),
    "ReservesChange": ("signerAddress",),
    "StandardBalanceChange": ("toMuxedId",),
}


def test_state_changes_of_every_kind(real: Real) -> None:
    found = real.walk(queries.STATE_CHANGES, "stateChanges")
    assert [key(node["idString"]) for node in found] == sorted(key(node["idString"]) for node in found)
    ours = []
    for node in found:
        assert node["ingestedAt"].endswith("Z")
        shown = {name: value for name, value in node.items() if name not in ("idString", "ingestedAt")}
        newer = {name: shown.pop(name) for name in OURS.get(node["__typename"], ())}
        if node["reason"] == "CREATE":
            assert newer["creatorAddress"] == shown["funderAddress"]
        if node["reason"] == "MERGE":  # HEAD's: on the merged account, with its destination (Q4)
            (merge,) = (row for row in real.head["state_changes"] if row["state_change_reason"] == "MERGE")
            assert (shown["account"]["address"], newer["destinationAddress"]) == (
                merge["account_id"],
                merge["destination_account_id"],
            )
            shown["account"] = {"address": merge["destination_account_id"]}
        ours.append(shown)
    same(ours, [change(row) for row in real.base["state_changes"]])


def key(identity: str) -> tuple[int, ...]:
    return tuple(map(int, identity.split("-")))


def busiest(real: Real, family: str) -> str:
    """The account that HEAD's rows of a family name most often."""
    return str(Counter(row["account_id"] for row in real.head[family]).most_common(1)[0][0])


def test_an_account_s_history_is_what_of_it_is_in_the_ledgers(real: Real) -> None:
    address = busiest(real, "transactions_accounts")
    found = real.api.data(queries.ACCOUNT_TRANSACTIONS, address=address, first=100)["accountByAddress"]["transactions"]
    of_account = {link["tx_to_id"] for link in real.head["transactions_accounts"] if link["account_id"] == address}
    ids = [int(edge["node"]["idString"]) for edge in found["edges"]]
    assert ids == sorted(of_account)[:100]
    assert found["totalCount"] == {"count": len(of_account), "exact": True}
    by_id = {row["to_id"]: transaction(row) for row in real.base["transactions"]}
    operations = {link["operation_id"] for link in real.head["operations_accounts"] if link["account_id"] == address}
    for edge in found["edges"]:
        node = edge["node"]
        del node["ingestedAt"]
        to_id = int(node["idString"])
        assert node == by_id[to_id]
        assert [one["id"] for one in edge["operations"]] == sorted(number for number in operations if number & ~4095 == to_id)
        assert {one["account"]["address"] for one in edge["stateChanges"]} <= {address}
    listed = real.walk(queries.ACCOUNT_OPERATIONS, "accountByAddress", "operations", address=address)
    assert [node["id"] for node in listed] == sorted(operations)


def test_an_account_s_state_changes(real: Real) -> None:
    address = busiest(real, "state_changes")
    found = real.walk(queries.ACCOUNT_STATE_CHANGES, "accountByAddress", "stateChanges", address=address)
    ours = [
        {name: node[name] for name in node if name not in ("idString", "ingestedAt", *OURS.get(node["__typename"], ()))}
        for node in found
    ]
    same(ours, [change(row) for row in real.base["state_changes"] if row["account_id"] == address])


def last_changes(rows: list[Row], *names: str) -> dict[tuple[Any, ...], Row]:
    """The newest change of each entry that still exists."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda row: int(row["ledger_number"])):
        found[tuple(row[name] for name in names)] = row
    return {name: row for name, row in found.items() if row["operation"] != "REMOVE"}


def native(row: Row) -> Row:
    return {
        "__typename": "NativeBalance",
        "balance": decimal7(row["balance"]),
        "rawBalance": str(row["balance"]),
        "tokenId": XLM,
        "tokenType": "NATIVE",
        "minimumBalance": decimal7(row["minimum_balance"]),
        "buyingLiabilities": decimal7(row["buying_liabilities"]),
        "sellingLiabilities": decimal7(row["selling_liabilities"]),
        "lastModifiedLedger": row["ledger_number"],
        "numSubentries": row["num_subentries"],
    }


def trustline(row: Row) -> Row:
    code, issuer = row["asset"].split(":")
    return {
        "__typename": "TrustlineBalance",
        "balance": decimal7(row["balance"]),
        "rawBalance": str(row["balance"]),
        "tokenType": "CLASSIC",
        "code": code,
        "issuer": issuer,
        "type": "credit_alphanum4" if len(code) <= 4 else "credit_alphanum12",
        "limit": decimal7(row["limit"]),
        "buyingLiabilities": decimal7(row["buying_liabilities"]),
        "sellingLiabilities": decimal7(row["selling_liabilities"]),
        "lastModifiedLedger": row["ledger_number"],
        "isAuthorized": bool(row["flags"] & 1),
        "isAuthorizedToMaintainLiabilities": bool(row["flags"] & 2),
    }


def test_balances_of_accounts_that_changed(real: Real) -> None:
    natives = last_changes(real.head["account_changes"], "account_id")
    lines = last_changes(real.head["trustline_changes"], "account_id", "trustline_asset_id")
    most = Counter(account for account, _ in lines).most_common(20)
    found = real.api.data(queries.MANY_BALANCES, addresses=[address for address, _ in most])["balancesByAccountAddresses"]
    # The contract of an asset, as the reference derived it for state changes.
    tokens: dict[str, str] = {}
    for entry, (address, _) in zip(found, most, strict=True):
        assert (entry["address"], entry["error"]) == (address, None)
        expected = [native(natives[(address,)])] if (address,) in natives else []
        ordered = sorted((key for key in lines if key[0] == address), key=lambda key: key[1])
        expected += [trustline(lines[key]) for key in ordered]
        for node in entry["balances"]:
            if node["__typename"] == "TrustlineBalance":
                tokens[f"{node['code']}:{node['issuer']}"] = node.pop("tokenId")
        assert entry["balances"] == expected
        paged = real.walk(queries.ACCOUNT_BALANCES, "accountByAddress", "balances", address=address)
        alone = real.api.data(queries.BALANCES, address=address)["balancesByAccountAddress"]
        assert paged == alone
        assert [node["balance"] for node in alone] == [node["balance"] for node in expected]
    of_reference = {row["token_id"] for row in real.base["state_changes"] if row.get("token_id")}
    assert set(tokens.values()) & of_reference


def test_balances_of_contracts(real: Real) -> None:
    held = last_changes(real.head["sac_balance_changes"], "account_id", "contract_id")
    assert len(held) == 6
    for (holder, token), row in held.items():
        found = real.api.data(queries.BALANCES, address=holder)["balancesByAccountAddress"]
        by_token = {node["tokenId"]: node for node in found}
        assert by_token[token]["balance"] == row["balance"]
        assert by_token[token]["rawBalance"] == str(int(row["balance"].replace(".", "")))
        assert by_token[token]["isAuthorized"] is row["is_authorized"]
        assert by_token[token]["isClawbackEnabled"] is row["is_clawback_enabled"]
        assert (by_token[token]["decimals"], by_token[token]["lastModifiedLedger"]) == (7, row["ledger_number"])


def test_liquidity_pools(real: Real) -> None:
    pools = last_changes(real.head["liquidity_pool_changes"], "pool_id")
    found = {node["id"]: node for node in real.walk(queries.POOLS, "liquidityPools")}
    assert list(found) == sorted(pool for (pool,) in pools)
    for (pool,), row in pools.items():
        sides = [(side["asset"]["name"], side["rawAmount"], side["amount"]) for side in found[pool]["reserves"]]
        assert sides == [(row[f"asset_{side}"], str(row[f"reserve_{side}"]), decimal7(row[f"reserve_{side}"])) for side in "ab"]
        assert (found[pool]["feeBasisPoints"], found[pool]["lastModifiedLedger"]) == (30, row["ledger_number"])
    some = next(iter(found))
    assert real.api.data(queries.POOL, id=some) == {"liquidityPool": found[some]}


def test_offers_and_trades_are_the_tables(real: Real) -> None:
    ((seller, count),) = real.rows("SELECT seller_account_id, count(*) FROM offers GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
    nodes = real.walk(queries.ACCOUNT_OFFERS, "accountByAddress", "offers", address=strkey.encode(seller))
    rows = real.rows(
        "SELECT offer_id, selling, buying, amount, price_n, price_d, flags, last_modified_ledger FROM offers "
        "WHERE seller_account_id = %s ORDER BY offer_id",
        seller,
    )
    assert count == len(rows)
    for node, (offer, selling, buying, amount, n, d, mask, modified) in zip(nodes, rows, strict=True):
        assert (node["id"], node["idString"], node["rawAmount"]) == (offer, str(offer), str(amount))
        assert (node["selling"]["name"], node["buying"]["name"]) == (selling, buying)
        assert (node["priceN"], node["priceD"], node["isPassive"]) == (n, d, bool(mask))
        assert abs(float(node["price"]) - n / d) <= 1e-7 + n / d * 1e-12
        assert (node["amount"], node["lastModifiedLedger"]) == (decimal7(amount), modified)
        assert node["sellerAddress"] == strkey.encode(seller)
    assert real.api.data(queries.OFFER, id=str(rows[0][0])) == {"offer": nodes[0]}
    ((taker,),) = real.rows("SELECT taker_account_id FROM trades GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
    trades = real.walk(queries.ACCOUNT_TRADES, "accountByAddress", "trades", address=strkey.encode(taker))
    table = real.rows(
        "SELECT to_id, operation_id, trade_id, kind, sold_asset, sold_amount, bought_asset, bought_amount, liquidity_pool_id "
        "FROM trades WHERE taker_account_id = %(a)s OR maker_account_id = %(a)s ORDER BY 1, 2, 3".replace("%(a)s", "%s"),
        taker,
        taker,
    )
    assert len(trades) > 10
    for node, (to_id, operation, trade, kind, sold, sold_amount, bought, bought_amount, pool) in zip(trades, table, strict=True):
        assert (node["idString"], node["kind"]) == (f"{to_id}-{operation}-{trade}", kind)
        assert (node["sold"]["asset"]["name"], node["sold"]["rawAmount"]) == (sold, str(sold_amount))
        assert (node["bought"]["asset"]["name"], node["bought"]["amount"]) == (bought, decimal7(bought_amount))
        assert (node["liquidityPoolId"], node["operation"], node["transaction"]) == (
            pool,
            {"idString": str(operation)},
            {"idString": str(to_id)},
        )


def test_claimable_balances_are_the_tables(real: Real) -> None:
    ((claimant, count),) = real.rows(
        "SELECT account_id, count(*) FROM claimable_balance_claimants GROUP BY 1 ORDER BY 2 DESC LIMIT 1"
    )
    address = strkey.encode(claimant)
    nodes = real.walk(queries.ACCOUNT_CLAIMABLE, "accountByAddress", "claimableBalances", address=address)
    rows = real.rows(
        "SELECT b.balance_id, b.asset, b.amount, b.created_ledger FROM claimable_balances b "
        "JOIN claimable_balance_claimants c USING (balance_id) WHERE c.account_id = %s ORDER BY 1",
        claimant,
    )
    shown = [(node["id"], node["asset"]["name"], int(node["rawAmount"]), node["createdLedger"]) for node in nodes]
    assert (shown, len(shown)) == (rows, count)
    assert all(address in {one["address"] for one in node["claimants"]} for node in nodes)
    one = real.api.data(queries.CLAIMABLE, id=nodes[0]["id"])["claimableBalance"]
    assert (one["id"], one["claimants"][0]["address"]) == (nodes[0]["id"], nodes[0]["claimants"][0]["address"])
    ((actor, acts),) = real.rows("SELECT account_id, count(*) FROM claimable_balance_events GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
    events = real.walk(
        queries.ACCOUNT_CLAIMABLE_EVENTS, "accountByAddress", "claimableBalanceEvents", address=strkey.encode(actor)
    )
    assert len(events) == acts
    assert {node["kind"] for node in events} <= {"CREATED", "CLAIMED", "CLAWED_BACK"}
    # BASE has a sponsorship row for every claimable balance that was created: the balances are the same.
    sponsored = {row["claimable_balance_id"] for row in real.base["state_changes"] if row.get("claimable_balance_id")}
    assert {node["balanceId"] for node in events} <= sponsored
