"""Effects on trustlines: opened, limited, closed by the owner; authorized by the issuer; pool shares."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from lumenstream.xdr import rows
from lumenstream.xdr.rows import Asset, Change, LiquidityPoolParameters
from processors.effects import Effects
from schemas import assets
from schemas.state_changes import BalanceAuthorizationChange, IdBase, Reason, TrustlineChange
from tests.unit.effects_builder import change, line, rows_of
from tests.unit.ledger_builder import (
    ALICE,
    BOB,
    BTC,
    NETWORK,
    OPERATION,
    TO_ID,
    USDC,
    USDC_ISSUER,
    XLM,
    issued,
    ledger,
    op,
    token_of,
    tx,
)

AT = TO_ID, OPERATION
FIRST = IdBase.EFFECTS + 1
MAXIMUM = (1 << 63) - 1


def effects(body: rows.OperationBody, *changes: Change, source: bytes = ALICE) -> list[Any]:
    return rows_of(Effects(NETWORK).process(ledger(tx(op(body, *changes), source=source))))


def test_a_new_trustline_comes_with_its_authorization_but_not_with_the_limit_twice() -> None:
    """Q6: the authorization row carries no limit."""
    opened = change(None, line(ALICE, USDC, limit=MAXIMUM, flags=0b101))
    assert effects(rows.ChangeTrust(USDC, MAXIMUM), opened) == [
        TrustlineChange(*AT, FIRST, Reason.ADD, ALICE, token_of(USDC), None, None, MAXIMUM),
        BalanceAuthorizationChange(*AT, FIRST + 1, Reason.SET, ALICE, token_of(USDC), None, 1 | 32),
    ]


def test_a_new_trustline_without_flags_has_no_mask() -> None:
    _, authorization = effects(rows.ChangeTrust(USDC, 5), change(None, line(ALICE, USDC)))
    assert authorization.flags is None


def test_a_new_trustline_of_another_asset_lends_no_flags() -> None:
    """E6: the row of the trustline stays, the authorization is unknown."""
    assert effects(rows.ChangeTrust(USDC, MAXIMUM), change(None, line(ALICE, issued("EUR", BOB), flags=1))) == [
        TrustlineChange(*AT, FIRST, Reason.ADD, ALICE, token_of(USDC), None, None, MAXIMUM)
    ]


def test_both_limits_are_stroops() -> None:
    """E7, Q5."""
    changed = change(line(ALICE, USDC, limit=1_000_000_000), line(ALICE, USDC, limit=500))
    assert effects(rows.ChangeTrust(USDC, 500), changed) == [
        TrustlineChange(*AT, FIRST, Reason.UPDATE, ALICE, token_of(USDC), None, 1_000_000_000, 500)
    ]


def test_a_closed_trustline() -> None:
    """E8."""
    assert effects(rows.ChangeTrust(USDC, 0), change(line(ALICE, USDC), None)) == [
        TrustlineChange(*AT, FIRST, Reason.REMOVE, ALICE, token_of(USDC))
    ]


def test_an_issuer_that_trusts_itself_changes_nothing() -> None:
    assert effects(rows.ChangeTrust(USDC, 1), source=USDC_ISSUER) == []


def test_the_old_limit_is_that_of_the_own_line_not_of_the_first() -> None:
    """E10."""
    others = change(line(ALICE, issued("AAA", BOB), limit=1), line(ALICE, issued("AAA", BOB), limit=1))
    foreign = change(line(BOB, USDC, limit=2), line(BOB, USDC, limit=2))
    own = change(line(ALICE, USDC, limit=3), line(ALICE, USDC, limit=4))
    (row,) = effects(rows.ChangeTrust(USDC, 4), others, foreign, own)
    assert (row.trustline_limit_old, row.trustline_limit_new) == (3, 4)


def test_without_the_state_before_the_old_limit_is_unknown() -> None:
    foreign = change(line(BOB, USDC, limit=2), line(BOB, USDC, limit=2))
    (row,) = effects(rows.ChangeTrust(USDC, 4), foreign)
    assert (row.state_change_reason, row.trustline_limit_old, row.trustline_limit_new) == (Reason.UPDATE, None, 4)


# --- pool shares ------------------------------------------------------------------------------------------------------

POOL = LiquidityPoolParameters(assets.POOL_SHARE, XLM, USDC, 30)
# LiquidityPoolParameters as XDR: constant product, native, USDC of its issuer, 30 basis points.
POOL_ID = hashlib.sha256(
    bytes(4) + bytes(4) + (1).to_bytes(4, "big") + b"USDC" + bytes(4) + USDC_ISSUER[1:] + (30).to_bytes(4, "big")
).hexdigest()
SHARES = Asset(assets.POOL_SHARE, POOL_ID, None)


def test_new_pool_shares_name_the_pool_and_no_flags() -> None:
    """Q24. The lines of the pool's assets are touched as well: they count one more use."""
    touched = change(line(ALICE, USDC, limit=1), line(ALICE, USDC, limit=1))
    assert effects(rows.ChangeTrust(POOL, MAXIMUM), touched, change(None, line(ALICE, SHARES))) == [
        TrustlineChange(*AT, FIRST, Reason.ADD, ALICE, None, POOL_ID, None, MAXIMUM),
        BalanceAuthorizationChange(*AT, FIRST + 1, Reason.SET, ALICE, None, POOL_ID),
    ]


def test_closed_and_changed_pool_shares() -> None:
    (closed,) = effects(rows.ChangeTrust(POOL, 0), change(line(ALICE, SHARES), None))
    assert closed == TrustlineChange(*AT, FIRST, Reason.REMOVE, ALICE, None, POOL_ID)
    (changed,) = effects(rows.ChangeTrust(POOL, 9), change(line(ALICE, SHARES, limit=8), line(ALICE, SHARES, limit=9)))
    assert changed == TrustlineChange(*AT, FIRST, Reason.UPDATE, ALICE, None, POOL_ID, 8, 9)


# --- authorization ----------------------------------------------------------------------------------------------------


def authorization(body: rows.OperationBody) -> list[tuple[Reason, int]]:
    found = effects(body, source=USDC_ISSUER)
    assert all(row.account_id == BOB and row.token_id == token_of(USDC) for row in found)
    assert [row.state_change_id for row in found] == list(range(FIRST, FIRST + len(found)))
    return [(row.state_change_reason, row.flags) for row in found]


def test_flags_set_and_cleared_on_the_trustor() -> None:
    """E2."""
    assert authorization(rows.SetTrustLineFlags(BOB, USDC, clear_flags=0b101, set_flags=0b010)) == [
        (Reason.SET, 64),
        (Reason.CLEAR, 33),
    ]


def test_a_flag_both_set_and_cleared_is_cleared() -> None:
    assert authorization(rows.SetTrustLineFlags(BOB, USDC, clear_flags=1, set_flags=1)) == [(Reason.CLEAR, 1)]


@pytest.mark.parametrize(
    ("authorize", "told"), [(1, (Reason.SET, 1)), (3, (Reason.SET, 1)), (2, (Reason.SET, 64)), (0, (Reason.CLEAR, 65))]
)
def test_allow_trust_has_three_levels(authorize: int, told: tuple[Reason, int]) -> None:
    assert authorization(rows.AllowTrust(BOB, "USDC", assets.ALPHANUM4, authorize)) == [told]


def test_allow_trust_names_the_issuers_own_asset() -> None:
    (row,) = effects(rows.AllowTrust(BOB, "BTC", assets.ALPHANUM4, 1), source=BTC.issuer or b"")
    assert row.token_id == token_of(BTC)
