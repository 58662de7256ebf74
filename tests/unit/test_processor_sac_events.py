"""Authorization by the admin of an asset's contract: rows for what really changed."""

from __future__ import annotations

from typing import Any

import pytest

from lumenstream.xdr.rows import Asset, Change, ContractEvent, ScVal
from processors.sac_events import SacEvents
from schemas import assets, strkey
from schemas.parts import Part
from schemas.state_changes import BalanceAuthorizationChange, IdBase, Reason
from tests.unit.effects_builder import boolean, change, holding, line, rows_of
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    BTC,
    NETWORK,
    OPERATION,
    TO_ID,
    USDC,
    USDC_ISSUER,
    address,
    contract,
    event,
    i128,
    invoke,
    ledger,
    mapping,
    op,
    string,
    symbol,
    token_of,
    tx,
)

FIRST = IdBase.SAC_EVENTS + 1
TOKEN = token_of(USDC)
VAULT = contract("vault")
AUTHORIZED, MAINTAIN = 1, 2  # XDR flags
ASSET_TEXT = string(assets.text("USDC", USDC_ISSUER))
ADMIN = address(USDC_ISSUER)


def authorized(holder: bytes, value: bool, *, meta_version: int = 4) -> ContractEvent:
    """The event as asset contracts emit it, in the form of either meta version."""
    admin = (ADMIN,) if meta_version == 3 else ()
    return event(TOKEN, symbol("set_authorized"), *admin, address(holder), ASSET_TEXT, data=boolean(value))


def told(
    *events: ContractEvent, changes: tuple[Change, ...], meta_version: int = 4, **fields: Any
) -> list[tuple[str, int | None]]:
    operation = op(invoke(TOKEN), *changes, events=events)
    part = SacEvents(NETWORK).process(ledger(tx(operation, is_soroban=True, meta_version=meta_version, **fields)))
    found = rows_of(part)
    assert [row.state_change_id for row in found] == list(range(FIRST, FIRST + len(found)))
    assert all(row.token_id == TOKEN for row in found)
    return [(row.state_change_reason.value, row.flags) for row in found]


def relined(before: int, after: int, asset: Asset = USDC, holder: bytes = BOB) -> tuple[Change, ...]:
    return (change(line(holder, asset, flags=before), line(holder, asset, flags=after)),)


def held(before: bool, after: bool) -> tuple[Change, ...]:
    return (change(holding(TOKEN, VAULT, authorized=before), holding(TOKEN, VAULT, authorized=after)),)


@pytest.mark.parametrize("meta_version", [3, 4])
@pytest.mark.parametrize(
    ("before", "value", "expected"),
    [
        (MAINTAIN, True, [("SET", 1), ("CLEAR", 64)]),  # S1
        (AUTHORIZED, False, [("CLEAR", 1), ("SET", 64)]),  # S2
        (AUTHORIZED, True, []),  # S3
        (MAINTAIN, False, []),  # S3
        (0, True, [("SET", 1)]),  # S4
        (AUTHORIZED | MAINTAIN, True, [("CLEAR", 64)]),  # S4
        (0, False, [("SET", 64)]),  # S5
    ],
)
def test_the_levels_of_a_trustline(before: int, value: bool, expected: list[tuple[str, int]], meta_version: int) -> None:
    found = told(authorized(BOB, value, meta_version=meta_version), changes=relined(before, 0), meta_version=meta_version)
    assert found == expected


def test_the_row_names_holder_and_token() -> None:
    operation = op(invoke(TOKEN), *relined(0, AUTHORIZED), events=(authorized(BOB, True),))
    part = SacEvents(NETWORK).process(ledger(tx(operation, is_soroban=True)))
    assert rows_of(part) == [BalanceAuthorizationChange(TO_ID, OPERATION, FIRST, Reason.SET, BOB, TOKEN, None, 1)]


def test_several_events_count_on() -> None:
    changes = (*relined(0, 1), *relined(0, 1, holder=ALICE))
    assert told(authorized(BOB, True), authorized(ALICE, True), changes=changes) == [("SET", 1), ("SET", 1)]


def test_a_line_that_did_not_exist_had_no_flags() -> None:
    """S7."""
    assert told(authorized(BOB, True), changes=(change(None, line(BOB, USDC, flags=1)),)) == [("SET", 1)]
    assert told(authorized(VAULT, True), changes=(change(None, holding(TOKEN, VAULT)),)) == [("SET", None)]


@pytest.mark.parametrize("meta_version", [3, 4])
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(False, True, [("SET", None)]), (True, False, [("CLEAR", None)]), (True, True, []), (False, False, [])],
)
def test_contracts_are_authorized_or_not(before: bool, after: bool, expected: list[tuple[str, None]], meta_version: int) -> None:
    """S8, Q7."""
    found = told(authorized(VAULT, after, meta_version=meta_version), changes=held(before, after), meta_version=meta_version)
    assert found == expected


@pytest.mark.parametrize(
    "value",
    [
        mapping(amount=i128(1), authorized=boolean(False)),
        mapping(amount=i128(1), allowed=boolean(False), clawback=boolean(False)),
        mapping(amount=i128(1), authorized=symbol("no"), clawback=boolean(False)),
        ScVal(17, None),
        i128(1),
    ],
    ids=["two entries", "no such key", "no boolean", "no map", "another type"],
)
def test_a_contract_whose_balance_has_another_shape_is_left_out(value: ScVal) -> None:
    """S9."""
    assert told(authorized(VAULT, True), changes=(change(holding(TOKEN, VAULT, value), holding(TOKEN, VAULT)),)) == []


def test_without_a_change_of_the_own_balance_there_is_no_row() -> None:
    """S6."""
    shares = Asset(assets.POOL_SHARE, "ab" * 32, None)
    for changes in ((), relined(0, 1, BTC), relined(0, 1, shares), relined(0, 1, holder=ALICE), held(False, True)):
        assert told(authorized(BOB, True), changes=changes) == []
    for changes in ((), (change(None, holding(TOKEN, contract("other"))),), (change(None, holding(token_of(BTC), VAULT)),)):
        assert told(authorized(VAULT, True), changes=changes) == []


GOOD = authorized(BOB, True)
MUXED_BOB = bytes((strkey.MUXED,)) + BOB[1:] + bytes(8)


@pytest.mark.parametrize(
    "odd",
    [
        GOOD._replace(topics=GOOD.topics[:-1]),  # S6
        GOOD._replace(topics=(*GOOD.topics, symbol("more"))),
        GOOD._replace(contract_id=contract("imposter")),  # S6
        GOOD._replace(contract_id=None),
        GOOD._replace(type=2),
        GOOD._replace(data=symbol("true")),
        GOOD._replace(topics=(symbol("approve"), *GOOD.topics[1:])),
        GOOD._replace(topics=(string("set_authorized"), *GOOD.topics[1:])),
        GOOD._replace(topics=(GOOD.topics[0], symbol("bob"), ASSET_TEXT)),
        GOOD._replace(topics=(GOOD.topics[0], address(MUXED_BOB), ASSET_TEXT)),
        *[
            GOOD._replace(topics=(*GOOD.topics[:2], text))
            for text in (symbol("USDC"), string("native"), string("USDC:G"), string(""), ScVal(14, b"\xff"), string("U" * 80))
        ],
    ],
)
def test_what_is_no_authorization_by_an_asset_contract_is_passed_over(odd: ContractEvent) -> None:
    changes = relined(0, 1)
    assert told(GOOD, changes=changes) == [("SET", 1)]
    assert told(odd, GOOD, changes=changes) == [("SET", 1)]


def test_each_meta_version_has_its_own_topics() -> None:
    """S6: too few topics for version 3, too many for version 4; older metas carry no events."""
    for written, read in ((4, 3), (3, 4), (4, 2)):
        assert told(authorized(BOB, True, meta_version=written), changes=relined(0, 1), meta_version=read) == []


def test_a_failed_transaction_authorizes_nobody() -> None:
    operation = op(invoke(TOKEN), *relined(0, 1), events=(GOOD,))
    failed = tx(operation, is_soroban=True, result_code=-1)
    assert SacEvents(NETWORK).process(ledger(failed)) == Part()
