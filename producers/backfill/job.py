"""A backfill or replay job: its plan, its messages on `ledgers.backfill`, and the wait until every range is committed.

The plan stands in table backfill_ranges before the first message is sent, and backfill sinks note there how each range ended. At
most `max_open_ranges` are under way, so neither the topic nor a sink's memory grows with the job. A job that is cut short leaves
whole ranges only; the same command plans what is left.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from lumenstream import kafka, metrics, retention
from lumenstream.crashpoint import crashpoint
from lumenstream.errors import ConfigurationError, IntegrityError, LumenstreamError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from lumenstream.xdr.rows import LedgerHeader
from producers.backfill.book import Book, Place
from producers.backfill.plan import Predecessors, Range, cut, missing
from producers.backfill.raw import RawLedgers
from producers.backfill.sending import RawMessage, Refused, Sender
from schemas import history
from schemas.messages import LedgerHeaders, partition_of, range_key

POLL_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 1.0

_log = get_logger("backfill")


@dataclass(frozen=True, slots=True)
class Request:
    """Ledgers `start` to `end`. `rewrite` False: only those missing; `processors`: only their rows, of ledgers that are there;
    `pause_retention`: nothing is dropped while the job runs, so that it may write what is older than the retention period."""

    start: int
    end: int
    rewrite: bool = False
    processors: tuple[str, ...] = ()
    pause_retention: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    ledgers: int
    done_ledgers: int
    ranges: int
    done_ranges: int
    failed_ranges: int
    open_ranges: int
    seconds: float

    @property
    def ledgers_per_second(self) -> float:
        return self.done_ledgers / self.seconds if self.seconds else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """None while nothing is done."""
        return (self.ledgers - self.done_ledgers) / self.ledgers_per_second if self.done_ledgers else None


@dataclass(frozen=True, slots=True)
class Summary:
    """How a job ended. `failed`: ranges with the reason; `error`: what ended it before its end."""

    job: str
    ranges: int
    ledgers: int
    done_ledgers: int
    copied_ledgers: int
    seconds: float
    failed: tuple[tuple[Range, str], ...]
    interrupted: bool = False
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.failed and not self.interrupted and not self.error


@dataclass(slots=True)
class _State:
    pending: deque[Range]
    started: float
    open: dict[int, Range] = field(default_factory=dict)
    done: dict[int, Range] = field(default_factory=dict)
    failed: dict[int, tuple[Range, str]] = field(default_factory=dict)
    done_ledgers: int = 0
    moved_at: float = 0.0


class Job:
    """Plan it, then run it once. Use as a context manager or call `close`."""

    def __init__(self, settings: Settings, request: Request, stop: threading.Event) -> None:
        self._settings = settings
        self._request = request
        self._stop = stop
        self._book = Book(settings)
        self.name = f"{'replay' if request.rewrite else 'backfill'}-{secrets.token_hex(6)}"
        self.ranges: list[Range] = []
        self.above: Range | None = None  # of a replay: what is above the cursor, which is not the job's
        self.parts: tuple[str, ...] = ()
        self.cut_short: Summary | None = None  # how far `run` had come when an error ended it
        self._predecessors = Predecessors((), None)
        self._horizon: datetime | None = None  # ledgers that closed earlier are not for this job

    def close(self) -> None:
        self._book.close()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, end: int | None = None) -> int:
        """Find out what is to be done; how many ledgers. ConfigurationError for what cannot be asked for.

        `end`: the last ledger, where that is not the request's.
        """
        request = self._request if end is None else replace(self._request, end=end)
        if request.start > request.end:
            raise ConfigurationError(f"ledger {request.start} comes after {request.end}", hint="the first ledger comes first")
        cursor = self._book.cursor()
        if request.end > cursor and not request.rewrite:
            raise ConfigurationError(
                f"ledger {request.end} is above the cursor, which is at {cursor}", hint="what comes after it is the live sink's"
            )
        last = min(request.end, cursor)
        self.above = Range(max(request.start, cursor + 1), request.end) if request.end > cursor else None
        if request.start > last:
            return 0
        self.parts = self._parts()
        stretches = self._book.present(request.start, last)
        if not request.rewrite:
            wanted = missing(stretches, request.start, last)
        else:
            wanted = stretches if request.processors else [Range(request.start, last)]
        self.ranges = cut(wanted, self._settings.kafka.backfill_range_size)
        self._predecessors = Predecessors([*stretches, *self.ranges], self._book.before(request.start))
        return sum(planned.ledgers for planned in self.ranges)

    def _parts(self) -> tuple[str, ...]:
        """The processors whose parts a range needs: participants always, whose part brings the ledger's header."""
        known = history.history_processors(self._book.processors())
        unknown = [name for name in self._request.processors if name not in known]
        if unknown:
            raise ConfigurationError(
                f"{', '.join(unknown)}: no processor of that name writes history", hint=f"there are {', '.join(known)}"
            )
        asked = {*self._request.processors, history.PARTICIPANTS}
        return tuple(name for name in known if name in asked) if self._request.processors else known

    def run(self, watch: Callable[[Progress], None], check: Callable[[], None]) -> Summary:
        """Until every range has ended or `stop` is set. `watch` hears of progress; `check` may raise when helpers have died."""
        kafka.wait_for_broker(self._settings.kafka, self._settings.kafka.request_timeout_seconds)
        kafka.ensure_topics(self._settings.kafka)
        request = self._request
        entry = retention.JobEntry(
            self.name, self.ranges[0].first, self.ranges[-1].last, request.processors or None, request.pause_retention
        )
        with retention.Lease(self._settings.database, entry, self._settings.backfill.keep_days):
            return self._run(watch, check)

    def _run(self, watch: Callable[[Progress], None], check: Callable[[], None]) -> Summary:
        state = _State(deque(self.ranges), started=time.monotonic())
        with closing(RawLedgers(self._settings, self._stop, self.ranges)) as raw:
            self._refuse_old_ledgers(raw)
            try:
                self._work(state, raw, watch, check)
                self._check_done(state)
            except LumenstreamError as error:
                self.cut_short = self._summary(state, raw, str(error))
                raise
            return self._summary(state, raw)

    def _work(self, state: _State, raw: RawLedgers, watch: Callable[[Progress], None], check: Callable[[], None]) -> None:
        """Write the plan down and send its ranges, until every one has ended or `stop` is set."""
        sender = Sender(self._settings)
        try:
            self._book.begin(self.name, self.ranges, self.parts, self._request.processors or None)
            _log.info("job started", job=self.name, ranges=len(self.ranges), parts=self.parts)
            crashpoint("job.after_plan")
            state.moved_at = time.monotonic()
            while (state.pending or state.open) and not self._stop.is_set():
                check()
                if state.pending and len(state.open) < self._settings.backfill.max_open_ranges:
                    self._send(state, raw, sender)
                else:
                    self._stop.wait(POLL_SECONDS)
                self._look(state)
                self._give_up_when_stalled(state)
                watch(self._progress(state))
        finally:
            sender.close()
            self._book.end(self.name)

    def _summary(self, state: _State, raw: RawLedgers, error: str = "") -> Summary:
        return Summary(
            job=self.name,
            ranges=len(self.ranges),
            ledgers=sum(planned.ledgers for planned in self.ranges),
            done_ledgers=state.done_ledgers,
            copied_ledgers=raw.copied,
            seconds=time.monotonic() - state.started,
            failed=tuple(failed for _, failed in sorted(state.failed.items())),
            interrupted=not error and bool(state.pending or state.open),
            error=error,
        )

    def _refuse_old_ledgers(self, raw: RawLedgers) -> None:
        """ConfigurationError when the job's first ledger is one that retention drops, or is about to."""
        self._horizon = None if self._request.pause_retention else self._book.horizon()
        if self._horizon is None:
            return
        first = Range(self.ranges[0].first, self.ranges[0].first)
        try:
            for _, header in raw.read(first, self._places(first)):
                self._refuse_old(header)
        except Refused as error:
            raise ConfigurationError(
                str(error), hint="begin later, raise LUMENSTREAM_MAINTENANCE__RETENTION_PERIOD, or give --pause-retention"
            ) from error
        except (IntegrityError, UnreachableError) as error:
            _log.info("the first ledger cannot be read yet, its range will tell", ledger=first.first, reason=str(error))

    def _refuse_old(self, header: LedgerHeader) -> None:
        """Refused when retention would drop a ledger while the job still writes."""
        closed = datetime.fromtimestamp(header.close_time, UTC)
        if self._horizon is not None and closed < self._horizon:
            raise Refused(f"ledger {header.sequence} closed {closed:%Y-%m-%d %H:%M}, which is older than what retention keeps")

    def _places(self, wanted: Range) -> Sequence[Place]:
        return self._book.places(wanted) if self._request.rewrite else []

    def _send(self, state: _State, raw: RawLedgers, sender: Sender) -> None:
        """Send the next range. A source that cannot give it, or a message too large, fails the range and no other.

        UnreachableError when the source or the database stays away; Kafka is waited for.
        """
        wanted = state.pending.popleft()
        try:
            delivered = self._deliver(sender, self._messages(wanted, raw))
        except (IntegrityError, Refused) as error:
            if not self._stop.is_set():  # a source that is asked to stop ends early
                self._fail(state, wanted, str(error))
                return
            delivered = False
        if not delivered or self._stop.is_set():
            state.pending.appendleft(wanted)
            return
        state.open[wanted.first] = wanted
        state.moved_at = time.monotonic()
        crashpoint("job.after_send")

    def _deliver(self, sender: Sender, messages: Sequence[RawMessage]) -> bool:
        """False, after a pause, when Kafka does not take them now."""
        try:
            sender.send(messages)
        except UnreachableError as error:
            metrics.SERVER_ERRORS.labels("kafka").inc()
            _log.warning("range could not be sent, trying again", first=messages[0][0].sequence, error=str(error))
            self._stop.wait(RETRY_SECONDS)
            return False
        return True

    def _messages(self, wanted: Range, raw: RawLedgers) -> Sequence[RawMessage]:
        """The messages of a range."""
        settings = self._settings.kafka
        messages = []
        for ledger, header in raw.read(wanted, self._places(wanted)):
            self._refuse_old(header)
            headers = LedgerHeaders(
                sequence=ledger.sequence,
                previous_sequence=self._predecessors.of(ledger.sequence),
                close_time=header.close_time,
                ledger_hash=header.hash.hex(),
                protocol_version=header.protocol_version,
                network_id=self._settings.network.network_id().hex(),
                job=self.name,
                processors=self.parts,
            )
            key = range_key(ledger.sequence, settings.backfill_range_size)
            partition = partition_of(ledger.sequence, settings.backfill_range_size, settings.partitions)
            messages.append((headers, key, ledger.data, partition))
        return messages

    def _look(self, state: _State) -> None:
        """Ask which of the open ranges have ended."""
        if not state.open:
            return
        for ended in self._book.ended(self.name, list(state.open)):
            found = state.open.pop(ended.first)
            state.moved_at = time.monotonic()
            if ended.state == "done":
                state.done[ended.first] = found
                state.done_ledgers += found.ledgers
                crashpoint("job.after_range")
            else:
                state.failed[ended.first] = (found, ended.error or f"{ended.state}: another job took these ledgers over")

    def _give_up_when_stalled(self, state: _State) -> None:
        limit = self._settings.backfill.stall_seconds
        if time.monotonic() - state.moved_at <= limit:
            return
        text = (
            f"nothing was committed for {limit:.0f} s: are workers and backfill sinks running? Their /health says what is missing"
        )
        for found in list(state.open.values()):
            del state.open[found.first]
            self._fail(state, found, text)
        while state.pending:
            self._fail(state, state.pending.popleft(), "not begun: the job had come to a halt")

    def _fail(self, state: _State, found: Range, text: str) -> None:
        state.failed[found.first] = (found, text)  # first: it is told even if the database is away
        self._book.fail(self.name, found.first, text)
        _log.error("range failed", first=found.first, last=found.last, error=text)

    def _check_done(self, state: _State) -> None:
        """A range that was seen done may have been taken back: its commit did not wait for the disk, and the database may have
        crashed since. That of the job's end did, so believe what the database says after it, of the range and of its ledgers."""
        said = {ended.first for ended in self._book.ended(self.name, list(state.done)) if ended.state == "done"}
        absent = missing(self._book.present(self._request.start, self._request.end), self._request.start, self._request.end)
        for found in list(state.done.values()):
            if found.first not in said or any(gap.first <= found.last and gap.last >= found.first for gap in absent):
                del state.done[found.first]
                state.done_ledgers -= found.ledgers
                state.failed[found.first] = (found, "committed, and not in the database any more: run the command again")

    def _progress(self, state: _State) -> Progress:
        return Progress(
            ledgers=sum(planned.ledgers for planned in self.ranges),
            done_ledgers=state.done_ledgers,
            ranges=len(self.ranges),
            done_ranges=len(state.done),
            failed_ranges=len(state.failed),
            open_ranges=len(state.open),
            seconds=time.monotonic() - state.started,
        )
