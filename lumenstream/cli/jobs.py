"""`backfill` and `verify`, and what `replay` shares with them: jobs that run workers and sinks of their own."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from lumenstream.cli.inputs import (
    ArchiveOption,
    JsonOption,
    LakeOption,
    PathOption,
    RpcOption,
    SourceOption,
    settings_of_source,
)
from lumenstream.cli.options import PANEL_HISTORY, command, refuse, start_logging
from lumenstream.errors import LumenstreamError

if TYPE_CHECKING:
    from lumenstream.settings import Settings
    from producers.backfill import Request, Summary
    from producers.backfill.plan import Range
    from sinks.timescale.verify import Report

WorkersOption = Annotated[
    int, typer.Option("--workers", min=0, max=64, help="worker processes to start; 0: `process --backfill` runs elsewhere")
]
SinksOption = Annotated[int, typer.Option("--sinks", min=0, max=16, help="sinks to start; 0: `sink --backfill` runs elsewhere")]
LogOption = Annotated[Path | None, typer.Option("--log-dir", help="logs of both (default: a temporary one, gone after success)")]
PauseOption = Annotated[
    bool, typer.Option("--pause-retention", help="drop nothing while this runs; for ledgers older than the retention period")
]
_SHOWN_FAILURES = 20


def backfill(
    ctx: typer.Context,
    start: Annotated[int, typer.Option("--start", min=1, help="first ledger")],
    end: Annotated[int, typer.Option("--end", min=1, help="last ledger; not above the cursor")],
    workers: WorkersOption = 1,
    sinks: SinksOption = 1,
    source: SourceOption = None,
    path: PathOption = None,
    rpc_url: RpcOption = None,
    lake_url: LakeOption = None,
    log_dir: LogOption = None,
    pause_retention: PauseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fill the gaps in history between two ledgers, while the live pipeline goes on.

    Only what is missing is read and written. Stop it and start it again as you like: what is committed stays. Balances are not
    touched. Ends with exit code 8 and a list when a range could not be written. Ledgers older than the retention period are
    refused unless --pause-retention is given; then they stay while it runs, and longer if the period was raised meanwhile.

    It starts workers and sinks here. To spread it over several hosts run `lumenstream process --backfill` and `lumenstream sink
    --backfill` on them, and this command with --workers 0 --sinks 0.

    Example: lumenstream backfill --start 63000000 --end 63100000 --workers 2 --source files --path ledgers/
    Example: lumenstream backfill --start 63000000 --end 63100000 --source lake --network pubnet
    Example: lumenstream backfill --start 63000000 --end 63100000 --source lake --network pubnet --workers 0 --sinks 0
    """
    settings = settings_of_source(ctx, source, path, rpc_url, lake_url)
    start_logging(settings, "backfill")
    from producers.backfill import Request

    run_job(settings, Request(start, end, pause_retention=pause_retention), workers, sinks, log_dir, as_json)


def verify(
    ctx: typer.Context,
    first: Annotated[int | None, typer.Option("--from", min=1, help="first ledger (default: the oldest)")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="last ledger (default: the cursor)")] = None,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="instead: balances and other current state against a checkpoint")
    ] = False,
    archive_url: ArchiveOption = None,
    source: SourceOption = None,
    path: PathOption = None,
    rpc_url: RpcOption = None,
    lake_url: LakeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that the database is whole: no gap, an unbroken chain of hashes, as many rows as each ledger had, no link missing.

    With --checkpoint current state is checked instead: against the newest checkpoint of a history archive that is not above the
    cursor, and the ledgers since then, from the topics or the source. The live pipeline goes on meanwhile.

    Ends with exit code 8 and a list when something is wrong. `backfill` fills gaps, `replay` makes the rest of history anew,
    `rebuild-state` current state.

    Example: lumenstream verify --from 63000000 --json
    """
    if checkpoint:
        refuse(ctx, "first", "last", where="with --checkpoint: the state is that of the cursor")
    else:
        refuse(ctx, "archive_url", "source", "path", "rpc_url", "lake_url", where="without --checkpoint")
    settings = settings_of_source(ctx, source, path, rpc_url, lake_url, archive__url=archive_url)
    start_logging(settings, "verify")
    if checkpoint:
        from lumenstream.cli import state

        state.verify_checkpoint(settings, as_json)
        return
    from sinks.timescale import verify as verification

    report = verification.verify(settings, first, last)
    document = {
        "first": report.first,
        "last": report.last,
        "ledgers": report.ledgers,
        "ok": not report.findings,
        "findings": [finding._asdict() for finding in report.findings],
    }
    nothing = f"no history yet: it begins with the ledger after the checkpoint at {report.last}, or with a backfill"
    what = f"{report.ledgers} ledgers between {report.first} and {report.last}, {_findings(report)}"
    _say(as_json, document, what if report.ledgers or report.findings else nothing)
    if not as_json:
        for finding in report.findings:
            typer.echo(f"{finding.kind}: {_extent(finding.first, finding.last)}: {finding.text}")
    if report.findings:
        raise LumenstreamError(
            f"{_findings(report)} between ledgers {report.first} and {report.last}",
            hint="lumenstream backfill fills gaps, lumenstream replay --from --to makes rows anew",
        )


def run_job(settings: Settings, request: Request, workers: int, sinks: int, log_dir: Path | None, as_json: bool) -> None:
    """Plan, start helpers, run, report."""
    from lumenstream import memory
    from lumenstream.cli.jobdisplay import Display
    from lumenstream.cli.jobhelpers import Helpers
    from lumenstream.demo.interrupts import stop_on_signals
    from producers import sources
    from producers.backfill import Job

    memory.keep_freed()
    if not request.rewrite:  # a replay may find all it needs on the topics
        sources.check(settings)
    sent = 0
    with stop_on_signals() as stop, Job(settings, request, stop) as job:
        ledgers = job.plan()
        if job.above is not None:
            sent = _send_above(settings, job.above, request.processors, stop, as_json)
        try:
            if job.above is not None and sent < job.above.ledgers:  # the rest was committed meanwhile
                ledgers = job.plan(job.above.last - sent)
            if not job.ranges:
                what = "nothing is missing" if not request.rewrite else "the database has no ledger"
                if as_json or not sent:
                    document = {"ledgers": 0, "ok": True, "sent_to_retry": sent}
                    _say(as_json, document, f"{what} between {request.start} and {request.end}")
                return
            if not as_json:
                extent = f"{job.ranges[0].first} to {job.ranges[-1].last}"
                typer.echo(f"{job.name}: {ledgers} ledgers in {len(job.ranges)} ranges, {extent}")
            logs = log_dir or Path(tempfile.mkdtemp(prefix="lumenstream-backfill-"))
            with Helpers(settings, logs, workers, sinks) as helpers, Display(job.name, ledgers) as display:
                summary = job.run(display.show, helpers.check)
        except LumenstreamError as error:
            if job.cut_short is not None:
                _tell(job.cut_short, as_json, sent)
            elif sent and as_json:  # as text it has been said
                typer.echo(orjson.dumps(_of_sent(str(error), sent)).decode())
            raise
    rest = "it begins again at --from" if request.rewrite else "it does what is left"
    report(summary, as_json, logs if workers or sinks else None, rest, sent)
    if log_dir is None:
        shutil.rmtree(logs)


def _send_above(settings: Settings, above: Range, processors: Sequence[str], stop: threading.Event, as_json: bool) -> int:
    """Send what a replay has above the cursor to the workers that run. Returns how many ledgers, counted from the end of the
    range: what is committed before its turn is history. LumenstreamError when one cannot be sent, or `stop` is set."""
    from producers import replay
    from producers.backfill.plan import Range

    sent = 0
    try:
        for _ in replay.run_range(settings, above.first, above.last, processors):
            sent += 1
            if stop.is_set() and sent < above.ledgers:
                raise LumenstreamError(f"interrupted before ledger {above.last - sent}", hint="run it again: it begins anew")
    except LumenstreamError as error:
        _say(as_json, _of_sent(str(error), sent), f"{sent} of {above.ledgers} ledgers above the cursor sent to ledgers.retry")
        raise
    if sent and not as_json:
        extent = Range(above.last - sent + 1, above.last)
        typer.echo(f"{sent} ledger{'' if sent == 1 else 's'} above the cursor sent to ledgers.retry: {extent}")
    return sent


def _of_sent(error: str, sent: int) -> dict[str, Any]:
    """What --json says of a replay that an error ended before its job began."""
    return {"ledgers": 0, "ok": False, "error": error, "sent_to_retry": sent}


def report(summary: Summary, as_json: bool, logs: Path | None, rest: str, sent: int = 0) -> None:
    """Say how a job ended, and how many ledgers above the cursor were `sent` to be tried again before it began.

    LumenstreamError when not all of it was done; `rest`: what the same command does then.
    """
    _tell(summary, as_json, sent)
    if summary.ok:
        return
    what = f"{len(summary.failed)} of {summary.ranges} ranges failed" if summary.failed else "interrupted"
    then = "run it again once that is mended" if summary.failed else "run it again"
    more = f"; logs: {logs}" if logs else ""
    raise LumenstreamError(f"{summary.job}: {what}", hint=f"{then}: {rest}{more}")


def _tell(summary: Summary, as_json: bool, sent: int) -> None:
    """What was done, and the list of what failed."""
    rate = summary.done_ledgers / summary.seconds if summary.seconds else 0.0
    document = {
        "job": summary.job,
        "ok": summary.ok,
        "interrupted": summary.interrupted,
        "error": summary.error or None,
        "ranges": summary.ranges,
        "ledgers": summary.ledgers,
        "done_ledgers": summary.done_ledgers,
        "copied_ledgers": summary.copied_ledgers,
        "sent_to_retry": sent,
        "seconds": round(summary.seconds, 2),
        "ledgers_per_second": round(rate, 1),
        "failed": [{"first": failed.first, "last": failed.last, "error": text} for failed, text in summary.failed],
    }
    done = f"{summary.done_ledgers} of {summary.ledgers} ledgers"
    _say(as_json, document, f"{done} in {summary.seconds:.1f} s, {rate:.1f} a second")
    if not as_json:
        for failed, text in summary.failed[:_SHOWN_FAILURES]:
            typer.echo(f"failed: {failed}: {text}", err=True)


def _findings(found: Report) -> str:
    return f"{len(found.findings)} finding{'' if len(found.findings) == 1 else 's'}"


def _extent(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _say(as_json: bool, document: dict[str, Any], text: str) -> None:
    typer.echo(orjson.dumps(document).decode() if as_json else text)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    commands: tuple[tuple[str, Callable[..., None]], ...] = (("backfill", backfill), ("verify", verify))
    for name, function in commands:
        command(app, name, PANEL_HISTORY)(function)
