"""How the pipeline does: one snapshot from the roles' own /metrics pages and from the database.

Prometheus, /health and this view read the same registry, so all three tell the same truth. Rates are taken over the last samples
of one `Monitor`; a role that does not answer is shown as down, with what it said last gone.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from lumenstream import database
from lumenstream.errors import LumenstreamError
from lumenstream.settings import DatabaseSettings, Settings

SCRAPE_TIMEOUT_S: Final = 2.0
RATE_WINDOW_S: Final = 10.0
MAX_SAMPLES: Final = 64
_PUBLISHER_CURSOR: Final = "publisher_cursor"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A role and the base of its pages, for example http://127.0.0.1:8011."""

    role: str
    url: str

    @property
    def kind(self) -> str:
        """producer, worker, sink, publisher or api: the role without a worker's number."""
        return self.role.partition(" ")[0]


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Where the roles of these settings listen, seen from this machine. Port 0 (a free one) cannot be known and is left out."""
    first_worker = settings.process.http_port
    ports = [
        ("producer", settings.producer.http_port),
        *((f"worker {n}", first_worker + n) for n in range(settings.process.workers) if first_worker),
        ("sink", settings.sink.http_port),
        ("publisher", settings.publisher.http_port),
        ("api", settings.api.port),
    ]
    return tuple(Endpoint(role, f"http://127.0.0.1:{port}") for role, port in ports if port)


class Samples:
    """One /metrics page: values by name and labels."""

    def __init__(self, page: str) -> None:
        self._values: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self._values.setdefault(sample.name, []).append((sample.labels, sample.value))

    def total(self, name: str) -> float:
        """The sum over all labels, 0 when there is none."""
        return sum(value for _, value in self._values.get(name, ()))

    def highest(self, name: str) -> float:
        """The largest over all labels, 0 when there is none."""
        return max((value for _, value in self._values.get(name, ())), default=0.0)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Values by one label."""
        return {labels.get(label, ""): value for labels, value in self._values.get(name, ())}


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the panel. `count` only grows, `rate` is its change a second in `unit`; `lag` is ledgers behind the head."""

    name: str
    up: bool
    ledger: int | None = None
    count: float = 0.0
    unit: str = "ledgers"
    rate: float | None = None
    lag: int | None = None
    partitions: int | None = None
    memory_bytes: int | None = None
    errors: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What the database says. `error` is empty when all is well; `answered` is false when the database could not be asked."""

    cursor: int = 0
    published: int = 0
    ledgers: int = 0
    close_time: str | None = None
    schema_version: int = 0
    edition: str = ""
    required_processors: tuple[str, ...] = ()
    error: str = ""
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The pipeline at one moment. `head` is the highest ledger any stage knows of."""

    stages: tuple[Stage, ...]
    head: int
    cursor: int
    cursor_close_time: float
    database: DatabaseStatus | None = None

    @property
    def lag(self) -> int:
        return max(0, self.head - self.cursor)

    @property
    def errors(self) -> int:
        return sum(stage.errors for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"lag": self.lag, "errors": self.errors}


def _integer(value: float) -> int | None:
    return int(value) if value else None


def stage_of(endpoint: Endpoint, samples: Samples) -> Stage:
    """The row of a role from its metrics, without rate and lag."""
    ledger: int | None = None
    count, unit, partitions, note = 0.0, "ledgers", None, ""
    errors = samples.total("lumenstream_server_errors_total")
    match endpoint.kind:
        case "producer":
            ledger = _integer(samples.highest("lumenstream_produced_ledger"))
            count = samples.total("lumenstream_produced_ledgers_total")
            errors += samples.total("lumenstream_source_errors_total")
        case "worker":
            ledger = _integer(samples.highest("lumenstream_processed_ledger"))
            count = samples.highest("lumenstream_parts_sent_total")  # every processor sends one part a ledger
            partitions = int(samples.total("lumenstream_assigned_partitions"))
            errors += samples.total("lumenstream_processor_failures_total")
        case "sink":
            ledger = _integer(samples.highest("lumenstream_cursor_ledger"))
            count = samples.total("lumenstream_committed_ledgers_total")
            partitions = _integer(samples.total("lumenstream_assigned_partitions"))
            note = _sink_note(samples)
        case "publisher":
            ledger = _integer(samples.highest("lumenstream_published_ledger"))
            count, unit = samples.total("lumenstream_published_events_total"), "events"
        case _:
            count, unit = samples.total("lumenstream_api_request_seconds_count"), "requests"
            errors += samples.total("lumenstream_api_errors_total")
    return Stage(
        name=endpoint.role,
        up=True,
        ledger=ledger,
        count=count,
        unit=unit,
        partitions=partitions,
        memory_bytes=_integer(samples.total("process_resident_memory_bytes")),
        errors=int(errors),
        note=note,
    )


def _sink_note(samples: Samples) -> str:
    if not samples.total("lumenstream_sink_is_leader"):
        return "standing by"
    missing = [name for name, value in samples.by_label("lumenstream_sink_missing_part", "processor").items() if value]
    waiting = samples.total("lumenstream_sink_waiting_seconds")
    if missing and waiting > 1:
        return f"waits {waiting:.0f} s for {', '.join(sorted(missing))}"
    return ""


@dataclass(slots=True)
class _History:
    """Counts of one stage over the last seconds."""

    points: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))

    def rate(self, now: float, count: float) -> float | None:
        if self.points and count < self.points[-1][1]:
            self.points.clear()  # the role was restarted
        self.points.append((now, count))
        while len(self.points) > 2 and self.points[1][0] < now - RATE_WINDOW_S:
            self.points.popleft()
        (then, before) = self.points[0]
        return (count - before) / (now - then) if now > then else None


class Monitor:
    """Takes snapshots of the same endpoints again and again.

    `extra` adds rows that have no metrics page, such as servers; `finished` names roles whose work is done, whose last row stays.
    """

    def __init__(
        self,
        targets: Iterable[Endpoint],
        database: DatabaseSettings | None = None,
        extra: Callable[[], list[Stage]] = list,
        finished: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.targets = tuple(targets)
        self._database = database
        self._extra = extra
        self._finished = finished
        self._last: dict[str, Stage] = {}
        self._histories: dict[str, _History] = {}

    def sample(self, settle_seconds: float = 0.0) -> Snapshot:
        """A snapshot now; with `settle_seconds` a first one that long before, so that there are rates."""
        if settle_seconds:
            self._stages()
            time.sleep(settle_seconds)
        stages, cursor_close_time = self._stages()
        head = max((stage.ledger or 0 for stage in stages), default=0)
        cursor = max((stage.ledger or 0 for stage in stages if stage.name == "sink"), default=0)
        found = database_status(self._database) if self._database else None
        if found and not found.error:
            cursor = max(cursor, found.cursor)
            head = max(head, cursor)
        with_lag = tuple(_with_lag(stage, head) for stage in stages)
        return Snapshot(with_lag, head, cursor, cursor_close_time, found)

    def _stages(self) -> tuple[list[Stage], float]:
        with ThreadPoolExecutor(max_workers=max(1, len(self.targets))) as pool:
            pages = list(pool.map(scrape, self.targets))
        now = time.monotonic()
        stages, close_time = [], 0.0
        finished = self._finished()
        for target, page in zip(self.targets, pages, strict=True):
            if target.kind in finished:
                last = self._last.get(target.role, Stage(target.role, up=True))
                stages.append(_replace(last, rate=None, note="finished"))
                continue
            if page is None:
                stages.append(Stage(target.role, up=False, note="does not answer"))
                continue
            stage = stage_of(target, page)
            rate = self._histories.setdefault(target.role, _History()).rate(now, stage.count)
            stages.append(_replace(stage, rate=rate))
            self._last[target.role] = stage
            close_time = max(close_time, page.highest("lumenstream_cursor_close_time_seconds"))
        return stages + self._extra(), close_time


def _replace(stage: Stage, **changes: Any) -> Stage:
    return Stage(**(asdict(stage) | changes))


def _with_lag(stage: Stage, head: int) -> Stage:
    return _replace(stage, lag=max(0, head - stage.ledger)) if stage.ledger is not None and head else stage


def scrape(endpoint: Endpoint) -> Samples | None:
    """The role's metrics, or None when it does not answer."""
    try:
        with urllib.request.urlopen(f"{endpoint.url}/metrics", timeout=SCRAPE_TIMEOUT_S) as answer:
            return Samples(answer.read().decode())
    except (OSError, ValueError):
        return None


def database_status(settings: DatabaseSettings) -> DatabaseStatus:
    """Cursors, presence and what is required. A database that does not answer is part of the answer."""
    try:
        with database.connect(settings, application_name="lumenstream-status", autocommit=True) as connection:
            version = database.schema_version(connection)
            if version == 0:
                return DatabaseStatus(edition=database.edition(connection), error="no schema: run lumenstream migrate")
            cursor = database.get_cursor(connection, database.Cursor.LATEST) or 0
            row = connection.execute("select count(*), max(closed_at) from ledgers").fetchone() or (0, None)
            names = connection.execute("select name from processors where required_from <= %s + 1 order by name", (cursor,))
            return DatabaseStatus(
                cursor=cursor,
                published=database.get_cursor(connection, _PUBLISHER_CURSOR) or 0,
                ledgers=int(row[0]),
                close_time=row[1].isoformat() if row[1] else None,
                schema_version=version,
                edition=database.edition(connection),
                required_processors=tuple(str(name) for (name,) in names),
            )
    except (LumenstreamError, psycopg.Error) as error:
        return DatabaseStatus(error=str(error).strip().partition("\n")[0], answered=False)
