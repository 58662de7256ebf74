"""`query`: ask the API from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from lumenstream.cli.options import PANEL_LOOK, command, settings_of
from lumenstream.errors import ConfigurationError

STANDARD_INPUT: Final = "-"


def query(
    ctx: typer.Context,
    document: Annotated[str, typer.Argument(help="a GraphQL document; @FILE for one in a file, - for standard input")],
    variables: Annotated[str, typer.Option("--variables", help="a JSON object")] = "{}",
    url: Annotated[str | None, typer.Option("--url", help="of the API (default: http://127.0.0.1:8001)")] = None,
) -> None:
    """Ask the API and print its data as JSON; of a subscription, one line for each event, until Ctrl-C.

    With LUMENSTREAM_CLIENT__SECRET (S...) requests are signed. Exit code 8: the answer has errors; 3: no answer.

    Example: lumenstream query '{ ledgers(last: 1) { edges { node { sequence closedAt } } } }'

    Example: lumenstream query 'subscription { ledgers { node { sequence } } }'
    """
    settings = settings_of(ctx, client__url=url).client
    from graphql import GraphQLError, OperationType, get_operation_ast, parse

    from lumenstream.client import Client, Signer

    text = _read(document)
    given = _object(variables)
    try:
        operation = get_operation_ast(parse(text))
    except GraphQLError as error:
        raise ConfigurationError(f"the document cannot be read: {error.message}", hint="mend the query") from error
    secret = settings.secret.get_secret_value()
    with Client(settings.url, Signer(secret) if secret else None, settings.timeout_seconds) as client:
        if operation is not None and operation.operation is OperationType.SUBSCRIPTION:
            for event in client.stream(text, given):
                typer.echo(orjson.dumps(event))
        else:
            typer.echo(orjson.dumps(client.query(text, given), option=orjson.OPT_INDENT_2))


def _read(document: str) -> str:
    if document == STANDARD_INPUT:
        return sys.stdin.read()
    if not document.startswith("@"):
        return document
    try:
        return Path(document[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the document cannot be read: {error}", hint="give a file after @") from error


def _object(variables: str) -> dict[str, Any]:
    try:
        given = orjson.loads(variables)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--variables is not JSON: {error}", hint='its form is {"name": value}') from error
    if not isinstance(given, dict):
        raise ConfigurationError("--variables is not a JSON object", hint='its form is {"name": value}')
    return given


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "query", PANEL_LOOK)(query)
