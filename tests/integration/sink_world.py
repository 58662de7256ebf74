"""A made-up chain for the sink's tests: parts of ledgers from a seed, sent as the processors would send them, and what must come
of them, worked out without the sink's code.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from confluent_kafka import Producer

from lumenstream.settings import DatabaseSettings, KafkaSettings, NetworkSettings, Settings, SinkSettings
from schemas import families, strkey, toid
from schemas.assets import asset_uuid, contract_uuid
from schemas.families import (
    AccountBalanceChange,
    LedgerRow,
    OperationAccountRow,
    OperationRow,
    SacBalanceChange,
    SacContractRow,
    TransactionAccountRow,
    TransactionRow,
    TrustlineAssetRow,
    TrustlineBalanceChange,
)
from schemas.messages import PartHeaders, PartKind, partition_of
from schemas.participation import union_accounts
from schemas.parts import SCHEMA_VERSION, Part, encode
from schemas.processors import PROCESSORS
from schemas.state_changes import (
    AccountChange,
    AllowanceChange,
    BalanceAuthorizationChange,
    BalanceChange,
    FlagsChange,
    MetadataChange,
    Reason,
    ReservesChange,
    SignerChange,
    ThresholdChange,
    TrustlineChange,
)
from sinks.timescale.layouts import HISTORY
from sinks.timescale.reorder import Arrival, Gathered
from tests.integration import market_world, token_world

NETWORK = NetworkSettings(name="sandbox")
NETWORK_ID = NETWORK.network_id().hex()
PARTITIONS = 4
WAIT_S = 90.0
CLOSE_TIME = 1_700_000_000
account = market_world.account
TABLES = {
    "transactions": "to_id, hash, inner_hash, fee_charged, result_code, ledger_number, ledger_created_at, is_fee_bump",
    "transactions_accounts": "tx_to_id, account_id, account_muxed_id, ledger_created_at",
    "operations": "id, operation_type, operation_xdr, result_code, successful, ledger_number, ledger_created_at",
    "operations_accounts": "operation_id, account_id, account_muxed_id, ledger_created_at",
    "state_changes": "to_id, operation_id, state_change_id, state_change_category, state_change_reason, ledger_number, "
    "ledger_created_at, account_id, account_muxed_id, token_id, amount, to_muxed_id, signer_account_id, signer_payload, "
    "signer_weight_old, signer_weight_new, spender_account_id, sponsored_account_id, sponsor_account_id, creator_account_id, "
    "destination_account_id, claimable_balance_id, liquidity_pool_id, sponsored_data, data_entry_name, threshold_old, "
    "threshold_new, trustline_limit_old, trustline_limit_new, flags, key_value",
    "trustline_assets": "id, code, issuer",
    "contract_tokens": "id, contract_id, type, code, issuer, name, symbol, decimals",
    "trustline_balances": "*",
    "native_balances": "*",
    "sac_balances": "*",
    **token_world.TOKEN_TABLES,
    "liquidity_pools": "*",
    "liquidity_pool_balances": "*",
    "claimable_balances": "*",
    "claimable_balance_claimants": "*",
    "offers": "*",
    **{table: ", ".join(HISTORY[table]) for table in ("claimable_balance_events", "trades")},
    "ledgers": "sequence, hash, previous_hash, previous_sequence, closed_at, protocol_version, transaction_count, "
    'successful_transaction_count, operation_count, state_change_count, topic, partition, "offset"',
    "ingest_store": "key, value",
}


def contract(number: int) -> bytes:
    return bytes((strkey.CONTRACT,)) + hashlib.sha256(b"contract %d" % number).digest()


TOKENS = [contract(100), contract(200), contract(201), contract(202)]  # the first may be taken for an asset's contract


def ledger_hash(sequence: int, chain: str = "") -> bytes:
    return hashlib.sha256(f"ledger {chain}{sequence}".encode()).digest()


@dataclass(slots=True)
class FakeLedger:
    """One ledger's parts by processor, as the processors would have made them."""

    sequence: int
    previous: int | None
    parts: dict[str, Part]
    chain: str = ""

    def headers(self, processor: str, **other: Any) -> PartHeaders:
        values: dict[str, Any] = {
            "kind": PartKind.PART,
            "processor": processor,
            "version": PROCESSORS[processor].version,
            "schema": SCHEMA_VERSION,
            "sequence": self.sequence,
            "previous_sequence": self.previous,
            "close_time": CLOSE_TIME + 5 * self.sequence,
            "ledger_hash": ledger_hash(self.sequence, self.chain).hex(),
            "network_id": NETWORK_ID,
            "job": "live",
            "source_topic": "ledgers",
            "source_partition": partition_of(self.sequence, 1, PARTITIONS),
            "source_offset": self.sequence,
        }
        return PartHeaders(**(values | other))


def make_chain(seed: int, first: int, count: int, transactions: int = 4) -> list[FakeLedger]:
    """`count` ledgers from `first`, which starts the stream. The same arguments give the same ledgers."""
    return [
        make_ledger(random.Random(f"{seed} {sequence}"), sequence, None if sequence == first else sequence - 1, transactions)
        for sequence in range(first, first + count)
    ]


def make_ledger(rng: random.Random, sequence: int, previous: int | None, transactions: int = 4, chain: str = "") -> FakeLedger:
    parts = {name: Part() for name in PROCESSORS}
    participants, transfers = parts["participants"], parts["token_transfers"]
    operation_count = 0
    for order in range(1, transactions + 1):
        to_id = toid.transaction_id(sequence, order)
        source, muxed = account(rng.randrange(20)), bytes((strkey.MUXED,)) + account(rng.randrange(3))[1:] + rng.randbytes(8)
        transaction_hash, bump = rng.randbytes(32), order % 3 == 0
        row = TransactionRow(to_id, transaction_hash, rng.randbytes(32) if bump else None, 100, "TxSuccess", bump, None, None)
        participants.add(families.TRANSACTIONS, [row])
        transfers.add_state_changes([BalanceChange(to_id, 0, 1, Reason.DEBIT, source, contract(0), 100)])
        participants.add(families.TRANSACTIONS_ACCOUNTS, [TransactionAccountRow(to_id, who) for who in (source, muxed)])
        for index in range(rng.randrange(1, 3)):
            operation_count += 1
            add_operation(rng, parts, toid.operation_id(to_id, index), source, muxed)
    add_balances(rng, parts, sequence)
    market_world.add_market(rng, parts, sequence)
    token_world.add_code(random.Random(f"code {sequence}"), parts, TOKENS)
    header = LedgerRow(
        sequence, ledger_hash(sequence, chain), ledger_hash(sequence - 1), 23, transactions, transactions, operation_count
    )
    participants.add(families.LEDGERS, [header])
    return FakeLedger(sequence, previous, parts, chain)


def add_operation(rng: random.Random, parts: dict[str, Part], operation: int, source: bytes, muxed: bytes) -> None:
    to_id, other, big = toid.transaction_of(operation), account(rng.randrange(40)), rng.randrange(1 << 126)
    participants, transfers = parts["participants"], parts["token_transfers"]
    participants.add(families.OPERATIONS, [OperationRow(operation, "PAYMENT", rng.randbytes(20), "op_success", True)])
    participants.add(families.OPERATIONS_ACCOUNTS, [OperationAccountRow(operation, who) for who in (source, muxed)])
    signer = bytes((strkey.SIGNED_PAYLOAD,)) + rng.randbytes(32) + (4).to_bytes(4, "big") + b"pay!"
    transfers.add_state_changes(
        [
            BalanceChange(to_id, operation, 1, Reason.DEBIT, source, contract(1), big),
            BalanceChange(to_id, operation, 2, Reason.CREDIT, other, contract(1), big, str(rng.randrange(1 << 64))),
            AccountChange(to_id, operation, 3, Reason.CREATE, muxed, creator_account_id=source),
            SignerChange(to_id, operation, 1 << 28, Reason.ADD, source, signer, None, 255),
            ThresholdChange(to_id, operation, (1 << 28) + 1, Reason.LOW, source, None, 3),
            MetadataChange(to_id, operation, (1 << 28) + 2, Reason.DATA_ENTRY, source, {"näme": {"new": "AA=="}}, "näme"),
            TrustlineChange(to_id, operation, (1 << 28) + 3, Reason.ADD, other, None, "ab" * 32, None, (1 << 63) - 1),
            FlagsChange(to_id, operation, (1 << 28) + 4, Reason.SET, source, 6),
            BalanceAuthorizationChange(to_id, operation, (1 << 28) + 5, Reason.SET, contract(3), contract(1), None, None),
            BalanceAuthorizationChange(to_id, operation, (1 << 28) + 6, Reason.CLEAR, other, None, "cd" * 32, 64),
            ReservesChange(to_id, operation, 1 << 30, Reason.SPONSOR, other, source, account(3), contract(1), "ab" * 32),
            ReservesChange(to_id, operation, (1 << 30) + 1, Reason.UNSPONSOR, other, claimable_balance_id="00" * 36),
            ReservesChange(to_id, operation, (1 << 30) + 2, Reason.SPONSOR, other, sponsored_data="x", signer_account_id=signer),
            AllowanceChange(to_id, operation, 1 << 40, Reason.UPDATE, source, contract(1), other, big, {"live_until_ledger": 9}),
        ]
    )
    place = operation >> 32, to_id, operation
    token_world.add_events(random.Random(f"events {operation}"), parts, place, (source, muxed), TOKENS)


def add_balances(rng: random.Random, parts: dict[str, Part], sequence: int) -> None:
    code, issuer = rng.choice(["USD", "EURC", "LONGCODE"]), account(1000 + rng.randrange(2))
    asset, operation = asset_uuid(code, issuer), toid.operation_id(toid.transaction_id(sequence, 1), 0)
    parts["trustlines"].add(families.TRUSTLINE_ASSETS, [TrustlineAssetRow(asset, code, issuer)])
    for number in sorted(rng.sample(range(10), 3)):
        kind = rng.choice(["ADD", "UPDATE", "REMOVE"])
        change = TrustlineBalanceChange(account(number), asset, kind, operation, rng.randrange(1 << 62), 1 << 62, 1, 2, 1)
        parts["trustlines"].add(families.TRUSTLINE_CHANGES, [change])
    for number in sorted(rng.sample(range(10), 3)):
        kind = rng.choice(["CREATE", "UPDATE", "REMOVE"])
        row = AccountBalanceChange(account(number), kind, 1 << 37, rng.randrange(1 << 62), 5, 6, 7, rng.randrange(9))
        parts["accounts"].add(families.ACCOUNT_CHANGES, [row])
    token = contract(100 + rng.randrange(2))
    held = SacBalanceChange(contract(7), token, contract_uuid(token), "UPDATE", operation, rng.randrange(1 << 127), True, False)
    parts["accounts"].add(families.SAC_BALANCE_CHANGES, [held])
    if rng.random() < 0.3:
        parts["accounts"].add(families.SAC_CONTRACTS, [SacContractRow(contract_uuid(token), token, code, issuer)])


@dataclass(slots=True)
class World:
    """A topic, a database and settings for a sink between them."""

    bootstrap: str
    topic_prefix: str
    database_url: str
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return f"{self.topic_prefix}ledger-changes"

    def settings(self, **sink: Any) -> Settings:
        section = {"http_port": 0, "standby_poll_seconds": 0.1, "missing_part_seconds": 0.5} | self.overrides | sink
        return Settings(
            network=NETWORK,
            kafka=KafkaSettings(bootstrap=self.bootstrap, topic_prefix=self.topic_prefix, partitions=PARTITIONS),
            database=DatabaseSettings.model_validate({"url": self.database_url}),
            sink=SinkSettings.model_validate(section),
        )

    def send(self, ledgers: Iterable[FakeLedger], processors: Sequence[str] = tuple(PROCESSORS), **other: Any) -> None:
        """The parts of these ledgers in the order given."""
        self.send_parts([(ledger, name) for ledger in ledgers for name in processors], **other)

    def send_parts(self, parts: Iterable[tuple[FakeLedger, str]], *, value: bytes | None = None, **other: Any) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
        for ledger, name in parts:
            producer.produce(
                self.topic,
                value=encode(ledger.parts[name]) if value is None else value,
                key=str(ledger.sequence).encode(),
                headers=dict(ledger.headers(name, **other).to_kafka()),
                partition=partition_of(ledger.sequence, 1, PARTITIONS),
            )
        assert producer.flush(30) == 0

    def cursor(self) -> int:
        with psycopg.connect(self.database_url) as conn:
            row = conn.execute("select value from ingest_store where key = 'latest_ingest_ledger'").fetchone()
        return int(row[0]) if row else 0


class RunningSink:
    """A sink in a thread of this process. `error` holds what ended it, if that was an error."""

    def __init__(self, settings: Settings) -> None:
        from sinks import timescale

        self.stop = threading.Event()
        self.error: BaseException | None = None

        def work() -> None:
            try:
                timescale.run(settings, self.stop)
            except BaseException as error:  # noqa: BLE001 (handed to the test)
                self.error = error

        self._thread = threading.Thread(target=work, daemon=True)

    def __enter__(self) -> RunningSink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()


def gather(ledger: FakeLedger, names: Sequence[str]) -> Gathered:
    """The ledger with the parts of these processors, as a sink has gathered it."""
    closed, digest = ledger.headers(names[0]).close_time, ledger.headers(names[0]).ledger_hash
    found = Gathered(ledger.sequence, ledger.previous, closed, digest, 0.0)
    found.parts = {name: Arrival(ledger.headers(name), encode(ledger.parts[name]), 0, ledger.sequence, 0.0) for name in names}
    return found


def dump(url: str, without: Sequence[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table the sink writes, times of ingestion left out."""
    with psycopg.connect(url) as conn:
        return {
            table: sorted(conn.execute(f"select {columns} from {table}".encode()).fetchall(), key=repr)
            for table, columns in TABLES.items()
            if table not in without
        }


def expected_links(ledger: FakeLedger) -> tuple[set[tuple[int, bytes, int]], set[tuple[int, bytes, int]]]:
    """(id, 33 bytes, signed muxed id) of every participant of transactions and of operations."""

    def stored(rows: Iterable[tuple[int, bytes]]) -> set[tuple[int, bytes, int]]:
        links = set()
        for identity, address in rows:
            muxed = int.from_bytes(address[33:41], "big", signed=True) if len(address) == 41 else 0
            links.add((identity, address[:33], muxed))
        return links

    of_transactions, of_operations = union_accounts(ledger.parts.values())
    return stored(of_transactions), stored(of_operations)


def wait_for(condition: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what or "condition")
        time.sleep(0.02)


def health(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, {"phase": "not listening yet"}


def reach(world: World, cursor: int) -> None:
    wait_for(lambda: world.cursor() >= cursor, f"cursor {cursor}")


def run_until(world: World, cursor: int, **sink: Any) -> None:
    with RunningSink(world.settings(**sink)) as running:
        wait_for(lambda: world.cursor() >= cursor or not running.alive, f"cursor {cursor}, is {world.cursor()}: {running.error}")
    assert running.error is None


def phase(port: int) -> str:
    return str(health(port)[1]["phase"])
