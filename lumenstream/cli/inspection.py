"""`config`, `status` and `doctor`: what is in force, how the pipeline does, what is wrong."""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from lumenstream.cli.options import PANEL_LOOK, PANEL_PIPELINE, command, flags_of, settings_of
from lumenstream.errors import ExitCode, UnreachableError

_JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs")]


def config(
    ctx: typer.Context,
    as_json: _JsonOption = False,
    describe: Annotated[bool, typer.Option("--describe", help="with what each setting means, and its variable")] = False,
) -> None:
    """Print the settings in force, each with its origin. Secrets are masked.

    Example: LUMENSTREAM_KAFKA__PARTITIONS=24 lumenstream config --network testnet
    """
    from lumenstream import masking

    settings = settings_of(ctx)
    found = list(masking.leaves(settings, flags_of(ctx)))
    if as_json:
        tree: dict[str, dict[str, object]] = {}
        for leaf in found:
            section, _, name = leaf.path.partition(".")
            tree.setdefault(section, {})[name] = {"value": leaf.value, "origin": leaf.origin}
        typer.echo(orjson.dumps(tree, option=orjson.OPT_INDENT_2))
        return
    section = ""
    for leaf in found:
        if section != (section := leaf.path.partition(".")[0]):
            typer.echo(section)
        value = "none" if leaf.value is None else str(leaf.value) or '""'
        typer.echo(f"  {leaf.path.partition('.')[2]:<26} {value:<48} {leaf.origin}".rstrip())
        if describe:
            typer.echo(f"      {leaf.variable}{'  ' + leaf.description if leaf.description else ''}")


def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="stay and refresh every second")] = False,
    as_json: _JsonOption = False,
) -> None:
    """How far every stage is: from the database, and from the pages of the roles on this machine or of status.targets.

    With problems, gaps, retention and running jobs. The API shows the same at /status.

    The exit code is 3 when the database does not answer.

    Example: lumenstream status --watch
    """
    from lumenstream import panel
    from lumenstream import status as pipeline

    settings = settings_of(ctx)
    monitor = pipeline.Monitor(pipeline.endpoints(settings), database=settings.database, gap_seconds=settings.status.gap_seconds)
    if watch:
        panel.watch(monitor, title="lumenstream")
        return
    snapshot = monitor.sample(settle_seconds=1.0)
    if as_json:
        typer.echo(orjson.dumps(snapshot.to_json(), option=orjson.OPT_INDENT_2))
    else:
        panel.show(snapshot, title="lumenstream")
    if snapshot.database and not snapshot.database.answered:
        raise UnreachableError(snapshot.database.error, hint="is it running, and is LUMENSTREAM_DATABASE__URL right?")


def doctor(ctx: typer.Context, as_json: _JsonOption = False) -> None:
    """Check Python, the decoder, Kafka and its topics, the database and its schema, processors, lag and ports.

    Every line says ok, warn or fail and how to mend it. The exit code is 8 when anything fails.

    Example: lumenstream doctor --database-url postgresql://postgres@127.0.0.1/lumenstream
    """
    from lumenstream.cli import checks
    from lumenstream.cli.checkresult import Level

    settings = settings_of(ctx)
    worst = Level.OK
    results = []
    for result in checks.run(settings):
        worst = max(worst, result.level)
        if as_json:
            results.append(result.to_json())
        else:
            mend = f"\n        mend: {result.mend}" if result.mend and result.level is not Level.OK else ""
            typer.echo(f"{result.level.name.lower():<5} {result.name}: {result.text}{mend}")
            sys.stdout.flush()
    if as_json:
        typer.echo(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    if worst is Level.FAIL:
        raise typer.Exit(int(ExitCode.FAILED))


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "doctor", PANEL_PIPELINE)(doctor)
    command(app, "status", PANEL_LOOK)(status)
    command(app, "config", PANEL_LOOK)(config)
