"""Who asks: checks the token that signs a request (spec/api.md 7.2).

Without configured keys nobody is asked, and the log says so. Every refusal looks the same to the client; the reason goes to the
log and the metric. Used tokens are not remembered: the same request, sent again within a token's few seconds, is answered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lumenstream import logs, metrics
from lumenstream.requesttoken import ALGORITHM, BODY_HASH, METHOD_AND_PATH, SCHEME, body_hash, method_and_path, public_key
from lumenstream.settings import ApiSettings

if TYPE_CHECKING:
    from jwt.types import Options

MAX_TOKEN_CHARACTERS: Final = 4_096
_OPTIONS: Final[Options] = {"require": ["exp", "iat", "sub"], "verify_iat": False}

_log = logs.get_logger("api")


class NotAuthorized(Exception):
    """The request is refused; `reason` is one of a few words, for the metric."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class Authenticator:
    """Checks requests against the configured keys."""

    def __init__(self, settings: ApiSettings) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {account: public_key(account) for account in settings.auth_public_keys}
        self._max_seconds = settings.auth_max_seconds
        if not self._keys:
            _log.warning("authentication is off: anybody who reaches the API may ask", setting="api.auth_public_keys")

    @property
    def required(self) -> bool:
        return bool(self._keys)

    def account(self, authorization: str | None, method: str, target: str, body: bytes) -> str:
        """The G address that signed the request. NotAuthorized when nobody we know did, and counted."""
        try:
            return self._account(authorization, method, target, body)
        except NotAuthorized as refusal:
            metrics.API_AUTH_REFUSALS.labels(refusal.reason).inc()
            raise

    def _account(self, authorization: str | None, method: str, target: str, body: bytes) -> str:
        if authorization is None or not authorization.startswith(SCHEME):
            raise NotAuthorized("missing")
        token = authorization[len(SCHEME) :].strip()
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise NotAuthorized("malformed", "the token is too long")
        claims = self._claims(token)
        issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
        if expires > time.time() + self._max_seconds or expires - issued > self._max_seconds:
            raise NotAuthorized("life", f"the token lives longer than {self._max_seconds:g} s")
        if claims.get(METHOD_AND_PATH) != method_and_path(method, target):
            raise NotAuthorized("path", "the token is for another request")
        if claims.get(BODY_HASH) != body_hash(body):
            raise NotAuthorized("body", "the token is for another body")
        return str(claims["sub"])

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a token with a valid signature of a configured key, neither expired nor early."""
        try:
            key = self._keys.get(str(jwt.decode(token, options={"verify_signature": False}).get("sub")))
            if key is None:
                raise NotAuthorized("key", "the token's subject is no configured key")
            claims: dict[str, Any] = jwt.decode(token, key, [ALGORITHM], options=_OPTIONS)
        except jwt.ExpiredSignatureError as error:
            self._note_expired(token)
            raise NotAuthorized("expired", str(error)) from error
        except jwt.InvalidSignatureError as error:
            raise NotAuthorized("signature", str(error)) from error
        except jwt.InvalidTokenError as error:
            raise NotAuthorized("malformed", str(error)) from error
        return claims

    @staticmethod
    def _note_expired(token: str) -> None:
        expires = _seconds(jwt.decode(token, options={"verify_signature": False}), "exp")
        metrics.API_AUTH_EXPIRED_SECONDS.observe(max(0.0, time.time() - expires))


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotAuthorized("malformed", f"claim {name} is not a number")
    return float(value)
