"""Worker processes of the processors: start-up, the first offsets of a new consumer group, health, and `--workers N`.

A worker that stands still starts anew in a fresh process state (docs/decisions/0011): alone it executes itself again, with the
same process id; one of several ends with an exit code that only its parent sees, and the parent starts another in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Final

from lumenstream import kafka, logs, metrics, tracker
from lumenstream.errors import ConfigurationError, ExitCode, LumenstreamError
from lumenstream.ledgertopic import first_offset
from lumenstream.logs import get_logger
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import Settings
from lumenstream.xdr import DECODER
from processors import registry
from processors.agents import run_agents
from processors.handling import Status
from processors.losses import Losses
from processors.port import Processor
from schemas.messages import Topic
from schemas.processors import PROCESSORS

_FIRST_WAIT_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 15.0  # of the agents, and of a last report
_STALLED: Final = 75  # exit code between a worker and its parent
_ALL: Final = "all"
_BETWEEN: Final = "-"
_BACKFILL: Final = ".backfill"
_RESTARTS: Final = "LUMENSTREAM_WORKER_RESTARTS"  # how often a process has executed itself again

_log = get_logger("processor")


def group_of(settings: Settings) -> str:
    """The consumer group, which is also the Faust application's id. All workers of a group run the same processors."""
    suffix = _BACKFILL if settings.process.backfill else ""
    return group_prefix(settings) + (_BETWEEN.join(sorted(settings.process.processors)) or _ALL) + suffix


def group_prefix(settings: Settings) -> str:
    """How the groups of all workers begin."""
    return settings.kafka.topic("lumenstream.processors.")


def processors_of_group(settings: Settings, group: str) -> frozenset[str]:
    """The processors of live ledgers that a group of workers runs, from its name; none when it works for backfills."""
    names = group.removeprefix(group_prefix(settings))
    if names.endswith(_BACKFILL):
        return frozenset()
    return frozenset(PROCESSORS if names == _ALL else names.split(_BETWEEN))


def run(
    settings: Settings,
    worker: int = 0,
    *,
    processors: list[Processor] | None = None,
    stop: threading.Event | None = None,
    restarts: int = 0,
    anew: Callable[[], None] | None = None,
) -> None:
    """One worker, until SIGTERM, SIGINT or `stop`. Tests may pass processors of their own.

    `anew` starts a worker anew that stands still, and does not return; without it that is a StalledError.
    """
    used = processors if processors is not None else processors_of(settings)
    status = Status()
    status.restarts = restarts
    metrics.WORKER_RESTARTS.inc(restarts)
    for processor in used:
        metrics.PROCESSOR_FAILURES.labels(processor.name)  # there as 0 from the start: one that is born as 1 never rose
    port = settings.process.http_port + worker if settings.process.http_port else 0
    server = RoleServer(settings.http, port, lambda: health(status, worker), setting="process.http_port").start()
    metrics.DECODER_INFO.labels(DECODER).set(1)
    try:
        kafka.wait_for_broker(settings.kafka, _FIRST_WAIT_SECONDS)
        kafka.ensure_topics(settings.kafka)
        if worker == 0:
            set_first_offsets(settings)
        losses = Losses(settings.kafka.topic(Topic.LEDGERS), status)
        if not settings.process.backfill:
            note_lost_ledgers(settings, losses)
        _log.info(
            "worker started",
            worker=worker,
            decoder=DECODER,
            group=group_of(settings),
            processors=[processor.name for processor in used],
            http_port=server.port,
        )
        run_agents(settings, group_of(settings), used, status, losses, stop, anew)
        _log.info("worker ended", worker=worker, ledger=status.ledger)
    finally:
        server.stop()


def processors_of(settings: Settings) -> list[Processor]:
    """The configured processors; in a worker for backfills those that write history, which leave current state out."""
    process = settings.process
    return registry.create(process.processors or None, settings.network.network_id(), history_only=process.backfill)


def health(status: Status, worker: int) -> Health:
    """Not ok while Kafka takes no parts, and for good after a message whose headers cannot be read: no sink would notice that."""
    details = {
        "role": "processor",
        "worker": worker,
        "ledger": status.ledger,
        "partitions": status.assigned,
        "assignment": status.assignment,
        "failures": status.failures,
        "unreadable_messages": status.unreadable,
        "restarts": status.restarts,
        "problems": [status.lost] if status.lost else [],
        "error": status.problem,
    }
    return Health(ok=not status.problem, ready=status.started and not status.problem, details=details)


def note_lost_ledgers(settings: Settings, losses: Losses) -> None:
    """Say at the start what the broker deleted before the group read it, also where no later ledger has come yet to show it."""
    topic = settings.kafka.topic(Topic.LEDGERS)
    reader = kafka.GroupReader(settings.kafka, group_of(settings), (topic,))
    try:
        losses.tell({partition: offsets for (_, partition), offsets in reader.lost().items()})
    finally:
        reader.close()


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


def run_workers(settings: Settings) -> None:
    """`--workers N` processes. One that stands still is replaced; when one ends in another way all end, with its exit code."""
    count = settings.process.workers
    if count == 1:
        earlier = int(os.environ.get(_RESTARTS, "0"))
        run(settings, restarts=earlier, anew=partial(_execute_again, earlier + 1))
        return
    kafka.wait_for_broker(settings.kafka, _FIRST_WAIT_SECONDS)
    kafka.ensure_topics(settings.kafka)
    set_first_offsets(settings)
    context = multiprocessing.get_context("spawn")
    restarts = [0] * count

    def create(number: int) -> SpawnProcess:
        return context.Process(target=_child, args=(settings, number, restarts[number]), name=f"worker-{number}")

    workers = [create(number) for number in range(count)]
    asked = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: _pass_on(workers, asked))
    for worker in workers:
        worker.start()
    code = 0
    while True:
        for number in [number for number, worker in enumerate(workers) if worker.exitcode == _STALLED and not asked.is_set()]:
            restarts[number] += 1
            workers[number] = create(number)
            workers[number].start()
        alive = [worker for worker in workers if worker.is_alive()]
        if not alive:
            break
        wait([worker.sentinel for worker in alive], timeout=0.5)
        ended = [worker for worker in workers if worker.exitcode not in (None, 0, _STALLED)]
        if ended or asked.is_set():
            code = 0 if asked.is_set() or not ended else _exit_code(ended[0])
            if not asked.is_set():
                _log.error("a worker ended, ending all", worker=ended[0].name, exit_code=code)
            break
    _end_all(workers)
    good = (0, -signal.SIGTERM, _STALLED) if asked.is_set() else (0,)  # a worker that was asked to end before it could listen
    if code == 0 and (late := [worker for worker in workers if worker.exitcode not in good]):
        code = _exit_code(late[0])
    if code:
        raise SystemExit(code)


def _execute_again(restarts: int) -> None:
    """The same command in this process, from the start. The threads of a client that stands still may never end by themselves."""
    os.environ[_RESTARTS] = str(restarts)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _end_stalled() -> None:
    """End at once, as above, for the parent to start another."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_STALLED)


def _child(settings: Settings, worker: int, restarts: int) -> None:
    logs.configure(settings.log, f"processor-{worker}")
    tracker.start(settings.tracker, "worker")
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    try:
        # The parent has set the first offsets, before any member joined the group.
        without_from = settings.model_copy(update={"process": settings.process.model_copy(update={"from_ledger": None})})
        run(without_from, worker, restarts=restarts, anew=_end_stalled)
    except LumenstreamError as error:
        _log.error("worker failed", worker=worker, error=str(error), hint=error.hint)
        tracker.report_end(error)
        raise SystemExit(int(error.exit_code)) from error
    except Exception as error:  # multiprocessing would print it, and no more
        tracker.report_end(error)
        raise


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
