"""`lumenstream up`: every role of the pipeline on this machine, against the servers that the settings name."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lumenstream import database, kafka, panel
from lumenstream.demo.follow import LogFollower
from lumenstream.demo.interrupts import stop_on_signals
from lumenstream.demo.roles import Interrupted, Roles
from lumenstream.settings import Settings
from lumenstream.status import Monitor, Snapshot


def run(settings: Settings, log_directory: Path | None, *, plain: bool) -> None:
    """Run until a signal comes (returns) or a role ends (RoleEndedError). Servers and schema are checked first."""
    with database.connect(settings.database, application_name="lumenstream-up") as connection:
        database.check_schema(connection)
    kafka.wait_for_broker(settings.kafka, settings.kafka.request_timeout_seconds)
    kafka.ensure_topics(settings.kafka)
    logs = log_directory or Path(tempfile.mkdtemp(prefix="lumenstream-up-"))
    plain = plain or not sys.stderr.isatty()
    with stop_on_signals() as stop, ExitStack() as stack:
        roles = Roles(settings, logs)
        if plain:
            stack.enter_context(LogFollower(roles.logs))
        stack.callback(roles.stop)
        try:
            roles.start(stop)
        except Interrupted:
            return
        monitor = Monitor(roles.endpoints, database=settings.database, finished=roles.finished)

        def check(snapshot: Snapshot) -> None:
            roles.check()

        if plain:
            while not stop.wait(panel.REFRESH_S):
                roles.check()
        else:
            panel.run(monitor.sample, stop, title="lumenstream up", notes=lambda: (f"logs: {logs}",), check=check)
    print(f"stopped; logs: {logs}", file=sys.stderr)
