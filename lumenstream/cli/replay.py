"""`replay`: one ledger above the cursor through the processors once more."""

from __future__ import annotations

from typing import Annotated

import typer

from lumenstream.cli.options import PANEL_LEDGERS, command, settings_of, start_logging


def replay(
    ctx: typer.Context,
    ledger: Annotated[int, typer.Option("--ledger", min=1, help="sequence; above the cursor")],
    processors: Annotated[str, typer.Option("--processors", help="names, comma separated (default: all)")] = "",
) -> None:
    """Send a ledger on which a processor failed to the processors again, after the fix.

    Example: lumenstream replay --ledger 63092990 --processors effects
    """
    settings = settings_of(ctx)
    start_logging(settings, "replay")
    from producers import replay as replaying

    names = [name.strip() for name in processors.split(",") if name.strip()]
    sent = replaying.run(settings, ledger, names)
    topic = f"{settings.kafka.topic_prefix}ledgers.retry [{sent.partition}] offset {sent.offset}"
    typer.echo(f"ledger {sent.sequence} ({sent.ledger_hash}) from {sent.found} sent to {topic}")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "replay", PANEL_LEDGERS)(replay)
