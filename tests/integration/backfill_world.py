"""What the tests of backfill and replay share: a chain of sandbox ledgers on a topic and in files, databases that a live sink
would have written from all or some of them, one worker for backfills, and jobs run with sinks in threads.
"""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from confluent_kafka import Message, Producer

from lumenstream import kafka
from lumenstream.embedded.processes import ChildProcess, Command
from lumenstream.settings import (
    BackfillSettings,
    DatabaseSettings,
    HttpSettings,
    KafkaSettings,
    NetworkSettings,
    ProducerSettings,
    Settings,
)
from lumenstream.xdr import decode_ledger, read_header
from processors import registry
from producers.backfill import Job, Request, Summary
from sandbox import Sandbox, SandboxSettings
from sandbox.network import ClosedLedger
from schemas.messages import LedgerHeaders, PartHeaders, PartKind, Topic, partition_of, range_key
from schemas.parts import SCHEMA_VERSION, encode
from sinks.timescale import backfill
from sinks.timescale.layouts import HISTORY
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder, LedgerRows
from sinks.timescale.writer import Writer
from tests.chaos.snapshot import Snapshot, difference, snapshot

NETWORK = NetworkSettings(name="sandbox")
NETWORK_ID = NETWORK.network_id()
FIRST, LAST = 2, 57
PARTITIONS = 4
RANGE_SIZE = 8
COMPARED = (*HISTORY, "ledgers", "trustline_assets", "contract_tokens")
STALL_SECONDS = 20.0


@dataclass
class Chain:
    """The ledgers, where their raw messages lie, and their rows, ready to be written."""

    ledgers: dict[int, ClosedLedger]
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    topic: str = ""

    def rows(self, encoder: LedgerEncoder, sequence: int, previous: int | None) -> LedgerRows:
        """A whole ledger as the live sink would have gathered it."""
        closed = self.ledgers[sequence]
        view = decode_ledger(closed.meta, NETWORK_ID)
        gathered = Gathered(sequence, previous, closed.close_time, closed.hash.hex(), 0.0)
        partition, offset = self.places[sequence]
        for processor in registry.create(None, NETWORK_ID):
            headers = PartHeaders(
                kind=PartKind.PART,
                processor=processor.name,
                version=processor.version,
                schema=SCHEMA_VERSION,
                sequence=sequence,
                previous_sequence=previous,
                close_time=closed.close_time,
                ledger_hash=closed.hash.hex(),
                network_id=NETWORK_ID.hex(),
                job="live",
                source_topic=self.topic,
                source_partition=partition,
                source_offset=offset,
            )
            gathered.parts[processor.name] = Arrival(headers, encode(processor.process(view)), partition, offset, 0.0)
        return encoder.encode(gathered, [part.value for part in gathered.parts.values()])


def make_chain(seed: int = 5) -> Chain:
    made = Chain({})
    settings = SandboxSettings(network_passphrase=NETWORK.resolved_passphrase(), seed=seed, transactions_per_ledger=6)
    for closed in Sandbox(settings).ledgers(FIRST):
        made.ledgers[closed.sequence] = closed
        if closed.sequence == LAST:
            return made
    raise AssertionError("a sandbox has no end")


class LiveWriter:
    """Stands for the live sink: commits ledgers of the chain in order, one transaction each."""

    def __init__(self, url: str, chain: Chain, cursor: int = 0) -> None:
        self._url = url
        self._chain = chain
        self._encoder = LedgerEncoder()
        self._cursor = cursor

    def commit(self, sequences: Collection[int]) -> None:
        with psycopg.connect(self._url) as connection:
            writer = Writer(connection, "ledger-changes")
            for sequence in sorted(sequences):
                rows = self._chain.rows(self._encoder, sequence, self._cursor or None)
                self._cursor = writer.commit([rows], self._cursor, {}).last


@dataclass
class BackfillWorld:
    """One topic prefix with a worker of its own; databases come from the tests."""

    bootstrap: str
    topic_prefix: str
    folder: Path
    chain: Chain

    def settings(
        self,
        url: str,
        *,
        path: Path | None = None,
        stall_seconds: float = STALL_SECONDS,
        open_ranges: int = 3,
        from_topics: bool = True,
    ) -> Settings:
        """`path`: the ledgers that the source has, by default all."""
        return Settings(
            network=NETWORK,
            http=HttpSettings(host="127.0.0.1"),
            kafka=KafkaSettings(
                bootstrap=self.bootstrap,
                topic_prefix=self.topic_prefix,
                partitions=PARTITIONS,
                backfill_range_size=RANGE_SIZE,
                session_timeout_seconds=3,
            ),
            database=DatabaseSettings.model_validate({"url": url}),
            producer=ProducerSettings(source="files", path=path or self.files()),
            backfill=BackfillSettings(
                max_open_ranges=open_ranges, stall_seconds=stall_seconds, http_port=0, from_topics=from_topics
            ),
        )

    def environment(self, url: str) -> dict[str, str]:
        """The same settings for the command line."""
        return {
            "LUMENSTREAM_NETWORK__NAME": "sandbox",
            "LUMENSTREAM_KAFKA__BOOTSTRAP": self.bootstrap,
            "LUMENSTREAM_KAFKA__TOPIC_PREFIX": self.topic_prefix,
            "LUMENSTREAM_KAFKA__PARTITIONS": str(PARTITIONS),
            "LUMENSTREAM_KAFKA__BACKFILL_RANGE_SIZE": str(RANGE_SIZE),
            "LUMENSTREAM_KAFKA__SESSION_TIMEOUT_SECONDS": "1.5",
            "LUMENSTREAM_DATABASE__URL": url,
            "LUMENSTREAM_PRODUCER__SOURCE": "files",
            "LUMENSTREAM_PRODUCER__PATH": str(self.files()),
            "LUMENSTREAM_BACKFILL__STALL_SECONDS": "40",
            "LUMENSTREAM_CRASHPOINT": "",
        }

    def files(self) -> Path:
        return self.write_files("all", self.chain.ledgers.values())

    def write_files(self, name: str, ledgers: Collection[ClosedLedger]) -> Path:
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            for closed in ledgers:
                (folder / f"ledger-{closed.sequence:08d}.xdr.gz").write_bytes(gzip.compress(closed.meta, compresslevel=1))
        return folder

    def produce_ledgers(self) -> None:
        """Every raw ledger on topic `ledgers`, as the producer sends it."""
        settings = self.settings("postgresql://nowhere").kafka
        kafka.ensure_topics(settings)
        self.chain.topic = settings.topic(Topic.LEDGERS)
        producer = Producer(kafka.producer_config(settings))
        for sequence, closed in self.chain.ledgers.items():
            headers = LedgerHeaders(
                sequence=sequence,
                previous_sequence=sequence - 1 if sequence > FIRST else None,
                close_time=closed.close_time,
                ledger_hash=closed.hash.hex(),
                protocol_version=read_header(closed.meta).protocol_version,
                network_id=NETWORK_ID.hex(),
            )
            producer.produce(
                self.chain.topic,
                value=closed.meta,
                key=range_key(sequence, settings.range_size),
                headers=[*headers.to_kafka()],
                partition=partition_of(sequence, settings.range_size, settings.partitions),
                on_delivery=self._note(sequence),
            )
        assert producer.flush(30) == 0
        assert self.chain.places.keys() == self.chain.ledgers.keys()

    def _note(self, sequence: int) -> Callable[[object, Message], None]:
        def note(error: object, message: Message) -> None:
            assert error is None
            partition, offset = message.partition(), message.offset()
            assert partition is not None and offset is not None
            self.chain.places[sequence] = (partition, offset)

        return note

    @contextmanager
    def worker(self) -> Iterator[ChildProcess]:
        """A worker for backfills; it needs no database."""
        command = Command(
            argv=(sys.executable, "-m", "lumenstream", "process", "--backfill", "--port", "0"),
            log=self.folder / "worker.log",
            environment=self.environment("postgresql://nowhere"),
            working_directory=self.folder,
        )
        with ChildProcess("the backfill worker", command) as child:
            yield child

    def run(self, settings: Settings, request: Request, *, sinks: int = 1) -> Summary:
        """A job with sinks in threads. Its plan must not be empty."""
        with ExitStack() as stack:
            for _ in range(sinks):
                stack.enter_context(running_sink(settings))
            job = stack.enter_context(Job(settings, request, threading.Event()))
            assert job.plan() > 0
            return job.run(lambda progress: None, lambda: None)


@contextmanager
def running_sink(settings: Settings) -> Iterator[None]:
    stop, errors = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            backfill.run(settings, stop)
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert errors == []


def history_of(url: str, tables: Sequence[str] = COMPARED) -> Snapshot:
    found = snapshot(url)
    return Snapshot({table: found.rows[table] for table in tables})


def check_equal(url: str, wanted: Snapshot) -> None:
    """Every history table holds the same rows."""
    found = history_of(url, tuple(wanted.rows))
    assert found.hashes() == wanted.hashes(), difference(found, wanted)
