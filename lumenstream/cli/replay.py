"""`replay`: ledgers through the processors once more: those above the cursor by the live pipeline, committed history by a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from lumenstream.cli.inputs import (
    JsonOption,
    LakeOption,
    PathOption,
    RpcOption,
    SourceOption,
    settings_of_source,
)
from lumenstream.cli.jobs import LogOption, PauseOption, SinksOption, WorkersOption, run_job
from lumenstream.cli.options import PANEL_HISTORY, command, refuse, start_logging
from lumenstream.errors import ConfigurationError

if TYPE_CHECKING:
    from lumenstream.settings import Settings

_OF_JOBS: Final = ("first", "last", "workers", "sinks", "source", "path", "rpc_url", "lake_url", "log_dir", "pause_retention")


def replay(
    ctx: typer.Context,
    ledger: Annotated[int | None, typer.Option("--ledger", min=1, help="one ledger above the cursor")] = None,
    first: Annotated[int | None, typer.Option("--from", min=1, help="first ledger of a range")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="last ledger; may be above the cursor")] = None,
    processors: Annotated[str, typer.Option("--processors", help="names, comma separated (default: all)")] = "",
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
    """Process ledgers again: with --ledger one on which a processor failed, with --from and --to a range, wherever the cursor is.

    Ledgers above the cursor are sent to the processors of the live pipeline, through ledgers.retry, after the fix: of a range
    before anything else, the highest first, and one that is not on the topics ends the command. Committed history is made anew
    while the live pipeline goes on, by workers and sinks that this command starts, with --processors only their rows; raw ledgers
    are copied from the topics that still hold them, else read from the source. Balances are not touched.

    Example: lumenstream replay --ledger 63092990 --processors effects
    Example: lumenstream replay --from 63000000 --to 63000999 --processors effects,token_transfers --workers 2
    """
    if ledger is not None:
        refuse(ctx, *_OF_JOBS, where="with --ledger: its message is copied, and sent to the workers that run")
    names = tuple(name.strip() for name in processors.split(",") if name.strip())
    settings = settings_of_source(ctx, source, path, rpc_url, lake_url)
    start_logging(settings, "replay")
    if ledger is not None:
        _replay_one(settings, ledger, names, as_json)
        return
    if first is None or last is None:
        raise ConfigurationError("which ledgers?", hint="give --ledger, or both --from and --to")
    from producers.backfill import Request

    request = Request(first, last, rewrite=True, processors=names, pause_retention=pause_retention)
    run_job(settings, request, workers, sinks, log_dir, as_json)


def _replay_one(settings: Settings, ledger: int, names: tuple[str, ...], as_json: bool) -> None:
    from producers import replay as replaying

    sent = replaying.run(settings, ledger, names)
    if as_json:
        typer.echo(orjson.dumps(sent._asdict()).decode())
        return
    topic = f"{settings.kafka.topic_prefix}ledgers.retry [{sent.partition}] offset {sent.offset}"
    typer.echo(f"ledger {sent.sequence} ({sent.ledger_hash}) from {sent.found} sent to {topic}")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "replay", PANEL_HISTORY)(replay)
