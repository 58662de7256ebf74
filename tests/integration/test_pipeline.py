"""Four real ledgers of the public network through the real roles: what the tables hold equals what the reference produced.

The folder has gaps: each ledger names its predecessor in the folder, and the database records that.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson
import psycopg
import pytest

from schemas import strkey
from tests.chaos.pipeline import Pipeline, files_source
from tests.chaos.snapshot import check_complete, read_events
from tests.plugins.servers import KafkaForTest

SEQUENCES: Final = (51_000_294, 57_500_008, 63_092_988, 63_092_990)
# State changes are numbered in streams of 2^28, a processor each; the reference's from the fifth on are of newer processors.
STREAM: Final = 1 << 28
STREAMS: Final = 4
DEPLOYS: Final = 2
SUCCEEDED: Final = frozenset({"TransactionResultCodeTxSuccess", "TransactionResultCodeTxFeeBumpInnerSuccess"})
LIABILITIES: Final = ("buying_liabilities", "selling_liabilities")
STROOPS: Final = 10_000_000

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Run:
    """A pipeline that has taken in the ledgers, and the reference's lines for them."""

    pipeline: Pipeline
    golden: list[dict[str, Any]]

    def rows(self, query: str) -> list[Row]:
        with psycopg.connect(self.pipeline.database_url) as connection:
            return connection.execute(query.encode()).fetchall()

    def reference(self, family: str) -> Iterator[dict[str, Any]]:
        """The reference's rows of a family, over all ledgers."""
        for ledger in self.golden:
            yield from ledger[family]

    def folded(self, family: str, *key: str) -> dict[Row, dict[str, Any]]:
        """What is left of changes when the last one of each key counts."""
        left: dict[Row, dict[str, Any]] = {}
        for change in self.reference(family):
            identity = tuple(change[name] for name in key)
            left.pop(identity, None)
            if change["operation"] != "REMOVE":
                left[identity] = change
        return left


@pytest.fixture
def run(kafka: KafkaForTest, database_url: str, shared_ledgers: Path, shared_golden: Path, tmp_path: Path) -> Iterator[Run]:
    """Every role, to the end of the folder."""
    with gzip.open(shared_golden / "head" / "pubnet.jsonl.gz", "rb") as lines:
        golden = [line for line in map(orjson.loads, lines) if line["file"].startswith("pubnet/")]
    source = files_source(shared_ledgers / "pubnet", SEQUENCES[0], SEQUENCES[-1])
    with ExitStack() as cleanup:
        pipeline = cleanup.enter_context(
            Pipeline(
                tmp_path,
                bootstrap=kafka.bootstrap,
                topic_prefix=kafka.topic_prefix,
                database_url=database_url,
                source=source,
            )
        )
        pipeline.start_all()
        pipeline.wait_for_end()
        yield Run(pipeline, sorted(golden, key=lambda line: int(line["ledger"]["sequence"])))


def test_tables_equal_the_reference(run: Run) -> None:
    """One run, every table: transactions, operations, participants, state changes, assets, balances; and the events."""
    check_ledgers(run)
    check_transactions_and_operations(run)
    check_participants(run)
    check_state_changes(run)
    check_balances(run)
    events = read_events(run.pipeline.kafka)
    check_complete(run.pipeline.database_url, events)
    assert events.repeats == 0


def check_ledgers(run: Run) -> None:
    ledgers = run.rows("select sequence, previous_sequence, encode(hash, 'hex') from ledgers order by sequence")
    hashes = [line["ledger"]["hash"] for line in run.golden]
    assert ledgers == list(zip(SEQUENCES, (None, *SEQUENCES[:-1]), hashes, strict=True))
    cursors: dict[str, int] = dict(run.rows("select key, value::int from ingest_store where key <> 'network_id'"))
    assert cursors == {
        "latest_ingest_ledger": SEQUENCES[-1],
        "oldest_ingest_ledger": SEQUENCES[0],
        "publisher_cursor": SEQUENCES[-1],
    }


def check_transactions_and_operations(run: Run) -> None:
    columns = ("to_id", "hash", "fee_charged", "result_code", "ledger_number", "is_fee_bump")
    found = run.rows(
        "select to_id, encode(hash, 'hex'), fee_charged, result_code, ledger_number, is_fee_bump from transactions order by to_id"
    )
    assert found == sorted(tuple(row[name] for name in columns) for row in run.reference("transactions"))
    columns = ("id", "operation_type", "operation_xdr", "result_code", "successful", "ledger_number")
    found = run.rows(
        "select id, operation_type, replace(encode(operation_xdr, 'base64'), E'\\n', ''), result_code, successful, ledger_number "
        "from operations order by id"
    )
    assert found == sorted(tuple(row[name] for name in columns) for row in run.reference("operations"))


def not_ours(run: Run) -> list[dict[str, Any]]:
    """State changes that only the reference has: of its newer processors, and deploys of failed transactions (Q2)."""
    failed = {row["to_id"] for row in run.reference("transactions") if row["result_code"] not in SUCCEEDED}
    return [
        row
        for row in run.reference("state_changes")
        if row["state_change_id"] // STREAM >= STREAMS or (row["state_change_id"] // STREAM == DEPLOYS and row["to_id"] in failed)
    ]


def check_participants(run: Run) -> None:
    """Those of the reference, and the accounts of our RESERVES rows; accounts of state changes that we lack may be missing."""
    reserves = run.rows(
        "select to_id, operation_id, account_id, account_muxed_id from state_changes where state_change_category = 'RESERVES'"
    )
    for position, (table, column, identity) in enumerate(
        (("transactions_accounts", "tx_to_id", "to_id"), ("operations_accounts", "operation_id", "operation_id"))
    ):
        stored = run.rows(f"select {column}, account_id, account_muxed_id from {table}")
        found = {(number, address(account, muxed)) for number, account, muxed in stored}
        assert len(found) == len(stored)
        wanted = {(row[column], row["account_id"]) for row in run.reference(table)}
        assert found - wanted <= {(row[position], address(row[2], row[3])) for row in reserves}
        assert wanted - found <= {(row[identity], row["account_id"]) for row in not_ours(run)}


def check_state_changes(run: Run) -> None:
    stored = run.rows(
        "select to_id, operation_id, state_change_id, state_change_category, state_change_reason, amount, account_id, "
        "account_muxed_id from state_changes where state_change_category <> 'RESERVES'"
    )
    found = {(*row[:6], address(row[6], row[7])) for row in stored}
    left_out = {(row["to_id"], row["operation_id"], row["state_change_id"]) for row in not_ours(run)}
    columns = ("to_id", "operation_id", "state_change_id", "state_change_category", "state_change_reason", "amount", "account_id")
    wanted = {tuple(row[name] for name in columns) for row in run.reference("state_changes")}
    wanted = {row for row in wanted if row[:3] not in left_out}
    assert {row for row in found if row[2] < STREAM} == {row for row in wanted if row[2] < STREAM}
    # The newest reference names the others by newer categories; ids and accounts are the same.
    assert {(*row[:3], row[6]) for row in found} == {(*row[:3], row[6]) for row in wanted}


def check_balances(run: Run) -> None:
    assets = run.rows("select id::text, code, issuer from trustline_assets")
    assert set(assets) == {(row["id"], row["code"], row["issuer"]) for row in run.reference("trustline_assets")}

    columns = ("balance", "limit", *LIABILITIES, "flags", "ledger_number")
    stored = run.rows(
        "select account_id, asset_id::text, balance, trust_limit, buying_liabilities, selling_liabilities, flags, "
        "last_modified_ledger from trustline_balances"
    )
    found = {(address(row[0], None), row[1]): row[2:] for row in stored}
    left = run.folded("trustline_changes", "account_id", "trustline_asset_id")
    assert found == {key: tuple(change[name] for name in columns) for key, change in left.items()}

    columns = ("balance", "minimum_balance", *LIABILITIES, "num_subentries", "ledger_number")
    stored = run.rows(
        "select account_id, balance, minimum_balance, buying_liabilities, selling_liabilities, num_subentries, "
        "last_modified_ledger from native_balances"
    )
    native = {(address(row[0], None),): row[1:] for row in stored}
    left = run.folded("account_changes", "account_id")
    assert native == {key: tuple(change[name] for name in columns) for key, change in left.items()}

    flags = ("is_authorized", "is_clawback_enabled", "ledger_number")
    stored = run.rows(
        "select account_id, contract_id::text, balance, is_authorized, is_clawback_enabled, last_modified_ledger "
        "from sac_balances"
    )
    contracts = {(address(row[0], None), row[1]): row[2:] for row in stored}
    left = run.folded("sac_balance_changes", "account_id", "contract_uuid")
    assert contracts == {
        key: (Decimal(change["balance"]) * STROOPS, *(change[name] for name in flags)) for key, change in left.items()
    }


def address(stored: bytes, muxed: int | None) -> str:
    """StrKey text of the columns of an address."""
    return strkey.from_storage(stored, None if muxed is None else muxed & ((1 << 64) - 1))
