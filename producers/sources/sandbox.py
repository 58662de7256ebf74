"""The sandbox network as a source: the chain that its settings alone determine, closed at their pace.

Ledgers up to the resume point are made again without a pause, but not past the stop; the ones after it come one every
`close_seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from lumenstream.retry import Wait
from producers.sources.port import Extent, SourceLedger, missing
from sandbox import Sandbox, SandboxSettings
from sandbox.network import GENESIS_SEQUENCE


class SandboxSource:
    """`max_ledgers` counts from the genesis, so that a resumed run ends where an uninterrupted one does; 0: no end."""

    def __init__(self, settings: SandboxSettings, wait: Wait, max_ledgers: int = 0, *, paced: bool = True) -> None:
        self._sandbox = Sandbox(settings)
        self._wait = wait
        self._close_seconds = settings.close_seconds if paced else 0.0
        self._last = GENESIS_SEQUENCE + max_ledgers if max_ledgers else None
        self.tip: int | None = None  # nobody else closes ledgers: the newest one is the one handed out

    @property
    def problem(self) -> str:
        return ""

    def look(self) -> Extent:
        return Extent("the sandbox network", GENESIS_SEQUENCE + 1, self._last)

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        first = GENESIS_SEQUENCE + 1 if after is None else after + 1
        if through is not None and first <= min(through, GENESIS_SEQUENCE):
            raise missing("the sandbox network", first)
        last = min((end for end in (self._last, through) if end is not None), default=None)
        yield from self._closed(first, last)
        if through is not None and last is not None and first <= through and last < through:
            raise missing("the sandbox network", max(first, last + 1))

    def _closed(self, first: int, last: int | None) -> Iterator[SourceLedger]:
        if last is not None and first > last:
            return
        due = time.monotonic()
        for closed in self._sandbox.ledgers():
            if closed.sequence < first:  # made again on the way, which takes minutes when it is long
                if self._wait(0):
                    return
                continue
            while (early := due - time.monotonic()) > 0:
                if self._wait(early):
                    return
            due = max(due + self._close_seconds, time.monotonic())
            previous = closed.sequence - 1
            yield SourceLedger(
                sequence=closed.sequence,
                previous_sequence=previous if previous > GENESIS_SEQUENCE else None,
                data=closed.meta,
                place=f"sandbox ledger {closed.sequence}",
            )
            if closed.sequence == last:
                return

    def close(self) -> None:
        """Nothing is held."""
