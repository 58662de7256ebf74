"""`bootstrap`: current state from a checkpoint of a history archive.

The composition: the archive's reader gives entries, the processors make rows of them, the sink loads the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from lumenstream.cli.jobs import JsonOption
from lumenstream.cli.options import PANEL_HISTORY, command, settings_of, start_logging
from lumenstream.cli.roles import ArchiveOption
from lumenstream.cli.statedisplay import EntriesDisplay

if TYPE_CHECKING:
    from lumenstream.settings import Settings
    from producers.archive import Checkpoint, HistoryArchive
    from schemas.checkpoint import EntryRows
    from sinks.timescale.checkpoint import Origin

CheckpointOption = Annotated[
    int | None, typer.Option("--at", min=1, help="the newest checkpoint that is not above this ledger (default: the newest)")
]


def bootstrap(
    ctx: typer.Context, archive_url: ArchiveOption = None, at: CheckpointOption = None, as_json: JsonOption = False
) -> None:
    """First run: load the state of the newest checkpoint of a history archive into an empty database.

    Every balance, trustline, contract token, pool, claimable balance and offer of the network is there afterwards, and the
    pipeline goes on with the next ledger. All of it is one transaction: after an error, or when this command is killed, the
    database is as empty as before. Older history comes by `lumenstream backfill`. `lumenstream up` does this by itself.

    Example: lumenstream bootstrap --network testnet --archive-url https://history.stellar.org/prd/core-testnet/core_testnet_001
    """
    settings = settings_of(ctx, archive__url=archive_url)
    start_logging(settings, "bootstrap")
    ledger, rows = run_bootstrap(settings, at, quiet=as_json)
    if as_json:
        typer.echo(orjson.dumps({"ledger": ledger, "rows": rows}).decode())
    else:
        typer.echo(f"the database has the state after ledger {ledger}: " + ", ".join(f"{n} {table}" for table, n in rows.items()))


def run_bootstrap(settings: Settings, at: int | None = None, *, quiet: bool = False) -> tuple[int, dict[str, int]]:
    """The checkpoint's ledger, and the rows written by table."""
    import threading

    from producers.archive import HistoryArchive
    from sinks.timescale.checkpoint import bootstrap as load

    archive = HistoryArchive(settings, threading.Event().wait)
    try:
        checkpoint = archive.newest(at)
        with EntriesDisplay(f"state after ledger {checkpoint.ledger}", quiet=quiet) as display:
            rows = load(settings, origin_of(checkpoint), entry_rows(settings, archive, checkpoint, display))
        return checkpoint.ledger, {table: count for table, count in sorted(rows.items()) if count}
    finally:
        archive.close()


def bootstrap_when_empty(settings: Settings) -> None:
    """The first run of `up`: nothing to do without an archive, or when the database has begun."""
    from lumenstream import database

    if not settings.archive.url:
        return
    with database.connect(settings.database, application_name="lumenstream-up") as connection:
        database.check_schema(connection)
        if database.get_cursor(connection, database.Cursor.LATEST):
            return
    start_logging(settings, "bootstrap")
    run_bootstrap(settings)


def origin_of(checkpoint: Checkpoint) -> Origin:
    from sinks.timescale.checkpoint import Origin

    return Origin(checkpoint.ledger, "" if checkpoint.header is None else checkpoint.header.hash.hex())


def entry_rows(
    settings: Settings, archive: HistoryArchive, checkpoint: Checkpoint, display: EntriesDisplay
) -> Iterator[EntryRows]:
    """Rows of everything that exists at a checkpoint."""
    from processors.checkpoint import CheckpointProcessor

    processor = CheckpointProcessor(settings.network.network_id())
    for batch in archive.entries(checkpoint, display.show):
        yield processor.process(checkpoint.ledger, batch.entries)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "bootstrap", PANEL_HISTORY)(bootstrap)
