"""Custom tokens: what a ledger shows of code, contracts and events, and what the events mean (B15, table of spec 10.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lumenstream.xdr.rows import Change, ContractCodeEntry, ContractDataEntry, ContractEvent, ContractInstance, Entry, ScVal
from processors.sep41 import Sep41
from schemas import sep41, strkey
from schemas.parts import Part, decode, encode
from schemas.sep41 import CandidateEvent, ContractRow, WasmRow
from schemas.state_changes import AllowanceChange, BalanceChange, IdBase, Reason
from tests.unit.effects_builder import vector
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    NETWORK,
    OPERATION,
    SEQUENCE,
    TO_ID,
    USDC,
    XLM,
    address,
    balance_id,
    contract,
    event,
    i128,
    invoke,
    key,
    ledger,
    mapping,
    muxed,
    op,
    string,
    symbol,
    token_of,
    tx,
)
from tests.unit.wasm_builder import token_wasm

TOKEN = contract("token")
A, B, ADMIN = address(ALICE), address(BOB), address(contract("admin"))
TOP = (1 << 127) - 1
META = mapping(decimal=ScVal(3, 7), name=string("Gold"), symbol=string("GLD"))


def u64(value: int) -> ScVal:
    return ScVal(5, value)


def process(*operations: Any, **fields: Any) -> Part:
    part = Sep41(NETWORK).process(ledger(tx(*operations, **{"is_soroban": True, **fields})))
    assert decode(encode(part)) == part, "a part survives its encoding"
    return part


def candidates(*events: ContractEvent, **fields: Any) -> list[CandidateEvent]:
    part = process(op(invoke(TOKEN), events=events), **fields)
    return [CandidateEvent(*row) for row in part.rows.get("sep41_candidate_events", [])]


def changes(*events: ContractEvent) -> list[BalanceChange | AllowanceChange]:
    return list(sep41.state_changes(candidates(*events)))


def deltas(*events: ContractEvent) -> dict[bytes, int]:
    sums: dict[bytes, int] = {}
    for candidate in candidates(*events):
        for account, delta in sep41.balance_deltas(candidate):
            sums[account] = sums.get(account, 0) + delta
    return sums


def change(reason: Reason, account: bytes, amount: int, ordinal: int, muxed_id: str | None = None) -> BalanceChange:
    return BalanceChange(TO_ID, OPERATION, IdBase.SEP41 + ordinal, reason, account, TOKEN, amount, muxed_id)


# --- events -----------------------------------------------------------------------------------------------------------


def test_b15_mint_and_burn_leave_one_delta_and_an_approval_one_row() -> None:
    events = (
        event(TOKEN, symbol("mint"), A, data=i128(100)),
        event(TOKEN, symbol("burn"), A, data=i128(30)),
        event(TOKEN, symbol("approve"), A, B, data=vector(i128(5), ScVal(3, 900))),
    )
    assert deltas(*events) == {ALICE: 70}
    assert changes(*events) == [
        change(Reason.MINT, ALICE, 100, 1),
        change(Reason.BURN, ALICE, 30, 2),
        AllowanceChange(TO_ID, OPERATION, IdBase.SEP41 + 3, Reason.UPDATE, ALICE, TOKEN, BOB, 5, {"live_until_ledger": 900}),
    ]


@pytest.mark.parametrize("meta_version", [3, 4])
def test_a_transfer_is_told_to_both_sides_whatever_the_meta(meta_version: int) -> None:
    found = candidates(event(TOKEN, symbol("transfer"), A, B, data=i128(TOP)), meta_version=meta_version)
    assert list(sep41.state_changes(found)) == [change(Reason.DEBIT, ALICE, TOP, 1), change(Reason.CREDIT, BOB, TOP, 2)]


@pytest.mark.parametrize(
    ("name", "topics", "reasons"),
    [
        ("transfer", (A, B), [Reason.DEBIT, Reason.CREDIT]),
        ("mint", (B,), [Reason.MINT]),
        ("mint", (ADMIN, B), [Reason.MINT]),
    ],
)
def test_a_map_may_carry_the_muxed_id_of_the_receiver(name: str, topics: Sequence[ScVal], reasons: list[Reason]) -> None:
    data = ScVal(
        17,
        ((u64(1), u64(2)), (symbol("amount"), i128(9)), (symbol("to_muxed_id"), u64((1 << 64) - 1)), (symbol("x"), i128(1))),
    )
    found = changes(event(TOKEN, symbol(name), *topics, data=data))
    assert [(row.state_change_reason, row.amount) for row in found] == [(reason, 9) for reason in reasons]
    assert isinstance(found[-1], BalanceChange) and (found[-1].account_id, found[-1].to_muxed_id) == (BOB, str((1 << 64) - 1))
    assert all(isinstance(row, BalanceChange) and row.to_muxed_id is None for row in found[:-1])


@pytest.mark.parametrize("memo", [string("7"), ScVal(13, b"7"), i128(7)])
def test_other_kinds_of_memo_are_left_out(memo: ScVal) -> None:
    (row,) = changes(event(TOKEN, symbol("mint"), B, data=mapping(amount=i128(9), to_muxed_id=memo)))
    assert row == change(Reason.MINT, BOB, 9, 1)


@pytest.mark.parametrize(
    ("name", "topics"), [("burn", (A,)), ("clawback", (A,)), ("clawback", (ADMIN, A))], ids=["burn", "clawback", "by an admin"]
)
def test_what_is_taken_is_a_burn_of_the_holder(name: str, topics: Sequence[ScVal]) -> None:
    taken = event(TOKEN, symbol(name), *topics, data=i128(4))
    assert changes(taken) == [change(Reason.BURN, ALICE, 4, 1)]
    assert deltas(taken) == {ALICE: -4}


def test_an_approval_moves_nothing_and_may_last_for_ever() -> None:
    approval = event(TOKEN, symbol("approve"), A, B, data=vector(i128(0), ScVal(3, (1 << 32) - 1)))
    assert deltas(approval) == {}
    (row,) = changes(approval)
    assert isinstance(row, AllowanceChange) and row.key_value == {"live_until_ledger": (1 << 32) - 1}


GOOD = i128(1)


@pytest.mark.parametrize(
    "bad",
    [
        event(TOKEN, data=GOOD),
        event(TOKEN, string("transfer"), A, B, data=GOOD),
        event(TOKEN, symbol("transfer_from"), A, B, data=GOOD),
        event(TOKEN, symbol("transfer"), A, data=GOOD),
        event(TOKEN, symbol("transfer"), A, B, A, data=GOOD),
        event(TOKEN, symbol("transfer"), A, symbol("b"), data=GOOD),
        event(TOKEN, symbol("transfer"), A, B, data=u64(1)),
        event(TOKEN, symbol("transfer"), A, B, data=mapping(to_muxed_id=u64(1))),
        event(TOKEN, symbol("transfer"), A, B, data=mapping(amount=u64(1))),
        event(TOKEN, symbol("transfer"), A, B, data=ScVal(17, None)),
        event(TOKEN, symbol("mint"), data=GOOD),
        event(TOKEN, symbol("mint"), symbol("admin"), A, data=GOOD),
        event(TOKEN, symbol("mint"), A, ADMIN, B, data=GOOD),
        event(TOKEN, symbol("burn"), A, B, data=GOOD),
        event(TOKEN, symbol("burn"), A, data=mapping(amount=GOOD)),
        event(TOKEN, symbol("clawback"), string("admin"), A, data=GOOD),
        event(TOKEN, symbol("clawback"), A, data=mapping(amount=GOOD)),
        event(TOKEN, symbol("approve"), A, data=vector(GOOD, ScVal(3, 1))),
        event(TOKEN, symbol("approve"), A, B, data=GOOD),
        event(TOKEN, symbol("approve"), A, B, data=vector(GOOD)),
        event(TOKEN, symbol("approve"), A, B, data=vector(GOOD, u64(1))),
        event(TOKEN, symbol("approve"), A, B, data=vector(GOOD, ScVal(3, 1), GOOD)),
        event(TOKEN, symbol("approve"), A, B, data=ScVal(16, None)),
        event(TOKEN, symbol("transfer"), A, address(b"\xff" + bytes(32)), data=GOOD),
        event(None, symbol("transfer"), A, B, data=GOOD),
        event(TOKEN, symbol("transfer"), A, B, data=GOOD, kind=2),
        event(TOKEN, symbol("transfer"), A, B, data=GOOD, kind=0),
    ],
)
def test_an_event_of_another_shape_is_skipped_and_the_next_one_counts(bad: ContractEvent) -> None:
    good = event(TOKEN, symbol("burn"), B, data=GOOD)
    assert [(row.event, row.from_account_id) for row in candidates(bad, good)] == [("burn", BOB)]


@pytest.mark.parametrize("asset", [USDC, XLM], ids=["issued", "native"])
@pytest.mark.parametrize(("name", "parties"), [("transfer", (A, B)), ("mint", (B,)), ("burn", (A,)), ("clawback", (A,))])
def test_events_of_asset_contracts_have_no_shape_of_ours(asset: Any, name: str, parties: Sequence[ScVal]) -> None:
    text = string("native" if asset == XLM else f"USDC:{strkey.encode(USDC.issuer or b'')}")
    assert candidates(event(token_of(asset), symbol(name), *parties, text, data=GOOD)) == []


def test_failed_transactions_and_classic_ones_tell_nothing() -> None:
    moved = event(TOKEN, symbol("transfer"), A, B, data=GOOD)
    assert candidates(moved, result_code=-1) == []
    assert candidates(moved, is_soroban=False) == []
    assert len(candidates(moved, result_code=1)) == 1


def test_long_addresses_stay_whole() -> None:
    claimable = bytes((strkey.CLAIMABLE_BALANCE,)) + bytes.fromhex(balance_id("b"))[3:]
    (row,) = candidates(event(TOKEN, symbol("transfer"), address(muxed("alice", 7)), address(claimable), data=GOOD))
    assert (row.from_account_id, row.to_account_id) == (muxed("alice", 7), claimable)


def test_ids_count_within_an_operation_over_all_its_tokens() -> None:
    other = contract("other token")
    rows = changes(
        event(TOKEN, symbol("transfer"), A, B, data=GOOD),
        event(other, symbol("mint"), A, data=GOOD),
        event(TOKEN, symbol("burn"), A, data=GOOD),
    )
    assert [row.state_change_id - IdBase.SEP41 for row in rows] == [1, 2, 3, 4]
    kept = [
        row for row in candidates(*[event(c, symbol("mint"), A, data=GOOD) for c in (other, TOKEN)]) if row.contract_id == TOKEN
    ]
    assert [row.state_change_id - IdBase.SEP41 for row in sep41.state_changes(kept)] == [1]


# --- code and contracts -----------------------------------------------------------------------------------------------


def code(name: str, content: bytes) -> Change:
    return Change(0, 7, None, Entry(7, SEQUENCE, None, ContractCodeEntry(key(name), content)), None)


def instance(wasm: bytes | None, *storage: tuple[ScVal, ScVal], address: bytes = TOKEN, gone: bool = False) -> Change:
    entry = ContractDataEntry(address, ScVal(20, None), 1, ScVal(19, ContractInstance(wasm, storage, None)))
    full = Entry(6, SEQUENCE, None, entry)
    return Change(2, 6, full, None, None) if gone else Change(0, 6, None, full, None)


def rows(family: str, *entries: Change) -> list[Any]:
    return process(op(invoke(TOKEN), *entries)).rows.get(family, [])


def test_code_is_judged_once() -> None:
    token, other, broken = token_wasm(), token_wasm(burn=None), b"\xca\xfe"
    sighted = rows("protocol_wasms", code("token", token), code("other", other), code("broken", broken), code("token", token))
    assert sighted == [
        WasmRow(key("token"), "SEP41", len(token)),
        WasmRow(key("other"), None, len(other)),
        WasmRow(key("broken"), None, 2),
    ]


def test_a_contract_is_told_as_the_ledger_left_it() -> None:
    asset = instance(None, address=token_of(USDC))
    found = rows("protocol_contracts", instance(key("old")), instance(key("new"), (symbol("METADATA"), META)), asset)
    assert found == [ContractRow(TOKEN, key("new"), "Gold", "GLD", 7)]
    assert rows("protocol_contracts", instance(key("old"), gone=True)) == []


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"name": string("é" * 64), "symbol": string("s" * 32), "decimal": ScVal(3, 70)}, True),
        ({"name": string("é" * 64 + "x")}, False),
        ({"symbol": string("s" * 33)}, False),
        ({"decimal": ScVal(3, 71)}, False),
        ({"decimal": u64(7)}, False),
        ({"name": symbol("Gold")}, False),
        ({"name": string("Go\0ld")}, False),
        ({"name": ScVal(14, b"\xff")}, False),
        ({"name": None}, False),
    ],
)
def test_descriptions_beyond_the_limits_are_none(fields: dict[str, ScVal | None], kept: bool) -> None:
    wanted = {"decimal": ScVal(3, 7), "name": string("Gold"), "symbol": string("GLD"), **fields}
    stored = mapping(**{name: value for name, value in wanted.items() if value is not None})
    (row,) = rows("protocol_contracts", instance(key("new"), (symbol("Admin"), A), (symbol("METADATA"), stored)))
    assert (row.name is not None, row.symbol is not None, row.decimals is not None) == (kept, kept, kept)


def test_a_description_of_another_kind_is_none() -> None:
    assert rows("protocol_contracts", instance(key("new"), (symbol("METADATA"), string("x")))) == [
        ContractRow(TOKEN, key("new"), None, None, None)
    ]
