"""The processors on Faust agents: topics `ledgers` and `ledgers.retry` in, `ledger-changes` out, same partition number; or, in a
worker for backfills, `ledgers.backfill` in and `ledger-changes.backfill` out.

This is the one module that knows Faust, and it uses only what loses nothing: manual acknowledgement of single events, one actor
per agent, raw bytes, a supervisor that ends the worker, the aiokafka driver. An event is acknowledged after everything it gave
rise to is delivered, in the order of arrival; a few ledgers are in flight so that processing goes on meanwhile. A worker that
stands still although its group has messages to read starts anew (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast

import faust
from faust.exceptions import ConsumerNotStarted, ProducerSendError
from faust.tables import TableManager
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer
from faust.transport.drivers.aiokafka import Transport as AIOKafkaTransport

from lumenstream import metrics
from lumenstream.crashpoint import crashpoint
from lumenstream.errors import StalledError, UnreachableError
from lumenstream.kafka import GroupReader
from lumenstream.logs import get_logger
from lumenstream.settings import KafkaSettings, Settings
from processors.handling import Handling, Outgoing, Source, Status
from processors.losses import Losses
from processors.offsets import Offsets
from processors.port import Processor
from processors.watch import Watch
from schemas.messages import Topic

IN_FLIGHT_LEDGERS: Final = 8  # per agent: sent, and not yet acknowledged
BUFFERED_MESSAGES: Final = 16  # per agent: read, and not yet processed
_BATCH_BYTES: Final = 1 << 20
_LINGER_SECONDS: Final = 0.0
# aiokafka's lz4 is its slowest level and has no other: 6.5 ms a ledger against 0.4 for a sixth more bytes.
_COMPRESSION: Final = "snappy"
_HEARTBEAT_SECONDS: Final = 1.0
_COMMIT_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 5.0  # at most, between two looks at the group's offsets
_LOOKS_PER_STALL: Final = 5
_COLLECT_EVERY_LEDGERS: Final = 64
_STOP_SECONDS: Final = 5.0

# aiokafka has no types: mypy sees what is declared here.
KafkaError: type[Exception] = import_module("aiokafka.errors").KafkaError

_log = get_logger("processor")


class _Recovery(Recovery):
    """Resumes the streams after a rebalance. Faust's own takes a time-out for the end of the service and never resumes again."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - the signature is Faust's
        """Without a time-out: it ends with the next rebalance or the service, and the broker is asked until it answers."""
        await super()._wait(coro)


class _TableManager(TableManager):
    """Of no tables, but the streams begin with its recovery."""

    async def on_start(self) -> None:
        """At once: Faust's own first waits a second, so that tables may be declared meanwhile."""
        await self._update_channels()
        if not self.should_stop:
            await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = _Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


class _ConsumerThread(AIOKafkaConsumerThread):
    """Faust's own seek leaves a partition without a committed offset where it is: past what was fetched and thrown away."""

    def _losses(self) -> Losses:
        return cast(_Transport, self.consumer.transport).losses

    def _offsets(self) -> Offsets:
        return cast(_Transport, self.consumer.transport).offsets

    async def seek_to_committed(self) -> Any:
        return await self.call_thread(self._seek_to_committed)

    async def _seek_to_committed(self) -> Any:
        consumer = self._ensure_consumer()
        offsets = await consumer.seek_to_committed()
        if unread := [partition for partition, offset in offsets.items() if not offset]:
            await consumer.seek_to_beginning(*unread)
        for (topic, partition), offset in offsets.items():
            self._losses().goes_on_at(topic, partition, offset)
            self._offsets().sought((topic, partition))
        return offsets

    async def _fetch_records(self, *arguments: Any, **options: Any) -> Any:
        """Batches by partition, each without holes."""
        batches = await super()._fetch_records(*arguments, **options)
        for (topic, partition), batch in batches.items():
            self._losses().was_given(topic, partition, batch[0].offset, batch[-1].offset)
            self._offsets().was_given((topic, partition), [record.offset for record in batch])
        return batches

    def unread(self) -> dict[tuple[str, int], range]:
        """By assigned partition where the client stands and the offset behind the last message, as of the last fetch; from any
        thread."""
        subscription = self._consumer._subscription.subscription if self._consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        states = {} if assignment is None else {partition: assignment.state_value(partition) for partition in assignment.tps}
        known = {tp: (state._position, state.highwater) for tp, state in states.items()}
        return {(tp.topic, tp.partition): range(at, end) for tp, (at, end) in known.items() if at is not None and end is not None}


class _Consumer(AIOKafkaConsumer):
    async def verify_all_partitions_active(self) -> None:
        """Nothing: Faust's only logs, and ends the worker while a partition has no position: after a seek to its start, until the
        broker has said where that is. Our own watch does more (docs/decisions/0011)."""

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: Any) -> int | None:
        """What may be committed. Faust's own passes over a message that was thrown away (docs/decisions/0011)."""
        acknowledged = self._acked_index[tp]
        offset = cast(_Transport, self.transport).offsets.processed(tp, acknowledged)
        if offset is None or not any(done < offset for done in acknowledged):
            return None
        acknowledged.difference_update([done for done in acknowledged if done < offset])
        self._acked[tp] = sorted(acknowledged)
        return offset

    def held(self) -> dict[tuple[str, int], int]:
        """By partition the offset of a message that is missing although a later one was acknowledged."""
        offsets = cast(_Transport, self.transport).offsets
        found = {tp: offsets.held(tp, acknowledged) for tp, acknowledged in self._acked_index.items()}
        return {tp: offset for tp, offset in found.items() if offset is not None}

    def behind(self) -> dict[tuple[str, int], int]:
        """By partition the messages that are not processed, as far as its last fetch told; nothing is asked."""
        offsets = cast(_Transport, self.transport).offsets
        return {tp: offsets.behind(tp, unread) for tp, unread in cast(_ConsumerThread, self._thread).unread().items()}


class _Transport(AIOKafkaTransport):
    Consumer = _Consumer
    losses: Losses
    offsets: Offsets


class _Message(Protocol):
    """What we read of a Faust message."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any


class _Event(Protocol):
    """What we use of a Faust event."""

    message: _Message

    def ack(self) -> bool: ...


class _InFlight(NamedTuple):
    event: _Event
    sent: list[tuple[Outgoing, Awaitable[Any] | None]]


def create_app(settings: Settings, group: str, losses: Losses) -> Any:
    """A Faust application whose id, and so its consumer group, is `group`."""
    kafka = settings.kafka
    # Its timers complain whenever a ledger takes longer than their interval, which is no news and no harm.
    logging.getLogger("mode.timers").setLevel(logging.ERROR)
    credentials = _credentials(kafka)
    app = faust.App(
        group,
        broker=[f"aiokafka://{address.strip()}" for address in kafka.bootstrap.split(",")],
        **({"broker_credentials": credentials} if credentials else {}),
        key_serializer="raw",
        value_serializer="raw",
        agent_supervisor="mode.CrashingSupervisor",
        store="memory://",
        TableManager=_TableManager,
        datadir=Path(tempfile.gettempdir()) / "lumenstream-faust",
        web_enabled=False,
        autodiscover=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFERED_MESSAGES,
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_heartbeat_interval=min(_HEARTBEAT_SECONDS, kafka.session_timeout_seconds / 3),
        broker_rebalance_timeout=kafka.session_timeout_seconds,
        broker_request_timeout=max(kafka.request_timeout_seconds, kafka.session_timeout_seconds) + 1,
        broker_commit_interval=_COMMIT_SECONDS,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=kafka.max_message_bytes,
        producer_max_request_size=kafka.max_message_bytes,
        producer_max_batch_size=_BATCH_BYTES,
        producer_linger=_LINGER_SECONDS,
        producer_compression_type=_COMPRESSION,
        producer_request_timeout=kafka.request_timeout_seconds,
        producer_acks=-1,
    )
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.transport.losses = losses
    app.transport.offsets = Offsets()
    return app


def _credentials(kafka: KafkaSettings) -> Any:
    encrypted = kafka.security_protocol in ("SSL", "SASL_SSL")
    context = ssl.create_default_context(cafile=kafka.ssl_ca_location or None) if encrypted else None
    if kafka.sasl_mechanism:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


class Agents:
    """The agents of one worker process."""

    def __init__(
        self,
        settings: Settings,
        group: str,
        processors: list[Processor],
        status: Status,
        losses: Losses,
        anew: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._group = group
        self._anew = anew
        self._steps = 0  # anything done, or any reason given for doing nothing
        self._status = status
        self._handling = Handling(settings, len(processors), status)
        self._acknowledged = 0
        self._per_ledger = len(processors)
        self._failure: BaseException | None = None
        self._ended = asyncio.Event()
        self._app = create_app(settings, group, losses)
        read = (Topic.LEDGERS_BACKFILL,) if settings.process.backfill else (Topic.LEDGERS, Topic.LEDGERS_RETRY)
        self._topics = {settings.kafka.topic(topic): topic for topic in read}
        channel = self._app.topic(*self._topics, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes)
        for processor in processors:
            self._app.agent(channel, name=processor.name, concurrency=1)(self._agent(processor))

    def end(self) -> None:
        """Ask for a stop; from the event loop only."""
        self._ended.set()

    async def run(self) -> None:
        """Until `end`, or until anything fails that cannot be retried, which is raised."""
        watching = asyncio.create_task(self._watch_progress())
        watching.add_done_callback(self._note_end)
        try:
            await self._start()
            gc.collect()
            gc.freeze()
            gc.disable()
            while not self._ended.is_set():
                if self._app.crashed:
                    raise self._app.crash_reason or UnreachableError("the Faust application crashed")
                assigned = sorted(self._assignment())
                self._status.assigned = len(assigned)
                self._status.assignment = tuple(f"{topic} {partition}" for topic, partition in assigned)
                counts = Counter(topic for topic, _ in assigned)
                for name, topic in self._topics.items():
                    metrics.ASSIGNED_PARTITIONS.labels(topic).set(counts[name])
                try:
                    await asyncio.wait_for(self._ended.wait(), _WATCH_SECONDS)
                except TimeoutError:
                    continue
        finally:
            gc.enable()
            watching.cancel()
            self._status.started = False
            await self._stop()
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        """Until the streams run, or until `end`: a group takes its time, and a client that stands still for ever."""
        starting, ended = asyncio.create_task(self._app.start()), asyncio.create_task(self._ended.wait())
        await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not starting.done():
            starting.cancel()
            return
        await starting
        self._status.started = True

    def _assignment(self) -> set[tuple[str, int]]:
        try:
            return set(self._app.consumer.assignment())
        except ConsumerNotStarted:
            return set()

    async def _stop(self) -> None:
        stopping = asyncio.create_task(self._app.stop())
        await asyncio.wait((stopping,), timeout=_STOP_SECONDS)
        if stopping.done():
            await stopping
        else:
            _log.warning("the Faust application did not stop in time", seconds=_STOP_SECONDS)

    async def _watch_progress(self) -> None:
        """StalledError, or a fresh start where there is a way to one, when nothing happens although the group is behind, or when
        a message is missing that others wait for."""
        stall_seconds = self._settings.process.stall_seconds
        watch, missing = Watch(stall_seconds), Watch(stall_seconds)
        reader = GroupReader(self._settings.kafka, self._group, [*self._topics])
        try:
            while True:
                await asyncio.sleep(min(_LOOK_SECONDS, stall_seconds / _LOOKS_PER_STALL))
                if self._status.started and missing.stalled(self._app.consumer.held(), (), time.monotonic()):
                    self._give_up(f"messages were passed over for {stall_seconds:g} s: {missing.stuck()}")
                if watch.moves(self._steps):
                    if self._status.started:
                        self._tell_lag(self._app.consumer.behind())
                    continue
                try:
                    behind = await asyncio.to_thread(reader.behind)
                except UnreachableError:
                    watch.forget()  # the agents wait for the same broker, and say so
                    continue
                self._tell_lag({place: len(offsets) for place, offsets in behind.items()})
                waiting = {place: offsets.start for place, offsets in behind.items()}
                stalled = watch.stalled(waiting, self._assignment(), time.monotonic())
                if stalled and not watch.moves(self._steps):
                    self._give_up(f"nothing was read for {stall_seconds:g} s although messages wait: {watch.stuck()}")
        finally:
            reader.close()

    def _tell_lag(self, behind: Mapping[tuple[str, int], int]) -> None:
        """`behind`: by partition the messages that wait, by the client's word while it works, by the broker's otherwise."""
        lag: Counter[str] = Counter()
        for topic, partition in self._assignment():
            lag[topic] += behind.get((topic, partition), 0)
        for name, topic in self._topics.items():
            metrics.WORKER_LAG_MESSAGES.labels(topic).set(lag[name])

    def _give_up(self, problem: str) -> None:
        """Only what is acknowledged was committed, so whoever comes next reads the rest again."""
        self._status.problem = problem
        _log.error("the worker stands still, starting anew", problem=problem)
        if self._anew is not None:
            self._anew()
        metrics.WORKER_RESTARTS.inc()
        raise StalledError(problem, hint="start the worker again")

    def _agent(self, processor: Processor) -> Callable[[Any], Awaitable[None]]:
        async def process(stream: Any) -> None:
            waiting: asyncio.Queue[_InFlight] = asyncio.Queue(IN_FLIGHT_LEDGERS)
            acknowledging = asyncio.create_task(self._acknowledge(processor, waiting))
            acknowledging.add_done_callback(self._note_end)
            try:
                async for event in cast(AsyncIterator[_Event], stream.noack().events()):
                    outgoing = self._handling.handle(processor, _source(event))
                    self._steps += 1
                    crashpoint("worker.before_send")
                    sent = [(message, await self._send(message)) for message in outgoing]
                    crashpoint("worker.after_send")
                    await waiting.put(_InFlight(event, sent))
                    await asyncio.sleep(0)  # keeps the agents in step, so that a decoded ledger is soon let go
            finally:
                acknowledging.cancel()

        process.__name__ = processor.name
        return process

    async def _acknowledge(self, processor: Processor, waiting: asyncio.Queue[_InFlight]) -> None:
        """Wait for deliveries in order of arrival, then acknowledge."""
        while True:
            event, sent = await waiting.get()
            for message, delivery in sent:
                await self._delivered(message, delivery)
            crashpoint("worker.before_ack")
            event.ack()
            self._steps += 1
            if len(sent) == 1:
                metrics.PARTS_SENT.labels(processor.name).inc()
                metrics.PART_BYTES.labels(processor.name).inc(len(sent[0][0].value))
            metrics.PROCESSED_LEDGER.set(self._status.ledger)
            metrics.PROCESSED_CLOSE_TIME.set(self._status.close_time)
            self._acknowledged += 1
            if self._acknowledged % (_COLLECT_EVERY_LEDGERS * self._per_ledger) == 0:
                gc.collect()

    async def _send(self, message: Outgoing) -> Awaitable[Any] | None:
        """Hand a message to the producer; None when that failed, which `_delivered` mends."""
        try:
            producer = await self._app.maybe_start_producer()
            return cast(
                Awaitable[Any],
                await producer.send(message.topic, message.key, message.value, message.partition, None, message.headers),
            )
        except (KafkaError, ProducerSendError) as error:
            self._note_problem(message, error)
            return None

    async def _delivered(self, message: Outgoing, delivery: Awaitable[Any] | None) -> None:
        """Wait for the delivery, sending again until it succeeds."""
        while True:
            if delivery is not None:
                try:
                    await delivery
                    if not self._status.unreadable:
                        self._status.problem = ""
                    return
                except (KafkaError, ProducerSendError) as error:
                    self._note_problem(message, error)
            await asyncio.sleep(_RETRY_SECONDS)
            delivery = await self._send(message)

    def _note_problem(self, message: Outgoing, error: Exception) -> None:
        self._steps += 1
        metrics.SERVER_ERRORS.labels("kafka").inc()
        self._status.problem = f"Kafka does not take messages: {error!r}"
        _log.warning("delivery failed, sending again", topic=message.topic, partition=message.partition, error=repr(error))

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Tasks of ours only end by being cancelled; anything else ends the worker."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._ended.set()


def _source(event: _Event) -> Source:
    message = event.message
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return Source(message.topic, message.partition, message.offset, message.key, message.value or b"", [*headers])


def run_agents(
    settings: Settings,
    group: str,
    processors: list[Processor],
    status: Status,
    losses: Losses,
    stop: threading.Event | None = None,
    anew: Callable[[], None] | None = None,
) -> None:
    """Run a worker's agents in an event loop of their own until SIGTERM, SIGINT or `stop`.

    A worker that stands still calls `anew`, which does not return; without it StalledError ends the run.
    """

    async def main() -> None:
        agents = Agents(settings, group, processors, status, losses, anew)
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():

            def end(*_: object) -> None:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(agents.end)

            # Not the loop's own handlers: those go with the loop, and a second signal would then kill a worker that ends.
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, end)
        watching = asyncio.create_task(_watch(stop, agents)) if stop is not None else None
        try:
            await agents.run()
        finally:
            if watching is not None:
                watching.cancel()

    asyncio.run(main())


async def _watch(stop: threading.Event, agents: Agents) -> None:
    while not await asyncio.to_thread(stop.wait, _WATCH_SECONDS):
        pass
    agents.end()
