"""Who is let in, and how often: authentication, requests per key, requests under way (spec/api.md 5 to 7).

Limits are kept per process: with N processes behind a balancer a client gets up to N times as much.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import HTTPConnection

from api.auth import Authenticator, NotAuthorized
from lumenstream import logs, metrics
from lumenstream.settings import ApiSettings

UNAUTHORIZED: Final = 401
TOO_MANY: Final = 429
OVERLOADED: Final = 503
NOT_AUTHORIZED_TEXT: Final = "Not authorized."
RETRY_OVERLOADED_SECONDS: Final = 1

_log = logs.get_logger("api")


class HttpError(Exception):
    """A request refused before GraphQL: a status, one line of text, and headers that go with it."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class Admission:
    """One per process."""

    def __init__(self, settings: ApiSettings) -> None:
        self._authenticator = Authenticator(settings)
        self._limits: list[RateLimitItem] = parse_many(settings.rate_limit) if settings.rate_limit else []
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage()) if self._limits else None
        self._max_under_way = settings.max_requests
        self._under_way = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request. HttpError 503 when all are taken."""
        if self._under_way >= self._max_under_way:
            metrics.API_REFUSALS.labels("overloaded").inc()
            raise HttpError(OVERLOADED, "too many requests under way", {"Retry-After": str(RETRY_OVERLOADED_SECONDS)})
        self._under_way += 1
        metrics.API_REQUESTS_UNDER_WAY.set(self._under_way)
        try:
            yield
        finally:
            self._under_way -= 1
            metrics.API_REQUESTS_UNDER_WAY.set(self._under_way)

    def admit(self, http: HTTPConnection, method: str, body: bytes, request_id: str, token: str | None = None) -> str:
        """The key that a request counts under: the account that signed it, else the client's address.

        `token` stands in for the Authorization header where a client cannot set one. HttpError 401 when the request is not signed
        as it must be, 429 when its key asks too often.
        """
        key = self._authenticated(http, method, body, request_id, token) if self._authenticator.required else _address(http)
        self._count(key)
        return key

    def _authenticated(self, http: HTTPConnection, method: str, body: bytes, request_id: str, token: str | None) -> str:
        try:
            return self._authenticator.account(token or http.headers.get("authorization"), method, target(http), body)
        except NotAuthorized as refusal:
            _log.info("not authorized", request_id=request_id, reason=refusal.reason, detail=str(refusal))
            raise HttpError(UNAUTHORIZED, NOT_AUTHORIZED_TEXT, {"WWW-Authenticate": "Bearer"}) from refusal

    def _count(self, key: str) -> None:
        if self._limiter is None:
            return
        for limit in self._limits:
            if not self._limiter.hit(limit, key):
                metrics.API_REFUSALS.labels("rate").inc()
                resets = self._limiter.get_window_stats(limit, key).reset_time
                wait = max(1, round(resets - time.time() + 0.5))
                raise HttpError(TOO_MANY, f"more than {limit} requests", {"Retry-After": str(wait)})


def target(http: HTTPConnection) -> str:
    """The request line's target: path and query string as the client sent them."""
    scope = http.scope
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (path + b"?" + query if query else path).decode("latin-1")


def _address(http: HTTPConnection) -> str:
    return http.client.host if http.client is not None else "unknown"
