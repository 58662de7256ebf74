"""`lumenstream demo`: embedded servers, then every role as its own process, a panel, and an orderly end.

Two ways: until Ctrl-C with a status panel; or `--once`, which ends when every ledger of a folder is committed, published and
verified through HTTP, and prints one JSON object as its last line.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from lumenstream import database, kafka, masking, panel
from lumenstream.demo.expected import Expected, expected
from lumenstream.demo.interrupts import stop_on_signals
from lumenstream.demo.once import Result, wait_and_verify
from lumenstream.demo.options import DemoOptions, settings_for
from lumenstream.demo.roles import Interrupted, Roles, command
from lumenstream.embedded import EmbeddedPostgres, EmbeddedTansu, ServerError
from lumenstream.embedded.processes import run_to_end
from lumenstream.errors import LumenstreamError, UnreachableError
from lumenstream.settings import Settings
from lumenstream.status import Monitor, Snapshot, Stage

GRAPHQL_PATH: Final = "/graphql/query"
_MEBIBYTE: Final = 1 << 20
_MIGRATE_TIMEOUT_S: Final = 120.0


class EmbeddedServerError(LumenstreamError):
    """An embedded server did not start, or ended by itself."""

    exit_code = UnreachableError.exit_code


class Limits:
    """Ends the demo in time: the broker keeps every message in memory."""

    def __init__(self, broker: EmbeddedTansu, options: DemoOptions) -> None:
        self._broker = broker
        self._limit_bytes = options.memory_limit_mib * _MEBIBYTE
        self._max_ledgers = 0 if options.once else options.max_ledgers
        self.reached = ""

    def stage(self) -> list[Stage]:
        """The broker's row in the panel."""
        memory = self._broker.rss_bytes
        note = f"messages stay in memory: the demo stops at {self._limit_bytes // _MEBIBYTE:,} MiB"
        return [Stage("broker", up=memory is not None, memory_bytes=memory, note=note if memory is not None else "ended")]

    def check(self, snapshot: Snapshot, stop: threading.Event) -> None:
        """Set `stop` at a limit; EmbeddedServerError when the broker is gone."""
        memory = self._broker.rss_bytes
        if memory is None:
            raise EmbeddedServerError("the embedded broker ended by itself", hint="everything was stopped")
        committed = sum(stage.count for stage in snapshot.stages if stage.name == "sink")
        if memory >= self._limit_bytes:
            self.reached = f"the broker reached {memory // _MEBIBYTE:,} MiB, the stated limit (--memory-limit-mib)"
        elif self._max_ledgers and committed >= self._max_ledgers:
            self.reached = f"{committed:.0f} ledgers are committed, the stated limit (--max-ledgers)"
        if self.reached:
            stop.set()


def run(options: DemoOptions) -> Result | None:
    """Run the demo; the result of `--once`, None otherwise. Errors have stopped everything before they are raised."""
    options.check()
    started = time.monotonic()
    from lumenstream.xdr import DECODER

    how = "the native decoder" if DECODER == "native" else "the pure-Python decoder (no native one was built: cargo was missing)"
    _say(f"lumenstream demo with {how}")
    goal = expected(options.ledgers) if options.once and options.ledgers is not None else None
    logs = _log_directory(options)
    try:
        with stop_on_signals() as stop, ExitStack() as stack:
            result = _run(options, goal, logs, stop, stack, started)
    except ServerError as error:
        raise EmbeddedServerError(str(error), hint=f"logs: {logs}") from error
    except LumenstreamError as error:
        _say(f"logs: {logs}")
        raise error
    _say("stopped; nothing is left running")
    if options.data_dir is None:
        shutil.rmtree(logs, ignore_errors=True)
    return result


def _run(
    options: DemoOptions, goal: Expected | None, logs: Path, stop: threading.Event, stack: ExitStack, started: float
) -> Result | None:
    directory = options.data_dir / "postgres" if options.data_dir else None
    _say("starting PostgreSQL and the Tansu broker, both embedded ...")
    postgres = stack.enter_context(EmbeddedPostgres(directory))
    broker = stack.enter_context(EmbeddedTansu(log=logs / "broker.log"))
    settings = settings_for(options, postgres.url, broker.bootstrap)
    migrate = command("migrate", masking.environment_of(settings), logs / "migrate.log")
    run_to_end("lumenstream migrate", migrate, _MIGRATE_TIMEOUT_S)
    kafka.ensure_topics(settings.kafka)
    if stop.is_set():
        return None
    roles = Roles(settings, logs)
    stack.callback(lambda: _stop(roles))
    _say("starting the publisher, the sink, the worker, the API and the producer ...")
    try:
        roles.start(stop)
    except Interrupted:
        return None
    limits = Limits(broker, options)
    monitor = Monitor(roles.endpoints, database=settings.database, extra=limits.stage, finished=roles.finished)

    def check(snapshot: Snapshot) -> None:
        roles.check()
        limits.check(snapshot, stop)

    if options.once:
        result = wait_and_verify(options, settings, monitor, roles, check, stop, GRAPHQL_PATH, goal)
        return result.finished(time.monotonic() - started)
    notes = _urls(settings, roles, logs)
    for note in notes:
        _say(note)
    panel.run(monitor.sample, stop, title="lumenstream demo", notes=lambda: notes, check=check, plain=options.plain)
    _report_end(settings, limits)
    return None


def _stop(roles: Roles) -> None:
    _say("stopping: producer, worker, sink, publisher, API, servers ...")
    roles.stop()


def _report_end(settings: Settings, limits: Limits) -> None:
    with database.connect(settings.database, application_name="lumenstream-demo") as connection:
        cursor = database.get_cursor(connection, database.Cursor.LATEST)
    if limits.reached:
        _say(f"the end, as announced: {limits.reached}")
    _say(f"the database holds ledgers up to {cursor}")


def _urls(settings: Settings, roles: Roles, logs: Path) -> tuple[str, ...]:
    api = f"http://127.0.0.1:{settings.api.port}"
    others = "  ".join(f"{endpoint.role} {endpoint.url}" for endpoint in roles.endpoints if endpoint.kind != "api")
    return (
        f"explorer    {api}/",
        f"GraphQL     {api}{GRAPHQL_PATH}    health {api}/health    metrics {api}/metrics",
        f"/health and /metrics of: {others}",
        f"logs        {logs}",
        "Ctrl-C stops everything",
    )


def _log_directory(options: DemoOptions) -> Path:
    if options.data_dir is None:
        return Path(tempfile.mkdtemp(prefix="lumenstream-demo-"))
    logs = options.data_dir.resolve() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
