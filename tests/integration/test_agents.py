"""Processors on Faust agents against a real broker: parts, headers, failures, and workers that are killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

import orjson
import pytest
from confluent_kafka import Message, Producer, TopicPartition
from prometheus_client import REGISTRY

from lumenstream import kafka as clients
from lumenstream import metrics
from lumenstream.embedded import EmbeddedTansu
from lumenstream.errors import UnreachableError
from lumenstream.settings import Settings, load_settings
from lumenstream.xdr import decode_ledger
from lumenstream.xdr.rows import Ledger
from processors import agents, handling, registry, worker
from processors.port import Processor
from sandbox import ClosedLedger, Sandbox, SandboxSettings
from schemas.messages import Headers, LedgerHeaders, PartHeaders, PartKind, Topic, partition_of
from schemas.parts import Part, encode
from schemas.processors import PROCESSORS
from tests.plugins.proxy import TcpProxy
from tests.plugins.servers import KafkaForTest
from tests.servers.cache import Unavailable
from tests.servers.kafka import KafkaServer

PARTITIONS = 4
LEDGERS = 16
FIRST = 2
LAST = FIRST + LEDGERS - 1
WAIT_SECONDS = 90.0  # starts of processes on a busy machine included
NETWORK = SandboxSettings(transactions_per_ledger=2)


class Plain:
    """A processor without output that can be told to raise."""

    version = 3

    def __init__(self, name: str, broken: int = 0) -> None:
        self.name = name
        self.broken = broken
        self.seen: list[int] = []

    def process(self, ledger: Ledger) -> Part:
        self.seen.append(ledger.header.sequence)
        if ledger.header.sequence == self.broken:
            raise ZeroDivisionError(f"ledger {self.broken} is too much for {self.name}")
        return Part()


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    sandbox = Sandbox(NETWORK)
    return [sandbox.close_ledger() for _ in range(LEDGERS)]


def make_settings(bootstrap: str, prefix: str, **flags: Any) -> Settings:
    defaults = {
        "kafka__bootstrap": bootstrap,
        "kafka__topic_prefix": prefix,
        "kafka__partitions": PARTITIONS,
        "kafka__request_timeout_seconds": 5.0,
        "kafka__session_timeout_seconds": 3.0,
        "process__http_port": 0,
    }
    settings = load_settings(**(defaults | flags))
    clients.ensure_topics(settings.kafka)
    return settings


@pytest.fixture
def settings(kafka: KafkaForTest) -> Settings:
    return make_settings(kafka.bootstrap, kafka.topic_prefix)


def headers_of(settings: Settings, closed: ClosedLedger) -> LedgerHeaders:
    return LedgerHeaders(
        sequence=closed.sequence,
        previous_sequence=closed.sequence - 1 if closed.sequence > FIRST else None,
        close_time=closed.close_time,
        ledger_hash=closed.hash.hex(),
        protocol_version=23,
        network_id=settings.network.network_id().hex(),
    )


def put(
    settings: Settings,
    closed: ClosedLedger,
    *,
    topic: Topic = Topic.LEDGERS,
    value: bytes | None = None,
    headers: Headers | None = None,
) -> None:
    producer = Producer(clients.producer_config(settings.kafka))
    producer.produce(
        settings.kafka.topic(topic),
        closed.meta if value is None else value,
        str(closed.sequence).encode(),
        partition_of(closed.sequence, 1, PARTITIONS),
        headers=[*(headers_of(settings, closed).to_kafka() if headers is None else headers)],
    )
    assert producer.flush(10) == 0


def put_all(settings: Settings, ledgers: list[ClosedLedger]) -> None:
    for closed in ledgers:
        put(settings, closed)


def messages(settings: Settings, topic: Topic) -> list[Message]:
    found: list[Message] = []

    def take(message: Message) -> bool:
        found.append(message)
        return True

    reader = clients.TopicReader(settings.kafka, settings.kafka.topic(topic))
    try:
        for partition in range(settings.kafka.partitions):
            reader.read(partition, *reader.watermarks(partition), take)
    finally:
        reader.close()
    return found


def parts(settings: Settings) -> list[tuple[PartHeaders, Message]]:
    return [
        (PartHeaders.from_kafka(clients.headers_of(message)), message) for message in messages(settings, Topic.LEDGER_CHANGES)
    ]


def pairs(settings: Settings) -> set[tuple[str, int]]:
    return {(headers.processor, headers.sequence) for headers, _ in parts(settings)}


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.1)


@contextmanager
def running(settings: Settings, processors: list[Processor]) -> Iterator[threading.Thread]:
    """A worker in a thread of this process."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(settings,), kwargs={"processors": processors, "stop": stop})
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive()


def expected(names: list[str], ledgers: list[ClosedLedger]) -> set[tuple[str, int]]:
    return {(name, closed.sequence) for name in names for closed in ledgers}


class TestParts:
    def test_same_partition_same_bytes_right_headers(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        put_all(settings, chain)
        processors = registry.create(None, settings.network.network_id())
        with running(settings, processors):
            wait_until(lambda: len(parts(settings)) == LEDGERS * len(processors))
        by_name = {processor.name: processor for processor in processors}
        by_sequence = {closed.sequence: closed for closed in chain}
        for headers, message in parts(settings):
            closed, processor = by_sequence[headers.sequence], by_name[headers.processor]
            partition = partition_of(closed.sequence, 1, PARTITIONS)
            assert message.partition() == partition
            assert message.key() == str(closed.sequence).encode()
            ledger = headers_of(settings, closed)
            assert headers == PartHeaders(
                kind=PartKind.PART,
                processor=processor.name,
                version=processor.version,
                schema=1,
                sequence=ledger.sequence,
                previous_sequence=ledger.previous_sequence,
                close_time=ledger.close_time,
                ledger_hash=ledger.ledger_hash,
                network_id=ledger.network_id,
                job="live",
                source_topic=settings.kafka.topic(Topic.LEDGERS),
                source_partition=partition,
                source_offset=(closed.sequence - FIRST) // PARTITIONS,
            )
            assert message.value() == encode(processor.process(decode_ledger(closed.meta, settings.network.network_id())))

    def test_a_ledger_is_decoded_once_for_all(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decoded: Counter[bytes] = Counter()

        def count(data: bytes, network_id: bytes) -> Ledger:
            decoded[data] += 1
            return decode_ledger(data, network_id)

        monkeypatch.setattr(handling, "decode_ledger", count)
        put_all(settings, chain)
        names = [f"p{number}" for number in range(9)]
        with running(settings, [Plain(name) for name in names]):
            wait_until(lambda: pairs(settings) == expected(names, chain))
        assert len(decoded) == LEDGERS and set(decoded.values()) == {1}

    def test_retry_runs_only_the_processors_named(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        only_b = replace(headers_of(settings, chain[0]), processors=("b",)).to_kafka()
        put(settings, chain[0], topic=Topic.LEDGERS_RETRY, headers=only_b)
        put(settings, chain[1], topic=Topic.LEDGERS_RETRY)
        with running(settings, [Plain("a"), Plain("b")]):
            wait_until(lambda: len(pairs(settings)) == 3)
            time.sleep(0.5)
        assert pairs(settings) == {("b", FIRST), ("a", FIRST + 1), ("b", FIRST + 1)}
        assert {headers.source_topic for headers, _ in parts(settings)} == {settings.kafka.topic(Topic.LEDGERS_RETRY)}

    def test_goes_on_where_it_was(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        first, second = Plain("a"), Plain("a")
        put_all(settings, chain[:8])
        with running(settings, [first]):
            wait_until(lambda: len(pairs(settings)) == 8)
            time.sleep(1.0)  # a commit interval
        put_all(settings, chain[8:])
        with running(settings, [second]):
            wait_until(lambda: len(pairs(settings)) == LEDGERS)
        assert sorted(second.seen) == [closed.sequence for closed in chain[8:]]


class Slow(Plain):
    """Takes its time until it is let go."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.go = Event()

    def process(self, ledger: Ledger) -> Part:
        self.go.wait(0.2)
        return super().process(ledger)


def lag(topic: Topic = Topic.LEDGERS) -> float | None:
    return REGISTRY.get_sample_value("lumenstream_worker_lag_messages", {"topic": topic})


class TestLag:
    """Guards: an autoscaler that went by the fastest worker's highest ledger, whatever waited on the others' partitions."""

    def test_a_worker_tells_what_waits_and_then_that_nothing_does(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without asking: the broker's answer to such a question never comes here."""

        def unknown(reader: clients.GroupReader) -> None:
            raise UnreachableError("no answer")

        monkeypatch.setattr(clients.GroupReader, "behind", unknown)
        often = make_settings(settings.kafka.bootstrap, settings.kafka.topic_prefix, process__stall_seconds=1.0)
        metrics.WORKER_LAG_MESSAGES.clear()
        for _ in range(3):
            put_all(settings, chain)
        slow = Slow("a")
        with running(often, [slow]):
            wait_until(lambda: 0 < (lag() or 0) < 3 * LEDGERS and len(slow.seen) < 3 * LEDGERS)
            assert lag(Topic.LEDGERS_RETRY) == 0
            slow.go.set()
            wait_until(lambda: len(slow.seen) == 3 * LEDGERS and lag() == 0)

    def test_of_a_worker_that_does_nothing_the_broker_tells(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send, go = agents.Agents._send, Event()

        async def held_up(worker_agents: agents.Agents, message: handling.Outgoing) -> Any:
            await asyncio.to_thread(go.wait, WAIT_SECONDS)
            return await send(worker_agents, message)

        monkeypatch.setattr(agents.Agents, "_send", held_up)
        monkeypatch.setattr(agents, "_LOOK_SECONDS", 0.5)
        metrics.WORKER_LAG_MESSAGES.clear()
        put_all(settings, chain)
        with running(settings, [Plain("a")]):
            wait_until(lambda: lag() == LEDGERS)
            put_all(settings, chain)
            put(settings, chain[0], topic=Topic.LEDGERS_RETRY)
            wait_until(lambda: (lag(), lag(Topic.LEDGERS_RETRY)) == (2 * LEDGERS, 1))
            go.set()
            wait_until(lambda: (lag(), lag(Topic.LEDGERS_RETRY)) == (0, 0))


class TestFirstOffsets:
    def test_a_new_group_starts_at_the_ledger_asked_for(self, kafka: KafkaForTest, chain: list[ClosedLedger]) -> None:
        settings = make_settings(kafka.bootstrap, kafka.topic_prefix, process__from_ledger=11)
        put_all(settings, chain)
        with running(settings, [Plain("a")]):
            wait_until(lambda: len(pairs(settings)) == LAST - 10)
            time.sleep(0.5)
        assert {sequence for _, sequence in pairs(settings)} == set(range(11, LAST + 1))

    def test_a_group_with_a_past_goes_on(self, kafka: KafkaForTest, chain: list[ClosedLedger]) -> None:
        settings = make_settings(kafka.bootstrap, kafka.topic_prefix)
        put_all(settings, chain[:4])
        with running(settings, [Plain("a")]):
            wait_until(lambda: len(pairs(settings)) == 4)
            time.sleep(1.0)
        put_all(settings, chain[4:8])
        again = Plain("a")
        with running(make_settings(kafka.bootstrap, kafka.topic_prefix, process__from_ledger=3), [again]):
            wait_until(lambda: len(pairs(settings)) == 8)
        assert sorted(again.seen) == [closed.sequence for closed in chain[4:8]]

    def test_the_group_holds_the_set_of_processors(self) -> None:
        assert worker.group_of(load_settings(kafka__topic_prefix="x.")) == "x.lumenstream.processors.all"
        chosen = load_settings(process__processors=("trustlines", "accounts"))
        assert worker.group_of(chosen) == "lumenstream.processors.accounts-trustlines"

    @pytest.mark.parametrize("names", [(), ("trustlines", "accounts"), *((name,) for name in PROCESSORS)])
    def test_the_groups_name_tells_the_processors(self, names: tuple[str, ...]) -> None:
        settings = load_settings(kafka__topic_prefix="x.", process__processors=names)
        assert worker.processors_of_group(settings, worker.group_of(settings)) == set(names or PROCESSORS)
        backfill = load_settings(kafka__topic_prefix="x.", process__processors=names, process__backfill=True)
        assert worker.processors_of_group(settings, worker.group_of(backfill)) == set()


class TestFailures:
    def failed(self, settings: Settings) -> list[dict[str, bytes]]:
        return [{"value": m.value() or b"", **dict(clients.headers_of(m))} for m in messages(settings, Topic.LEDGERS_FAILED)]

    def failures(self, settings: Settings) -> dict[tuple[str, int], dict[str, str]]:
        return {
            (headers.processor, headers.sequence): orjson.loads(message.value() or b"")
            for headers, message in parts(settings)
            if headers.kind is PartKind.FAILURE
        }

    def test_a_processor_that_raises(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        put_all(settings, chain)
        with running(settings, [Plain("good"), Plain("bad", broken=5)]):
            wait_until(lambda: pairs(settings) == expected(["good", "bad"], chain))
        failure = self.failures(settings)
        assert list(failure) == [("bad", 5)]
        assert failure["bad", 5]["error"] == "ZeroDivisionError: ledger 5 is too much for bad"
        assert "in process" in failure["bad", 5]["traceback"]
        (raw,) = self.failed(settings)
        assert raw["value"] == chain[3].meta
        assert (raw["failed-topic"], raw["failed-partition"], raw["failed-offset"], raw["failed-processor"]) == (
            settings.kafka.topic(Topic.LEDGERS).encode(),
            b"1",
            b"0",
            b"bad",
        )
        assert LedgerHeaders.from_kafka([(name, value) for name, value in raw.items() if name != "value"]).sequence == 5

    def test_a_truncated_ledger(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        put(settings, chain[0], value=chain[0].meta[:-20])
        put_all(settings, chain[1:])
        with running(settings, [Plain("a"), Plain("b")]):
            wait_until(lambda: pairs(settings) == expected(["a", "b"], chain))
        failure = self.failures(settings)
        assert set(failure) == {("a", FIRST), ("b", FIRST)}
        assert "LedgerDecodeError" in failure["a", FIRST]["error"]
        assert [raw["value"] for raw in self.failed(settings)] == [chain[0].meta[:-20]] * 2

    def test_another_network(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        put(settings, chain[0], headers=replace(headers_of(settings, chain[0]), network_id="ab" * 32).to_kafka())
        put(settings, chain[1])
        with running(settings, [Plain("a")]):
            wait_until(lambda: len(pairs(settings)) == 2)
        assert "the message is of network abab" in self.failures(settings)["a", FIRST]["error"]

    def test_headers_that_contradict_the_data(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        put(settings, chain[0], value=chain[1].meta)
        put(settings, chain[1])
        with running(settings, [Plain("a")]):
            wait_until(lambda: len(pairs(settings)) == 2)
        assert "the headers say ledger 2" in self.failures(settings)["a", FIRST]["error"]

    def test_unreadable_headers_turn_health_bad(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statuses: list[handling.Status] = []

        def remember() -> handling.Status:
            statuses.append(handling.Status())
            return statuses[-1]

        monkeypatch.setattr(worker, "Status", remember)
        put(settings, chain[0], headers=[("sequence", b"two")])
        put_all(settings, chain[1:])
        with running(settings, [Plain("a")]):
            wait_until(lambda: pairs(settings) == expected(["a"], chain[1:]))
            health = worker.health(statuses[0], 0)
            assert not health.ok
            assert "offset 0: MessageError: header previous-sequence is missing" in health.details["error"]
        assert not self.failures(settings)
        assert [raw["value"] for raw in self.failed(settings)] == [chain[0].meta]


class Gate(Plain):
    """A processor that stands before its first ledger until it is let go on. It holds up the whole worker."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reached, self.opened = Event(), Event()

    def process(self, ledger: Ledger) -> Part:
        self.reached.set()
        assert self.opened.wait(WAIT_SECONDS)
        return super().process(ledger)


class TestRetention:
    def test_ledgers_deleted_before_a_running_worker(
        self, kafka: KafkaForTest, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The worker has read some way ahead; what it was not given is told, and counted, and it goes on with what is there."""
        settings = make_settings(kafka.bootstrap, kafka.topic_prefix, kafka__max_message_bytes=1 << 20, kafka__partitions=1)
        topic = settings.kafka.topic(Topic.LEDGERS)
        statuses: list[handling.Status] = []

        def remember() -> handling.Status:
            statuses.append(handling.Status())
            return statuses[-1]

        monkeypatch.setattr(worker, "Status", remember)
        count, kept = 60, 2
        dice = random.Random(1)
        producer = Producer(clients.producer_config(settings.kafka))
        for _ in range(count):
            padding = ("padding", dice.randbytes(100_000).hex().encode())  # all of them are more than a client reads ahead
            producer.produce(topic, chain[0].meta, b"2", 0, headers=[*headers_of(settings, chain[0]).to_kafka(), padding])
        assert producer.flush(WAIT_SECONDS) == 0
        before = REGISTRY.get_sample_value("lumenstream_lost_messages_total") or 0.0
        gate = Gate("a")
        with running(settings, [gate]):
            assert gate.reached.wait(WAIT_SECONDS)
            try:
                admin = clients.admin(settings.kafka)
                (deleted,) = admin.delete_records([TopicPartition(topic, 0, count - kept)]).values()
                deleted.result(WAIT_SECONDS)
            finally:
                gate.opened.set()
            wait_until(lambda: bool(statuses[0].lost))
            wait_until(lambda: {headers.source_offset for headers, _ in parts(settings)} >= {count - 2, count - 1})
            health = worker.health(statuses[0], 0)
        lost = count - len(gate.seen)
        assert 0 < lost <= count - kept
        assert (REGISTRY.get_sample_value("lumenstream_lost_messages_total") or 0.0) - before == lost
        assert health.ok and health.details["problems"] == [statuses[0].lost]
        assert f"deleted {lost} ledgers on 1 partitions" in statuses[0].lost and "produce --from N" in statuses[0].lost


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A worker in the main thread takes over the signals; give them back."""
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.mark.usefixtures("own_signals")
class TestDefects:
    """A defect of our own, outside a processor: the worker ends, and the message is not acknowledged."""

    @pytest.mark.parametrize("place", ["handle", "acknowledge"])
    def test_the_worker_ends_and_the_next_one_gets_the_message(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch, place: str
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("boom")

        put_all(settings, chain[:3])
        with monkeypatch.context() as broken:
            if place == "handle":
                broken.setattr(handling.Handling, "handle", fail)
            else:
                broken.setattr(agents.Agents, "_delivered", fail)
            with pytest.raises(RuntimeError, match="boom"):
                worker.run(settings, processors=[Plain("a")])
        again = Plain("a")
        with running(settings, [again]):
            wait_until(lambda: sorted(again.seen) == [2, 3, 4])


PROGRAM = """
import sys
from lumenstream.settings import load_settings
from processors import worker
if __name__ == "__main__":
    worker.run_workers(load_settings(**eval(sys.argv[1])))
"""


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start worker processes with the test's settings."""
    program = tmp_path / "program.py"
    started: list[subprocess.Popen[bytes]] = []
    root = Path(__file__).resolve().parents[2]

    def run(
        workers: int = 1,
        code: str = PROGRAM,
        process__stall_seconds: float = 30.0,
        log: int = subprocess.PIPE,
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        program.write_text(code)
        flags = {
            "kafka__bootstrap": settings.kafka.bootstrap,
            "kafka__topic_prefix": settings.kafka.topic_prefix,
            "kafka__partitions": PARTITIONS,
            "kafka__session_timeout_seconds": 3.0,
            "process__http_port": 0,
            "process__workers": workers,
            "process__stall_seconds": process__stall_seconds,
        }
        environment = {**os.environ, "PYTHONPATH": str(root), **environment}
        started.append(subprocess.Popen([sys.executable, str(program), repr(flags)], env=environment, stderr=log))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=WAIT_SECONDS)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in path.read_text().split()}
    return [int(pid) for pid, command in names.items() if b"spawn_main" in command]


Start = Callable[..., "subprocess.Popen[bytes]"]


class TestProcesses:
    NAMES = tuple(registry.REGISTRY)

    def test_sigterm_ends_it_well(self, settings: Settings, chain: list[ClosedLedger], start: Start) -> None:
        put_all(settings, chain)
        process = start()
        wait_until(lambda: pairs(settings) == expected([*self.NAMES], chain))
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, output.decode()

    @pytest.mark.chaos
    @pytest.mark.parametrize(
        "place", ["worker.before_send:9", "worker.after_send:11", "worker.before_ack:5", "worker.before_ack:30"]
    )
    def test_killed_anywhere_and_started_again_nothing_is_lost(
        self, settings: Settings, chain: list[ClosedLedger], start: Start, place: str
    ) -> None:
        put_all(settings, chain)
        process = start(LUMENSTREAM_CRASHPOINT=place)
        process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == -signal.SIGKILL
        start()
        wait_until(lambda: pairs(settings) == expected([*self.NAMES], chain))

    def test_several_workers_share_the_partitions_and_end_together(
        self, settings: Settings, chain: list[ClosedLedger], start: Start
    ) -> None:
        put_all(settings, chain[:8])
        process = start(workers=2)
        wait_until(lambda: pairs(settings) == expected([*self.NAMES], chain[:8]))
        assert len(children(process)) == 2
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, output.decode()

    @pytest.mark.chaos
    def test_one_worker_killed_ends_all(self, settings: Settings, chain: list[ClosedLedger], start: Start) -> None:
        put_all(settings, chain[:8])
        process = start(workers=2)
        wait_until(lambda: pairs(settings) == expected([*self.NAMES], chain[:8]))
        pids = children(process)
        os.kill(pids[0], signal.SIGKILL)
        process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 1
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


STALLS = """
import os, sys
from pathlib import Path
from lumenstream import logs
from lumenstream.settings import load_settings
from processors import agents, worker
settings, mark = load_settings(**eval(sys.argv[1])), Path(sys.argv[0] + ".stalled")
if settings.process.workers == 1 or __name__ != "__main__":
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        pass
    else:
        async def never(*_, **__): ...
        agents._Recovery._resume_streams = never
if __name__ == "__main__":
    logs.configure(settings.log, "worker")
    worker.run_workers(settings)
"""

PASSES_OVER = """
import sys
from pathlib import Path
from lumenstream import logs
from lumenstream.settings import load_settings
from processors import agents, worker
settings, mark = load_settings(**eval(sys.argv[1])), Path(sys.argv[0] + ".passed")
fetch = agents._ConsumerThread._fetch_records
async def fetch_and_lose(*arguments, **options):
    batches = await fetch(*arguments, **options)
    for batch in batches.values():
        if len(batch) > 1 and not mark.exists():
            mark.touch()
            del batch[0]
    return batches
agents._ConsumerThread._fetch_records = fetch_and_lose
if __name__ == "__main__":
    logs.configure(settings.log, "worker")
    worker.run_workers(settings)
"""


Seek = Callable[[], "Future[Any]"]


@pytest.fixture
def seek(monkeypatch: pytest.MonkeyPatch) -> Seek:
    """Let the worker in this process seek to what is committed, as Faust does at times."""
    original, found = agents.Agents.run, []

    async def run(worker_agents: agents.Agents) -> None:
        found.append((worker_agents, asyncio.get_running_loop()))
        await original(worker_agents)

    def ask() -> Future[Any]:
        ((running_agents, loop),) = found
        return asyncio.run_coroutine_threadsafe(running_agents._app.consumer.perform_seek(), loop)

    monkeypatch.setattr(agents.Agents, "run", run)
    return ask


class TestStandingStill:
    """Nothing tells that a client of Kafka has stopped for good: the worker has to see it, and to start anew."""

    def test_a_worker_with_nothing_to_read_goes_on(self, settings: Settings, chain: list[ClosedLedger]) -> None:
        idle = make_settings(settings.kafka.bootstrap, settings.kafka.topic_prefix, process__stall_seconds=1.0)
        put_all(settings, chain[:4])
        with running(idle, [Plain("a")]) as thread:
            wait_until(lambda: pairs(settings) == expected(["a"], chain[:4]))
            time.sleep(4.0)
            assert thread.is_alive()
            put_all(settings, chain[4:])
            wait_until(lambda: pairs(settings) == expected(["a"], chain))

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_worker_process_starts_anew_by_itself(
        self, settings: Settings, chain: list[ClosedLedger], start: Start, workers: int, tmp_path: Path
    ) -> None:
        put_all(settings, chain)
        path = tmp_path / "workers.log"
        put_at = time.monotonic()

        def all_started_again() -> bool:
            nonlocal put_at
            log = path.read_bytes()
            stalls = log.count(b"the worker stands still")  # on a busy machine one that starts may look like one that stands
            if not stalls and time.monotonic() - put_at > 5.0:  # the other worker may have read it all before this one joined
                put_all(settings, chain)
                put_at = time.monotonic()
            return stalls >= 1 and log.count(b"worker started") == workers + stalls

        with path.open("wb") as log:
            process = start(workers, STALLS, process__stall_seconds=3.0, log=log.fileno())
            wait_until(lambda: pairs(settings) == expected([*registry.REGISTRY], chain))
            wait_until(all_started_again)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_SECONDS) == 0, path.read_text(encoding="utf-8")

    def test_a_message_that_was_thrown_away_is_read_again(
        self, settings: Settings, chain: list[ClosedLedger], start: Start, tmp_path: Path
    ) -> None:
        """Guards: Faust commits past a message that it threw away, where that was the first one or the only one in a row."""
        put_all(settings, chain)
        path = tmp_path / "workers.log"
        with path.open("wb") as log:
            process = start(1, PASSES_OVER, process__stall_seconds=2.0, log=log.fileno())
            wait_until(lambda: pairs(settings) == expected([*registry.REGISTRY], chain))
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_SECONDS) == 0, path.read_text(encoding="utf-8")
        assert b"messages were passed over" in path.read_bytes()

    def test_a_seek_goes_back_to_what_was_never_committed(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch, seek: Seek
    ) -> None:
        """Faust seeks after a rebalance, and after it has thrown away what was fetched meanwhile."""
        monkeypatch.setattr(agents, "_COMMIT_SECONDS", 600.0)
        put_all(settings, chain)
        plain = Plain("a")
        with running(settings, [plain]):
            wait_until(lambda: pairs(settings) == expected(["a"], chain))
            seek().result(WAIT_SECONDS)
            wait_until(lambda: Counter(plain.seen) == Counter({closed.sequence: 2 for closed in chain}))

    def test_a_partition_without_a_position_ends_no_worker(
        self, settings: Settings, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch, seek: Seek
    ) -> None:
        """Guards: Faust's detector of slow commits reads the position of every partition, and aiokafka asserts that there is one;
        so a worker ended when it had sought to a partition's start and the broker had not yet said where that is."""
        fetcher, looks, late, answer = import_module("aiokafka.consumer.fetcher").Fetcher, Counter[bool](), Event(), Event()
        find_positions, look = fetcher._update_fetch_positions, agents._Consumer.verify_all_partitions_active

        async def find_late(*arguments: Any) -> Any:
            if late.is_set():
                await asyncio.to_thread(answer.wait, WAIT_SECONDS)
            return await find_positions(*arguments)

        async def counted(consumer: agents._Consumer) -> None:
            subscription = consumer._thread._ensure_consumer()._subscription.subscription
            assignment = subscription.assignment if subscription is not None else None
            states = [] if assignment is None else [assignment.state_value(partition) for partition in assignment.tps]
            await look(consumer)
            looks[any(not state.has_valid_position for state in states)] += 1

        monkeypatch.setattr(fetcher, "_update_fetch_positions", find_late)
        monkeypatch.setattr(agents._Consumer, "verify_all_partitions_active", counted)
        monkeypatch.setattr(agents, "_COMMIT_SECONDS", 0.05)
        put_all(settings, chain[:8])
        with running(settings, [Plain("a")]) as thread:
            wait_until(lambda: pairs(settings) == expected(["a"], chain[:8]))
            late.set()
            seeking = seek()  # also to the starts of partitions that nothing was ever read from
            wait_until(lambda: looks[True] >= 3 or not thread.is_alive())
            answer.set()
            seeking.result(WAIT_SECONDS)
            put_all(settings, chain[8:])
            wait_until(lambda: pairs(settings) == expected(["a"], chain) or not thread.is_alive())
            assert thread.is_alive()

    @pytest.mark.chaos
    def test_a_broker_lost_again_while_its_group_is_joined(
        self, chain: list[ClosedLedger], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Looking up the committed offsets then takes longer than one request may; the streams are resumed all the same."""
        original, lose = agents._ConsumerThread._seek_to_committed, threading.Event()
        server = KafkaServer()
        with TcpProxy(server.port) as proxy, ExitStack() as cleanup:
            server = KafkaServer(advertised_port=proxy.port)
            proxy.target_port = server.port
            try:
                server.start()
            except Unavailable as error:
                pytest.skip(f"no Kafka to lose: {error}")
            cleanup.callback(server.close)

            async def seek(thread: agents._ConsumerThread) -> Any:
                if lose.is_set():
                    lose.clear()
                    await asyncio.to_thread(proxy.cut)
                return await original(thread)

            monkeypatch.setattr(agents._ConsumerThread, "_seek_to_committed", seek)
            timeouts = {"kafka__request_timeout_seconds": 2.0, "kafka__session_timeout_seconds": 1.0}
            settings = make_settings(proxy.address, "lost.", **timeouts)
            put_all(settings, chain[:4])
            with running(settings, [Plain("a")]):
                wait_until(lambda: pairs(settings) == expected(["a"], chain[:4]))
                for round_ in (1, 2):
                    lose.set()
                    proxy.cut()
                    time.sleep(2.0)  # the group forgets its member
                    proxy.restore()
                    wait_until(lambda: not lose.is_set())
                    time.sleep(5.0)  # longer than one request may take
                    proxy.restore()
                    put_all(settings, chain[4 * round_ : 4 * round_ + 4])
                    ledgers = chain[: 4 * round_ + 4]
                    wait_until(partial(lambda ledgers: pairs(settings) == expected(["a"], ledgers), ledgers))
        assert "stands still" not in caplog.text


class TestBrokers:
    @pytest.mark.chaos
    def test_a_broker_killed_and_restarted_loses_nothing(self, own_kafka: KafkaServer, chain: list[ClosedLedger]) -> None:
        settings = make_settings(own_kafka.bootstrap, "away.")
        put_all(settings, chain[:8])
        with running(settings, [Plain("a"), Plain("b")]):
            wait_until(lambda: pairs(settings) == expected(["a", "b"], chain[:8]))
            own_kafka.kill()
            time.sleep(4.0)
            own_kafka.restart()
            put_all(settings, chain[8:])
            wait_until(lambda: pairs(settings) == expected(["a", "b"], chain))

    def test_on_the_broker_of_the_demo(self, chain: list[ClosedLedger]) -> None:
        with EmbeddedTansu() as broker:
            settings = make_settings(broker.bootstrap, "demo.", process__from_ledger=5)
            put_all(settings, chain)
            with running(settings, [Plain("a"), Plain("b", broken=7)]):
                wait_until(lambda: pairs(settings) == expected(["a", "b"], chain[3:]))
