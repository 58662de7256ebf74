"""Progress of reading a checkpoint: bytes of its buckets, entries, their rate and the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import DownloadColumn

from lumenstream.cli.jobdisplay import ProgressDisplay, duration

if TYPE_CHECKING:
    from producers.archive import Progress


class EntriesDisplay(ProgressDisplay):
    """`show` hears of progress."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        super().__init__(name, None, DownloadColumn(), quiet=quiet)
        self._name = name

    def show(self, progress: Progress) -> None:
        pace = entries_pace(progress)
        self.update(progress.done_bytes, progress.total_bytes or None, pace, f"{self._name}: {pace}")


def entries_pace(progress: Progress) -> str:
    """Entries, their rate and the time left in a few words."""
    eta = progress.eta_seconds
    left = "" if eta is None else f", {duration(eta)} left"
    return f"{progress.entries:,} entries, {progress.entries_per_second:,.0f}/s{left}"
