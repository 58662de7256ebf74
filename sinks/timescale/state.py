"""What the sink says about itself: /health, /ready, metrics and the summary in the log, all from one place."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from lumenstream import metrics
from lumenstream.logs import get_logger
from lumenstream.roleserver import Health
from lumenstream.settings import SinkSettings
from sinks.timescale.reorder import Reorder, Waiting
from sinks.timescale.tables import LedgerRows
from sinks.timescale.tip import Tip
from sinks.timescale.writer import Committed

SUMMARY_SECONDS: Final = 10.0

_log = get_logger("sink")


class SinkState:
    """Written by the sink's thread, read by the HTTP server's: every attribute is replaced whole."""

    def __init__(self, settings: SinkSettings) -> None:
        self.phase = "starting"
        self.trouble: dict[str, str] = {}  # server: what is wrong with it
        self.cursor = 0
        self.waiting: Waiting | None = None
        self.buffered = 0
        self.lag_ledgers: int | None = None
        self.close_time: int | None = None
        self.catching_up = False
        self._settings = settings
        self._missing_logged_at = 0.0
        self._labelled: set[str] = set()
        self._summary_at = time.monotonic()
        self._since_summary: Counter[str] = Counter()

    def health(self) -> Health:
        """Ready: the leader with its servers; a standby is not.

        Not ok: a server is away, the next ledger failed in a processor, or it has waited too long for a part.
        """
        waiting, now = self.waiting, time.time()
        details: dict[str, Any] = {
            "role": "sink",
            "phase": self.phase,
            "cursor": self.cursor,
            "buffered_ledgers": self.buffered,
            "lag_ledgers": self.lag_ledgers,
            "lag_seconds": None if self.close_time is None else round(max(0.0, now - self.close_time), 3),
            "catching_up": self.catching_up,
        }
        problems = [f"{server}: {text}" for server, text in self.trouble.items()]
        if waiting is not None:
            seconds = max(0.0, now - waiting.since)
            details["waiting"] = {
                "ledger": waiting.sequence,
                "missing": list(waiting.missing),
                "failures": dict(waiting.failures),
                "outdated": dict(waiting.outdated),
                "since": datetime.fromtimestamp(waiting.since, UTC).isoformat(),
                "seconds": round(seconds, 3),
            }
            problems += [f"ledger {waiting.sequence}: {name} failed: {text}" for name, text in waiting.failures.items()]
            if seconds > self._settings.missing_part_seconds and not waiting.failures:
                problems.append(f"{_what(waiting, self.cursor)} for {seconds:.0f} s")
        if problems:
            details["problems"] = problems
        return Health(ok=not problems, ready=self.phase == "leader" and not self.trouble, details=details)

    def troubled(self, server: str, text: str) -> None:
        """A server is away; logged when that is news."""
        if server not in self.trouble:
            _log.warning("waiting for a server", server=server, error=text)
        self.trouble = self.trouble | {server: text}

    def well(self, server: str) -> None:
        if server in self.trouble:
            _log.info("the server answers again", server=server)
            self.trouble = {name: text for name, text in self.trouble.items() if name != server}

    def begins(self, cursor: int, close_time: int | None) -> None:
        """A term begins behind this ledger: its gauges tell so before the first commit, which may be long in coming."""
        self.cursor = cursor
        metrics.CURSOR_LEDGER.set(cursor)
        if close_time is not None:
            metrics.CURSOR_CLOSE_TIME.set(close_time)

    def stands_by(self) -> None:
        """The database answers, and nothing of what an earlier term gathered or lacked is this sink's business any more."""
        for server in self.trouble:
            self.well(server)
        self.waiting, self.buffered, self.lag_ledgers, self.close_time, self.catching_up = None, 0, None, None, False
        for name in self._labelled:
            metrics.SINK_MISSING_PART.labels(name).set(0)
        self._labelled = set()
        metrics.SINK_LAG_LEDGERS.set(math.nan)
        metrics.SINK_LAG_SECONDS.set(math.nan)
        for gauge in (
            metrics.SINK_CATCHING_UP,
            metrics.SINK_WAITING_SECONDS,
            metrics.SINK_BUFFERED_LEDGERS,
            metrics.SINK_BUFFERED_BYTES,
            metrics.SINK_PAUSED_PARTITIONS,
        ):
            gauge.set(0)

    def observe(self, reorder: Reorder, tip: Tip, *, catching_up: bool) -> None:
        """Gauges of the window and the lag, and what the next ledger lacks, reported once per missing_part_seconds."""
        self.buffered, self.lag_ledgers, self.close_time = len(reorder), tip.lag, tip.close_time
        if catching_up != self.catching_up:
            _log.info("catching up, ledgers go in groups" if catching_up else "near the tip", ledger=self.cursor, behind=tip.lag)
        self.catching_up = catching_up
        metrics.SINK_CATCHING_UP.set(catching_up)
        metrics.SINK_LAG_LEDGERS.set(math.nan if tip.lag is None else tip.lag)
        if tip.close_time is not None:
            metrics.SINK_LAG_SECONDS.set(max(0.0, time.time() - tip.close_time))
        metrics.SINK_BUFFERED_LEDGERS.set(len(reorder))
        metrics.SINK_BUFFERED_BYTES.set(reorder.bytes)
        waiting = self.waiting = reorder.waiting()
        missing = set(waiting.missing) if waiting else set()
        for name in missing ^ self._labelled:
            metrics.SINK_MISSING_PART.labels(name).set(name in missing)
        self._labelled = missing
        seconds = max(0.0, time.time() - waiting.since) if waiting else 0.0
        metrics.SINK_WAITING_SECONDS.set(seconds)
        if waiting is None or seconds <= self._settings.missing_part_seconds:
            return
        if time.monotonic() - self._missing_logged_at >= self._settings.missing_part_seconds:
            self._missing_logged_at = time.monotonic()
            _log.warning(
                _what(waiting, self.cursor), ledger=waiting.sequence, seconds=round(seconds), failures=dict(waiting.failures)
            )

    def committed(self, done: Committed, ledgers: Iterable[LedgerRows], seconds: float) -> None:
        """Count a transaction."""
        now, count, close_time = time.time(), 0, 0
        for rows in ledgers:
            count, close_time = count + 1, rows.ledger.close_time
            metrics.LATENCY_SECONDS.observe(max(0.0, now - rows.ledger.last_arrival))
        for table, written in done.rows.items():
            metrics.COMMITTED_ROWS.labels(table).inc(written)
        self.cursor = done.last
        metrics.CURSOR_LEDGER.set(done.last)
        metrics.CURSOR_CLOSE_TIME.set(close_time)
        metrics.COMMITTED_LEDGERS.inc(count)
        metrics.COMMIT_SECONDS.observe(seconds)
        metrics.SINK_GROUP_LEDGERS.observe(count)
        written = sum(done.rows.values())
        _log.debug("committed", ledger=done.last, ledgers=count, rows=written, milliseconds=round(seconds * 1000, 1))
        self._since_summary.update(ledgers=count, rows=written)

    def summarize(self) -> None:
        """One line every ten seconds in which something was committed."""
        elapsed = time.monotonic() - self._summary_at
        if elapsed < SUMMARY_SECONDS:
            return
        if self._since_summary:
            ledgers, rows = self._since_summary["ledgers"], self._since_summary["rows"]
            _log.info(
                "ledgers committed",
                ledger=self.cursor,
                ledgers=ledgers,
                rows=rows,
                ledgers_per_second=round(ledgers / elapsed, 1),
            )
        self._summary_at = time.monotonic()
        self._since_summary.clear()


def _what(waiting: Waiting, cursor: int) -> str:
    if waiting.sequence is None:
        return f"nothing has come of the ledger after {cursor}" if cursor else "no ledger that starts a stream has come"
    outdated = ", ".join(f"{name} came in version {version}" for name, version in waiting.outdated.items())
    lacks = f"ledger {waiting.sequence} waits for {', '.join(waiting.missing)}"
    return f"{lacks} ({outdated}, which is too low)" if outdated else lacks
