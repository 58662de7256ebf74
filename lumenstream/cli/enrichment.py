"""`enrich`: metadata of tokens that did not describe themselves on the ledger."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from lumenstream.cli.inputs import JsonOption, RpcOption
from lumenstream.cli.options import PANEL_HISTORY, command, refuse, settings_of, start_logging
from lumenstream.errors import ConfigurationError


def enrich(
    ctx: typer.Context,
    rpc_url: RpcOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="go on, and look for new tokens every minute")] = False,
    again: Annotated[bool, typer.Option("--again", help="ask also those that did not tell within the last day")] = False,
    port: Annotated[int | None, typer.Option("--port", help="of /health and /metrics, with --watch (default: 8017)")] = None,
    as_json: JsonOption = False,
) -> None:
    """Ask Stellar RPC for the name, symbol and decimals of tokens whose contract did not tell on the ledger.

    Only what is missing is filled; the live pipeline goes on meanwhile. Stop it and start it again as you like.

    Example: lumenstream enrich --rpc-url https://rpc.example.org --network pubnet
    Example: lumenstream enrich --watch
    """
    if watch and as_json:
        raise ConfigurationError("--json sums up a run that ends", hint="leave out --watch; its figures are on /metrics")
    if not watch:
        refuse(ctx, "port", where="without --watch")
    settings = settings_of(ctx, producer__rpc_url=rpc_url, enrich__http_port=port)
    start_logging(settings, "enrich")
    from sinks.timescale import enrich as enrichment

    if watch:
        enrichment.run(settings, again=again)
        return
    summary = enrichment.run_once(settings, again=again)
    text = f"{summary.filled} tokens filled, {summary.refused} did not tell, {summary.lacking} are without metadata"
    typer.echo(orjson.dumps(summary._asdict()).decode() if as_json else text)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "enrich", PANEL_HISTORY)(enrich)
