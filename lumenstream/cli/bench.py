"""`bench`: the benchmarks of `lumenstream/bench`, by name."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import orjson
import typer

from lumenstream.bench import BENCHMARKS
from lumenstream.cli.options import PANEL_LOOK, command, settings_of, start_logging
from lumenstream.errors import ConfigurationError


def bench(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help=f"all, {', '.join(BENCHMARKS)}")] = "all",
    rows: Annotated[
        int | None, typer.Option(min=1000, max=100_000_000, help="plans: rows of each table of history (200000)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a benchmark on stdout")] = False,
) -> None:
    """Measure: decoding against stellar_sdk, ledgers a second from topic to rows, seconds from close to visible, plans of reads.

    Example: lumenstream bench decode --json, lumenstream bench plans --rows 10000000
    """
    if name != "all" and name not in BENCHMARKS:
        raise ConfigurationError(f"no benchmark {name!r}", hint=f"there are all, {', '.join(BENCHMARKS)}")
    settings = settings_of(ctx)
    start_logging(settings, "bench")
    for chosen in BENCHMARKS if name == "all" else (name,):
        options = {"rows": rows} if chosen == "plans" and rows is not None else {}
        result = importlib.import_module(BENCHMARKS[chosen]).run(settings, **options)
        if as_json:
            sys.stdout.buffer.write(orjson.dumps({"benchmark": chosen, **result}, option=orjson.OPT_APPEND_NEWLINE))
        else:
            typer.echo(f"{chosen}: {orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()}")
        sys.stdout.flush()


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "bench", PANEL_LOOK)(bench)
