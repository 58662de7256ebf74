"""Servers for a day's work: Kafka and TimescaleDB that stay up between commands, described by `.cache/servers.json`.

`up` starts a keeper process that owns both; `down` ends the keeper, and the servers end with it. The keeper ends by itself after
some hours, so nothing stays behind on a machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from lumenstream.embedded.processes import ServerError
from tests.servers.cache import CACHE, REPOSITORY
from tests.servers.kafka import KafkaServer
from tests.servers.timescale import TimescaleServer

STATE = CACHE / "servers.json"
LOG = CACHE / "servers.log"
UP_TIMEOUT_S = 600.0
DOWN_TIMEOUT_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """What `.cache/servers.json` holds."""

    keeper_pid: int
    keeper_started: int
    kafka_pid: int
    database_pid: int
    bootstrap: str
    database_url: str
    stops_at: str

    @property
    def alive(self) -> bool:
        return process_start(self.keeper_pid) == self.keeper_started


def process_start(pid: int) -> int | None:
    """The kernel's start time of a process in clock ticks, which tells a reused pid apart; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def read() -> Standing | None:
    """The standing servers, or None if there are none."""
    try:
        standing = Standing(**json.loads(STATE.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return standing if standing.alive else None


def up(hours: float) -> Standing:
    """Start the servers unless they stand already, and return when they answer. Raises ServerError with the keeper's log."""
    standing = read()
    if standing is not None:
        return standing
    CACHE.mkdir(exist_ok=True)
    with LOG.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", "keep", "--hours", str(hours)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _wait(lambda: keeper.poll() is not None or read() is not None, UP_TIMEOUT_S)
    standing = read()
    if standing is None:
        keeper.terminate()
        raise ServerError(f"the servers did not start:\n{LOG.read_text(encoding='utf-8', errors='replace')[-3000:]}")
    return standing


def down() -> bool:
    """End the standing servers. False if there were none."""
    standing = read()
    if standing is None:
        return False
    os.kill(standing.keeper_pid, signal.SIGTERM)
    if not _wait(lambda: not standing.alive, DOWN_TIMEOUT_S):
        raise ServerError(f"the keeper (pid {standing.keeper_pid}) did not end within {DOWN_TIMEOUT_S:.0f} s")
    return True


def keep(hours: float) -> None:
    """Own the servers until SIGTERM or until the hours are over. Runs in the keeper process."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    kafka, database = KafkaServer(), TimescaleServer()
    try:
        with ThreadPoolExecutor() as pool:
            kafka_start, database_start = pool.submit(kafka.start), pool.submit(database.start)
        kafka_start.result()
        database_start.result()
        standing = Standing(
            keeper_pid=os.getpid(),
            keeper_started=process_start(os.getpid()) or 0,
            kafka_pid=kafka.pid or 0,
            database_pid=database.pid or 0,
            bootstrap=kafka.bootstrap,
            database_url=database.url,
            stops_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + hours * 3600)),
        )
        unfinished = STATE.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(standing), indent=2) + "\n", encoding="utf-8")
        unfinished.rename(STATE)
        ended.wait(hours * 3600)
    finally:
        STATE.unlink(missing_ok=True)
        kafka.close()
        database.close()


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
