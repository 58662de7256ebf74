"""Where the roles listen: setting `status.targets`, or the ports of the settings on this machine."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from lumenstream.errors import ConfigurationError
from lumenstream.settings import Settings

MAX_ENDPOINTS: Final = 256
KINDS: Final = ("producer", "worker", "sink", "backfill-sink", "publisher", "maintenance", "enrichment", "api")
_NONE_OR_ONE: Final = ("enrichment",)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A role and the base of its pages, for example http://127.0.0.1:8011."""

    role: str
    url: str

    @property
    def kind(self) -> str:
        """One of KINDS: the role without a number."""
        return self.role.partition(" ")[0]

    @property
    def here(self) -> bool:
        """On this machine, as far as the address says so."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The roles' pages. Of `status.targets` every address of a host is one: so the members of a service are all seen.

    Port 0 (a free one) cannot be known and is left out; so is an enrichment whose host's name is not known, as where none is
    deployed. ConfigurationError for targets that cannot be read.
    """
    if settings.status.targets:
        return tuple(_resolved(settings.status.targets))[:MAX_ENDPOINTS]
    first_worker = settings.process.http_port
    ports = [
        ("producer", settings.producer.http_port),
        *((f"worker {n}", first_worker + n) for n in range(settings.process.workers) if first_worker),
        ("sink", settings.sink.http_port),
        ("publisher", settings.publisher.http_port),
        ("maintenance", settings.maintenance.http_port),
        ("api", settings.api.port),
    ]
    return tuple(Endpoint(role, f"http://127.0.0.1:{port}") for role, port in ports if port)


def _resolved(targets: str) -> list[Endpoint]:
    found: dict[str, list[str]] = {}
    for target in targets.split(","):
        role, equals, url = target.strip().partition("=")
        parts = urlsplit(url)
        if not equals or role not in KINDS or parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError(
                f"setting status.targets: {target.strip()!r} is not role=http://host:port", hint=f"roles: {', '.join(KINDS)}"
            )
        port = parts.port or 80
        urls = _addresses(parts.hostname, port)
        if urls or role not in _NONE_OR_ONE:
            found.setdefault(role, []).extend(urls or [f"http://{parts.hostname}:{port}"])
    return [
        Endpoint(role if len(urls) == 1 else f"{role} {number}", url)
        for role, urls in found.items()
        for number, url in enumerate(urls)
    ]


def _addresses(host: str, port: int) -> list[str]:
    """One URL an address; none for a name that is not known now: of most roles it is kept, and shows as down."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    addresses = sorted({str(address[0]) for *_, address in answers})
    return [f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}" for address in addresses]
