"""Signs requests to the API with the secret key of a Stellar account (spec/api.md 7.3)."""

from __future__ import annotations

import time
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from stellar_sdk import Keypair

from lumenstream.requesttoken import ALGORITHM, BODY_HASH, METHOD_AND_PATH, SCHEME, body_hash, method_and_path

LIFE_SECONDS: Final = 5


class Signer:
    """Holds a secret (S...). ValueError for a malformed one, whose text is not repeated."""

    def __init__(self, secret: str, life_seconds: int = LIFE_SECONDS) -> None:
        try:
            pair = Keypair.from_secret(secret)
        except ValueError:
            raise ValueError("not a Stellar secret key (S...)") from None
        self.account: Final = pair.public_key
        self._key = Ed25519PrivateKey.from_private_bytes(pair.raw_secret_key())
        self._life_seconds = life_seconds

    def token(self, method: str, target: str, body: bytes = b"", now: float | None = None) -> str:
        """The JWT of one request. `now` is Unix seconds, the clock's by default."""
        issued = int(time.time() if now is None else now)
        claims = {
            "sub": self.account,
            "iat": issued,
            "exp": issued + self._life_seconds,
            BODY_HASH: body_hash(body),
            METHOD_AND_PATH: method_and_path(method, target),
        }
        return jwt.encode(claims, self._key, ALGORITHM)

    def headers(self, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        """The Authorization header of one request."""
        return {"Authorization": SCHEME + self.token(method, target, body)}
