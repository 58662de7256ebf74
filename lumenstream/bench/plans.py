"""The plans of every read of the API over as many rows as wanted: what each touches, how long it takes, whether it scans a table.

Ten million rows for each table of history (`--rows 10000000`) take some 20 GB and half an hour; the default a minute. The tests
run the same reads on 200,000.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from lumenstream.bench.plan_reads import Read, Recorder, reads
from lumenstream.bench.plan_seed import HISTORY, seed
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from migrations.runner import migrate

DEFAULT_ROWS: Final = 200_000
_SEQUENTIAL: Final = "Seq Scan"


class Plan(NamedTuple):
    """What matters of an EXPLAIN (ANALYZE, BUFFERS)."""

    scans: list[tuple[str, str, str]]  # kind of scan, relation, index
    rows_removed: int  # read and thrown away
    buffers: int  # pages of 8 KiB touched, in the cache or not
    planning_ms: float
    execution_ms: float

    @property
    def sequential(self) -> list[str]:
        """Relations read from end to end."""
        return [relation for kind, relation, _ in self.scans if kind == _SEQUENTIAL]

    @property
    def chunks(self) -> set[str]:
        return {relation for _, relation, _ in self.scans if relation.startswith("_hyper")}

    @property
    def indexes(self) -> set[str]:
        return {index for _, _, index in self.scans if index}


def explain(connection: psycopg.Connection[Any], read: Read) -> list[Plan]:
    """The plans of all statements that a read sends, executed."""
    recorder = Recorder()

    async def record() -> None:
        await read(recorder)

    asyncio.run(record())
    plans = []
    for statement, values in recorder.sent:
        row = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.encode(), values).fetchone()
        if row is None:
            raise LumenstreamError("EXPLAIN gave no plan")
        plans.append(_plan(row[0][0]))
    return plans


def _plan(found: dict[str, Any]) -> Plan:
    top = found["Plan"]
    executed = [node for node in _walk(top) if node["Actual Loops"]]
    scans = [
        (node["Node Type"], node.get("Relation Name", ""), node.get("Index Name", ""))
        for node in executed
        if "Relation Name" in node or "Index Name" in node
    ]
    removed = sum(int(node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in executed)
    buffers = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return Plan(scans, removed, buffers, found["Planning Time"], found["Execution Time"])


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _walk(child)


def run(settings: Settings, rows: int = DEFAULT_ROWS) -> dict[str, Any]:
    """Keys: rows (of each table of history), seed_seconds, sequential (reads that scan a table of history), reads: by name,
    buffers, rows_removed, planning_ms and execution_ms of their statements together, the slowest first."""
    name = f"lumenstream_bench_plans_{os.getpid()}"
    admin_url = settings.database.url.get_secret_value()
    url = psycopg.conninfo.make_conninfo(admin_url, dbname=name)
    with psycopg.connect(admin_url, autocommit=True, connect_timeout=5) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            migrate(url)
            with psycopg.connect(url, autocommit=True) as connection:
                return _measured(connection, rows)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _measured(connection: psycopg.Connection[Any], rows: int) -> dict[str, Any]:
    started = time.perf_counter()
    scale = seed(connection, rows)
    seconds = time.perf_counter() - started
    found = {}
    sequential = []
    for name, read in reads(scale).items():
        explain(connection, read)  # the first run fills the cache
        plans = explain(connection, read)
        if any(_of_history(relation) for plan in plans for relation in plan.sequential):
            sequential.append(name)
        found[name] = {
            "buffers": sum(plan.buffers for plan in plans),
            "rows_removed": sum(plan.rows_removed for plan in plans),
            "planning_ms": round(sum(plan.planning_ms for plan in plans), 2),
            "execution_ms": round(sum(plan.execution_ms for plan in plans), 2),
        }
    ordered = dict(sorted(found.items(), key=lambda item: -item[1]["execution_ms"]))
    return {"rows": rows, "seed_seconds": round(seconds, 1), "sequential": sequential, "reads": ordered}


def _of_history(relation: str) -> bool:
    return relation in HISTORY or relation.startswith("_hyper")
