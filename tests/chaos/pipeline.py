"""Runs the roles of the pipeline as child processes, the way an operator does, and ends them in ways an operator fears.

A `Pipeline` has a database and a topic prefix of its own. Roles are started, killed and restarted by name; a second instance of a
role has a name with a suffix (`sink-2`). Logs are kept in the test's folder and are part of every error.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import psycopg

from lumenstream import kafka
from lumenstream.embedded.processes import LOOPBACK, ChildProcess, Command, free_port
from lumenstream.settings import PASSPHRASES, KafkaSettings
from sandbox.network import GENESIS_SEQUENCE
from schemas.messages import Topic
from tests.chaos.snapshot import read_topic

PARTITIONS: Final = 3
READY_SECONDS: Final = 120.0
END_SECONDS: Final = 240.0
POLL_SECONDS: Final = 0.05
HTTP_SECONDS: Final = 5.0
LOG_LINES: Final = 25
SANDBOX_TRANSACTIONS: Final = 8
COMMANDS: Final = {"producer": "produce", "worker": "process", "sink": "sink", "publisher": "publish"}
ROLES: Final = tuple(COMMANDS)
CURSORS: Final = ("latest_ingest_ledger", "publisher_cursor")


class PipelineStuck(AssertionError):
    """The pipeline did not get where the test waits for it; the text holds the ends of the roles' logs."""


# Ledgers are committed and published singly, however far behind a slow machine is.
ONE_BY_ONE: Final = {"LUMENSTREAM_SINK__GROUP_LEDGERS": "1", "LUMENSTREAM_PUBLISHER__BATCH_LEDGERS": "1"}


@dataclass(frozen=True, slots=True)
class Source:
    """What the producer reads: the network, the last ledger, the role's environment. `pace` changes nothing of the ledgers."""

    network: str
    last: int
    environment: Mapping[str, str] = field(default_factory=dict)
    passphrase: str = ""
    first: int = GENESIS_SEQUENCE + 1
    pace: float = 0.02

    def paced(self, seconds: float) -> Source:
        """The same ledgers, one every so many seconds: for tests in which something happens while they come."""
        return replace(self, pace=seconds)

    @property
    def network_id(self) -> bytes:
        return hashlib.sha256((self.passphrase or PASSPHRASES[self.network]).encode()).digest()


def sandbox_source(seed: int, ledgers: int) -> Source:
    """The sandbox network of a seed, `ledgers` long."""
    environment = {
        "LUMENSTREAM_PRODUCER__SOURCE": "sandbox",
        "LUMENSTREAM_SANDBOX__SEED": str(seed),
        "LUMENSTREAM_SANDBOX__MAX_LEDGERS": str(ledgers),
        "LUMENSTREAM_SANDBOX__TRANSACTIONS_PER_LEDGER": str(SANDBOX_TRANSACTIONS),
    }
    return Source("sandbox", GENESIS_SEQUENCE + ledgers, environment)


def files_source(path: Path, first: int, last: int, network: str = "pubnet") -> Source:
    """A folder of ledgers."""
    environment = {"LUMENSTREAM_PRODUCER__SOURCE": "files", "LUMENSTREAM_PRODUCER__PATH": str(path)}
    return Source(network, last, environment, first=first)


class Role:
    """One process of the pipeline and its HTTP port."""

    def __init__(self, name: str, child: ChildProcess, port: int) -> None:
        self.name = name
        self.child = child
        self.port = port
        self._killed = False
        self.accepted = {0}  # exit codes that are no failure while a test waits for something else

    @property
    def running(self) -> bool:
        return self.child.running

    def exit_code(self, timeout_seconds: float = END_SECONDS) -> int:
        """Wait for the process to end: negative for the signal that ended it, as `subprocess` tells it."""
        if self._killed:
            return -signal.SIGKILL
        code = self.child.wait(timeout_seconds)
        return 128 - code if code > 128 else code

    def get(self, path: str) -> httpx.Response | None:
        """An answer of the role's HTTP server, None while it does not listen."""
        try:
            return httpx.get(f"http://{LOOPBACK}:{self.port}{path}", timeout=HTTP_SECONDS)
        except httpx.TransportError:
            return None

    def kill(self) -> None:
        """SIGKILL, as the test wants it."""
        self.child.kill()
        self._killed = True
        self.accepted.add(-signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, without waiting: one that is ready ends with 0, one that still starts may not have learnt to yet."""
        if not self.answers("/ready"):
            self.accepted.add(-signal.SIGTERM)
        os.kill(self.child.pid, signal.SIGTERM)

    def answers(self, path: str) -> bool:
        """Whether a page answers 200."""
        answer = self.get(path)
        return answer is not None and answer.status_code == httpx.codes.OK

    def health(self) -> dict[str, Any]:
        """The body of /health with the HTTP status as `code`; code 0 while the role does not listen."""
        answer = self.get("/health")
        return {"code": 0} if answer is None else {"code": answer.status_code, **answer.json()}

    def failures(self) -> set[str]:
        """Of a sink: the processors whose failure of the next ledger it has read; they arrive one by one."""
        waiting = self.health().get("waiting")
        return set(waiting["failures"]) if waiting else set()

    def metric(self, name: str) -> float:
        """The value of a metric, summed over its labels; 0 while the role does not listen or has not used it."""
        answer = self.get("/metrics")
        if answer is None:
            return 0.0
        samples = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
        return sum(float(value) for series, _, value in samples if series.partition("{")[0] == name)

    def log(self, lines: int = LOG_LINES) -> str:
        return self.child.log_tail(lines)


class Pipeline:
    """A context manager; every role that was started ends with it."""

    def __init__(
        self,
        folder: Path,
        *,
        bootstrap: str,
        topic_prefix: str,
        database_url: str,
        source: Source,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.database_url = database_url  # of the test itself, past any proxy
        self.kafka = KafkaSettings(bootstrap=bootstrap, topic_prefix=topic_prefix, partitions=PARTITIONS)
        self.roles: dict[str, Role] = {}
        self._folder = folder
        self._environment = {
            "LUMENSTREAM_DATABASE__URL": database_url,
            "LUMENSTREAM_KAFKA__BOOTSTRAP": bootstrap,
            "LUMENSTREAM_KAFKA__TOPIC_PREFIX": topic_prefix,
            "LUMENSTREAM_KAFKA__PARTITIONS": str(PARTITIONS),
            "LUMENSTREAM_KAFKA__SESSION_TIMEOUT_SECONDS": "1.5",
            "LUMENSTREAM_KAFKA__REQUEST_TIMEOUT_SECONDS": "5",
            "LUMENSTREAM_NETWORK__NAME": source.network,
            "LUMENSTREAM_NETWORK__PASSPHRASE": source.passphrase,
            "LUMENSTREAM_SINK__STANDBY_POLL_SECONDS": "0.2",
            "LUMENSTREAM_SINK__MISSING_PART_SECONDS": "1.5",
            "LUMENSTREAM_PUBLISHER__POLL_SECONDS": "0.2",
            "LUMENSTREAM_PUBLISHER__BATCH_LEDGERS": "2",
            "LUMENSTREAM_SANDBOX__CLOSE_SECONDS": str(source.pace),
            "LUMENSTREAM_CRASHPOINT": "",
            **source.environment,
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        kafka.ensure_topics(self.kafka)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as ends:  # every role is ended, whichever fails to
            for role in self.roles.values():
                ends.callback(role.kill)

    def environment(self) -> dict[str, str]:
        """The environment of a command on the pipeline's servers."""
        return {**os.environ, **self._environment}

    def spawn(self, name: str, *, crashpoint: str = "", environment: Mapping[str, str] | None = None) -> Role:
        """Start a role and do not wait; one of that name is killed first. `crashpoint` is `name[:n]`."""
        if name in self.roles:
            self.kill(name)
        port = free_port()
        role = name.partition("-")[0]
        command = Command(
            argv=(sys.executable, "-m", "lumenstream", COMMANDS[role], "--port", str(port)),
            log=self._folder / f"{name}.log",
            environment={**self._environment, "LUMENSTREAM_CRASHPOINT": crashpoint, **(environment or {})},
            working_directory=self._folder,
        )
        started = self.roles[name] = Role(name, ChildProcess(name, command).start(), port)
        return started

    def start(self, *names: str, environment: Mapping[str, str] | None = None) -> None:
        """Start roles side by side and wait until each is ready."""
        for name in names:
            self.spawn(name, environment=environment)
        self.wait_ready(*names)

    def wait_ready(self, *names: str) -> None:
        for role in [self.roles[name] for name in names]:
            self.wait(partial(_ready_or_ended, role), READY_SECONDS, f"start of {role.name}")
            if not role.running:
                raise PipelineStuck(f"{role.name} ended while starting\n{self.report()}")

    def start_all(self, crashpoints: Mapping[str, str] | None = None) -> None:
        """Every role; `crashpoints` by role. The publisher tails from its first start on, so the first ledger waits for it."""
        for name in ("publisher", "sink", "worker"):
            self.spawn(name, crashpoint=(crashpoints or {}).get(name, ""))
        self.wait_ready("publisher")
        self.spawn("producer", crashpoint=(crashpoints or {}).get("producer", ""))

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.roles[name].kill()

    def cursor(self, name: str = CURSORS[0]) -> int | None:
        """A cursor's ledger, None while there is none."""
        with psycopg.connect(self.database_url, connect_timeout=5) as connection:
            row = connection.execute("select value::int from ingest_store where key = %s", (name,)).fetchone()
        return row[0] if row else None

    def wait(self, condition: Callable[[], bool], timeout_seconds: float, what: str) -> None:
        """Poll a condition. PipelineStuck with the roles' logs when it stays false."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise PipelineStuck(f"no {what} within {timeout_seconds:.0f} s\n{self.report()}")
            time.sleep(POLL_SECONDS)

    def wait_for_cursor(self, ledger: int, name: str = CURSORS[0], timeout_seconds: float = END_SECONDS) -> None:
        """Wait until a cursor stands at a ledger. PipelineStuck at once when a role has failed meanwhile."""

        def there() -> bool:
            ended = {role.name: role.exit_code() for role in self.roles.values() if not role.running}
            failed = [f"{name} with {code}" for name, code in ended.items() if code not in self.roles[name].accepted]
            if failed:
                raise PipelineStuck(f"ended: {', '.join(failed)}, before ledger {ledger}\n{self.report()}")
            return (self.cursor(name) or 0) >= ledger

        self.wait(there, timeout_seconds, f"{name} at ledger {ledger}")

    def wait_for_end(self, timeout_seconds: float = END_SECONDS) -> None:
        """Wait until the last ledger of the source is committed and, where a publisher runs, published."""
        for name in CURSORS if "publisher" in self.roles else CURSORS[:1]:
            self.wait_for_cursor(self.source.last, name, timeout_seconds)

    def report(self) -> str:
        """What every role is doing, for an error."""
        return "\n".join(f"--- {name} ({_state(role)})\n{role.log()}" for name, role in self.roles.items())


def _ready_or_ended(role: Role) -> bool:
    return role.answers("/ready") or not role.running


def _state(role: Role) -> str:
    return f"pid {role.child.pid}, running" if role.running else "ended"


def wait_for_crash(pipeline: Pipeline, name: str) -> None:
    """The role must die by its crash point. PipelineStuck when it lives on or ends in another way."""
    role = pipeline.roles[name]
    pipeline.wait(lambda: not role.running, END_SECONDS, f"end of {name}")
    code = role.exit_code()
    if code != -signal.SIGKILL:
        raise PipelineStuck(f"{name} ended with {code}, not by SIGKILL\n{pipeline.report()}")


def wait_for_messages(pipeline: Pipeline, topic: Topic, count: int) -> None:
    """Wait until a topic holds so many messages. PipelineStuck when it never does."""
    pipeline.wait(lambda: len(read_topic(pipeline.kafka, topic)) >= count, END_SECONDS, f"{count} messages on {topic}")
