"""`migrate`, `topics`, `up` and the roles of the pipeline, each one process: produce, process, sink, publish, maintain, serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lumenstream.cli.inputs import (
    ArchiveOption,
    BeginOption,
    LakeOption,
    PathOption,
    RpcOption,
    SourceOption,
    settings_of_source,
)
from lumenstream.cli.options import PANEL_PIPELINE, PANEL_ROLES, command, refuse, settings_of, start_logging
from lumenstream.errors import ConfigurationError

_ProcessorsOption = Annotated[str | None, typer.Option("--processors", help="names, comma separated (default: all)")]
_WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="worker processes (default: 1)")]


def migrate(
    ctx: typer.Context,
    target: Annotated[
        int | None, typer.Option("--to", min=0, help="stop at this version, up or down; 0 removes everything (default: newest)")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="only say which migrations are applied")] = False,
) -> None:
    """Bring the database schema to what this program needs. Safe to repeat.

    Each migration is a transaction of its own. --to goes down as well, and what the migrations above it made is gone with its
    rows: look with --status first, which lists each with its number.

    Example: lumenstream migrate --database-url postgresql://postgres@127.0.0.1/lumenstream
    Example: lumenstream migrate --status
    Example: lumenstream migrate --to 9
    """
    if status:
        refuse(ctx, "target", where="with --status")
    settings = settings_of(ctx)
    start_logging(settings, "migrate")
    from migrations import runner

    url = settings.database.url.get_secret_value()
    if status:
        for row in runner.status(url):
            changed = "  CHANGED since" if row.changed else ""
            typer.echo(f"{row.version:04d} {row.name:<24} {row.applied_at or 'not applied'}{changed}")
        return
    for name in runner.migrate(url, target=target) or ["nothing to do"]:
        typer.echo(name)


def topics(ctx: typer.Context) -> None:
    """Create the Kafka topics that are missing, and check those that exist. Safe to repeat.

    Example: lumenstream topics --kafka-bootstrap 127.0.0.1:9092
    """
    settings = settings_of(ctx)
    start_logging(settings, "topics")
    from lumenstream import kafka

    kafka.wait_for_broker(settings.kafka, settings.kafka.request_timeout_seconds)
    kafka.ensure_topics(settings.kafka)
    typer.echo(f"topics are ready at {settings.kafka.bootstrap}")


def produce(
    ctx: typer.Context,
    source: SourceOption = None,
    path: PathOption = None,
    rpc_url: RpcOption = None,
    lake_url: LakeOption = None,
    from_ledger: Annotated[
        int | None, typer.Option("--from", min=1, help="start here, whatever the topic and the database say")
    ] = None,
    begin: BeginOption = None,
    close_seconds: Annotated[float | None, typer.Option("--close-seconds", help="sandbox: pace of the network")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="sandbox: chooses keys and traffic")] = None,
    port: Annotated[int | None, typer.Option("--port", help="of /health and /metrics (default: 8011)")] = None,
) -> None:
    """Read ledgers from a source and publish each as one message on topic `ledgers`.

    Sources: ledger files; a data lake (SEP-54, as Galexie writes it) on S3, GCS, Azure or in a folder; a Stellar RPC server,
    which keeps the latest ledgers only; the sandbox network. It goes on where the topic or the database ended.

    Example: lumenstream produce --source files --path ledgers/ --network pubnet
    Example: lumenstream produce --source lake --network pubnet --begin newest
    Example: lumenstream produce --source lake --lake-url s3://my-bucket/ledgers --network testnet
    """
    if from_ledger is not None:
        refuse(ctx, "begin", where="with --from")
    settings = settings_of_source(
        ctx,
        source,
        path,
        rpc_url,
        lake_url,
        producer__from_ledger=from_ledger,
        producer__begin=begin,
        producer__http_port=port,
        sandbox__close_seconds=close_seconds,
        sandbox__seed=seed,
    )
    start_logging(settings, "producer")
    from lumenstream import memory
    from producers import ledger

    memory.keep_freed()
    ledger.run(settings)


def process(
    ctx: typer.Context,
    processors: _ProcessorsOption = None,
    workers: _WorkersOption = None,
    from_ledger: Annotated[
        int | None, typer.Option("--from", min=1, help="where a new consumer group starts (default: oldest kept)")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="worker n listens on this + n (default: 8020)")] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="work for backfill and replay jobs instead")] = False,
) -> None:
    """Turn ledgers into parts: every processor of the set is one Faust agent. Start more workers to scale.

    Workers with the same --processors, on whatever hosts, share the partitions among them. With --backfill they work for the jobs
    of `backfill` and `replay` that start no workers of their own: start them here and there, and the job with --workers 0. Beside
    a live worker on the same host they need a --port of their own.

    Example: lumenstream process --processors participants,accounts --workers 2
    Example: lumenstream process --backfill --workers 4 --port 8040
    """
    settings = settings_of(
        ctx,
        process__processors=processors,
        process__workers=workers,
        process__from_ledger=from_ledger,
        process__http_port=port,
        process__backfill=backfill or None,
    )
    start_logging(settings, "worker")
    from processors import worker

    worker.run_workers(settings)


def sink(
    ctx: typer.Context,
    port: Annotated[
        int | None, typer.Option("--port", help="of /health and /metrics (default: 8013, with --backfill 8015)")
    ] = None,
    backfill: Annotated[bool, typer.Option("--backfill", help="write the ranges of backfill jobs; any number")] = False,
) -> None:
    """Write parts to the database, one transaction a ledger. A second sink stands by until the first is gone.

    With --backfill it writes the ranges of `backfill` and `replay` jobs that start no sinks of their own: any number of them, on
    whatever hosts, and the job with --sinks 0.

    Example: lumenstream sink --database-url postgresql://postgres@127.0.0.1/lumenstream
    Example: lumenstream sink --backfill
    """
    if backfill:
        settings = settings_of(ctx, backfill__http_port=port)
        start_logging(settings, "backfill-sink")
        from sinks.timescale import backfill as backfill_sink

        backfill_sink.run(settings)
        return
    settings = settings_of(ctx, sink__http_port=port)
    start_logging(settings, "sink")
    from sinks import timescale

    timescale.run(settings)


def publish(
    ctx: typer.Context,
    first: Annotated[int | None, typer.Option("--from", min=1, help="send these ledgers again, then stop")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="last ledger to send again")] = None,
    port: Annotated[int | None, typer.Option("--port", help="of /health and /metrics (default: 8014)")] = None,
) -> None:
    """Send committed state changes to topic `state-changes`, keyed by account.

    With --from and --to, a range goes to `state-changes.replay` with the same ids.

    Example: lumenstream publish --from 100 --to 200
    """
    if (first is None) != (last is None):
        raise ConfigurationError("a range needs both ends", hint="give --from and --to, or neither")
    if first is not None:
        refuse(ctx, "port", where="with --from and --to")
    settings = settings_of(ctx, publisher__http_port=port)
    start_logging(settings, "publisher")
    from producers import publisher

    if first is not None and last is not None:
        typer.echo(f"{publisher.run_replay(settings, first, last)} events sent")
    else:
        publisher.run(settings)


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="address to listen on (default: 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option("--port", help="(default: 8001)")] = None,
) -> None:
    """Serve GraphQL, the explorer, /health, /ready and /metrics. Reads the database only.

    Example: lumenstream serve --port 8001
    """
    settings = settings_of(ctx, api__host=host, api__port=port)
    start_logging(settings, "api")
    from api import server

    server.run(settings)


def maintain(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="one run, then stop; for a timer of your own")] = False,
    port: Annotated[int | None, typer.Option("--port", help="of /health and /metrics (default: 8016)")] = None,
) -> None:
    """Keep the history tables in shape: retention, compression, chunk sizes, and an oldest cursor that tells the truth.

    On TimescaleDB's community edition its own jobs are made to match the settings; on the Apache edition old chunks are dropped
    from here, on plain PostgreSQL old ledgers are deleted in batches. Without a retention period nothing is dropped.

    Example: LUMENSTREAM_MAINTENANCE__RETENTION_PERIOD='90 days' lumenstream maintain --once
    """
    if once:
        refuse(ctx, "port", where="with --once")
    settings = settings_of(ctx, maintenance__http_port=port)
    start_logging(settings, "maintenance")
    from sinks.timescale import maintenance

    if not once:
        maintenance.run(settings)
        return
    outcome = maintenance.run_once(settings)
    if not outcome.worked:
        typer.echo("another one is at work")
        return
    for line in outcome.changed:
        typer.echo(line)
    held = f"; held: {outcome.held_by}" if outcome.held_by else ""
    typer.echo(f"{outcome.dropped_ledgers} ledgers dropped, the oldest is {outcome.oldest}{held}")


def up(
    ctx: typer.Context,
    source: SourceOption = None,
    path: PathOption = None,
    rpc_url: RpcOption = None,
    lake_url: LakeOption = None,
    begin: BeginOption = None,
    processors: _ProcessorsOption = None,
    workers: _WorkersOption = None,
    archive_url: ArchiveOption = None,
    log_dir: Annotated[Path | None, typer.Option("--log-dir", help="logs of the roles (default: a temporary folder)")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="logs instead of the status panel, as without a terminal")] = False,
) -> None:
    """Every role in one command, as child processes, against the servers of the settings: production on a single host.

    Run `lumenstream migrate` first. With a history archive an empty database first gets the state of the newest checkpoint, as by
    `lumenstream bootstrap`. Of a network that has a past, --begin newest takes what comes from now on, and `lumenstream backfill`
    brings the past. The roles end with this command, however it ends.

    Example: lumenstream up --source rpc --rpc-url http://127.0.0.1:8000 --network testnet --workers 2
    Example: lumenstream up --source lake --network pubnet --begin newest
    """
    settings = settings_of_source(
        ctx,
        source,
        path,
        rpc_url,
        lake_url,
        producer__begin=begin,
        process__processors=processors,
        process__workers=workers,
        archive__url=archive_url,
    )
    from lumenstream.cli import state
    from lumenstream.demo import single_host
    from producers import sources

    sources.check(settings)
    state.bootstrap_when_empty(settings)
    single_host.run(settings, log_dir, plain=plain)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "up", PANEL_PIPELINE)(up)
    command(app, "migrate", PANEL_PIPELINE)(migrate)
    command(app, "topics", PANEL_PIPELINE)(topics)
    for name, function in (
        ("produce", produce),
        ("process", process),
        ("sink", sink),
        ("publish", publish),
        ("maintain", maintain),
        ("serve", serve),
    ):
        command(app, name, PANEL_ROLES)(function)
