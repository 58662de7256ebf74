"""The live status panel: one row a stage. On a terminal a table that refreshes in place, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lumenstream.status import DatabaseStatus, Monitor, Snapshot, Stage
from lumenstream.status.database import RetentionStatus

REFRESH_S: Final = 1.0
LINE_EVERY_S: Final = 5.0
_MEBIBYTE: Final = 1 << 20
SHOWN_GAPS: Final = 5
_LAG_SHOWN_YELLOW: Final = 10


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _rate(stage: Stage) -> str:
    if stage.rate is None or not stage.up:
        return ""
    return f"{stage.rate:,.1f} {stage.unit}/s"


def _style(stage: Stage) -> str:
    if not stage.up:
        return "red"
    return "yellow" if stage.errors or (stage.lag or 0) > _LAG_SHOWN_YELLOW else ""


def render(snapshot: Snapshot, title: str, notes: Sequence[str] = ()) -> Group:
    """The panel of one snapshot."""
    table = Table(title=title, title_style="bold", title_justify="left", expand=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("ledger", "lag", "rate", "partitions", "memory", "errors"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for stage in snapshot.stages:
        memory = f"{stage.memory_bytes / _MEBIBYTE:,.0f} MiB" if stage.memory_bytes else ""
        table.add_row(
            stage.name,
            _number(stage.ledger),
            _number(stage.lag),
            _rate(stage),
            _number(stage.partitions),
            memory,
            _number(stage.errors) if stage.up else "",
            stage.note,
            style=_style(stage),
        )
    problems = [f"problem: {problem}" for stage in snapshot.stages for problem in stage.problems]
    lines = [*_database_lines(snapshot), *problems, *notes]
    return Group(table, *(Text(line) for line in lines))


def _database_lines(snapshot: Snapshot) -> list[str]:
    found = snapshot.database
    if found is None:
        return []
    if found.error:
        return [f"database: {found.error}"]
    stored = f"{found.ledgers:,} stored from {found.oldest:,} on"
    return [
        f"database: ledger {found.cursor:,} of {snapshot.head:,}, closed {found.close_time or 'never'}; {stored}",
        f"published: ledger {found.published:,}; schema {found.schema_version}, {found.edition}",
        f"required processors: {', '.join(found.required_processors) or 'none'}",
        f"missing: {_missing(found)}",
        f"retention: {_retention(found.retention)}",
        *(f"job {job.job}: {job.done_ranges} of {job.ranges} ranges done, {job.failed_ranges} failed" for job in found.jobs),
    ]


def _missing(found: DatabaseStatus) -> str:
    if found.missing is None:
        return "not counted, which took too long; lumenstream verify takes its time"
    if not found.missing:
        return "nothing"
    shown = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in found.shown_gaps[:SHOWN_GAPS])
    more = ", ..." if (found.gaps or 0) > SHOWN_GAPS else ""
    return f"{found.missing:,} ledgers in {found.gaps} gaps: {shown}{more}"


def _retention(found: RetentionStatus) -> str:
    ran = f"; last run of maintenance {found.ran_at[:19]}" if found.ran_at else "; maintenance never ran"
    held = f"; held: {found.held_by}" if found.held_by else ""
    return (f"{found.keep} are kept" if found.keep else "everything is kept") + held + ran


def line(snapshot: Snapshot) -> str:
    """A snapshot in one line, for logs and dumb terminals."""
    stages = []
    for stage in snapshot.stages:
        what = "down" if not stage.up else _number(stage.ledger) or "up"
        rate = f" {stage.rate:.1f}/s" if stage.up and stage.rate else ""
        memory = f" {stage.memory_bytes // _MEBIBYTE} MiB" if stage.memory_bytes and stage.ledger is None else ""
        stages.append(f"{stage.name} {what}{rate}{memory}")
    return f"lag {snapshot.lag} | " + " | ".join(stages) + f" | errors {snapshot.errors}"


def show(snapshot: Snapshot, title: str) -> None:
    """Print one snapshot on stdout."""
    Console().print(render(snapshot, title))


def run(
    take: Callable[[], Snapshot],
    stop: threading.Event,
    *,
    title: str,
    notes: Callable[[], Sequence[str]] = tuple,
    check: Callable[[Snapshot], None] = lambda snapshot: None,
    plain: bool = False,
) -> None:
    """Show snapshots until `stop` is set. `check` sees each one and ends the panel by raising."""
    console = Console(stderr=True)
    if plain or not console.is_terminal or console.is_dumb_terminal:
        _run_plain(take, stop, check)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while not stop.is_set():
            snapshot = take()
            live.update(render(snapshot, title, notes()), refresh=True)
            check(snapshot)
            stop.wait(REFRESH_S)


def _run_plain(take: Callable[[], Snapshot], stop: threading.Event, check: Callable[[Snapshot], None]) -> None:
    next_line = 0.0
    while not stop.is_set():
        snapshot = take()
        if time.monotonic() >= next_line:
            print(line(snapshot), file=sys.stderr, flush=True)
            next_line = time.monotonic() + LINE_EVERY_S
        check(snapshot)
        stop.wait(REFRESH_S)


def watch(monitor: Monitor, title: str) -> None:
    """`lumenstream status --watch`: until interrupted."""
    stop = threading.Event()
    try:
        run(monitor.sample, stop, title=title)
    except KeyboardInterrupt:
        stop.set()
