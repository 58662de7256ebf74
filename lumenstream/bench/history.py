"""Made-up history for benchmarks: as many rows in each of its tables as wanted, at a place in time and ids that is wanted.

A hundred transactions a ledger, each with one operation, one state change, one trade and one event of a claimable balance. One
account, BUSY, takes part in every sixteenth transaction; PARTNER in every fourth of those; thousands of others share the rest.
One state change in thirteen is no plain debit or credit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lumenstream.bench import bulk
from schemas import strkey

START: Final = datetime(2026, 3, 1, tzinfo=UTC)
SPAN: Final = timedelta(days=4)
DAY: Final = datetime(2026, 11, 21, tzinfo=UTC)
EVENING: Final = DAY + timedelta(hours=20)  # when a pipeline's ledgers close: in the chunk whose rest `deepen` fills
TRANSACTIONS: Final = 100  # a ledger
ROWS_AN_ACCOUNT: Final = 200
MIN_ACCOUNTS: Final = 1_000
BUSY: Final = bytes((strkey.ACCOUNT,)) + hashlib.sha256(b"busy").digest()
PARTNER: Final = bytes((strkey.ACCOUNT,)) + hashlib.sha256(b"partner").digest()
TOKEN: Final = bytes((strkey.CONTRACT,)) + hashlib.sha256(b"3").digest()
ASSET: Final = f"USD3:{strkey.encode(PARTNER)}"

_ID: Final = "((l::bigint << 32) | (t << 12))"
_OPERATION: Final = f"{_ID} | 1"
_BUSY: Final = f"'\\x{BUSY.hex()}'::bytea"
_PARTNER: Final = f"'\\x{PARTNER.hex()}'::bytea"


@dataclass(frozen=True)
class Scale:
    """So many rows in each table, in ledgers that close evenly over `span`."""

    rows: int
    start: datetime = START
    span: timedelta = SPAN
    first_ledger: int = 1

    @property
    def ledgers(self) -> int:
        return max(1, -(-self.rows // TRANSACTIONS))

    @property
    def seconds(self) -> float:
        """From one ledger to the next, in whole microseconds as the database counts."""
        return round(self.span.total_seconds() / self.ledgers, 6)

    @property
    def accounts(self) -> int:
        return max(MIN_ACCOUNTS, self.rows // ROWS_AN_ACCOUNT)

    def closed_at(self, ledger: int) -> datetime:
        return self.start + timedelta(seconds=round((ledger - self.first_ledger) * self.seconds, 6))


def fill(url: str, scale: Scale) -> None:
    """Write the history into the empty tables of a migrated database."""
    tables = {table: (tuple(columns), _select(scale, columns)) for table, columns in _tables(scale).items()}
    bulk.load(url, tables, scale.rows)


def deepen(url: str, rows: int) -> None:
    """So many rows in each table beneath a pipeline's ledgers: earlier the same day, in the chunks that will be written to."""
    fill(url, Scale(rows, DAY, EVENING - DAY, first_ledger=1_000_000))


def made_hash(to_id: int) -> bytes:
    """The hash of the transaction with this id."""
    return hashlib.sha256(str(to_id).encode()).digest()


def closing(scale: Scale, ledger: str = "l") -> str:
    """SQL for a ledger's close time."""
    return f"timestamptz '{scale.start.isoformat()}' + ({ledger} - {scale.first_ledger}) * interval '{scale.seconds:.6f} s'"


def _select(scale: Scale, columns: dict[str, str]) -> bulk.Select:
    def select(first: int, last: int) -> str:
        """In the order of the chain, which BRIN indexes rely on."""
        numbers = f"generate_series({first}, {last}) AS n"
        series = f"SELECT n / {TRANSACTIONS} + {scale.first_ledger} AS l, n % {TRANSACTIONS} + 1 AS t FROM {numbers}"
        return f"SELECT {', '.join(columns.values())} FROM ({series}) AS s"

    return select


def _tables(scale: Scale) -> dict[str, dict[str, str]]:
    """By table and column, SQL over l, the ledger, and t, the transaction's place in it; the tables that take longest first."""

    def other(number: str) -> str:
        return f"'\\x30'::bytea || sha256(({number} % {scale.accounts})::text::bytea)"

    at = {"ledger_created_at": closing(scale)}
    stamp = {"ledger_number": "l", **at}
    who = f"CASE WHEN t % 16 = 1 THEN {_BUSY} ELSE {other('(l * 7 + t)')} END"
    both = f"unnest(CASE WHEN t % 64 = 1 THEN ARRAY[{_BUSY}, {_PARTNER}] ELSE ARRAY[{who}] END)"
    within = {"to_id": _ID, "operation_id": _OPERATION, **stamp}
    return {
        "trades": within
        | {"trade_id": "1", "kind": "'ORDERBOOK'", "taker_account_id": who, "offer_id": "1"}
        | {"maker_account_id": f"CASE WHEN t % 16 = 2 THEN {_BUSY} ELSE {other('(l * 3 + t)')} END"}
        | {"sold_asset": "'native'", "sold_amount": "5", "bought_asset": f"'USD' || l % 8 || ':{strkey.encode(PARTNER)}'"}
        | {"bought_amount": "5", "price_n": "1", "price_d": "1"},
        "state_changes": within
        | {"state_change_id": "1", "account_id": who, "token_id": "'\\x10'::bytea || sha256((l % 8)::text::bytea)"}
        | {"state_change_category": "CASE WHEN l % 13 = 0 THEN 'TRUSTLINE' ELSE 'BALANCE' END", "amount": "'5'"}
        | {"state_change_reason": "CASE WHEN l % 13 = 0 THEN 'UPDATE' ELSE 'CREDIT' END"}
        | {"to_muxed_id": "CASE WHEN l % 8 = 3 THEN (l % 16)::text END"},
        "claimable_balance_events": within
        | {"event_id": "1", "balance_id": f"md5({_ID}::text)", "kind": "'CREATED'", "account_id": who}
        | {"asset": "'native'", "amount": "5"},
        "transactions": stamp
        | {"to_id": _ID, "hash": f"sha256({_ID}::text::bytea)", "fee_charged": "100", "result_code": "'ok'"},
        "operations": stamp | {"id": _OPERATION, "operation_type": "'PAYMENT'", "result_code": "'ok'", "successful": "true"},
        "transactions_accounts": at | {"account_id": both, "tx_to_id": _ID},
        "operations_accounts": at | {"account_id": both, "operation_id": _OPERATION},
    }


HISTORY: Final = tuple(_tables(Scale(1)))
