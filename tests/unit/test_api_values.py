"""The API's own values: cursors of what is now, prices, the tokens of assets, claim predicates, who stands behind an address."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import rendering
from api.errors import ClientError
from api.paging import KeyPage, PageArguments, decode_key, encode_key, key_page_of
from api.queries import balances
from api.queries.accounts import AccountKey
from api.types.account_type import holder
from api.types.claimable_types import holds
from schemas import assets, strkey
from schemas.state_changes import REASONS, Category, Reason

NETWORK = assets.network_id("Public Global Stellar Network ; September 2015")
USDC = "USDC:GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN"
TEXTS = st.text("0123456789abcdefABCXYZ", min_size=1, max_size=40)


@given(st.lists(TEXTS, min_size=1, max_size=2))
def test_a_key_comes_back_as_it_was(texts: list[str]) -> None:
    assert decode_key(encode_key(*texts), len(texts)) == tuple(texts)


def test_a_key_is_head_s_text() -> None:
    assert encode_key("native", "native") == "djE6bmF0aXZlOm5hdGl2ZQ=="  # v1:native:native


@given(st.binary(max_size=90), st.integers(1, 2))
def test_any_other_bytes_are_refused_or_hold_plain_texts(raw: bytes, width: int) -> None:
    found = outcome(rendering.base64_text(raw), width)
    assert found == {"code": "BAD_USER_INPUT"} or all(part.replace("-", "").isalnum() for part in found)


def outcome(text: str, width: int) -> tuple[str, ...] | dict[str, Any]:
    try:
        return decode_key(text, width)
    except ClientError as error:
        return dict(error.extensions or {})


def test_pages_of_keys() -> None:
    key = encode_key("lp", "ab")
    assert key_page_of(PageArguments(), 2, 50, 100) == KeyPage(50)
    assert key_page_of(PageArguments(last=3, before=key), 2, 50, 100) == KeyPage(3, False, ("lp", "ab"))
    with pytest.raises(ClientError):
        key_page_of(PageArguments(after=key), 1, 50, 100)
    with pytest.raises(ClientError):
        key_page_of(PageArguments(first=1, last=1), 2, 50, 100)


@pytest.mark.parametrize(
    ("kind", "key", "fits"),
    [
        (balances.NATIVE, "native", True),
        (balances.NATIVE, "x", False),
        (balances.TRUSTLINES, "88888888-8888-8888-8888-888888888888", True),
        (balances.TRUSTLINES, "native", False),
        (balances.POOL_SHARES, "ab" * 32, True),
        (balances.POOL_SHARES, "ab" * 31, False),
    ],
)
def test_keys_fit_their_kind_of_balance(kind: balances.Kind[Any], key: str, fits: bool) -> None:
    assert kind.fits(key) is fits


@given(st.integers(0, 2**63 - 1), st.integers(1, 2**63 - 1))
def test_prices_are_rounded_half_up(n: int, d: int) -> None:
    with localcontext() as context:
        context.prec = 80
        exact = (Decimal(n) / Decimal(d)).quantize(Decimal("1e-7"), ROUND_HALF_UP)
    assert rendering.ratio7(n, d) == f"{exact:.7f}"


def test_a_price_of_nothing_is_none() -> None:
    assert rendering.ratio7(5, 0) is None


def test_tokens_of_assets_are_their_contracts() -> None:
    assert rendering.token_of(NETWORK, "native") == "CAS3J7GYLGXMF6TDJBBYYSE3HQ6BBSMLNUQ34T6TZMYMW2EVH34XOWMA"
    assert rendering.token_of(NETWORK, USDC) == "CCW67TSZV3SSS2HXMBQ5JFGCKJNXKZM7UQUWUZPUTHXSTZLEO7SJMI75"
    for wrong in ("", "XLM", "native:", ":", USDC + "x", USDC.replace("USDC", ""), USDC.replace("USDC", "x" * 13)):
        with pytest.raises(ValueError, match=r"."):
            rendering.token_of(NETWORK, wrong)


@pytest.mark.parametrize(
    ("predicate", "now", "expected"),
    [
        ({"unconditional": True}, 0, True),
        ({"before": 5}, 4, True),
        ({"before": 5}, 5, False),
        ({"not_before": 5}, 5, True),
        ({"not": {"before": 5}}, 5, True),
        ({"and": [{"not_before": 5}, {"before": 7}]}, 6, True),
        ({"and": [{"not_before": 5}, {"before": 7}]}, 7, False),
        ({"or": [{"before": 5}, {"not_before": 7}]}, 6, False),
    ],
)
def test_claim_predicates(predicate: dict[str, Any], now: int, expected: bool) -> None:
    assert holds(predicate, now) is expected


def test_an_unknown_predicate_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown claim predicate sometimes"):
        holds({"sometimes": True}, 0)


@pytest.mark.parametrize(
    ("version", "behind"),
    [
        (strkey.ACCOUNT, strkey.ACCOUNT),
        (strkey.CONTRACT, strkey.CONTRACT),
        (strkey.MUXED, strkey.ACCOUNT),
        (strkey.MUXED_CONTRACT, strkey.CONTRACT),
    ],
)
def test_who_holds_what_an_address_has(version: int, behind: int) -> None:
    assert holder(AccountKey(bytes((version,)) + bytes(32), 5)) == bytes((behind,)) + bytes(32)


def test_every_category_and_reason_has_its_place() -> None:
    assert set(REASONS) == set(Category)
    assert {reason for reasons in REASONS.values() for reason in reasons} == set(Reason)
