"""Stellar RPC as a source: getLedgers, page by page, then polling at the tip.

Source: the JSON-RPC methods getHealth, getLedgers and getNetwork of stellar-rpc. An RPC server keeps the latest ledgers only; a
ledger older than its retention window is an error that names the oldest one it has.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

import httpx

from lumenstream import masking, metrics
from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from producers.sources.port import SourceLedger, Wait

ATTEMPTS: Final = 10
FIRST_BACKOFF_SECONDS: Final = 1.0
MAX_BACKOFF_SECONDS: Final = 30.0
_TIMEOUT_SECONDS: Final = 30.0
_CONNECT_TIMEOUT_SECONDS: Final = 5.0
_MAX_LEDGER_SEQUENCE: Final = (1 << 31) - 1

_log = get_logger("source.rpc")


class _CallFailed(Exception):
    """One call failed in a way that another attempt may mend. `kind` is a metric label."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class _Stopped(Exception):
    """The wait between two attempts was ended."""


class RpcSource:
    """`first`: where to start when nothing is known yet; None: at the oldest ledger that the server keeps."""

    def __init__(
        self,
        url: str,
        passphrase: str,
        wait: Wait,
        *,
        page: int = 10,
        poll_seconds: float = 1.0,
        first: int | None = None,
        first_backoff_seconds: float = FIRST_BACKOFF_SECONDS,
    ) -> None:
        self._server = checked_server(url)  # what messages show
        self._url = url
        self._passphrase = passphrase
        self._wait = wait
        self._page = page
        self._poll_seconds = poll_seconds
        self._first = first
        self._first_backoff = first_backoff_seconds
        self._client = httpx.Client(timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS))

    def ledgers(self, after: int | None) -> Iterator[SourceLedger]:
        try:
            yield from self._ledgers(after)
        except _Stopped:
            return

    def close(self) -> None:
        self._client.close()

    def _ledgers(self, after: int | None) -> Iterator[SourceLedger]:
        self._check_network()
        oldest, latest = self._window()
        follows = after is not None
        sequence = after + 1 if after is not None else self._first or oldest
        while True:
            if sequence < oldest:
                raise IntegrityError(
                    f"{self._server} no longer has ledger {sequence}: the oldest it keeps is {oldest}",
                    hint="fill the gap from ledger files or a data lake, or use a server that keeps more",
                )
            if sequence > latest:
                if self._wait(self._poll_seconds):
                    return
                oldest, latest = self._window()
                continue
            answer = self._page_from(sequence)
            page = answer.get("ledgers")
            if not isinstance(page, list) or not page:  # pruned or restarted since the window was asked for
                if self._wait(self._poll_seconds):
                    return
                oldest, latest = self._window()
                continue
            for entry in page:
                yield SourceLedger(
                    sequence, sequence - 1 if follows else None, self._data(entry, sequence), self._place(sequence)
                )
                sequence, follows = sequence + 1, True
            latest = max(latest, _sequence(answer.get("latestLedger", latest), self._server))

    def _page_from(self, sequence: int) -> dict[str, Any]:
        """A page of ledgers; an empty one when the window has moved past the sequence, which the server reports as an error."""
        params = {"startLedger": sequence, "pagination": {"limit": self._page}}
        try:
            return self._call_once("getLedgers", params)
        except _CallFailed as failed:
            if failed.kind == "rpc":
                oldest, latest = self._window()
                if not oldest <= sequence <= latest:
                    return {}
        return self._call("getLedgers", params)

    def _data(self, entry: Any, expected: int) -> bytes:
        if not isinstance(entry, dict) or entry.get("sequence") != expected:
            found = entry.get("sequence") if isinstance(entry, dict) else entry
            raise IntegrityError(f"{self._server} gave ledger {found!r} where {expected} was due")
        try:
            return base64.b64decode(entry.get("metadataXdr") or "", validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise IntegrityError(f"{self._place(expected)}: metadataXdr is not base64: {error}") from error

    def _place(self, sequence: int) -> str:
        return f"{self._server} ledger {sequence}"

    def _check_network(self) -> None:
        passphrase = self._call("getNetwork").get("passphrase")
        if passphrase != self._passphrase:
            raise IntegrityError(
                f"{self._server} serves network {passphrase!r}, settings say {self._passphrase!r}",
                hint="set LUMENSTREAM_NETWORK__NAME or another RPC URL",
            )

    def _window(self) -> tuple[int, int]:
        health = self._call("getHealth")
        return _sequence(health.get("oldestLedger"), self._server), _sequence(health.get("latestLedger"), self._server)

    def _call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of a call. Tries ten times with doubling pauses; UnreachableError after that."""
        pause = self._first_backoff
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._call_once(method, params)
            except _CallFailed as failed:
                metrics.SOURCE_ERRORS.labels(failed.kind).inc()
                if attempt == ATTEMPTS:
                    raise UnreachableError(
                        f"{method} at {self._server} failed {ATTEMPTS} times, the last time with: {failed}",
                        hint="is the RPC server up and LUMENSTREAM_PRODUCER__RPC_URL right?",
                    ) from failed
                _log.warning("source call failed", method=method, error=str(failed), attempt=attempt, retry_seconds=pause)
            if self._wait(pause):
                raise _Stopped
            pause = min(pause * 2, MAX_BACKOFF_SECONDS)
        raise AssertionError("the loop above returns or raises")

    def _call_once(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, **({"params": params} if params else {})}
        try:
            response = self._client.post(self._url, json=request)
            answer = response.json() if response.status_code == httpx.codes.OK else None
        except httpx.HTTPError as error:
            raise _CallFailed("transport", f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise _CallFailed("answer", f"not JSON: {error}") from error
        if answer is None:
            raise _CallFailed("http", f"HTTP {response.status_code}")
        if not isinstance(answer, dict):
            raise _CallFailed("answer", "not a JSON-RPC answer")
        if answer.get("error"):
            error_object = answer["error"]
            text = error_object.get("message") if isinstance(error_object, dict) else error_object
            raise _CallFailed("rpc", str(text))
        result = answer.get("result")
        if not isinstance(result, dict):
            raise _CallFailed("answer", "an answer without a result")
        return result


def checked_server(url: str) -> str:
    """The part of an RPC server's URL that may be shown. ConfigurationError, which never repeats it, for what is no URL."""
    hint = "set --rpc-url or LUMENSTREAM_PRODUCER__RPC_URL"
    if not url:
        raise ConfigurationError("source rpc needs a URL", hint=hint)
    server = masking.server_of(url)
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        server = ""
    if not server:
        raise ConfigurationError("the URL of source rpc is not of the form https://host/path", hint=hint)
    return server


def _sequence(value: Any, server: str) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX_LEDGER_SEQUENCE:
        raise IntegrityError(f"{server} gave {value!r} as a ledger sequence")
    return value
