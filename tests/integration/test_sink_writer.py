"""The sink's transaction on a real database: rows as the processors meant them, groups, guards, fencing, unlocked accounts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from lumenstream.database import Connection
from lumenstream.errors import FencedError, IntegrityError
from schemas import families, strkey
from schemas.assets import contract_uuid
from schemas.families import AccountBalanceChange, SacBalanceChange, SacContractRow
from schemas.parts import encode
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder, LedgerRows
from sinks.timescale.writer import Writer, check_chain, read_state
from tests.integration.sink_world import (
    CLOSE_TIME,
    NETWORK_ID,
    FakeLedger,
    account,
    contract,
    dump,
    expected_links,
    ledger_hash,
    make_chain,
)

TOPIC = "ledger-changes"


def rows_of(ledgers: Sequence[FakeLedger]) -> list[LedgerRows]:
    encoder = LedgerEncoder()
    made = []
    for ledger in ledgers:
        gathered = Gathered(
            ledger.sequence,
            ledger.previous,
            CLOSE_TIME + 5 * ledger.sequence,
            ledger_hash(ledger.sequence, ledger.chain).hex(),
            0.0,
        )
        for name, part in ledger.parts.items():
            gathered.parts[name] = Arrival(ledger.headers(name), encode(part), 0, ledger.sequence, 0.0)
        made.append(encoder.encode(gathered, [part.value for part in gathered.parts.values()]))
    return made


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    with psycopg.connect(url) as connection:
        yield connection


def write(url: str, ledgers: Sequence[FakeLedger], group: int, cursor: int = 0) -> None:
    with connected(url) as connection:
        writer, rows = Writer(connection, TOPIC), rows_of(ledgers)
        for start in range(0, len(rows), group):
            batch = rows[start : start + group]
            check_chain(batch, cursor, "")
            cursor = writer.commit(batch, cursor, {0: start}).last


def test_every_row_is_what_the_parts_say(database_url: str) -> None:
    chain = make_chain(7, 500, 6)
    write(database_url, chain, 1)
    with psycopg.connect(database_url) as conn:
        for ledger in chain:
            closed = datetime.fromtimestamp(CLOSE_TIME + 5 * ledger.sequence, UTC)
            links = expected_links(ledger)
            found = [
                set(conn.execute(query.encode(), (closed,)).fetchall())
                for query in (
                    "select tx_to_id, account_id, account_muxed_id from transactions_accounts where ledger_created_at = %s",
                    "select operation_id, account_id, account_muxed_id from operations_accounts where ledger_created_at = %s",
                )
            ]
            assert found == [*links]
            transactions = conn.execute(
                "select to_id, hash, inner_hash, fee_charged, result_code, is_fee_bump, envelope_xdr, meta_xdr from transactions "
                "where ledger_number = %s order by to_id",
                (ledger.sequence,),
            ).fetchall()
            assert transactions == [tuple(row) for row in ledger.parts["participants"].rows["transactions"]]
            operations = conn.execute(
                "select id, operation_type, operation_xdr, result_code, successful from operations where ledger_number = %s "
                "order by id",
                (ledger.sequence,),
            ).fetchall()
            assert operations == [tuple(row) for row in ledger.parts["participants"].rows["operations"]]
            check_state_changes(conn, ledger)
        assert conn.execute("select count(*), min(sequence), max(sequence) from ledgers").fetchone() == (6, 500, 505)
        assert dict(conn.execute("select key, value from ingest_store").fetchall()) == {
            "latest_ingest_ledger": "505",
            "oldest_ingest_ledger": "500",
            "network_id": NETWORK_ID,
        }


def check_state_changes(conn: psycopg.Connection[tuple[object, ...]], ledger: FakeLedger) -> None:
    """Field by field: each named field of each change against the column of its name."""
    for category, family in families.STATE_CHANGES.items():
        for change in ledger.parts["token_transfers"].rows.get(family.name, []):
            fields = dict(zip((name for name, _ in family.columns), change, strict=True))
            key = [fields.pop(column) for column in ("to_id", "operation_id", "state_change_id")]
            columns = [*fields, "account_muxed_id", "signer_payload", "state_change_category", "ledger_number"]
            row = conn.execute(
                f"select {', '.join(columns)} from state_changes where to_id = %s and operation_id = %s "
                "and state_change_id = %s".encode(),
                key,
            ).fetchone()
            assert row is not None
            found = dict(zip(columns, row, strict=True))
            address = fields["account_id"]
            assert found.pop("account_muxed_id") == (
                int.from_bytes(address[33:], "big", signed=True) if address[0] == strkey.MUXED else None
            )
            payload = fields.get("signer_account_id") or b""
            assert (found.pop("signer_payload") or b"") == payload[33:]
            assert found.pop("state_change_category") == category
            assert found.pop("ledger_number") == ledger.sequence
            assert found == {
                column: value[:33]
                if column.endswith("_id") and isinstance(value, bytes)
                else str(value)
                if column == "amount"
                else value
                for column, value in fields.items()
            }


def test_groups_leave_what_single_commits_leave(database_url: str, empty_database_url: str) -> None:
    from migrations.runner import migrate

    migrate(empty_database_url)
    chain = make_chain(3, 100, 40)
    write(database_url, chain, 1)
    write(empty_database_url, chain, 16)
    single, grouped = dump(database_url), dump(empty_database_url)
    for table in single:
        assert single[table] == grouped[table], table
    assert all(single.values())


def test_a_ledger_committed_twice_leaves_one_copy(database_url: str) -> None:
    chain = make_chain(5, 100, 3)
    write(database_url, chain, 1)
    before = dump(database_url)
    with pytest.raises(FencedError, match="another writer"):
        write(database_url, chain[2:], 1, cursor=101)
    assert dump(database_url) == before


def test_the_cursor_is_swapped_only_where_it_was_read(database_url: str) -> None:
    """A writer that believes in another cursor writes nothing."""
    with connected(database_url) as connection:
        with pytest.raises(FencedError):
            Writer(connection, TOPIC).commit(rows_of(make_chain(1, 100, 1)), 99, {})
        assert read_state(connection, TOPIC) == (0, "", {})
    assert not any(dump(database_url).values())


def test_history_that_is_there_already_is_an_error_not_a_copy(database_url: str) -> None:
    chain = make_chain(5, 100, 2)
    write(database_url, chain, 1)
    with psycopg.connect(database_url) as conn:
        conn.execute("update ingest_store set value = '100' where key = 'latest_ingest_ledger'")
    before = dump(database_url)
    with pytest.raises(psycopg.errors.UniqueViolation):
        write(database_url, chain[1:], 1, cursor=100)
    assert dump(database_url) == before


def test_a_broken_hash_chain_stops() -> None:
    chain = rows_of(make_chain(1, 100, 3))
    check_chain(chain, 0, "")
    check_chain(chain[1:], 100, ledger_hash(100).hex())
    with pytest.raises(IntegrityError, match="ledger 101 names"):
        check_chain(chain[1:], 100, "ee" * 32)
    check_chain(chain[1:], 50, "ee" * 32)  # a gap: nothing to compare


def test_a_ledger_row_must_be_of_its_headers(database_url: str) -> None:
    chain = make_chain(1, 100, 2)
    chain[0].parts, chain[1].parts = chain[1].parts, chain[0].parts
    with pytest.raises(IntegrityError, match="its ledger row says 101"):
        rows_of(chain)


def test_balances_never_go_back_to_an_older_ledger(database_url: str) -> None:
    chain = make_chain(9, 100, 2)
    for ledger in chain:
        for name in ("trustlines", "accounts"):
            ledger.parts[name].rows.clear()
    chain[0].parts["accounts"].add(
        families.ACCOUNT_CHANGES, [AccountBalanceChange(account(n), "CREATE", 0, 10 + n, 1, 2, 3, 4) for n in range(3)]
    )
    chain[1].parts["accounts"].add(
        families.ACCOUNT_CHANGES,
        [AccountBalanceChange(account(n), kind, 0, 77, 1, 2, 3, 4) for n, kind in ((0, "UPDATE"), (1, "REMOVE"))],
    )
    write(database_url, chain[:1], 1)
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "update native_balances set last_modified_ledger = 999 where account_id = any(%s)", ([account(0), account(1)],)
        )
    write(database_url, chain[1:], 1, cursor=100)
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("select balance, last_modified_ledger from native_balances order by balance").fetchall()
    assert rows == [(10, 999), (11, 999), (12, 100)]


def test_a_contract_seen_late_completes_its_stub(database_url: str) -> None:
    chain = make_chain(9, 100, 3)
    token, key = contract(5), contract_uuid(contract(5))
    for ledger in chain:
        ledger.parts["accounts"].rows.clear()
    held = SacBalanceChange(contract(1), token, key, "ADD", 1, (1 << 127) - 1, True, True)
    chain[0].parts["accounts"].add(families.SAC_BALANCE_CHANGES, [held])
    chain[1].parts["accounts"].add(families.SAC_CONTRACTS, [SacContractRow(key, token, "USD", account(1))])
    chain[2].parts["accounts"].add(families.SAC_CONTRACTS, [SacContractRow(key, token, "OTHER", account(2))])
    write(database_url, chain[:1], 1)
    with psycopg.connect(database_url) as conn:
        assert conn.execute("select type, code, name, decimals from contract_tokens").fetchall() == [("SAC", None, None, 7)]
        assert conn.execute("select balance from sac_balances").fetchall() == [((1 << 127) - 1,)]
    write(database_url, chain[1:], 1, cursor=100)
    issuer = strkey.encode(account(1))
    with psycopg.connect(database_url) as conn:
        assert conn.execute("select code, issuer, name, symbol from contract_tokens").fetchall() == [
            ("USD", issuer, f"USD:{issuer}", "USD")
        ]


def test_channel_accounts_are_unlocked_by_inner_or_own_hash(database_url: str) -> None:
    chain = make_chain(2, 100, 1)
    transactions = chain[0].parts["participants"].rows["transactions"]
    inner = next(row[2] for row in transactions if row[2])
    own = next(row[1] for row in transactions if row[2] is None)
    locked = {"inner": inner.hex(), "own": own.hex(), "other": hashlib.sha256(b"other").hexdigest()}
    with psycopg.connect(database_url) as conn:
        for name, value in locked.items():
            conn.execute(
                "insert into channel_accounts (public_key, encrypted_private_key, locked_at, locked_until, locked_tx_hash) "
                "values (%s, '', now(), now() + interval '1 minute', %s)",
                (name, value),
            )
    write(database_url, chain, 1)
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("select public_key from channel_accounts where locked_at is not null and locked_until is not null")
        assert rows.fetchall() == [("other",)]


def test_one_notification_for_a_group(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen lumenstream_ledger")
        write(database_url, make_chain(2, 100, 5), 5)
        assert [note.payload for note in listener.notifies(timeout=5, stop_after=1)] == ["104"]
