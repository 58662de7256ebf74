"""Takes snapshots of the same roles again and again, so that there are rates; a role that does not answer is shown as down."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from lumenstream.settings import DatabaseSettings
from lumenstream.status.database import DatabaseStatus, GapCount, database_status
from lumenstream.status.scraping import pages_of
from lumenstream.status.stages import Stage, row_of
from lumenstream.status.targets import Endpoint

RATE_WINDOW_S: Final = 10.0
MAX_SAMPLES: Final = 64
MAX_THREADS: Final = 16


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

    @property
    def problems(self) -> tuple[str, ...]:
        """What roles and the database say is wrong, with who says it."""
        down = [f"{stage.name}: does not answer" for stage in self.stages if not stage.up]
        said = [f"{stage.name}: {text}" for stage in self.stages for text in stage.problems]
        mute = [f"database: {self.database.error}"] if self.database is not None and self.database.error else []
        return (*mute, *down, *said)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"lag": self.lag, "errors": self.errors, "problems": self.problems}


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
    """`extra` adds rows that have no pages, such as servers; `finished` names roles whose work is done, whose last row stays.

    `gap_seconds`: how long a count of missing ledgers is believed.
    """

    def __init__(
        self,
        targets: Iterable[Endpoint],
        database: DatabaseSettings | None = None,
        extra: Callable[[], list[Stage]] = list,
        finished: Callable[[], Collection[str]] = tuple,
        gap_seconds: float = 0.0,
    ) -> None:
        self.targets = tuple(targets)
        self._database = database
        self._extra = extra
        self._finished = finished
        self._gaps = GapCount(gap_seconds)
        self._last: dict[str, Stage] = {}
        self._histories: dict[str, _History] = {}

    def sample(self, settle_seconds: float = 0.0) -> Snapshot:
        """A snapshot now; with `settle_seconds` a first one that long before, so that there are rates."""
        if settle_seconds:
            self._stages()
            time.sleep(settle_seconds)
        stages = self._stages()
        head = max((stage.ledger or 0 for stage in stages), default=0)
        sinks = [stage for stage in stages if stage.name.partition(" ")[0] == "sink"]
        cursor = max((stage.ledger or 0 for stage in sinks), default=0)
        cursor_close_time = max((stage.close_time for stage in sinks), default=0.0)
        found = database_status(self._database, self._gaps) if self._database else None
        if found and not found.error:
            cursor = max(cursor, found.cursor)
            head = max(head, cursor)
            stages = [_with_published_time(stage, found) for stage in stages]
        head_close_time = max((stage.close_time for stage in stages), default=0.0)
        with_lag = tuple(_with_lag(stage, head, head_close_time) for stage in stages)
        return Snapshot(with_lag, head, cursor, cursor_close_time, found)

    def _stages(self) -> list[Stage]:
        with ThreadPoolExecutor(max_workers=min(MAX_THREADS, max(1, len(self.targets)))) as pool:
            found = list(pool.map(pages_of, self.targets))
        now = time.monotonic()
        stages = []
        finished = self._finished()
        for target, pages in zip(self.targets, found, strict=True):
            if target.kind in finished:
                last = self._last.get(target.role, Stage(target.role, up=True))
                stages.append(replace(last, rate=None, note="finished"))
                continue
            if pages is None:
                stages.append(Stage(target.role, up=False, note="does not answer"))
                continue
            stage = row_of(target, pages)
            rate = self._histories.setdefault(target.role, _History()).rate(now, stage.count)
            stages.append(replace(stage, rate=rate))
            self._last[target.role] = stage
        return stages + self._extra()


def _with_published_time(stage: Stage, found: DatabaseStatus) -> Stage:
    """The publisher itself knows no close times; the database does."""
    if stage.name.partition(" ")[0] != "publisher" or found.published_close_time is None:
        return stage
    return replace(stage, close_time=datetime.fromisoformat(found.published_close_time).timestamp())


def _with_lag(stage: Stage, head: int, head_close_time: float) -> Stage:
    if stage.ledger is None or not head:
        return stage
    seconds = max(0.0, head_close_time - stage.close_time) if stage.close_time and head_close_time else None
    return replace(stage, lag=max(0, head - stage.ledger), lag_seconds=seconds)
