"""The roles as child processes: started in order, watched, stopped in order; none outlives the process that started them.

Each is `python -m lumenstream ROLE` with its settings in the environment, so that no secret stands in a command line. Logs go
to one file a role.
"""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from lumenstream import masking
from lumenstream.embedded.processes import ChildProcess, Command
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from lumenstream.status import Endpoint, endpoints

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1
_REQUEST_TIMEOUT_S: Final = 2.0

# The publisher first: it publishes what is committed after its own first start. The producer last.
START_ORDER: Final = ("publisher", "sink", "worker", "api", "producer")
STOP_ORDER: Final = ("maintenance", "producer", "worker", "sink", "publisher", "api")
_COMMANDS: Final = {
    "producer": "produce",
    "worker": "process",
    "sink": "sink",
    "publisher": "publish",
    "maintenance": "maintain",
    "api": "serve",
}


class RoleEndedError(LumenstreamError):
    """A role ended by itself; the text holds the last lines of its log."""


class Interrupted(Exception):
    """The user asked to stop while the roles were starting."""


class Roles:
    """Every role of one pipeline; maintenance only where it has a port. `stop` does nothing for roles that have ended."""

    def __init__(self, settings: Settings, log_directory: Path) -> None:
        log_directory.mkdir(parents=True, exist_ok=True)
        self.endpoints: tuple[Endpoint, ...] = endpoints(settings)
        self._order = (*START_ORDER, "maintenance") if settings.maintenance.http_port else START_ORDER
        self.logs = {role: log_directory / f"{role}.log" for role in self._order}
        environment = masking.environment_of(settings)
        self._children = {
            role: ChildProcess(f"the {role}", command(_COMMANDS[role], environment, self.logs[role])) for role in self._order
        }
        self._started: list[str] = []
        self._finished: set[str] = set()

    def start(self, interrupted: threading.Event) -> None:
        """Start all, each after the one before answers. RoleEndedError with its log when one does not come up."""
        for role in self._order:
            self._children[role].start()
            self._started.append(role)
            if role == "publisher":
                self._wait(role, "/ready", interrupted)
        for role in self._order:
            self._wait(role, "/metrics", interrupted)

    def check(self) -> None:
        """RoleEndedError when a role has ended; a producer whose source is exhausted may end with exit code 0."""
        for role in self._started:
            child = self._children[role]
            if role in self._finished or child.running:
                continue
            code = child.wait(0)
            if role == "producer" and code == 0:
                self._finished.add(role)
                continue
            raise RoleEndedError(
                f"the {role} ended with exit code {code}; the end of {self.logs[role]}:\n{child.log_tail()}",
                hint="everything was stopped",
            )

    def finished(self) -> frozenset[str]:
        """The roles whose work is done: a producer whose source is exhausted."""
        self.check()
        return frozenset(self._finished)

    def stop(self) -> None:
        """Stop in the order of the data's way, so that what is under way still arrives."""
        for role in STOP_ORDER:
            if role in self._children:
                self._children[role].stop()

    def _wait(self, role: str, page: str, interrupted: threading.Event) -> None:
        url = next((endpoint.url for endpoint in self.endpoints if endpoint.kind == role), None)
        deadline = time.monotonic() + START_TIMEOUT_S
        while url is not None and not answers(url + page):
            if interrupted.is_set():
                raise Interrupted
            if role in self.finished():
                return
            if time.monotonic() > deadline:
                tail = self._children[role].log_tail()
                raise RoleEndedError(f"the {role} does not answer {page} after {START_TIMEOUT_S:.0f} s; its log:\n{tail}")
            interrupted.wait(_POLL_S)


def command(name: str, environment: dict[str, str], log: Path) -> Command:
    """`python -m lumenstream NAME` in this directory, where `.env` lies."""
    return Command(
        argv=(sys.executable, "-m", "lumenstream", name),
        log=log,
        environment=environment,
        working_directory=Path.cwd(),
        stop_timeout_s=STOP_TIMEOUT_S,
    )


def answers(url: str) -> bool:
    """Whether a page answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
