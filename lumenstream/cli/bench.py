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
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a benchmark on stdout")] = False,
) -> None:
    """Measure: decoding against stellar_sdk, ledgers a second from topic to rows, seconds from close to visible.

    Example: lumenstream bench decode --json
    """
    if name != "all" and name not in BENCHMARKS:
        raise ConfigurationError(f"no benchmark {name!r}", hint=f"there are all, {', '.join(BENCHMARKS)}")
    settings = settings_of(ctx)
    start_logging(settings, "bench")
    for chosen in BENCHMARKS if name == "all" else (name,):
        result = importlib.import_module(BENCHMARKS[chosen]).run(settings)
        if as_json:
            sys.stdout.buffer.write(orjson.dumps({"benchmark": chosen, **result}, option=orjson.OPT_APPEND_NEWLINE))
        else:
            typer.echo(f"{chosen}: {orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()}")
        sys.stdout.flush()


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "bench", PANEL_LOOK)(bench)
