"""Ledger sources: files, a data lake, a Stellar RPC server, the sandbox network. One port, one conformance test."""

from __future__ import annotations

from typing import Final, assert_never

from lumenstream.errors import ConfigurationError
from lumenstream.retry import RetryPolicy, Wait
from lumenstream.rpc import checked_server
from lumenstream.settings import PASSPHRASES, NetworkSettings, ProducerSettings, Settings
from producers.sources.files import FilesSource, checked_path
from producers.sources.lake import LakeSource, located
from producers.sources.port import Extent, LedgerSource, SourceLedger
from producers.sources.rpc import RpcSource

__all__ = ["Extent", "FilesSource", "LakeSource", "LedgerSource", "RpcSource", "SourceLedger", "check", "create"]
_PUBLIC: Final = ("pubnet", "testnet")


def check(settings: Settings) -> None:
    """ConfigurationError when the settings lack what their source needs: before any server is waited for."""
    match settings.producer.source:
        case "files":
            checked_path(settings.producer.path)
        case "lake":
            located(settings.lake, settings.network.name)
        case "rpc":
            checked_server(settings.producer.rpc_url)
        case "sandbox":
            _refuse_public(settings.network)
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
        case "lake":
            return LakeSource(
                settings.lake,
                settings.network.name,
                passphrase,
                wait,
                poll_seconds=producer.poll_seconds,
                retry=retry_policy(producer),
            )
        case "rpc":
            return RpcSource(
                producer.rpc_url,
                passphrase,
                wait,
                page=producer.rpc_page,
                poll_seconds=producer.poll_seconds,
                retry=retry_policy(producer),
            )
        case "sandbox":
            _refuse_public(settings.network)
            # Here, because it takes stellar_sdk: half a second of a start that no other source needs.
            from producers.sources.sandbox import SandboxSource
            from sandbox import SandboxSettings

            network = SandboxSettings(
                network_passphrase=passphrase,
                seed=settings.sandbox.seed,
                close_seconds=settings.sandbox.close_seconds,
                transactions_per_ledger=settings.sandbox.transactions_per_ledger,
            )
            return SandboxSource(network, wait, settings.sandbox.max_ledgers, paced=paced)
        case _:
            assert_never(producer.source)


def _refuse_public(network: NetworkSettings) -> None:
    """ConfigurationError on pubnet and testnet, whatever they are called: made-up ledgers would bear their network id."""
    passphrase = network.resolved_passphrase()
    for name in _PUBLIC:
        if name == network.name or PASSPHRASES[name] == passphrase:
            raise ConfigurationError(
                f"source sandbox makes ledgers up, which {name} must not have",
                hint="name its own: --source rpc --rpc-url URL, or --source lake (LUMENSTREAM_PRODUCER__SOURCE)",
            )


def retry_policy(settings: ProducerSettings) -> RetryPolicy:
    """How a source that fails is asked again."""
    return RetryPolicy(settings.source_attempts, settings.source_backoff_seconds, settings.source_backoff_max_seconds)
