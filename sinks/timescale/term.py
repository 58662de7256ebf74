"""One term of the live sink's leader, while both servers answer: read parts, commit whole ledgers in order, prove the lead.

Parts come from the consumer into the reorder window; batches of whole ledgers go through the encoder to the writer. The writer
has a thread to itself: while the database takes one batch, the next is read and encoded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

import psycopg

from lumenstream.crashpoint import crashpoint
from lumenstream.database import is_permanent
from lumenstream.errors import IntegrityError
from lumenstream.logs import get_logger
from lumenstream.metrics import SINK_DUPLICATE_PARTS, SINK_SPLIT_GROUPS
from lumenstream.settings import Settings
from sinks.timescale.ahead import EncodedAhead
from sinks.timescale.consumer import PartsConsumer
from sinks.timescale.grouping import Grouping
from sinks.timescale.leader import Leadership
from sinks.timescale.reorder import Gathered, Reorder, Verdict
from sinks.timescale.state import SinkState
from sinks.timescale.tables import LedgerEncoder, LedgerRows
from sinks.timescale.tip import Tip
from sinks.timescale.writer import Committed, Writer, check_chain

POLL_SECONDS: Final = 0.1
IDLE_POLL_SECONDS: Final = 0.01  # while the database is at work and nothing else is to be done
OBSERVE_SECONDS: Final = 0.25
PROVE_SECONDS: Final = 1.0  # the lead is proved before every commit, and this often without one
SEARCH_AFTER_SECONDS: Final = 1.0  # silence after which paused partitions are read too
IDLE_SECONDS: Final = 1.0  # silence of a topic that answers, after which servers count as well again
LOST_AFTER_SECONDS: Final = 3.0  # silence after which parts that the broker deleted are given up

_log = get_logger("sink")


class Term:
    """What the leader does while both servers answer."""

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        state: SinkState,
        leadership: Leadership,
        encoder: LedgerEncoder,
        tip: Tip,
        settled: Callable[[], None],  # called after a commit, and while there is nothing to commit
    ) -> None:
        self._most_rows = settings.sink.group_rows
        self._stop = stop
        self._state = state
        self._leadership = leadership
        self._grouping = Grouping(settings.sink)
        self._ahead = EncodedAhead(encoder, settings.sink.group_rows)
        self._problem: IntegrityError | None = None  # in what was read during a commit
        self._tip = tip
        self._settled = settled
        self._heard_at = time.monotonic()
        self._observed_at = 0.0
        self._proved_at = 0.0

    def serve(self, consumer: PartsConsumer, reorder: Reorder, writer: Writer) -> None:
        self._state.phase = "leader"
        crashpoint("sink.after_start")
        with ThreadPoolExecutor(1, "commit") as thread:
            while not self._stop.is_set():
                batch = self._batch(reorder)
                if len(batch) <= 1:  # a full group is waiting otherwise: reading on would only fill the window
                    self._read(consumer, reorder, 0 if batch else POLL_SECONDS)
                    batch = self._batch(reorder)
                if batch and self._commit(batch, consumer, reorder, writer, thread):
                    consumer.lost.clear()
                if self._problem is not None:
                    raise self._problem
                consumer.rewind(reorder.take_rewinds())
                self._watch(consumer, reorder)

    def _batch(self, reorder: Reorder) -> list[Gathered]:
        return self._grouping.choose(reorder.complete(self._grouping.limit), self._tip.lag, time.monotonic())

    def _read(self, consumer: PartsConsumer, reorder: Reorder, timeout_seconds: float, after: int | None = None) -> bool:
        """False when nothing has come. `after`: the last ledger of the batch that is being committed."""
        arrivals = consumer.read(timeout_seconds)
        if not arrivals:
            return False
        self._heard_at = time.monotonic()
        for part in arrivals:
            match reorder.add(part):
                case Verdict.DUPLICATE:
                    SINK_DUPLICATE_PARTS.inc()
                case Verdict.FAILURE:
                    _log.error(
                        "a processor could not process a ledger", ledger=part.headers.sequence, processor=part.headers.processor
                    )
                case Verdict.OUTSIDE | Verdict.ADDED:
                    pass
        for partition in reorder.rewinds:
            if reorder.may_pause(partition, after):
                consumer.pause(partition)
        return True

    def _commit(
        self, batch: list[Gathered], consumer: PartsConsumer, reorder: Reorder, writer: Writer, thread: ThreadPoolExecutor
    ) -> bool:
        if not self._prove(reorder):
            return False
        ledgers = self._encoded(batch, reorder)
        started = time.monotonic()
        offsets = reorder.offsets_after(rows.ledger.sequence for rows in ledgers)
        under_way = thread.submit(writer.commit, ledgers, reorder.cursor, offsets)
        try:
            self._prepare(consumer, reorder, ledgers[-1].ledger.sequence, under_way)
            done = under_way.result()
        except psycopg.Error as error:
            if len(ledgers) == 1 or not is_permanent(error):
                raise
            SINK_SPLIT_GROUPS.inc()
            _log.warning("a group was refused, its ledgers go one by one", ledgers=len(ledgers), error=str(error))
            self._grouping.split(ledgers[-1].ledger.sequence)
            return False
        finally:
            del under_way  # its exception's traceback holds this frame: a circle that would keep the whole window
        crashpoint("sink.after_commit")
        reorder.advance(done.last, done.last_hash, time.time())
        self._tip.committed(rows.ledger for rows in ledgers)
        self._state.committed(done, ledgers, time.monotonic() - started)
        self._settled()
        return True

    def _prepare(self, consumer: PartsConsumer, reorder: Reorder, last: int, under_way: Future[Committed]) -> None:
        """Until the batch that ends with `last` is committed, read and encode what comes after it, as much as the next one takes.

        What is wrong with that is a problem for afterwards: the batch is good, or its own error tells more.
        """
        limit = self._grouping.limit if self._grouping.catching_up else 1
        while not under_way.done() and self._problem is None:
            following = reorder.complete(limit, after=last)
            group = self._grouping.group(following)
            enough = len(following) == limit or len(group) < len(following)
            try:
                read = not enough and self._read(consumer, reorder, 0, last)
            except IntegrityError as error:
                self._problem = error
                return
            encoded = self._ahead.prepare((ledger, reorder.required_parts(ledger)) for ledger in group)
            if not read and not encoded:
                wait((under_way,), IDLE_POLL_SECONDS)

    def _encoded(self, batch: list[Gathered], reorder: Reorder) -> list[LedgerRows]:
        """The rows of a batch, or of so many of its ledgers as are good and not too much together."""
        ledgers: list[LedgerRows] = []
        cursor, cursor_hash, count = reorder.cursor, reorder.cursor_hash, 0
        for gathered in batch:
            try:
                rows = self._ahead.rows(gathered, reorder.required_parts(gathered))
                check_chain([rows], cursor, cursor_hash)
            except IntegrityError:
                if ledgers:
                    break  # the good ones first: this one is the next, and raises again
                raise
            ledgers.append(rows)
            cursor, cursor_hash = rows.header.sequence, rows.header.hash.hex()
            count += rows.history_count
            if count >= self._most_rows:
                break
        return ledgers

    def _prove(self, reorder: Reorder) -> bool:
        """Prove the lead; False when what is required changed meanwhile, so that the batch has to be chosen again."""
        required = self._leadership.probe()
        self._proved_at = time.monotonic()
        if required == (reorder.required, reorder.versions):
            return True
        _log.info("required processors changed", required=required.first, versions=required.versions)
        reorder.required, reorder.versions = required
        return False

    def _watch(self, consumer: PartsConsumer, reorder: Reorder) -> None:
        now = time.monotonic()
        if now - self._observed_at < OBSERVE_SECONDS:
            return
        self._observed_at = now
        if now - self._proved_at > PROVE_SECONDS:
            self._prove(reorder)
        self._tip.observe(now)
        self._state.observe(reorder, self._tip, catching_up=self._grouping.catching_up)
        self._state.summarize()
        if consumer.trouble:
            self._state.troubled("kafka", consumer.trouble)
        else:
            self._state.well("kafka")
            if now - self._heard_at > IDLE_SECONDS:
                self._settled()
        waiting = self._state.waiting
        if waiting is not None and consumer.paused and now - self._heard_at > SEARCH_AFTER_SECONDS:
            _log.warning("the next ledger does not come: reading paused partitions too", ledger=waiting.sequence)
            consumer.resume(set(consumer.paused))
            self._heard_at = now
        elif consumer.lost and not consumer.trouble and now - self._heard_at > LOST_AFTER_SECONDS:
            raise IntegrityError(
                f"{next(iter(consumer.lost.values()))}: the broker deleted parts; ledger {reorder.cursor + 1} is nowhere else",
                hint=f"lumenstream produce --from {reorder.cursor + 1} makes them again; then start the sink",
            )
