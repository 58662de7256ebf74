"""Reads a role's /metrics and /health over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from prometheus_client.parser import text_string_to_metric_families

from lumenstream.status.targets import Endpoint

SCRAPE_TIMEOUT_S: Final = 2.0
MAX_PAGE_BYTES: Final = 4 << 20


class Samples:
    """One /metrics page: values by name and labels."""

    def __init__(self, page: str) -> None:
        self._values: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                self._values.setdefault(sample.name, []).append((sample.labels, sample.value))

    def total(self, name: str) -> float:
        """The sum over all labels, 0 when there is none."""
        return sum(value for _, value in self._values.get(name, ()))

    def highest(self, name: str) -> float:
        """The largest over all labels, 0 when there is none."""
        return max((value for _, value in self._values.get(name, ())), default=0.0)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Values by one label."""
        return {labels.get(label, ""): value for labels, value in self._values.get(name, ())}


@dataclass(frozen=True, slots=True)
class Pages:
    """What a role said just now: its metrics, and its health as JSON (empty when it gave none)."""

    samples: Samples
    health: dict[str, Any] = field(default_factory=dict)


def scrape(endpoint: Endpoint) -> Samples | None:
    """The role's metrics, or None when it does not answer."""
    page = _read(f"{endpoint.url}/metrics")
    try:
        return None if page is None else Samples(page.decode())
    except ValueError:
        return None


def pages_of(endpoint: Endpoint) -> Pages | None:
    """Metrics and health of a role, or None when it does not answer."""
    samples = scrape(endpoint)
    if samples is None:
        return None
    page = _read(f"{endpoint.url}/health")
    try:
        health = {} if page is None else orjson.loads(page)
    except orjson.JSONDecodeError:
        health = {}
    return Pages(samples, health if isinstance(health, dict) else {})


def _read(url: str) -> bytes | None:
    """A page, also one that says 503: then its body tells what is wrong."""
    try:
        with urllib.request.urlopen(url, timeout=SCRAPE_TIMEOUT_S) as answer:
            return bytes(answer.read(MAX_PAGE_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return error.read(MAX_PAGE_BYTES) if error.code == 503 else None
    except (OSError, ValueError):
        return None
