"""Exports: every row of an account once and in order, in both forms, page by page."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import psycopg
import pytest

from api import export
from tests.integration.test_api_live import changes_of
from tests.integration.test_api_world import ALICE, BOB, FIRST_LEDGER, LEDGERS, TRANSACTIONS, Api, api, closed_at, own_api, text

__all__ = ["api", "own_api"]  # the fixtures

LAST = FIRST_LEDGER + LEDGERS - 1


def path(account: bytes, kind: str, form: str) -> str:
    return f"/export/accounts/{text(account)}/{kind}.{form}"


@pytest.mark.parametrize("account", [ALICE, BOB])
@pytest.mark.parametrize("rows", [3, 1_000])
def test_both_forms_hold_every_state_change(
    own_api: Api, database_url: str, account: bytes, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three rows make the same file as one page."""
    monkeypatch.setattr(export, "PAGE_ROWS", rows)
    lines = [json.loads(line) for line in own_api.http.get(path(account, "state-changes", "ndjson")).text.splitlines()]
    assert [f"{line['to_id']}-{line['operation_id']}-{line['state_change_id']}" for line in lines] == changes_of(
        database_url, account
    )
    table = csv.DictReader(io.StringIO(own_api.http.get(path(account, "state-changes", "csv")).text))
    assert table.fieldnames == list(export.STATE_CHANGE_COLUMNS)
    assert list(table) == [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines]


def test_transactions_have_their_hashes(api: Api) -> None:
    query = "query($a: String!) { accountByAddress(address: $a) { transactions(first: 100) { edges { node { hash } } } } }"
    edges = api.data(query, a=text(ALICE))["accountByAddress"]["transactions"]["edges"]
    got = api.http.get(path(ALICE, "transactions", "ndjson"))
    assert [json.loads(line)["hash"] for line in got.text.splitlines()] == [edge["node"]["hash"] for edge in edges]
    assert got.headers["content-disposition"] == f'attachment; filename="{text(ALICE)}-transactions.ndjson"'


def test_bounds_of_time_and_ledger(api: Api) -> None:
    by_ledger = {"fromLedger": FIRST_LEDGER + 1, "toLedger": FIRST_LEDGER + 2}
    since, until = (closed_at(FIRST_LEDGER + number) for number in (1, 2))
    by_time = {"since": since.isoformat(), "until": (until + timedelta(seconds=1)).isoformat()}
    for bounds in (by_ledger, by_time):
        lines = api.http.get(path(ALICE, "transactions", "ndjson"), params=bounds).text.splitlines()
        ledgers = [json.loads(line)["ledger_number"] for line in lines]
        assert ledgers == [FIRST_LEDGER + 1] * TRANSACTIONS + [FIRST_LEDGER + 2] * TRANSACTIONS


def test_what_is_rendered(api: Api) -> None:
    lines = [json.loads(line) for line in api.http.get(path(BOB, "state-changes", "ndjson")).text.splitlines()]
    by_kind = {(line["state_change_category"], line["state_change_reason"]): line for line in lines}
    assert by_kind["ACCOUNT", "CREATE"]["creator_account_id"] == text(ALICE)
    assert by_kind["METADATA", "DATA_ENTRY"]["key_value"] == '{"colour":{"new":"cmVk"}}'
    assert by_kind["BALANCE", "MINT"]["amount"] == str(10**30)


@pytest.mark.parametrize(
    "query",
    [
        "/export/accounts/G/transactions.csv",
        f"{path(ALICE, 'transactions', 'csv')}?since=yesterday",
        f"{path(ALICE, 'transactions', 'csv')}?fromLedger=x",
        f"{path(ALICE, 'transactions', 'csv')}?fromLedger=2&toLedger=1",
    ],
)
def test_arguments_are_refused(api: Api, query: str) -> None:
    answer = api.http.get(query)
    assert (answer.status_code, set(answer.json())) == (400, {"error"})


def test_an_unknown_export_is_not_found(api: Api) -> None:
    assert api.http.get(path(ALICE, "transactions", "xlsx")).status_code == 404


def test_an_account_without_history_has_an_empty_file(own_api: Api, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("truncate state_changes")
    assert own_api.http.get(path(ALICE, "state-changes", "ndjson")).text == ""
    assert own_api.http.get(path(ALICE, "state-changes", "csv")).text.strip() == ",".join(export.STATE_CHANGE_COLUMNS)
