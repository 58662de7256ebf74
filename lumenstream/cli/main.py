"""`lumenstream`: every command in one program.

Errors that we raise on purpose end the program with one line on stderr and their own exit code (docs/operations.md); a mistake in
the command line is exit code 2; anything else is a defect and shows its traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lumenstream import __version__
from lumenstream.cli import bench, demo, enrichment, inspection, jobs, ledgers, query, replay, roles, state
from lumenstream.cli.options import with_global_options
from lumenstream.errors import ExitCode, LumenstreamError

_HELP = """A Stellar wallet backend that is a stream.

Every ledger goes through Kafka, is turned into what happened to whom, lands in TimescaleDB and is served by GraphQL.

\b
New here?    lumenstream demo            the whole pipeline on this machine
Your own     lumenstream migrate         then: lumenstream up
servers?     lumenstream doctor          what is wrong, and how to mend it
"""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lumenstream {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and stop.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Placeholder for the options in front of a command; the help text is the application's."""


def build() -> typer.Typer:
    """The application with every command."""
    app = typer.Typer(
        name="lumenstream",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback(help=_HELP)(with_global_options(_root))
    for room in (demo, roles, jobs, enrichment, state, inspection, query, ledgers, replay, bench):
        room.add_to(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """The console script. Ends the process with a documented exit code."""
    try:
        build()(args=arguments, prog_name="lumenstream")
    except LumenstreamError as error:
        from lumenstream import tracker  # here, because it takes the settings: `lumenstream --help` does without

        hint = f" ({error.hint})" if error.hint else ""
        print(f"error: {error}{hint}", file=sys.stderr, flush=True)
        try:
            tracker.report_end(error)
        finally:  # also when somebody does not wait for the report
            sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.OK))
