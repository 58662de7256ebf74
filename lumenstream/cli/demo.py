"""`demo`: the whole pipeline on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from lumenstream.cli.options import PANEL_PIPELINE, command, flags_of, refuse


def demo(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="stop when every ledger is committed, published and verified through HTTP")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --once: the result as one JSON object, the last line")] = False,
    ledgers: Annotated[
        Path | None, typer.Option("--ledgers", help="real ledgers instead of the sandbox: a file or a folder")
    ] = None,
    rpc_url: Annotated[
        str | None, typer.Option("--rpc-url", help="follow this Stellar RPC server instead of the sandbox")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="keep the database and the logs here (default: temporary)")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="of the API (default: a free one)")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="processor workers")] = 1,
    max_ledgers: Annotated[int, typer.Option("--max-ledgers", min=0, help="stop after so many; 0: no limit")] = 0,
    memory_limit_mib: Annotated[
        int, typer.Option("--memory-limit-mib", min=64, help="stop when the broker, all messages in memory, is so big")
    ] = 2048,
    close_seconds: Annotated[float | None, typer.Option("--close-seconds", help="sandbox: pace (default: 1)")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="sandbox: chooses keys and traffic (default: 1)")] = None,
    transactions: Annotated[int | None, typer.Option("--transactions", min=0, help="sandbox: a ledger (default: 20)")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="with --once: seconds without progress")] = 120.0,
    plain: Annotated[bool, typer.Option("--plain", help="lines instead of the live panel, as without a terminal")] = False,
) -> None:
    """Start everything here: servers, a sandbox network, every role, and a live panel. Ctrl-C stops it all.

    PostgreSQL and a Kafka-compatible broker come from Python wheels; nothing else has to be installed. The broker keeps every
    message in memory, so the demo stops by itself at --memory-limit-mib. With --network pubnet or testnet, and a way to the
    internet, it follows that network's public data lake from its newest ledger on.

    Example: lumenstream demo --close-seconds 2

    Example: lumenstream demo --network testnet

    Example: lumenstream demo --once --json --network pubnet --ledgers DIR
    """
    from lumenstream.demo import runner
    from lumenstream.demo.options import DemoOptions

    options = DemoOptions(
        flags=flags_of(
            ctx,
            sandbox__close_seconds=close_seconds,
            sandbox__seed=seed,
            sandbox__transactions_per_ledger=transactions,
        ),
        once=once,
        as_json=as_json,
        ledgers=ledgers,
        rpc_url=rpc_url,
        data_dir=data_dir,
        api_port=port,
        workers=workers,
        max_ledgers=max_ledgers,
        memory_limit_mib=memory_limit_mib,
        progress_timeout_s=timeout,
        plain=plain,
    )
    if not once:
        refuse(ctx, "as_json", "timeout", where="without --once")
    if options.source != "sandbox":
        refuse(ctx, "close_seconds", "seed", "transactions", where=f"with source {options.source}")
    result = runner.run(options)
    if result is None:
        return
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(result.to_json(), option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        return
    typer.echo(f"{result.ledgers} ledgers in {result.seconds:.1f} s, {result.queried_transactions} transactions queried")
    for table, rows in result.tables.items():
        typer.echo(f"  {table:<28} {rows:>10,}")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "demo", PANEL_PIPELINE)(demo)
