"""Worker processes of the processors: start-up, the first offsets of a new consumer group, health, and `--workers N`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Final

from lumenstream import kafka, logs, metrics
from lumenstream.errors import ConfigurationError, ExitCode, LumenstreamError
from lumenstream.logs import get_logger
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import Settings
from lumenstream.xdr import DECODER
from processors import registry
from processors.agents import run_agents
from processors.handling import Status
from processors.port import Processor
from schemas.messages import LedgerHeaders, MessageError, Topic

_FIRST_WAIT_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0

_log = get_logger("processor")


def group_of(settings: Settings) -> str:
    """The consumer group, which is also the Faust application's id. All workers of a group run the same processors."""
    names = sorted(settings.process.processors)
    suffix = ".backfill" if settings.process.backfill else ""
    return settings.kafka.topic(f"lumenstream.processors.{'-'.join(names) if names else 'all'}{suffix}")


def run(
    settings: Settings, worker: int = 0, *, processors: list[Processor] | None = None, stop: threading.Event | None = None
) -> None:
    """One worker, until SIGTERM, SIGINT or `stop`. Tests may pass processors of their own."""
    chosen = settings.process.processors
    used = processors if processors is not None else registry.create(chosen or None, settings.network.network_id())
    status = Status()
    port = settings.process.http_port + worker if settings.process.http_port else 0
    server = RoleServer(settings.http, port, lambda: health(status, worker), setting="process.http_port").start()
    metrics.DECODER_INFO.labels(DECODER).set(1)
    try:
        kafka.wait_for_broker(settings.kafka, _FIRST_WAIT_SECONDS)
        kafka.ensure_topics(settings.kafka)
        if worker == 0:
            set_first_offsets(settings)
        _log.info(
            "worker started",
            worker=worker,
            decoder=DECODER,
            group=group_of(settings),
            processors=[processor.name for processor in used],
            http_port=server.port,
        )
        run_agents(settings, group_of(settings), used, status, stop)
        _log.info("worker ended", worker=worker, ledger=status.ledger)
    finally:
        server.stop()


def health(status: Status, worker: int) -> Health:
    """Not ok while Kafka takes no parts, and for good after a message whose headers cannot be read: no sink would notice that."""
    details = {
        "role": "processor",
        "worker": worker,
        "ledger": status.ledger,
        "partitions": status.assigned,
        "failures": status.failures,
        "unreadable_messages": status.unreadable,
        "error": status.problem,
    }
    return Health(ok=not status.problem, ready=status.started and not status.problem, details=details)


def set_first_offsets(settings: Settings) -> None:
    """Let a group that never committed start at `--from N`. Without it Faust starts at the earliest message kept."""
    first, group = settings.process.from_ledger, group_of(settings)
    if first is None:
        return
    if settings.process.backfill:
        raise ConfigurationError("a worker for backfills takes no --from", hint="the job says which ledgers it processes")
    topic = settings.kafka.topic(Topic.LEDGERS)
    if kafka.group_has_offsets(settings.kafka, group, topic):
        _log.warning("the group has offsets already and goes on there, --from is not used", group=group, from_ledger=first)
        return
    reader = kafka.TopicReader(settings.kafka, topic)
    try:
        offsets = {partition: first_offset(reader, partition, first) for partition in range(settings.kafka.partitions)}
    finally:
        reader.close()
    kafka.commit_group_offsets(settings.kafka, group, topic, offsets)
    _log.info("new group starts at the ledger asked for", group=group, from_ledger=first)


def first_offset(reader: kafka.TopicReader, partition: int, sequence: int) -> int:
    """An offset with a ledger at or above `sequence` right after a lower one: everything from `sequence` on lies behind it.

    Sequences rise by steps and only ever fall back (a ledger sent again), so a binary search finds such a place.
    """
    low, high = reader.watermarks(partition)
    while low < high:
        middle = (low + high) // 2
        message = reader.one(partition, middle)
        try:
            found = LedgerHeaders.from_kafka(kafka.headers_of(message)).sequence
        except MessageError:
            found = sequence  # unreadable: keep it, so that it is reported
        if found < sequence:
            low = middle + 1
        else:
            high = middle
    return low


def run_workers(settings: Settings) -> None:
    """`--workers N` processes. Nothing is restarted: when one ends abnormally all end, with its exit code (SystemExit)."""
    count = settings.process.workers
    if count == 1:
        run(settings)
        return
    kafka.wait_for_broker(settings.kafka, _FIRST_WAIT_SECONDS)
    kafka.ensure_topics(settings.kafka)
    set_first_offsets(settings)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_child, args=(settings, number), name=f"worker-{number}") for number in range(count)]
    asked = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: _pass_on(workers, asked))
    for worker in workers:
        worker.start()
    code = 0
    while alive := [worker for worker in workers if worker.is_alive()]:
        wait([worker.sentinel for worker in alive], timeout=0.5)
        ended = [worker for worker in workers if worker.exitcode not in (None, 0)]
        if ended or asked.is_set():
            code = 0 if asked.is_set() or not ended else _exit_code(ended[0])
            if not asked.is_set():
                _log.error("a worker ended, ending all", worker=ended[0].name, exit_code=code)
            break
    _end_all(workers)
    good = (0, -signal.SIGTERM) if asked.is_set() else (0,)  # a worker that was asked to end before it could listen
    if code == 0 and (late := [worker for worker in workers if worker.exitcode not in good]):
        code = _exit_code(late[0])
    if code:
        raise SystemExit(code)


def _child(settings: Settings, worker: int) -> None:
    logs.configure(settings.log, f"processor-{worker}")
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    try:
        # The parent has set the first offsets, before any member joined the group.
        without_from = settings.model_copy(update={"process": settings.process.model_copy(update={"from_ledger": None})})
        run(without_from, worker)
    except LumenstreamError as error:
        _log.error("worker failed", worker=worker, error=str(error), hint=error.hint)
        raise SystemExit(int(error.exit_code)) from error


def _end_with_parent() -> None:
    """A worker whose supervisor was killed ends too."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _pass_on(workers: list[SpawnProcess], asked: threading.Event) -> None:
    asked.set()
    for worker in workers:
        if worker.is_alive():
            worker.terminate()


def _end_all(workers: list[SpawnProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            _log.warning("worker did not end in time, killing it", worker=worker.name)
            worker.kill()
            worker.join()


def _exit_code(worker: SpawnProcess) -> int:
    code = worker.exitcode
    return ExitCode.UNEXPECTED if code is None or code < 0 else code
