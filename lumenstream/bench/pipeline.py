"""A pipeline of its own for one benchmark: a fresh database, fresh topics, and the real roles as processes.

The servers are the configured ones (`make bench` starts them); everything made on them is removed at the end. Ledgers are made
of real ones (`lumenstream.bench.lake`), found in `--path`, LUMENSTREAM_LEDGERS or ../shared/ledgers.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import psycopg
import zstandard
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from psycopg import sql

from lumenstream import database, kafka
from lumenstream.bench.cpu import CpuMeter
from lumenstream.bench.databases import bench_database
from lumenstream.bench.lake import MadeLedger, make_ledgers
from lumenstream.embedded.processes import ChildProcess, Command, free_port
from lumenstream.errors import ConfigurationError, LumenstreamError
from lumenstream.settings import NetworkSettings, Settings
from lumenstream.xdr import read_header
from schemas.messages import LedgerHeaders, Topic, partition_of, range_key

PUBNET: Final = NetworkSettings(name="pubnet")
PUBNET_ID: Final = PUBNET.network_id()
TABLES: Final = (
    *("transactions", "transactions_accounts", "operations", "operations_accounts", "state_changes"),
    *("trades", "claimable_balance_events"),
)
_READY_SECONDS: Final = 60.0
_SAMPLE_SECONDS: Final = 0.5


def real_ledgers(settings: Settings) -> list[bytes]:
    """The real pubnet ledgers that benchmarks are made of. ConfigurationError when there are none."""
    given = settings.producer.path or Path(os.environ.get("LUMENSTREAM_LEDGERS", "../shared/ledgers")) / "pubnet"
    files = sorted(given.glob("*.xdr.gz"))
    if not files:
        raise ConfigurationError(
            f"no ledgers (*.xdr.gz) in {given}", hint="set LUMENSTREAM_LEDGERS to a folder that has pubnet/ in it"
        )
    return [gzip.decompress(file.read_bytes()) for file in files]


class BenchPipeline:
    """Use as a context manager. Roles are started by name; `cpu` says what each process uses.

    `network`: name and passphrase of the ledgers' network.
    """

    def __init__(self, settings: Settings, name: str, network: NetworkSettings = PUBNET) -> None:
        self._settings = settings
        self._network = network
        self._name = f"lumenstream_bench_{name}_{os.getpid()}"
        self._cleanup = ExitStack()
        self._roles: dict[str, ChildProcess] = {}
        self.ports: dict[str, int] = {}
        self.prefix = f"{self._name}."
        self.url = ""

    def __enter__(self) -> Self:
        self.folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="lumenstream-bench-")))
        self.url = self._cleanup.enter_context(bench_database(self._settings, self._name))
        self.settings = self._settings.model_copy(
            update={
                "kafka": self._settings.kafka.model_copy(update={"topic_prefix": self.prefix}),
                "network": self._network,
            }
        )
        self.cpu = CpuMeter(self._settings.kafka.bootstrap, self.url)
        self._command("migrate")
        kafka.wait_for_broker(self.settings.kafka, _READY_SECONDS)
        kafka.ensure_topics(self.settings.kafka)
        self._cleanup.callback(self._drop_topics)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for role in reversed(list(self._roles.values())):
            role.stop()
        self._cleanup.close()

    def start(self, role: str, *arguments: str, name: str = "") -> ChildProcess:
        """Start a role (`sink`, `process`, `serve`) and wait until it answers. `name`: where there are several of it."""
        name = name or role
        port = free_port()
        child = ChildProcess(name, self.command_line(role, *arguments, "--port", str(port), log=name))
        child.start()
        self._roles[name] = child
        child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/metrics"), _READY_SECONDS)
        self.ports[name] = port
        self.cpu.roots[name] = child.pid
        return child

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._roles.pop(name).kill()

    def stop(self, role: str) -> None:
        """End a role in the orderly way."""
        self._roles.pop(role).stop()

    def fill(self, ledgers: Iterator[MadeLedger], *, previous: int | None = None) -> list[MadeLedger]:
        """Send ledgers to topic `ledgers` as the producer does, as fast as they come; returns them without their bytes."""
        producer = Producer(kafka.producer_config(self.settings.kafka))
        sent = []
        for made in ledgers:
            self.send(producer, made, previous)
            previous = made.sequence
            sent.append(made._replace(data=b""))
        producer.flush(60)
        return sent

    def producer(self) -> Producer:
        return Producer(kafka.producer_config(self.settings.kafka))

    def send(self, producer: Producer, made: MadeLedger, previous: int | None) -> None:
        """Hand one ledger to the client, with the headers and the partition of the ledger producer."""
        header = read_header(made.data)
        settings = self.settings.kafka
        headers = LedgerHeaders(
            sequence=made.sequence,
            previous_sequence=previous,
            close_time=made.close_time,
            ledger_hash=header.hash.hex(),
            protocol_version=header.protocol_version,
            network_id=self._network.network_id().hex(),
        )
        while True:
            try:
                producer.produce(
                    settings.topic(Topic.LEDGERS),
                    value=made.data,
                    key=range_key(made.sequence, settings.range_size),
                    headers=[*headers.to_kafka()],
                    partition=partition_of(made.sequence, settings.range_size, settings.partitions),
                )
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.1)

    def commits(self, target: int, timeout_seconds: float) -> Iterator[tuple[int, float]]:
        """Every commit until the database has a ledger: the cursor and when it was seen, in monotonic seconds.

        Woken by NOTIFY, so that watching costs nothing. LumenstreamError with logs when time is over or a role has ended.
        """
        deadline, cursor = time.monotonic() + timeout_seconds, 0
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(database.LEDGER_CHANNEL)))
            row = connection.execute("SELECT value::int FROM ingest_store WHERE key = 'latest_ingest_ledger'").fetchone()
            cursor = row[0] if row else 0
            if cursor:
                yield cursor, time.monotonic()
            while cursor < target:
                for note in connection.notifies(timeout=_SAMPLE_SECONDS, stop_after=1):
                    cursor = int(note.payload)
                    yield cursor, time.monotonic()
                ended = [name for name, role in self._roles.items() if not role.running and name != "produce"]
                if ended or time.monotonic() > deadline:
                    logs = "\n".join(f"--- {name}\n{role.log_tail()}" for name, role in self._roles.items())
                    raise LumenstreamError(f"the pipeline stopped at ledger {cursor} of {target}\n{logs}")

    def wait_for_cursor(self, target: int, timeout_seconds: float) -> None:
        """Wait until the database has a ledger. LumenstreamError as in `commits`."""
        for _ in self.commits(target, timeout_seconds):
            pass

    def rows(self) -> dict[str, int]:
        """Row count of every history table."""
        with psycopg.connect(self.url) as connection:
            counts = {}
            for table in TABLES:
                row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
                counts[table] = row[0] if row else 0
            return counts

    def command_line(self, role: str, *arguments: str, log: str = "") -> Command:
        """A command of ours against the servers and topics of this benchmark."""
        environment = {
            "LUMENSTREAM_DATABASE__URL": self.url,
            "LUMENSTREAM_KAFKA__BOOTSTRAP": self._settings.kafka.bootstrap,
            "LUMENSTREAM_KAFKA__TOPIC_PREFIX": self.prefix,
            "LUMENSTREAM_NETWORK__NAME": self._network.name,
            "LUMENSTREAM_NETWORK__PASSPHRASE": self._network.passphrase,
        }
        return Command(
            argv=(sys.executable, "-m", "lumenstream", role, *arguments),
            log=self.folder / f"{log or role}.log",
            environment=environment,
            working_directory=self.folder,
        )

    def _command(self, name: str) -> None:
        child = ChildProcess(name, self.command_line(name))
        with child:
            if child.wait(_READY_SECONDS) != 0:
                raise LumenstreamError(f"lumenstream {name} failed:\n{child.log_tail()}")

    def _drop_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self._settings.kafka.bootstrap})
        ours = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(self.prefix)]
        for future in admin.delete_topics(ours).values():
            future.result(timeout=30)


def made_ledgers(settings: Settings, count: int, **times: int) -> Iterator[MadeLedger]:
    """`count` consecutive ledgers of the public network's weight. `times`: `close_time` and `seconds_between`."""
    return make_ledgers(real_ledgers(settings), count, PUBNET_ID, **times)


def write_files(folder: Path, ledgers: Iterable[MadeLedger]) -> list[MadeLedger]:
    """Ledgers as the files of a lake hold them, zstd; returns them without their bytes."""
    folder.mkdir()
    compressor, written = zstandard.ZstdCompressor(level=3), []
    for made in ledgers:
        (folder / f"{made.sequence}.xdr.zst").write_bytes(compressor.compress(made.data))
        written.append(made._replace(data=b""))
    return written


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
