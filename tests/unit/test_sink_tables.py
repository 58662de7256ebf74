"""Wire forms: what COPY gets is what PostgreSQL's binary formats say, column by column, for every family."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from schemas import families, strkey
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION, Part, encode
from schemas.state_changes import BalanceChange, Reason
from sinks.timescale import addresses, binary
from sinks.timescale.layouts import HISTORY
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder, account_key

ACCOUNT = bytes((strkey.ACCOUNT,)) + bytes(range(32))
MUXED = bytes((strkey.MUXED,)) + bytes(range(32)) + (2**64 - 2).to_bytes(8, "big")
SIGNED = bytes((strkey.SIGNED_PAYLOAD,)) + bytes(32) + (1).to_bytes(4, "big") + b"a\0\0\0"
CLAIMABLE = bytes((strkey.CLAIMABLE_BALANCE, 0)) + bytes(range(32))


def fields(data: bytes) -> list[bytes | None]:
    found: list[bytes | None] = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("!i", data, at)
        at += 4
        found.append(None if length < 0 else data[at : at + length])
        at += max(length, 0)
    return found


def tuples(data: bytes, columns: tuple[str, ...]) -> list[dict[str, bytes | None]]:
    """The rows of a COPY stream without header and trailer."""
    found, at = [], 0
    while at < len(data):
        (count,) = struct.unpack_from("!h", data, at)
        assert count == len(columns)
        at += 2
        row: dict[str, bytes | None] = {}
        for column in columns:
            (length,) = struct.unpack_from("!i", data, at)
            row[column] = None if length < 0 else data[at + 4 : at + 4 + length]
            at += 4 + max(length, 0)
        found.append(row)
    return found


def encoded(part: Part) -> dict[str, list[dict[str, bytes | None]]]:
    part.add(families.LEDGERS, [families.LedgerRow(7, bytes(32), bytes(32), 23, 1, 1, 1)])
    gathered = Gathered(7, None, 1_700_000_000, bytes(32).hex(), 0.0)
    headers = PartHeaders(
        PartKind.PART,
        "participants",
        1,
        SCHEMA_VERSION,
        7,
        None,
        1_700_000_000,
        bytes(32).hex(),
        "aa" * 32,
        "live",
        "ledgers",
        0,
        0,
    )
    gathered.parts["participants"] = Arrival(headers, encode(part), 0, 0, 0.0)
    rows = LedgerEncoder().encode(gathered, [encode(part)])
    return {table: tuples(rows.history[table][0], columns) for table, columns in HISTORY.items()}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (addresses.AccountAndNullableId()[ACCOUNT], [ACCOUNT, None]),
        (addresses.AccountAndNullableId()[MUXED], [MUXED[:33], (2**64 - 2).to_bytes(8, "big")]),
        (addresses.AccountAndId()[ACCOUNT], [ACCOUNT, bytes(8)]),
        (addresses.AccountAndId()[MUXED], [MUXED[:33], (2**64 - 2).to_bytes(8, "big")]),
        (addresses.SignerFields()[SIGNED], [SIGNED[:33], SIGNED[33:]]),
        (addresses.SignerFields()[None], [None, None]),
        (addresses.AddressFields()[CLAIMABLE], [CLAIMABLE[:1] + CLAIMABLE[2:]]),
        (addresses.AddressFields()[None], [None]),
    ],
)
def test_addresses_keep_every_byte(form: bytes, expected: list[bytes | None]) -> None:
    assert fields(form) == expected


def test_muxed_ids_keep_their_bits() -> None:
    assert [addresses.twos_complement(value) for value in (0, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 2**63 - 1, -(2**63), -1]


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "MAX_REMEMBERED", 2)
    known = addresses.AddressFields()
    for number in range(4):
        assert known[bytes((strkey.ACCOUNT,)) + bytes([number]) * 32]
    assert len(known.ready()) == 0
    words = binary.Words()
    monkeypatch.setattr(binary.Words, "MAX_WORDS", 2)
    for word in "abcdef":
        assert fields(b"".join(words.fields([word, None]))) == [word.encode(), None]


def test_arrays_are_postgres_arrays() -> None:
    assert binary.int8_array([1, -2, 2**63 - 1]) == struct.pack("!iiIii" + "iq" * 3, 1, 0, 20, 3, 1, 8, 1, 8, -2, 8, 2**63 - 1)
    assert binary.int8_array([]) == struct.pack("!iiIii", 1, 0, 20, 0, 1)
    assert binary.text_array(["é"]) == struct.pack("!iiIii", 1, 0, 25, 1, 1) + b"\0\0\0\2\xc3\xa9"
    assert binary.bool_array([True, False]) == struct.pack("!iiIii", 1, 0, 16, 2, 1) + b"\0\0\0\1\1\0\0\0\1\0"


def test_times_count_from_2000() -> None:
    assert fields(binary.timestamptz(946_684_801)) == [(1_000_000).to_bytes(8, "big")]


def test_state_changes_fill_the_columns_of_their_names() -> None:
    part = Part()
    part.add_state_changes([BalanceChange(5, 6, 7, Reason.MINT, MUXED, ACCOUNT, -(1 << 126), "18446744073709551615")])
    (row,) = encoded(part)["state_changes"]
    present: dict[str, Any] = {name: value for name, value in row.items() if value is not None}
    assert present == {
        "ledger_created_at": ((1_700_000_000 - 946_684_800) * 10**6).to_bytes(8, "big"),
        "ledger_number": (7).to_bytes(4, "big"),
        "state_change_category": b"BALANCE",
        "to_id": (5).to_bytes(8, "big"),
        "operation_id": (6).to_bytes(8, "big"),
        "state_change_id": (7).to_bytes(8, "big"),
        "state_change_reason": b"MINT",
        "account_id": MUXED[:33],
        "account_muxed_id": MUXED[33:],
        "token_id": ACCOUNT,
        "amount": str(-(1 << 126)).encode(),
        "to_muxed_id": b"18446744073709551615",
    }


def test_participants_are_united_with_state_changes_and_fee_rows_stay_with_the_transaction() -> None:
    part, to_id, operation = Part(), 7 << 32 | 1 << 12, 7 << 32 | 1 << 12 | 1
    part.add(families.OPERATIONS_ACCOUNTS, [families.OperationAccountRow(operation, ACCOUNT)])
    part.add_state_changes(
        [
            BalanceChange(to_id, 0, 1, Reason.DEBIT, ACCOUNT, ACCOUNT, 1),
            BalanceChange(to_id, operation, 1, Reason.DEBIT, MUXED, ACCOUNT, 1),
        ]
    )
    history = encoded(part)
    assert {row["account_id"] for row in history["transactions_accounts"]} == {ACCOUNT, MUXED[:33]}
    assert {row["account_id"] for row in history["operations_accounts"]} == {ACCOUNT, MUXED[:33]}


def test_an_empty_ledger_is_a_ledger() -> None:
    assert all(rows == [] for rows in encoded(Part()).values())


def test_balance_tables_know_accounts_by_33_bytes() -> None:
    assert account_key(ACCOUNT) == ACCOUNT
    assert account_key(CLAIMABLE) == CLAIMABLE[:1] + CLAIMABLE[2:]
