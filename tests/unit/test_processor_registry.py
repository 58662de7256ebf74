"""The registry against the contract in schemas, the union of participants, and rows as JSON."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from lumenstream.errors import ConfigurationError
from lumenstream.settings import ProcessSettings, Settings
from lumenstream.xdr import rows
from processors import registry, worker
from processors.derive import derive_rows
from processors.port import Processor
from schemas.families import OPERATIONS_ACCOUNTS, SAC_BALANCE_CHANGES, STATE_CHANGES, TRANSACTIONS_ACCOUNTS, SacBalanceChange
from schemas.history import CURRENT_STATE, history_processors
from schemas.participation import union_accounts
from schemas.parts import Part
from schemas.processors import PROCESSORS
from schemas.state_changes import BalanceChange, Category, Reason
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    OPERATION,
    TO_ID,
    UNIT,
    USDC,
    XLM,
    account_entry,
    created,
    ledger,
    op,
    token_of,
    trustline_entry,
    tx,
    updated,
)

BUSY = ledger(
    tx(
        op(rows.CreateAccount(BOB, UNIT), created(account_entry(BOB, UNIT))),
        op(rows.Payment(BOB, USDC, UNIT), updated(trustline_entry(BOB, USDC, 0), trustline_entry(BOB, USDC, UNIT))),
    )
)


def test_the_registry_is_the_contract() -> None:
    built = registry.create(None, NETWORK)
    assert [(processor.name, processor.version) for processor in built] == [
        (spec.name, spec.version) for spec in PROCESSORS.values() if spec.name in registry.REGISTRY
    ]
    assert registry.REGISTRY.keys() == PROCESSORS.keys()


@pytest.mark.parametrize("name", registry.REGISTRY)
def test_processors_emit_their_own_families_only(name: str) -> None:
    (processor,) = registry.create([name], NETWORK)
    assert processor.process(BUSY).rows.keys() <= set(PROCESSORS[name].families)


def test_processors_of_history_and_of_state_can_leave_the_state_out() -> None:
    mixed = {
        spec.name
        for spec in PROCESSORS.values()
        if not CURRENT_STATE.isdisjoint(spec.families) and not CURRENT_STATE.issuperset(spec.families)
    }
    assert registry.HISTORY_ONLY.keys() == mixed
    for backfill in (False, True):
        made = worker.processors_of(Settings(process=ProcessSettings(backfill=backfill)))
        state = {
            family for processor in made if processor.name in mixed for family in processor.process(BUSY).rows
        } & CURRENT_STATE
        assert state == (set() if backfill else {"trustline_changes"})


def test_a_worker_for_backfills_runs_those_that_write_history() -> None:
    def made(*names: str) -> tuple[str, ...]:
        settings = Settings(process=ProcessSettings(backfill=True, processors=names))
        return tuple(processor.name for processor in worker.processors_of(settings))

    assert made() == history_processors()
    assert made("accounts", "trades", "effects") == ("effects", "trades")
    with pytest.raises(ConfigurationError, match="accounts: a backfill needs processors that write history"):
        made("accounts")


def test_a_subset_keeps_the_order_of_the_registry() -> None:
    chosen: list[Processor] = registry.create(["accounts", "participants"], NETWORK)
    assert [processor.name for processor in chosen] == ["participants", "accounts"]
    assert registry.create([], NETWORK) == []


def test_unknown_names_are_a_configuration_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="unknown processors: nonsense") as error:
        registry.create(["accounts", "nonsense"], NETWORK)
    assert "participants, token_transfers" in error.value.hint


def balance_row(operation_id: int, account_id: bytes, to_id: int = TO_ID) -> BalanceChange:
    return BalanceChange(to_id, operation_id, 1, Reason.DEBIT, account_id, token_of(XLM), 1)


def test_accounts_of_state_changes_take_part() -> None:
    explicit, moved = Part(), Part()
    explicit.add(TRANSACTIONS_ACCOUNTS, [(TO_ID, ALICE)])
    explicit.add(OPERATIONS_ACCOUNTS, [(OPERATION, ALICE)])
    moved.add(
        STATE_CHANGES[Category.BALANCE], [balance_row(0, CAROL), balance_row(OPERATION, BOB), balance_row(OPERATION, ALICE)]
    )
    of_transactions, of_operations = union_accounts([moved, explicit])
    assert of_transactions == sorted((TO_ID, account) for account in (ALICE, BOB, CAROL))
    assert of_operations == sorted((OPERATION, account) for account in (ALICE, BOB))


def test_nobody_takes_part_in_nothing() -> None:
    assert union_accounts([]) == ([], [])


def derived() -> list[dict[str, Any]]:
    return list(derive_rows(BUSY, registry.create(None, NETWORK)))


def test_derived_rows_are_json_and_the_same_every_time() -> None:
    assert json.dumps(derived()) == json.dumps(derived())
    assert derived()[0] == {
        "family": "ledger",
        "sequence": 12345,
        "hash": BUSY.header.hash.hex(),
        "previous_hash": BUSY.header.previous_hash.hex(),
        "close_time": 1_700_000_000,
        "closed_at": "2023-11-14T22:13:20Z",
        "protocol_version": 23,
        "base_reserve": 5_000_000,
        "lcm_v": 2,
        "tx_count": 1,
    }


def test_derived_rows_show_addresses_as_text_and_amounts_as_text() -> None:
    found = [row for row in derived() if row["family"] == "state_changes" and row["state_change_reason"] == "CREDIT"]
    assert [(row["account_id"][0], row["token_id"][0], row["amount"], row["state_change_category"]) for row in found] == [
        ("G", "C", "10000000", "BALANCE")
    ] * 2
    (trustline,) = [row for row in derived() if row["family"] == "trustline_changes"]
    assert trustline["asset"].startswith("USDC:G")
    assert len(trustline["trustline_asset_id"]) == 36
    assert [row["operation_xdr"] for row in derived() if row["family"] == "operations"] == ["eGRy"] * 2


def test_what_a_contract_holds_may_exceed_64_bits() -> None:
    class Holder:
        name = "sac_balances"
        version = 1

        def process(self, ledger: rows.Ledger) -> Part:
            part, token = Part(), token_of(USDC)
            part.add(SAC_BALANCE_CHANGES, [SacBalanceChange(token, token, bytes(16), "UPDATE", OPERATION, 1 << 100, True, False)])
            return part

    (_, row) = derive_rows(BUSY, [Holder()])
    assert row["balance"] == str(1 << 100)
    assert orjson.dumps(row)


def test_a_single_processor_derives_its_own_rows_and_whom_they_name() -> None:
    found = list(derive_rows(BUSY, registry.create(["token_transfers"], NETWORK)))
    assert {row["family"] for row in found} == {"ledger", "state_changes", "transactions_accounts", "operations_accounts"}
