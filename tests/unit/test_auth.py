"""Tokens of requests: who is let in, and every way to be refused (spec/api.md 7.2)."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from stellar_sdk import Keypair

from api.auth import MAX_TOKEN_CHARACTERS, Authenticator, NotAuthorized
from lumenstream.client.signing import Signer
from lumenstream.errors import ConfigurationError
from lumenstream.requesttoken import BODY_HASH, METHOD_AND_PATH, body_hash
from lumenstream.settings import ApiSettings, load_settings

FIRST, SECOND, STRANGER = (Keypair.from_raw_ed25519_seed(bytes([n]) * 32) for n in (1, 2, 3))
BODY = b'{"query":"{ __typename }"}'
TARGET = "/graphql/query"


def authenticator(**settings: Any) -> Authenticator:
    keys = (FIRST.public_key, SECOND.public_key)
    return Authenticator(ApiSettings(**{"auth_public_keys": keys, **settings}))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {
        "sub": FIRST.public_key,
        "iat": now,
        "exp": now + 5,
        BODY_HASH: body_hash(BODY),
        METHOD_AND_PATH: f"POST {TARGET}",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def signed(given: dict[str, Any], key: Keypair = FIRST) -> str:
    return jwt.encode(given, Ed25519PrivateKey.from_private_bytes(key.raw_secret_key()), "EdDSA")


def reason(authorization: str | None, body: bytes = BODY, target: str = TARGET, **settings: Any) -> str:
    """Why a request is refused."""
    with pytest.raises(NotAuthorized) as refused:
        authenticator(**settings).account(authorization, "POST", target, body)
    return refused.value.reason


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize("body", [BODY, b""])
def test_a_signed_request_is_its_signers(key: Keypair, body: bytes) -> None:
    headers = Signer(key.secret).headers("post", TARGET, body)
    assert authenticator().account(headers["Authorization"], "POST", TARGET, body) == key.public_key


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        ("key", {"sub": STRANGER.public_key}),
        ("key", {"sub": None}),
        ("malformed", {"iat": None}),
        ("malformed", {"exp": None}),
        ("malformed", {"exp": "soon"}),
        ("malformed", {"nbf": 2**40}),
        ("malformed", {"iat": "1"}),
        ("life", {"exp": 2**40}),
        ("life", {"iat": 0}),
        ("path", {METHOD_AND_PATH: "GET /graphql/query"}),
        ("path", {METHOD_AND_PATH: "POST /graphql/query?x=1"}),
        ("path", {METHOD_AND_PATH: None}),
        ("body", {BODY_HASH: body_hash(b"")}),
        ("body", {BODY_HASH: body_hash(BODY).upper()}),
        ("body", {BODY_HASH: None}),
    ],
)
def test_a_claim_that_does_not_fit(expected: str, change: dict[str, Any]) -> None:
    assert reason("Bearer " + signed(claims(**change))) == expected


def test_another_key_than_the_subject_s() -> None:
    assert reason("Bearer " + signed(claims(), SECOND)) == "signature"


@pytest.mark.parametrize("authorization", [None, "", "Basic eA==", "bearer x"])
def test_no_token(authorization: str | None) -> None:
    assert reason(authorization) == "missing"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * (MAX_TOKEN_CHARACTERS + 1)])
def test_what_is_no_token(token: str) -> None:
    assert reason("Bearer " + token) == "malformed"


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    """A token that is signed with the public key as a shared secret, or not at all, opens nothing."""
    secret = "" if algorithm == "none" else FIRST.public_key
    assert reason("Bearer " + jwt.encode(claims(), secret, algorithm)) == "malformed"


def test_the_second_in_which_a_token_expires_is_too_late() -> None:
    expired = int(time.time())
    count = REGISTRY.get_sample_value("lumenstream_api_auth_expired_seconds_count") or 0
    assert reason("Bearer " + signed(claims(iat=expired - 5, exp=expired))) == "expired"
    assert REGISTRY.get_sample_value("lumenstream_api_auth_expired_seconds_count") == count + 1


def test_an_issue_time_in_the_future_is_only_bounded_by_the_life() -> None:
    now = int(time.time())
    token = signed(claims(iat=now + 3, exp=now + 8))
    assert authenticator().account("Bearer " + token, "POST", TARGET, BODY) == FIRST.public_key


def test_the_life_is_a_setting() -> None:
    now = int(time.time())
    token = "Bearer " + signed(claims(exp=now + 50))
    assert reason(token) == "life"
    assert authenticator(auth_max_seconds=60).account(token, "POST", TARGET, BODY) == FIRST.public_key


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_changed_token_opens_nothing(place: int, flip: int) -> None:
    """Any other bytes in header, claims or signature."""
    parts = [base64.urlsafe_b64decode(part + "==") for part in signed(claims()).split(".")]
    which, at = place % 3, place // 3
    changed = bytearray(parts[which])
    changed[at % len(changed)] ^= flip
    parts[which] = bytes(changed)
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    assert reason("Bearer " + token) in {"malformed", "signature", "key", "expired"}


def test_secrets_are_not_repeated_in_errors() -> None:
    with pytest.raises(ValueError, match="secret key") as error:
        Signer("SNOTASECRET")
    assert "SNOTASECRET" not in str(error.value)


def test_keys_in_the_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUMENSTREAM_API__AUTH_PUBLIC_KEYS", f"{FIRST.public_key}, {SECOND.public_key}")
    assert load_settings().api.auth_public_keys == (FIRST.public_key, SECOND.public_key)
    monkeypatch.setenv("LUMENSTREAM_API__AUTH_PUBLIC_KEYS", FIRST.secret[:20])
    with pytest.raises(ConfigurationError, match="api.auth_public_keys"):
        load_settings()


def test_the_claims_are_plain_json() -> None:
    """What other languages' clients have to make."""
    header, body, _ = Signer(FIRST.secret).token("POST", TARGET, BODY, now=1_000).split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "EdDSA", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(body + "==")) == {
        "sub": FIRST.public_key,
        "iat": 1_000,
        "exp": 1_005,
        "bodyHash": body_hash(BODY),
        "methodAndPath": "POST /graphql/query",
    }
