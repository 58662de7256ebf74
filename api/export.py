"""An account's whole history as a file: transactions or state changes, CSV or NDJSON, of any length in constant memory.

Rows are read page by page behind a cursor while the client takes them; no statement is long, none waits for a slow client. When
the database fails in the middle the connection is cut, so that a part is never taken for the whole.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import rendering
from api.database import Reader
from api.errors import bad_input
from api.paging import Page, nanoseconds
from api.queries import state_changes, transactions
from api.queries.accounts import AccountKey
from api.queries.parts import Parent, Window
from api.queries.state_changes import StateChangeRow
from api.queries.transactions import TransactionRow
from api.scalars import parse_time, time_text
from api.types.account_type import account_at, window_of

PAGE_ROWS: Final = 1_000
CSV: Final = "csv"
NDJSON: Final = "ndjson"
MEDIA_TYPES: Final = {CSV: "text/csv; charset=utf-8; header=present", NDJSON: "application/x-ndjson"}

_HASH: Final = frozenset({"hash"})
_ADDRESSES: Final = (
    "token_id",
    "spender_account_id",
    "sponsored_account_id",
    "sponsor_account_id",
    "creator_account_id",
    "destination_account_id",
)
_NOT_SHOWN: Final = frozenset({"account_muxed_id", "signer_payload", "ingested_at"})

Line = dict[str, Any]  # column -> str, int, bool or None


class Export(NamedTuple):
    """What can be exported: the columns in order, and the lines of an account."""

    columns: tuple[str, ...]
    pages: Callable[[Reader, AccountKey, Window], AsyncIterator[Sequence[Line]]]


async def _transactions(database: Reader, account: AccountKey, window: Window) -> AsyncIterator[list[Line]]:
    listing = transactions.of_account(account, window)
    page = window.page
    while True:
        rows = await transactions.page_of_account(database, listing, page, frozenset(transactions.COLUMNS.optional))
        kept = rows[:PAGE_ROWS]
        yield [_transaction(row) for row in kept]
        if len(rows) <= PAGE_ROWS:
            return
        page = Page(PAGE_ROWS, True, (nanoseconds(kept[-1].ledger_created_at), kept[-1].to_id))


def _transaction(row: TransactionRow) -> Line:
    return {
        "id": row.to_id,
        "hash": row.hash.hex(),
        "inner_hash": row.inner_hash.hex() if row.inner_hash else None,
        "ledger_number": row.ledger_number,
        "ledger_created_at": time_text(row.ledger_created_at),
        "fee_charged": row.fee_charged,
        "result_code": row.result_code,
        "is_fee_bump": row.is_fee_bump,
    }


async def _state_changes(database: Reader, account: AccountKey, window: Window) -> AsyncIterator[list[Line]]:
    listing = state_changes.of_account(account, window, state_changes.Filter())
    page = window.page
    while True:
        rows = await state_changes.page_of_account(database, listing, page, frozenset(state_changes.COLUMNS.optional))
        kept = rows[:PAGE_ROWS]
        parents = {Parent(row.to_id, row.ledger_created_at) for row in kept}
        found = await transactions.by_ids(database, sorted(parents), _HASH) if parents else {}
        yield [_state_change(row, found.get(row.to_id)) for row in kept]
        if len(rows) <= PAGE_ROWS:
            return
        last = kept[-1]
        cursor = (nanoseconds(last.ledger_created_at), last.to_id, last.operation_id, last.state_change_id)
        page = Page(PAGE_ROWS, True, cursor)


def _state_change(row: StateChangeRow, transaction: TransactionRow | None) -> Line:
    line: Line = row._asdict()
    line["transaction_hash"] = transaction.hash.hex() if transaction is not None else None
    line["account_id"] = rendering.muxed_address(row.account_id, row.account_muxed_id)
    line["ledger_created_at"] = time_text(row.ledger_created_at)
    for name in _ADDRESSES:
        line[name] = rendering.address_or_none(line[name])
    line["signer_account_id"] = rendering.signer_or_none(row.signer_account_id, row.signer_payload)
    line["key_value"] = None if row.key_value is None else rendering.json_text(row.key_value)
    return {name: line[name] for name in STATE_CHANGE_COLUMNS}


STATE_CHANGE_COLUMNS: Final = (
    "transaction_hash",
    *(name for name in StateChangeRow._fields if name not in _NOT_SHOWN),
)
TRANSACTION_COLUMNS: Final = (
    "id",
    "hash",
    "inner_hash",
    "ledger_number",
    "ledger_created_at",
    "fee_charged",
    "result_code",
    "is_fee_bump",
)
EXPORTS: Final = {
    "transactions": Export(TRANSACTION_COLUMNS, _transactions),
    "state-changes": Export(STATE_CHANGE_COLUMNS, _state_changes),
}


def response(http: Request, database: Reader, kind: str, form: str) -> Response:
    """The file. ClientError for wrong arguments: address in the path; since, until, fromLedger, toLedger in the query string."""
    account = account_at(http.path_params["address"])
    given = http.query_params
    bounds = (
        _time(given.get("since")),
        _time(given.get("until")),
        _ledger(given.get("fromLedger")),
        _ledger(given.get("toLedger")),
    )
    window = window_of(Page(PAGE_ROWS), *bounds)
    export = EXPORTS[kind]
    headers = {"Content-Disposition": f'attachment; filename="{account.address}-{kind}.{form}"', "Cache-Control": "no-store"}
    lines = export.pages(database, account.key, window)
    body = _csv(export.columns, lines) if form == CSV else _ndjson(lines)
    return StreamingResponse(body, media_type=MEDIA_TYPES[form], headers=headers)


async def _csv(columns: Sequence[str], pages: AsyncIterator[Sequence[Line]]) -> AsyncIterator[bytes]:
    yield _rows([columns])
    async for page in pages:
        yield _rows(line.values() for line in page)


def _rows(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


async def _ndjson(pages: AsyncIterator[Sequence[Line]]) -> AsyncIterator[bytes]:
    async for page in pages:
        yield b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in page)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except GraphQLError as error:
        raise bad_input(error.message) from error


def _ledger(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 10:
        raise bad_input(f"not a ledger sequence: {text[:40]!r}")
    return int(text)
