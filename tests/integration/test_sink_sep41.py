"""Custom tokens on a real database: whose events count, what they leave, and that each of them counts once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from migrations.runner import migrate
from schemas import assets, families, strkey, toid
from schemas.parts import Part
from schemas.processors import PROCESSORS
from schemas.sep41 import CandidateEvent, ContractRow, WasmRow
from schemas.state_changes import IdBase
from sinks.timescale import sep41_state
from sinks.timescale.backfill.tokens import Tokens
from sinks.timescale.binary import register
from sinks.timescale.layouts import HISTORY as HISTORY_TABLES
from sinks.timescale.tables import LedgerEncoder
from sinks.timescale.writer import copy_history
from tests.integration.sink_world import (
    PARTITIONS,
    FakeLedger,
    RunningSink,
    World,
    account,
    contract,
    dump,
    make_chain,
    reach,
    wait_for,
)
from tests.integration.test_sink_writer import rows_of, write
from tests.integration.token_world import CODE, Model, add_code, add_events, holder
from tests.plugins.servers import KafkaForTest

TOKENS = [contract(number) for number in range(300, 304)]
MUXED = bytes((strkey.MUXED,)) + account(1)[1:] + (1 << 63).to_bytes(8, "big")
HOLDERS = [*(account(number) for number in range(3)), MUXED, contract(7)]
HISTORY = (
    "select operation_id, state_change_id, state_change_reason, account_id, token_id, amount, to_muxed_id from state_changes "
    "where state_change_id > %s order by operation_id, state_change_id"
)


def quiet(first: int, count: int) -> list[FakeLedger]:
    """Ledgers with an operation each and no token."""
    chain = make_chain(1, first, count, transactions=1)
    for ledger in chain:
        ledger.parts["sep41"] = Part()
        for name in ("token_transfers", "accounts"):
            ledger.parts[name].rows.clear()
    return chain


def busy(first: int, count: int, seed: int) -> list[FakeLedger]:
    chain = quiet(first, count)
    for ledger in chain:
        rng = random.Random(f"{seed} {ledger.sequence}")
        add_code(rng, ledger.parts, TOKENS)
        for order in range(2):
            to_id = toid.transaction_id(ledger.sequence, 1)
            add_events(rng, ledger.parts, (ledger.sequence, to_id, toid.operation_id(to_id, order)), HOLDERS, TOKENS)
    return chain


def model_of(chain: Sequence[FakeLedger]) -> Model:
    model = Model()
    for ledger in chain:
        model.tell(ledger.sequence, ledger.parts["sep41"])
    return model


def state(url: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Balances and allowances as the model keeps them, by UUID of the token."""
    with psycopg.connect(url) as conn:
        balances = conn.execute("select account_id, contract_id, balance from sep41_balances").fetchall()
        allowances = conn.execute(
            "select owner_id, spender_id, contract_id, amount, expiration_ledger from sep41_allowances"
        ).fetchall()
    return (
        {(held_by, token.bytes): int(balance) for held_by, token, balance in balances},
        {(owner, spender, token.bytes): (int(amount), live) for owner, spender, token, amount, live in allowances},
    )


def expect(url: str, model: Model) -> None:
    uuid = assets.contract_uuid
    balances, allowances = state(url)
    assert balances == {(held_by, uuid(token)): sum_ for (held_by, token), sum_ in model.balances.items() if sum_}
    assert allowances == {(owner, spender, uuid(token)): grant for (owner, spender, token), grant in model.allowances.items()}
    with psycopg.connect(url) as conn:
        found = conn.execute(HISTORY, (IdBase.SEP41,)).fetchall()
        assert found == sorted((row[0], row[1] + IdBase.SEP41, *row[2:]) for row in model.changes)
        types: dict[str, str] = dict(conn.execute("select contract_id, type from contract_tokens where type <> 'SAC'").fetchall())
    now = {strkey.encode(token) for token, wasm_hash in model.runs.items() if model.code.get(wasm_hash) == "SEP41"}
    assert {token for token, kind in types.items() if kind == "SEP41"} == now


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_singles_and_groups_leave_what_the_events_say(database_url: str, empty_database_url: str, seed: int) -> None:
    migrate(empty_database_url)
    chain = busy(100, 40, seed)
    write(database_url, chain, 1)
    write(empty_database_url, chain, 7)
    expect(database_url, model_of(chain))
    single, grouped = dump(database_url), dump(empty_database_url)
    for table in single:
        assert single[table] == grouped[table], table


def test_holdings_of_a_token_are_what_it_minted_less_what_it_burned(database_url: str) -> None:
    chain = busy(100, 40, 5)
    write(database_url, chain, 3)
    with psycopg.connect(database_url) as conn:
        held: dict[Any, Decimal] = dict(
            conn.execute("select contract_id, sum(balance) from sep41_balances group by 1").fetchall()
        )
        rows = conn.execute(
            "select token_id, sum(case state_change_reason when 'MINT' then amount::numeric when 'BURN' then -amount::numeric "
            "else 0 end) from state_changes where state_change_id > %s and state_change_category = 'BALANCE' group by 1",
            (IdBase.SEP41,),
        ).fetchall()
    assert len(held) == len(TOKENS)
    made = {assets.contract_uuid(token): supply for token, supply in rows}
    assert {token.bytes: supply for token, supply in held.items()} == made


def test_whom_an_event_names_takes_part(database_url: str) -> None:
    chain = busy(100, 12, 1)
    write(database_url, chain, 4)
    missing = (
        "select count(*) from state_changes s where state_change_id > %s and not exists (select from {0}s_accounts l "
        "where l.account_id = s.account_id and l.account_muxed_id = coalesce(s.account_muxed_id, 0) and l.{1} = s.{2})"
    )
    with psycopg.connect(database_url) as conn:
        for table, column, own in (("transaction", "tx_to_id", "to_id"), ("operation", "operation_id", "operation_id")):
            assert conn.execute(missing.format(table, column, own).encode(), (IdBase.SEP41,)).fetchone() == (0,)
        counted = conn.execute("select sum(state_change_count), (select count(*) from state_changes) from ledgers").fetchone()
        muxed = conn.execute(
            "select distinct account_muxed_id from state_changes where account_id = %s", (MUXED[:33],)
        ).fetchall()
    assert counted is not None and counted[0] == counted[1] > 0
    assert muxed == [(-(1 << 63),)]


def mint(ledger: FakeLedger, token: bytes, amount: int, to: bytes = HOLDERS[0]) -> None:
    to_id = toid.transaction_id(ledger.sequence, 1)
    event = CandidateEvent(to_id, to_id + 1, "mint", token, None, to, None, amount, None, None)
    ledger.parts["sep41"].add(families.SEP41_CANDIDATE_EVENTS, [event])


def approve(ledger: FakeLedger, spender: bytes, amount: int, live_until: int) -> None:
    to_id = toid.transaction_id(ledger.sequence, 1)
    event = CandidateEvent(to_id, to_id + 1, "approve", TOKENS[0], HOLDERS[0], None, spender, amount, None, live_until)
    ledger.parts["sep41"].add(families.SEP41_CANDIDATE_EVENTS, [event])


def code(ledger: FakeLedger, name: str, protocol: str | None = "SEP41") -> None:
    ledger.parts["sep41"].add(families.PROTOCOL_WASMS, [WasmRow(CODE[name], protocol, 1)])


def runs(ledger: FakeLedger, token: bytes, name: str, *described: Any) -> None:
    row = ContractRow(token, CODE[name], *(described or (None, None, None)))
    ledger.parts["sep41"].add(families.PROTOCOL_CONTRACTS, [row])


def tokens(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute("select contract_id, type, name, symbol, decimals from contract_tokens order by 1").fetchall()


@pytest.mark.parametrize("group", [1, 6])
def test_a_contract_is_a_token_while_its_code_is(database_url: str, group: int) -> None:
    """Its code is seen late, then it is upgraded to other code and back. Only events in between count."""
    chain, token = quiet(100, 6), TOKENS[0]
    for ledger in chain:
        mint(ledger, token, 10 ** (ledger.sequence - 100))
    runs(chain[0], token, "gold", "Gold", "GLD", 7)
    code(chain[1], "gold")
    code(chain[3], "game", None)
    runs(chain[3], token, "game")
    runs(chain[5], token, "gold", "Golden", "GLD", 8)
    write(database_url, chain, group)
    assert state(database_url)[0] == {(HOLDERS[0], assets.contract_uuid(token)): 100_110}
    assert tokens(database_url) == [(strkey.encode(token), "SEP41", "Golden", "GLD", 8)]
    write(database_url, [*upgraded(106, token)], 1, cursor=105)
    assert tokens(database_url) == [(strkey.encode(token), "UNKNOWN", "Golden", "GLD", 8)]


def upgraded(sequence: int, token: bytes) -> list[FakeLedger]:
    """Code that nobody has seen yet."""
    ledgers = quiet(sequence, 1)
    ledgers[0].previous = sequence - 1
    runs(ledgers[0], token, "silver")
    return ledgers


def test_a_contract_taken_for_an_assets_one_becomes_a_token(database_url: str) -> None:
    chain, token = quiet(100, 2), TOKENS[0]
    balance = families.SacBalanceChange(contract(9), token, assets.contract_uuid(token), "ADD", 1, 5, True, False)
    chain[0].parts["accounts"].add(families.SAC_BALANCE_CHANGES, [balance])
    code(chain[1], "gold")
    runs(chain[1], token, "gold")
    write(database_url, chain[:1], 1)
    assert [row[1] for row in tokens(database_url)] == ["SAC"]
    write(database_url, chain[1:], 1, cursor=100)
    assert tokens(database_url) == [(strkey.encode(token), "SEP41", None, None, 0)]


def test_sums_may_be_larger_than_any_amount(database_url: str) -> None:
    """Amounts come from whoever wrote the contract: none of them may stop the sink."""
    chain, token = quiet(100, 3), TOKENS[0]
    code(chain[0], "gold")
    runs(chain[0], token, "gold")
    for ledger in chain:
        for _ in range(50):
            mint(ledger, token, (1 << 127) - 1)
        approve(ledger, account(2), -(1 << 127), (1 << 32) - 1)
    write(database_url, chain, 1)
    balances, allowances = state(database_url)
    assert list(balances.values()) == [150 * ((1 << 127) - 1)]
    assert list(allowances.values()) == [(-(1 << 127), (1 << 32) - 1)]


@pytest.mark.parametrize("group", [1, 4])
def test_expired_allowances_go_some_at_a_time(database_url: str, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sep41_state, "MAX_EXPIRED_PER_LEDGER", 3)
    chain = quiet(100, 4)
    code(chain[0], "gold")
    runs(chain[0], TOKENS[0], "gold")
    for number in range(8):
        approve(chain[0], account(10 + number), 5, 100)
    approve(chain[0], account(20), 5, 103)
    approve(chain[0], account(21), 5, 103)
    approve(chain[1], account(21), 0, 999)
    write(database_url, chain[:3] if group == 1 else chain[:0], group)
    if group == 1:
        assert len(state(database_url)[1]) == 8 + 1 - 2 * 3, "the first ledger in which they are dead is 101"
    write(database_url, chain[3:] if group == 1 else chain, group, cursor=102 if group == 1 else 0)
    assert [key[1] for key in state(database_url)[1]] == [account(20)], "an allowance lives in its last ledger"


def test_parts_that_come_twice_count_once(kafka: KafkaForTest, database_url: str) -> None:
    kafka.create_topic("ledger-changes", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    world, chain = World(kafka.bootstrap, kafka.topic_prefix, database_url), busy(100, 20, 2)
    with RunningSink(world.settings()) as running:
        world.send(chain)
        world.send(chain[5:15], ["sep41"])
        reach(world, 110)
        world.send(chain)
        wait_for(lambda: world.cursor() == 119 or running.error, "the last ledger")
        world.send(chain[15:], tuple(PROCESSORS))
    assert running.error is None
    with RunningSink(world.settings()):
        reach(world, 119)
    expect(database_url, model_of(chain))


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_old_ledgers_get_the_same_history_and_hide_nothing_newer(
    database_url: str, empty_database_url: str, backwards: bool
) -> None:
    """Ranges of a backfill job on an empty database, against the live sink. In another order less is known at first."""
    migrate(empty_database_url)
    chain = busy(100, 40, 4)
    write(database_url, chain, 1)
    starts = range(0, len(chain), 5)
    for start in reversed(starts) if backwards else starts:
        with psycopg.connect(empty_database_url) as connection:
            register(connection)
            tokens = Tokens(connection, LedgerEncoder())
            for part in (chain[start : start + 3], chain[start + 3 : start + 5]):
                copy_history(connection, tokens.extend(rows_of(part)), HISTORY_TABLES)
    live, old = dump(database_url), dump(empty_database_url)
    assert old["protocol_wasms"] == live["protocol_wasms"]
    assert {row[:2] for row in old["protocol_contracts"]} == {row[:2] for row in live["protocol_contracts"]}
    with psycopg.connect(database_url) as conn, psycopg.connect(empty_database_url) as other:
        query = "select contract_id from contract_tokens where type = 'SEP41' order by 1"
        assert conn.execute(query).fetchall() == other.execute(query).fetchall() != []
    assert not old["sep41_balances"] and not old["sep41_allowances"]
    if not backwards:
        assert old["protocol_contracts"] == live["protocol_contracts"]
        for table in ("state_changes", "transactions_accounts", "operations_accounts"):
            assert old[table] == live[table]


def test_the_balance_of_a_muxed_account_is_its_accounts(database_url: str) -> None:
    chain, token = quiet(100, 1), TOKENS[0]
    code(chain[0], "gold")
    runs(chain[0], token, "gold")
    for to in (MUXED, account(1)):
        mint(chain[0], token, 1, to)
    write(database_url, chain, 1)
    assert holder(MUXED) == account(1)
    with psycopg.connect(database_url) as conn:
        assert conn.execute("select account_id, balance from sep41_balances").fetchall() == [(account(1), Decimal(2))]
