"""Ledger sources: files, a Stellar RPC server, the sandbox network. One port, one conformance test."""

from __future__ import annotations

from typing import assert_never

from lumenstream.errors import ConfigurationError
from lumenstream.settings import Settings
from producers.sources.files import FilesSource
from producers.sources.port import LedgerSource, SourceLedger, Wait
from producers.sources.rpc import RpcSource
from producers.sources.sandbox import SandboxSource
from sandbox import SandboxSettings

__all__ = ["FilesSource", "LedgerSource", "RpcSource", "SandboxSource", "SourceLedger", "Wait", "create"]


def create(settings: Settings, wait: Wait, *, paced: bool = True) -> LedgerSource:
    """The source that the settings name. ConfigurationError when something it needs is not set.

    `paced` False: a network that closes ledgers at a pace of its own hands out those of its past as fast as they are asked for.
    """
    producer, passphrase = settings.producer, settings.network.resolved_passphrase()
    match producer.source:
        case "files":
            if producer.path is None:
                raise ConfigurationError("source files needs a path", hint="set --path or LUMENSTREAM_PRODUCER__PATH")
            return FilesSource(producer.path)
        case "rpc":
            return RpcSource(producer.rpc_url, passphrase, wait, page=producer.rpc_page, poll_seconds=producer.poll_seconds)
        case "sandbox":
            network = SandboxSettings(
                network_passphrase=passphrase,
                seed=settings.sandbox.seed,
                close_seconds=settings.sandbox.close_seconds,
                transactions_per_ledger=settings.sandbox.transactions_per_ledger,
            )
            return SandboxSource(network, wait, settings.sandbox.max_ledgers, paced=paced)
        case _:
            assert_never(producer.source)
