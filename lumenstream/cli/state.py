"""`bootstrap`, `rebuild-state` and `verify --checkpoint`: current state from a checkpoint of a history archive.

The composition: the archive's reader gives entries, the processors make rows of them, the sink loads the rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

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
from lumenstream.cli.options import PANEL_HISTORY, command, settings_of, start_logging
from lumenstream.errors import IntegrityError, LumenstreamError

if TYPE_CHECKING:
    from lumenstream.cli.statedisplay import EntriesDisplay
    from lumenstream.settings import Settings
    from producers.archive import Checkpoint, HistoryArchive
    from schemas.checkpoint import EntryRows
    from sinks.timescale.checkpoint import Expected, Origin
    from sinks.timescale.tables import LedgerRows

CheckpointOption = Annotated[
    int | None, typer.Option("--at", min=1, help="the newest checkpoint that is not above this ledger (default: the newest)")
]

_NEWER = "a newer version of this program may know how to read it"


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
    from lumenstream.cli.statedisplay import EntriesDisplay
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
    """Rows of everything that exists at a checkpoint. IntegrityError when one cannot be read."""
    from lumenstream.xdr import LedgerContentError
    from processors.checkpoint import CheckpointProcessor

    batches = (batch.entries for batch in archive.entries(checkpoint, display.show))
    try:
        yield from CheckpointProcessor(settings.network.network_id()).process_all(checkpoint.ledger, batches)
    except LedgerContentError as error:
        raise IntegrityError(f"{archive.name}, checkpoint {checkpoint.ledger}: {error}", hint=_NEWER) from error


def rebuild_state(
    ctx: typer.Context,
    archive_url: ArchiveOption = None,
    source: SourceOption = None,
    path: PathOption = None,
    rpc_url: RpcOption = None,
    lake_url: LakeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make current state anew: the newest checkpoint not above the cursor, and the ledgers since then.

    Stop every sink first; one that is started meanwhile stands by and goes on afterwards. Raw ledgers are copied from the topics
    that still hold them, else read from the source. Only rows that are wrong are written, in one transaction, so readers never
    see a state in between. Balances of custom tokens, which are sums of events, stay as they are.

    Example: lumenstream rebuild-state --network testnet --archive-url file:///archive --source files --path ledgers/
    """
    settings = settings_of_source(ctx, source, path, rpc_url, lake_url, archive__url=archive_url)
    start_logging(settings, "rebuild-state")
    from sinks.timescale import checkpoint as sink

    with ExpectedState(settings, quiet=as_json) as state:
        done = sink.rebuild_state(settings, state.at)
    if as_json:
        typer.echo(orjson.dumps({"checkpoint": done.checkpoint, "cursor": done.cursor, "rows": dict(done.rows)}).decode())
        return
    wrong = ", ".join(f"{count} {table}" for table, count in done.rows.items()) or "nothing was wrong"
    typer.echo(f"state after ledger {done.cursor}, from the checkpoint at {done.checkpoint}: {wrong}")


def verify_checkpoint(settings: Settings, as_json: bool) -> None:
    """Current state against a checkpoint. LumenstreamError when something differs."""
    from sinks.timescale import checkpoint as sink

    with ExpectedState(settings, quiet=as_json) as state:
        found = sink.check_state(settings, state.at)
    if as_json:
        document = {"checkpoint": found.checkpoint, "cursor": found.cursor, "ok": not found.differences}
        findings = [difference._asdict() for difference in found.differences]
        typer.echo(orjson.dumps({**document, "findings": findings}).decode())
    else:
        what = f"state after ledger {found.cursor} against the checkpoint at {found.checkpoint}"
        typer.echo(f"{what}: {len(found.differences)} findings")
        for difference in found.differences:
            typer.echo(str(difference))
    if found.differences:
        raise LumenstreamError(
            f"current state differs in {sum(difference.rows for difference in found.differences)} rows",
            hint="lumenstream rebuild-state makes it anew",
        )


class ExpectedState:
    """What the database should hold after a ledger, from archive and raw ledgers. Use as a context manager."""

    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        from producers.archive import HistoryArchive

        self._settings = settings
        self._quiet = quiet
        self._closing = ExitStack()
        self._archive = HistoryArchive(settings, threading.Event().wait)
        self._closing.callback(self._archive.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def at(self, cursor: int) -> Expected:
        from lumenstream.cli.statedisplay import EntriesDisplay
        from sinks.timescale.checkpoint import Expected

        checkpoint = self._archive.newest(cursor)
        self._check_source(checkpoint, cursor)
        display = self._closing.enter_context(EntriesDisplay(f"state after ledger {checkpoint.ledger}", quiet=self._quiet))
        batches = entry_rows(self._settings, self._archive, checkpoint, display)
        return Expected(checkpoint.ledger, batches, self._ledgers(checkpoint, cursor))

    def _check_source(self, checkpoint: Checkpoint, cursor: int) -> None:
        """ConfigurationError when the source will be needed and cannot be: before all buckets are read, not after."""
        from producers.backfill.book import Book
        from producers.backfill.plan import Range
        from producers.backfill.raw import RawLedgers

        if cursor > checkpoint.ledger:
            wanted = Range(checkpoint.ledger + 1, cursor)
            with closing(Book(self._settings)) as book, closing(RawLedgers(self._settings, threading.Event(), [wanted])) as raw:
                raw.check_source(wanted, book.places(wanted))

    def _ledgers(self, checkpoint: Checkpoint, cursor: int) -> Iterator[LedgerRows]:
        """The ledgers after the checkpoint, up to the cursor; the first must name the checkpoint's as its predecessor."""
        from lumenstream.cli.rollforward import RowMaker
        from lumenstream.xdr import LedgerContentError, LedgerDecodeError
        from producers.backfill.book import Book
        from producers.backfill.plan import Range
        from producers.backfill.raw import RawLedgers
        from sinks.timescale.writer import check_chain

        if cursor <= checkpoint.ledger:
            return
        wanted, maker = Range(checkpoint.ledger + 1, cursor), RowMaker(self._settings)
        with closing(Book(self._settings)) as book, closing(RawLedgers(self._settings, threading.Event(), [wanted])) as raw:
            previous, previous_hash = checkpoint.ledger, origin_of(checkpoint).ledger_hash
            for ledger, header in raw.read(wanted, book.places(wanted)):
                try:
                    rows = maker.rows(ledger.data, previous)
                except (LedgerDecodeError, LedgerContentError) as error:
                    raise IntegrityError(f"{ledger.place}: {error}", hint=_NEWER) from error
                check_chain([rows], previous, previous_hash)
                previous, previous_hash = header.sequence, header.hash.hex()
                yield rows


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "bootstrap", PANEL_HISTORY)(bootstrap)
    command(app, "rebuild-state", PANEL_HISTORY)(rebuild_state)
