"""The end of `lumenstream demo --once`: everything committed, published and answered by the API, then one result."""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from lumenstream import database, panel
from lumenstream.demo.expected import Expected
from lumenstream.demo.options import DemoOptions
from lumenstream.demo.roles import Roles
from lumenstream.demo.verify import VerificationError, table_counts, verify
from lumenstream.errors import ExitCode, LumenstreamError
from lumenstream.settings import Settings
from lumenstream.status import Monitor, Snapshot
from lumenstream.xdr import DECODER

_POLL_S: Final = 0.5
_LINE_EVERY_S: Final = 2.0
_FIRST_SANDBOX_LEDGER: Final = 2
_HEALTH_TIMEOUT_S: Final = 2.0


class NotFinishedError(LumenstreamError):
    """The ledgers did not all arrive."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Result:
    """What `--once` reports; `ledgers` counts rows of table `ledgers`."""

    ledgers: int
    tables: dict[str, int]
    queried_transactions: int
    queried_accounts: int
    published_ledger: int
    ingest_seconds: float
    seconds: float = 0.0

    def finished(self, seconds: float) -> Result:
        """The same with the time from the command's start."""
        return replace(self, seconds=seconds)

    def to_json(self) -> dict[str, Any]:
        return {
            "ledgers": self.ledgers,
            "tables": self.tables,
            "decoder": DECODER,
            "seconds": round(self.seconds, 3),
            "ingest_seconds": round(self.ingest_seconds, 3),
            "published_ledger": self.published_ledger,
            "queried_transactions": self.queried_transactions,
            "queried_accounts": self.queried_accounts,
        }


def wait_and_verify(
    options: DemoOptions,
    settings: Settings,
    monitor: Monitor,
    roles: Roles,
    check: Callable[[Snapshot], None],
    stop: threading.Event,
    graphql_path: str,
    goal: Expected | None,
) -> Result:
    """Wait until cursor and publisher reach the goal (None: the sandbox's last ledger), then verify.

    NotFinishedError when nothing moves any more.
    """
    started = time.monotonic()
    if goal is None:
        ledgers = settings.sandbox.max_ledgers
        goal = Expected(ledgers, _FIRST_SANDBOX_LEDGER + ledgers - 1)
    snapshot = _wait(goal, options, monitor, roles, check, stop)
    ingest_seconds = time.monotonic() - started
    found = snapshot.database
    with database.connect(settings.database, application_name="lumenstream-demo", autocommit=True) as connection:
        tables = table_counts(connection)
        if tables["ledgers"] < goal.ledgers:
            raise VerificationError(f"{goal.ledgers} ledgers were given, {tables['ledgers']} are in the database")
        verified = verify(connection, f"http://127.0.0.1:{settings.api.port}{graphql_path}")
    return Result(
        ledgers=tables["ledgers"],
        tables=tables,
        queried_transactions=verified.transactions,
        queried_accounts=verified.accounts,
        published_ledger=found.published if found else 0,
        ingest_seconds=ingest_seconds,
    )


def _wait(
    goal: Expected,
    options: DemoOptions,
    monitor: Monitor,
    roles: Roles,
    check: Callable[[Snapshot], None],
    stop: threading.Event,
) -> Snapshot:
    last_progress, before, next_line = time.monotonic(), (-1, -1), 0.0
    while True:
        snapshot = monitor.sample()
        found = snapshot.database
        now = (found.cursor, found.published) if found and not found.error else before
        if min(now) >= goal.last:
            _say(f"ledger {goal.last} is committed and published")
            return snapshot
        check(snapshot)
        if stop.is_set():
            raise NotFinishedError(f"stopped before ledger {goal.last} was committed and published: at {now[0]} and {now[1]}")
        if now != before:
            before, last_progress = now, time.monotonic()
        if time.monotonic() - last_progress > options.progress_timeout_s:
            raise NotFinishedError(
                f"no ledger arrived for {options.progress_timeout_s:.0f} s: "
                f"committed {now[0]}, published {now[1]}, goal {goal.last}{_health(roles)}",
                hint="the logs say more; --timeout waits longer",
            )
        if time.monotonic() >= next_line:
            _say(f"to ledger {goal.last}: {panel.line(snapshot)}")
            next_line = time.monotonic() + _LINE_EVERY_S
        stop.wait(_POLL_S)


def _health(roles: Roles) -> str:
    """What each role says about itself."""
    lines = []
    for endpoint in roles.endpoints:
        try:
            with urllib.request.urlopen(f"{endpoint.url}/health", timeout=_HEALTH_TIMEOUT_S) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
        except OSError as error:
            text = str(error)
        lines.append(f"\n  {endpoint.role}: {text}")
    return "".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
