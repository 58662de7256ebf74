"""Stellar RPC as a source: getLedgers, page by page, then polling at the tip.

Source: the JSON-RPC methods getHealth, getLedgers and getNetwork of stellar-rpc. An RPC server keeps the latest ledgers only; a
ledger older than its retention window is an error that names the oldest one it has.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator
from typing import Any, Final

from lumenstream import metrics
from lumenstream.errors import IntegrityError
from lumenstream.retry import Failure, Retry, RetryPolicy, Stopped, Wait
from lumenstream.rpc import RpcClient
from producers.sources.port import Extent, SourceLedger

_MAX_LEDGER_SEQUENCE: Final = (1 << 31) - 1


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
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        self._client = RpcClient(url)
        self._passphrase = passphrase
        self._wait = wait
        self._page = page
        self._poll_seconds = poll_seconds
        self._first = first
        self._retry = Retry(
            retry,
            wait,
            lambda kind: metrics.SOURCE_ERRORS.labels(kind).inc(),
            hint="is the RPC server up and LUMENSTREAM_PRODUCER__RPC_URL right?",
        )
        self.tip: int | None = None

    @property
    def problem(self) -> str:
        return self._retry.problem

    def look(self) -> Extent:
        self._check_network()
        return Extent(self._client.server, *self._window())

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        try:
            yield from self._ledgers(after, _MAX_LEDGER_SEQUENCE if through is None else through)
        except Stopped:
            return

    def close(self) -> None:
        self._client.close()

    def _ledgers(self, after: int | None, through: int) -> Iterator[SourceLedger]:
        self._check_network()
        oldest, latest = self._window()
        follows = after is not None
        sequence = after + 1 if after is not None else self._first or oldest
        cursor = ""
        while sequence <= through:
            if sequence > latest:
                if self._wait(self._poll_seconds):
                    return
                oldest, latest = self._window()
                continue
            answer = self._page_from(sequence, cursor, min(self._page, through - sequence + 1))
            page, cursor = answer.get("ledgers"), str(answer.get("cursor") or "")
            if not isinstance(page, list) or not page:  # out of the window, or pruned or restarted since that was asked for
                oldest, latest = self._window()
                if sequence < oldest:
                    raise self._gone(sequence, oldest)
                if self._wait(self._poll_seconds):
                    return
                continue
            for entry in page:
                yield SourceLedger(
                    sequence, sequence - 1 if follows else None, self._data(entry, sequence), self._place(sequence)
                )
                sequence, follows = sequence + 1, True
            latest = self._seen(max(latest, _sequence(answer.get("latestLedger", latest), self._client.server)))

    def _page_from(self, sequence: int, cursor: str, limit: int) -> dict[str, Any]:
        """A page of ledgers; an empty one when the sequence is outside the window, which the server reports as an error.

        Servers that read older ledgers from a data lake give them although getHealth names a younger oldest one: so ask first.
        """
        if cursor:  # the server's own word for where the last page ended
            params: dict[str, Any] = {"pagination": {"cursor": cursor, "limit": limit}}
        else:
            params = {"startLedger": sequence, "pagination": {"limit": limit}}
        try:
            return self._get_ledgers(params)
        except Failure as failure:
            if failure.kind == "rpc":
                oldest, latest = self._window()
                if not oldest <= sequence <= latest:
                    return {}
            self._retry.failed(f"getLedgers at {self._client.server}", failure)
        return self._retry.run(f"getLedgers at {self._client.server}", lambda: self._get_ledgers(params))

    def _get_ledgers(self, params: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        answer = self._client.call("getLedgers", params)
        metrics.SOURCE_FETCH_SECONDS.observe(time.perf_counter() - started)
        return answer

    def _gone(self, sequence: int, oldest: int) -> IntegrityError:
        return IntegrityError(
            f"{self._client.server} no longer has ledger {sequence}: the oldest it keeps is {oldest}",
            hint="read on from a data lake (--source lake) or from files, or name a server that keeps more",
        )

    def _data(self, entry: Any, expected: int) -> bytes:
        if not isinstance(entry, dict) or entry.get("sequence") != expected:
            found = entry.get("sequence") if isinstance(entry, dict) else entry
            raise IntegrityError(f"{self._client.server} gave ledger {found!r} where {expected} was due")
        try:
            return base64.b64decode(entry.get("metadataXdr") or "", validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise IntegrityError(f"{self._place(expected)}: metadataXdr is not base64: {error}") from error

    def _place(self, sequence: int) -> str:
        return f"{self._client.server} ledger {sequence}"

    def _check_network(self) -> None:
        passphrase = self._call("getNetwork").get("passphrase")
        if passphrase != self._passphrase:
            raise IntegrityError(
                f"{self._client.server} serves network {passphrase!r}, settings say {self._passphrase!r}",
                hint="set LUMENSTREAM_NETWORK__NAME or another RPC URL",
            )

    def _window(self) -> tuple[int, int]:
        health = self._call("getHealth")
        oldest = _sequence(health.get("oldestLedger"), self._client.server)
        return oldest, self._seen(_sequence(health.get("latestLedger"), self._client.server))

    def _seen(self, latest: int) -> int:
        self.tip = latest
        return latest

    def _call(self, method: str) -> dict[str, Any]:
        return self._retry.run(f"{method} at {self._client.server}", lambda: self._client.call(method))


def _sequence(value: Any, server: str) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX_LEDGER_SEQUENCE:
        raise IntegrityError(f"{server} gave {value!r} as a ledger sequence")
    return value
