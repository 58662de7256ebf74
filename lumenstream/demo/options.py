"""What `lumenstream demo` can be told, and the settings that its roles run with."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lumenstream.embedded.processes import free_port
from lumenstream.errors import ConfigurationError
from lumenstream.settings import Settings, load_settings

DEFAULT_MEMORY_LIMIT_MIB: Final = 2048
DEFAULT_ONCE_SANDBOX_LEDGERS: Final = 20
DEFAULT_PROGRESS_TIMEOUT_S: Final = 120.0
PUBLIC_NETWORKS: Final = ("pubnet", "testnet")  # with a data lake that anybody may read
_PARTITIONS: Final = 4


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`memory_limit_mib` bounds the broker, which keeps every message in memory; `max_ledgers` 0: no limit."""

    flags: Mapping[str, Any]
    once: bool = False
    as_json: bool = False
    ledgers: Path | None = None
    rpc_url: str | None = None
    data_dir: Path | None = None
    api_port: int | None = None
    workers: int = 1
    max_ledgers: int = 0
    memory_limit_mib: int = DEFAULT_MEMORY_LIMIT_MIB
    progress_timeout_s: float = DEFAULT_PROGRESS_TIMEOUT_S
    plain: bool = False

    @property
    def source(self) -> str:
        if self.ledgers is not None:
            return "files"
        if self.rpc_url:
            return "rpc"
        return "lake" if self.flags.get("network__name") in PUBLIC_NETWORKS else "sandbox"

    def check(self) -> None:
        """ConfigurationError for options that contradict each other."""
        if self.ledgers is not None and not self.ledgers.exists():
            raise ConfigurationError(f"{self.ledgers} does not exist", hint="--ledgers takes a ledger file or a folder of them")
        network = self.flags.get("network__name")
        if self.source == "sandbox" and network not in (None, "sandbox"):
            raise ConfigurationError(
                f"the demo has no ledgers of {network}",
                hint=f"give --ledgers DIR or --rpc-url URL, or --network {' or '.join(PUBLIC_NETWORKS)}, which anybody may read",
            )
        if self.once and self.source in ("lake", "rpc"):
            raise ConfigurationError("--once needs an end, which a network does not have", hint="give --ledgers DIR")
        if self.once and self.source == "sandbox" and self.data_dir is not None:
            raise ConfigurationError("--once with the sandbox starts from nothing", hint="leave --data-dir out")


def settings_for(options: DemoOptions, database_url: str, bootstrap: str) -> Settings:
    """The tree for the demo's roles: embedded servers, free ports, topics of this start only.

    The broker forgets everything at its end while a --data-dir does not: a prefix of its own for each start keeps offsets of a
    former broker, which the database remembers, from being taken for offsets of this one.
    """
    sandbox_ends_after = 0  # without an end, --max-ledgers counts what this start commits
    if options.once and options.source == "sandbox":
        sandbox_ends_after = options.max_ledgers or DEFAULT_ONCE_SANDBOX_LEDGERS
    flags: dict[str, Any] = {
        "kafka__partitions": _PARTITIONS,
        **({"network__name": "sandbox", "network__passphrase": ""} if options.source == "sandbox" else {}),
        **options.flags,
        "database__url": database_url,
        "kafka__bootstrap": bootstrap,
        "kafka__topic_prefix": f"demo-{secrets.token_hex(3)}.",
        "kafka__security_protocol": "PLAINTEXT",
        "kafka__replication": 1,
        "http__host": "127.0.0.1",
        "api__host": "127.0.0.1",
        "producer__source": options.source,
        "producer__path": options.ledgers.resolve() if options.ledgers else None,
        "producer__rpc_url": options.rpc_url,
        "producer__begin": "newest" if options.source in ("lake", "rpc") else "oldest",
        "process__workers": options.workers,
        "sandbox__max_ledgers": sandbox_ends_after,
    }
    return load_settings(**flags, **_ports(options))


def _ports(options: DemoOptions) -> dict[str, int]:
    taken: set[int] = set()

    def port(count: int = 1) -> int:
        while taken & set(range(found := free_port(), found + count)):
            continue
        taken.update(range(found, found + count))
        return found

    return {
        "process__http_port": port(options.workers),
        "producer__http_port": port(),
        "sink__http_port": port(),
        "publisher__http_port": port(),
        "maintenance__http_port": 0,  # a demo has nothing to maintain
        "api__port": options.api_port or port(),
    }
