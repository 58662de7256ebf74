"""Ledger sources: files, a Stellar RPC server, the sandbox network. One port, one conformance test."""

from __future__ import annotations

from typing import assert_never

from lumenstream.settings import Settings
from producers.sources.files import FilesSource, checked_path
from producers.sources.port import LedgerSource, SourceLedger, Wait
from producers.sources.rpc import RpcSource, checked_server
from producers.sources.sandbox import SandboxSource
from sandbox import SandboxSettings

__all__ = ["FilesSource", "LedgerSource", "RpcSource", "SandboxSource", "SourceLedger", "Wait", "check", "create"]


def check(settings: Settings) -> None:
    """ConfigurationError when the settings lack what their source needs: before any server is waited for."""
    match settings.producer.source:
        case "files":
            checked_path(settings.producer.path)
        case "rpc":
            checked_server(settings.producer.rpc_url)
        case "sandbox":
            pass
        case _:
            assert_never(settings.producer.source)


def create(settings: Settings, wait: Wait, *, paced: bool = True) -> LedgerSource:
    """The source that the settings name. ConfigurationError when something it needs is not set.

    `paced` False: a network that closes ledgers at a pace of its own hands out those of its past as fast as they are asked for.
    """
    producer, passphrase = settings.producer, settings.network.resolved_passphrase()
    match producer.source:
        case "files":
            return FilesSource(checked_path(producer.path))
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
