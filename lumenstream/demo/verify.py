"""Are the ledgers queryable? Asks the API over HTTP for transactions the database holds, with operations and accounts.

The database says what to ask for and how many rows there are; every answer comes from GraphQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import httpx
from psycopg import sql

from lumenstream.database import Connection
from lumenstream.errors import ExitCode, LumenstreamError
from schemas import strkey

TRANSACTIONS_PER_LEDGER: Final = 20
MAX_TRANSACTIONS: Final = 1_000
_PAGE: Final = 100
_TIMEOUT_S: Final = 30.0

_TRANSACTION_QUERY: Final = """
query ($hash: String!, $page: Int!) {
  transactionByHash(hash: $hash) {
    hash ledgerNumber
    operations(first: $page) { edges { node { id } } }
    accounts { address }
  }
}"""
_ACCOUNT_QUERY: Final = """
query ($address: String!) {
  accountByAddress(address: $address) { address transactions(first: 1) { edges { node { hash } } } }
}"""
_BALANCES_QUERY: Final = """
query ($address: String!) { balancesByAccountAddress(address: $address) { balance tokenId tokenType } }"""

# Some of every ledger, evenly spread over it, with what the API has to answer.
_SAMPLE: Final = """
    SELECT t.hash, t.ledger_number,
           (SELECT count(*) FROM operations o WHERE o.id > t.to_id AND o.id < t.to_id + 4096),
           (SELECT count(DISTINCT a.account_id) FROM transactions_accounts a WHERE a.tx_to_id = t.to_id)
    FROM (
        SELECT *, row_number() OVER (PARTITION BY ledger_number ORDER BY to_id) - 1 AS place,
               greatest(1, count(*) OVER (PARTITION BY ledger_number) / %(per_ledger)s) AS step
        FROM transactions
    ) t
    WHERE t.place %% t.step = 0 AND t.place / t.step < %(per_ledger)s
    ORDER BY t.ledger_number DESC, t.to_id LIMIT %(limit)s
"""
_ACCOUNTS: Final = "SELECT account_id FROM native_balances ORDER BY last_modified_ledger DESC, account_id LIMIT %(limit)s"
_LEDGERS_WITH_TRANSACTIONS: Final = "SELECT sequence FROM ledgers WHERE transaction_count > 0 ORDER BY sequence DESC"
_TABLES: Final = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY table_name
"""


class VerificationError(LumenstreamError):
    """The API does not answer what the database holds."""

    exit_code = ExitCode.FAILED


class Verified(NamedTuple):
    """What was asked for and answered."""

    transactions: int
    accounts: int


def table_counts(connection: Connection) -> dict[str, int]:
    """Rows of every table by name."""
    names = [str(name) for (name,) in connection.execute(_TABLES)]
    counts = {}
    for name in names:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
        counts[name] = int(row[0]) if row else 0
    return counts


def verify(connection: Connection, graphql_url: str) -> Verified:
    """Ask for transactions of every ledger, for accounts and balances. VerificationError names the first wrong answer."""
    sample = connection.execute(_SAMPLE, {"per_ledger": TRANSACTIONS_PER_LEDGER, "limit": MAX_TRANSACTIONS}).fetchall()
    ledgers = [int(sequence) for (sequence,) in connection.execute(_LEDGERS_WITH_TRANSACTIONS)]
    sampled = {int(row[1]) for row in sample}
    unseen = [ledger for ledger in ledgers if ledger not in sampled]
    if unseen and len(sample) < MAX_TRANSACTIONS:
        raise VerificationError(f"ledger {unseen[0]} says that it has transactions, and none is in the database")
    accounts = connection.execute(_ACCOUNTS, {"limit": TRANSACTIONS_PER_LEDGER}).fetchall()
    with httpx.Client(timeout=_TIMEOUT_S) as client:
        for digest, ledger, operations, participants in sample:
            _check_transaction(client, graphql_url, bytes(digest).hex(), ledger, operations, participants)
        for (account,) in accounts:
            _check_account(client, graphql_url, strkey.from_storage(bytes(account)))
    return Verified(len(sample), len(accounts))


def _check_transaction(client: httpx.Client, url: str, digest: str, ledger: int, operations: int, participants: int) -> None:
    found = ask(client, url, _TRANSACTION_QUERY, {"hash": digest, "page": _PAGE})["transactionByHash"]
    if found is None or found["hash"] != digest or found["ledgerNumber"] != ledger:
        raise VerificationError(f"transaction {digest} of ledger {ledger} is not what the API answers: {found}")
    shown = len(_edges(found["operations"]))
    if shown != min(operations, _PAGE):
        raise VerificationError(f"transaction {digest} has {operations} operations, the API shows {shown}")
    if len(found["accounts"]) < min(participants, 1):
        raise VerificationError(f"transaction {digest} has {participants} participants, the API shows none")


def _check_account(client: httpx.Client, url: str, address: str) -> None:
    account = ask(client, url, _ACCOUNT_QUERY, {"address": address})["accountByAddress"]
    if account is None or account["address"] != address:
        raise VerificationError(f"account {address} is not what the API answers: {account}")
    balances = ask(client, url, _BALANCES_QUERY, {"address": address})["balancesByAccountAddress"]
    if not any(balance["tokenType"] == "NATIVE" for balance in balances):
        raise VerificationError(f"account {address} holds lumens, and the API shows no native balance")


def _edges(connection: dict[str, Any] | None) -> Sequence[Any]:
    return (connection or {}).get("edges") or ()


def ask(client: httpx.Client, url: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """One GraphQL query. VerificationError for anything but data without errors."""
    try:
        answer = client.post(url, json={"query": query, "variables": variables})
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise VerificationError(f"the API does not answer: {error}", hint="see the api's log") from error
    if body.get("errors") or not isinstance(body.get("data"), dict):
        raise VerificationError(f"the API answers {answer.status_code} with errors: {body.get('errors') or body}")
    data: dict[str, Any] = body["data"]
    return data
