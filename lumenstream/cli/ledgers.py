"""`decode`, `derive` and `sandbox`: ledgers and parts as readable JSON, and ledgers of the sandbox network.

Output streams: one JSON document after another, so that `| head` and `| jq` work on files of any size.
"""

from __future__ import annotations

import gzip
import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from lumenstream.cli.options import PANEL_LEDGERS, command, refuse, settings_of
from lumenstream.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from schemas.parts import Part

_FileArgument = Annotated[Path, typer.Argument(help="any known ledger format; a folder is read in order of its names")]
_IndexOption = Annotated[int | None, typer.Option("--index", min=0, help="only the ledger at this place (default: all)")]


def _print(document: Any) -> None:
    line = orjson.dumps(document, default=_text, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    sys.stdout.buffer.write(line)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")


@contextmanager
def _ledger_errors(path: Path) -> Iterator[None]:
    """What is wrong with a ledger as one line, with exit code 6."""
    from lumenstream.xdr import errors

    try:
        yield
    except (errors.LedgerDecodeError, errors.LedgerContentError, errors.LedgerFileError) as error:
        text = str(error) if isinstance(error, errors.LedgerFileError) else f"{path}: {error}"  # the former names the file
        raise IntegrityError(text, hint="the file is damaged, or of a protocol this decoder does not know") from error
    except PermissionError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}", hint="may this user read it?") from error


def _raw_ledgers(path: Path, index: int | None) -> Iterator[bytes]:
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist", hint="give a ledger file or a folder of them")
    from lumenstream.xdr import files

    found = 0
    every = (data for file in files.ledger_files(path) for data in files.read_ledgers(file))
    for data in itertools.islice(every, index, None if index is None else index + 1):
        found += 1
        yield data
    if not found:
        what = "no ledger" if index is None else f"no ledger at index {index}"
        raise ConfigurationError(f"{path} holds {what}", hint="indexes count from 0")


def decode(
    ctx: typer.Context,
    path: _FileArgument,
    index: _IndexOption = None,
    part: Annotated[bool, typer.Option("--part", help="the file holds one part of `ledger-changes`, not a ledger")] = False,
) -> None:
    """Print ledgers as readable JSON, one object a line; with --part, the rows of a part by family.

    Example: lumenstream decode ledger-63092990.xdr.gz --network pubnet | jq .
    """
    if part:
        refuse(ctx, "index", where="with --part")
        _print(part_to_json(_read_part(path)))
        return
    network_id = settings_of(ctx).network.network_id()
    from lumenstream import xdr
    from lumenstream.xdr import show

    with _ledger_errors(path):
        for data in _raw_ledgers(path, index):
            _print(show.ledger_to_json(xdr.decode_ledger(data, network_id), xdr.decode_details(data, network_id)))


def _read_part(path: Path) -> Part:
    from schemas import parts

    try:
        return parts.decode(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", hint="save the value of a message of ledger-changes") from error
    except parts.PartError as error:
        raise IntegrityError(f"{path}: {error}", hint="a part is the value of a message on ledger-changes") from error


def part_to_json(part: Part) -> dict[str, list[dict[str, Any]]]:
    """Rows by family, each with its column names; addresses as StrKey text, other bytes as hex."""
    from schemas import strkey
    from schemas.families import FAMILIES, Kind

    readable: dict[str, list[dict[str, Any]]] = {}
    for name, rows in part.rows.items():
        columns = FAMILIES[name].columns
        readable[name] = [
            {
                column: strkey.encode(value) if kind is Kind.ADDRESS and value is not None else value
                for (column, kind), value in zip(columns, row, strict=True)
            }
            for row in rows
        ]
    return readable


def derive(
    ctx: typer.Context,
    path: _FileArgument,
    index: _IndexOption = None,
    processors: Annotated[str, typer.Option("--processors", help="names, comma separated (default: all)")] = "",
) -> None:
    """Run the processors on ledgers, without Kafka or a database, and print every row they make, one JSON object a line.

    Example: lumenstream derive ledger-63092990.xdr.gz --network pubnet --processors token_transfers
    """
    settings = settings_of(ctx, process__processors=processors or None)
    network_id = settings.network.network_id()
    from lumenstream import xdr
    from processors import derive as derivation
    from processors import registry

    chosen = registry.create(settings.process.processors or None, network_id)
    with _ledger_errors(path):
        for data in _raw_ledgers(path, index):
            for row in derivation.derive_rows(xdr.decode_ledger(data, network_id), chosen):
                _print(row)


def sandbox(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="folder to save ledger-N.xdr.gz in (default: only list them)")] = None,
    ledgers: Annotated[int, typer.Option("--ledgers", min=0, help="how many; 0: until interrupted")] = 20,
    first: Annotated[int, typer.Option("--from", min=2, help="first sequence; what came before is made again")] = 2,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="chooses keys and traffic (default: 1)")] = None,
    transactions: Annotated[int | None, typer.Option("--transactions", min=0, help="a ledger (default: 20)")] = None,
    close_seconds: Annotated[float | None, typer.Option("--close-seconds", help="time between closes (default: 1)")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="keep that pace; else as fast as they can be made")] = False,
) -> None:
    """Close ledgers of the sandbox network: genuine LedgerCloseMeta, the same bytes for the same seed.

    Example: lumenstream sandbox --out sandbox-ledgers --ledgers 20
    """
    settings = settings_of(
        ctx,
        sandbox__seed=seed,
        sandbox__transactions_per_ledger=transactions,
        sandbox__close_seconds=close_seconds,
    )
    from sandbox import Sandbox, SandboxSettings

    network = Sandbox(
        SandboxSettings(
            network_passphrase=settings.network.resolved_passphrase(),
            seed=settings.sandbox.seed,
            close_seconds=settings.sandbox.close_seconds,
            transactions_per_ledger=settings.sandbox.transactions_per_ledger,
        )
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for closed in itertools.islice(network.ledgers(first), ledgers or None):
        if out is not None:
            # Without a time in the header, equal ledgers are equal files.
            (out / f"ledger-{closed.sequence}.xdr.gz").write_bytes(gzip.compress(closed.meta, mtime=0))
        _print(
            {
                "sequence": closed.sequence,
                "close_time": closed.close_time,
                "hash": closed.hash,
                "previous_hash": closed.previous_hash,
                "bytes": len(closed.meta),
            }
        )
        if follow:
            sys.stdout.flush()
            time.sleep(settings.sandbox.close_seconds)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for name, function in (("decode", decode), ("derive", derive), ("sandbox", sandbox)):
        command(app, name, PANEL_LEDGERS)(function)
