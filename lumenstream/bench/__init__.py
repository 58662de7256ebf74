"""Benchmarks: `lumenstream bench NAME` runs `run(settings)` of the module named here and prints the dictionary it returns."""

from __future__ import annotations

from typing import Final

BENCHMARKS: Final[dict[str, str]] = {
    "api": "lumenstream.bench.api",
    "backfill": "lumenstream.bench.backfill",
    "checkpoint": "lumenstream.bench.checkpoint",
    "decode": "lumenstream.bench.decode",
    "derive": "lumenstream.bench.derive",
    "failover": "lumenstream.bench.failover",
    "ingest": "lumenstream.bench.ingest",
    "lake": "lumenstream.bench.lakeread",
    "live": "lumenstream.bench.live",
    "plans": "lumenstream.bench.plans",
    "subscribers": "lumenstream.bench.subscribers",
    "sustained": "lumenstream.bench.sustained",
}
