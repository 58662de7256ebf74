"""Options that several commands share: where ledgers and checkpoints come from, and JSON for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from lumenstream.cli.options import refuse, settings_of

if TYPE_CHECKING:
    from lumenstream.settings import Settings

_Source = Literal["files", "lake", "rpc", "sandbox"]
SourceOption = Annotated[
    _Source | None, typer.Option("--source", help="where ledgers come from (default: sandbox, refused for pubnet and testnet)")
]
PathOption = Annotated[Path | None, typer.Option("--path", help="files: a ledger file or a folder of them, any known format")]
RpcOption = Annotated[str | None, typer.Option("--rpc-url", help="rpc: URL of a Stellar RPC server")]
LakeOption = Annotated[
    str | None,
    typer.Option("--lake-url", help="lake: s3://, gs://, az:// or a folder (default: the public lake of pubnet or testnet)"),
]
BeginOption = Annotated[
    Literal["oldest", "newest"] | None,
    typer.Option("--begin", help="with which of the source's ledgers a new stream begins (default: oldest)"),
]
ArchiveOption = Annotated[
    str | None, typer.Option("--archive-url", help="history archive: a folder, file://, http(s)://, s3://, gs:// or az://")
]
JsonOption = Annotated[bool, typer.Option("--json", help="a summary for programs")]

# By a command's parameter: the only source that looks at it.
_OF_SOURCES: Final = {"path": "files", "rpc_url": "rpc", "lake_url": "lake", "close_seconds": "sandbox", "seed": "sandbox"}


def settings_of_source(
    ctx: typer.Context, source: str | None, path: Path | None, rpc_url: str | None, lake_url: str | None, **flags: Any
) -> Settings:
    """`settings_of` a command that reads a ledger source: whoever takes one of the four options that name it takes them all.

    ConfigurationError for an option of another source than the one that the settings name.
    """
    named = {"producer__source": source, "producer__path": path, "producer__rpc_url": rpc_url, "lake__url": lake_url}
    settings = settings_of(ctx, **named, **flags)
    used = settings.producer.source
    others = [name for name, only in _OF_SOURCES.items() if only != used]
    refuse(ctx, *others, where=f"with source {used}", hint="leave it out, or name its source: --source")
    return settings
