"""Progress on stderr: a bar with rate and time left on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from producers.backfill import Progress

LINE_SECONDS: Final = 5.0


class ProgressDisplay:
    """Use as a context manager. `counted` shows how much is done; quiet: nothing at all."""

    def __init__(self, name: str, total: int | None, counted: ProgressColumn, *, quiet: bool = False) -> None:
        self._bar: Bar | None = None
        self._quiet = quiet
        self._said_at = time.monotonic()
        self._said = -1
        if sys.stderr.isatty() and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), counted, TextColumn("{task.fields[pace]}"))
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(name, total=total, pace="")

    def update(self, done: int, total: int | None, pace: str, line: str) -> None:
        """`pace` stands beside the bar, `line` where there is none."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, pace=pace)
        elif not self._quiet and time.monotonic() - self._said_at >= LINE_SECONDS and done != self._said:
            self._said_at, self._said = time.monotonic(), done
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


class Display(ProgressDisplay):
    """Of a job: `show` hears of progress."""

    def __init__(self, name: str, ledgers: int) -> None:
        super().__init__(name, ledgers, MofNCompleteColumn())

    def show(self, progress: Progress) -> None:
        rate = pace(progress)
        line = f"{progress.done_ledgers} of {progress.ledgers} ledgers, {rate}"
        self.update(progress.done_ledgers, progress.ledgers, rate, line)


def pace(progress: Progress) -> str:
    """Rate, time left and failures in a few words."""
    eta = progress.eta_seconds
    left = "" if eta is None else f", {duration(eta)} left"
    failed = f", {progress.failed_ranges} ranges failed" if progress.failed_ranges else ""
    return f"{progress.ledgers_per_second:.1f}/s{left}{failed}"


def duration(seconds: float) -> str:
    """Hours, minutes, seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
