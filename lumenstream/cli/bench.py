"""`bench`: the benchmarks of `lumenstream/bench`, by name."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Final

import orjson
import typer

from lumenstream.bench import BENCHMARKS
from lumenstream.cli.options import PANEL_LOOK, command, refuse, settings_of, start_logging
from lumenstream.errors import ConfigurationError

# Which of the options each benchmark reads; `all` reads every one.
READ: Final = {
    "plans": ("rows", "keep"),
    **dict.fromkeys(("ingest", "backfill"), ("ledgers", "workers", "depth")),
    **dict.fromkeys(("live", "sustained"), ("ledgers", "workers")),
}
OPTIONS: Final = frozenset(option for options in READ.values() for option in options)


def bench(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help=f"all, {', '.join(BENCHMARKS)}")] = "all",
    rows: Annotated[
        int | None, typer.Option(min=1000, max=100_000_000, help="plans: rows of each table of history (10000000)")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="plans: leave the seeded database for the next run with --keep")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a benchmark on stdout")] = False,
    ledgers: Annotated[int | None, typer.Option("--ledgers", min=1, help="how many; ingest, backfill, live, sustained")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="processes; ingest, backfill, live, sustained")] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=0, help="rows in each history table beforehand; ingest, backfill")
    ] = None,
) -> None:
    """Measure: decoding against stellar_sdk, ledgers a second from source to rows, milliseconds from publish to visible, plans.

    The pipeline's benchmarks report CPU seconds by process. They run on the configured servers, in a database and topics of
    their own that are removed afterwards; figures count for a machine with nothing else on it.

    Example: lumenstream bench decode --json

    Example: lumenstream bench plans --rows 200000

    Example: lumenstream bench ingest --json --workers 2 --depth 10000000
    """
    if name != "all" and name not in BENCHMARKS:
        raise ConfigurationError(f"no benchmark {name!r}", hint=f"there are all, {', '.join(BENCHMARKS)}")
    if name != "all":
        refuse(ctx, *OPTIONS.difference(READ.get(name, ())), where=f"with benchmark {name}")
    settings = settings_of(ctx, bench__ledgers=ledgers, bench__workers=workers, bench__depth=depth)
    start_logging(settings, "bench")
    for chosen in BENCHMARKS if name == "all" else (name,):
        options = {"keep": keep, **({} if rows is None else {"rows": rows})} if chosen == "plans" else {}
        result = importlib.import_module(BENCHMARKS[chosen]).run(settings, **options)
        if as_json:
            sys.stdout.buffer.write(orjson.dumps({"benchmark": chosen, **result}, option=orjson.OPT_APPEND_NEWLINE))
        else:
            typer.echo(f"{chosen}: {orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()}")
        sys.stdout.flush()


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "bench", PANEL_LOOK)(bench)
