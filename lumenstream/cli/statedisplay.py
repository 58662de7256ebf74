"""Progress of reading a checkpoint, on stderr: a bar with rate and time left on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn
from rich.progress import Progress as Bar

from lumenstream.cli.jobdisplay import duration

if TYPE_CHECKING:
    from producers.archive import Progress

LINE_SECONDS: Final = 10.0


class EntriesDisplay:
    """Use as a context manager; `show` hears of progress."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._name = name
        self._quiet = quiet
        self._bar: Bar | None = None
        self._said_at = time.monotonic()
        if sys.stderr.isatty() and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[pace]}"))
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(name, total=None, pace="")

    def show(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.update(
                self._task, completed=progress.done_bytes, total=progress.total_bytes or None, pace=entries_pace(progress)
            )
        elif not self._quiet and time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            print(f"{self._name}: {entries_pace(progress)}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


def entries_pace(progress: Progress) -> str:
    """Entries, their rate and the time left in a few words."""
    eta = progress.eta_seconds
    left = "" if eta is None else f", {duration(eta)} left"
    return f"{progress.entries:,} entries, {progress.entries_per_second:,.0f}/s{left}"
