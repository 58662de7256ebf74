"""The plans of every read of the API over as many rows as wanted: what each touches, how long it takes, whether it scans a table.

Ten million rows for each table of history, the default, take some 20 GB of disk while it runs. The tests run the same reads on
200,000, within the same budgets: what a page costs does not grow with the history behind it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from lumenstream import database
from lumenstream.bench.databases import bench_database
from lumenstream.bench.history import HISTORY, Scale
from lumenstream.bench.plan_reads import Read, Recorder, reads
from lumenstream.bench.plan_seed import seed
from lumenstream.errors import LumenstreamError
from lumenstream.settings import Settings
from migrations.runner import migrate
from schemas.version import SCHEMA_VERSION

DEFAULT_ROWS: Final = 10_000_000
MAX_BUFFERS: Final = 700  # for a page of 50 rows
# Every row of the account is looked up among its counterparty's until there are enough.
MAX_BUFFERS_TOGETHER: Final = 3_000
_SEQUENTIAL: Final = "Seq Scan"
_PREFIX: Final = "lumenstream_bench_plans_"


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


def run(settings: Settings, rows: int = DEFAULT_ROWS, *, keep: bool = False) -> dict[str, Any]:
    """Keys: rows (of each table of history), seed_seconds (0 where the database was kept), database_mib, sequential (reads that
    scan a table of history), over (reads that touch more pages than they may), reads: by name, buffers, rows_removed,
    planning_ms and execution_ms of their statements together, the most buffers first.

    `keep`: leave the database on the server, for the next run with `keep`.
    """
    name = f"{_PREFIX}{rows}_v{SCHEMA_VERSION}" if keep else f"{_PREFIX}of_{os.getpid()}"
    with bench_database(settings, name, keep=keep) as url:
        _drop_what_was_left(url)
        migrate(url)
        seconds = _seeded(url, rows)
        with psycopg.connect(url, autocommit=True) as connection:
            return {"rows": rows, "seed_seconds": round(seconds, 1), **_measured(connection, Scale(rows))}


def budget(name: str) -> int:
    """Pages that a read of this name may touch."""
    return MAX_BUFFERS_TOGETHER if "with another" in name else MAX_BUFFERS


def scans_history(name: str, plan: Plan) -> bool:
    """Whether a read goes through a table of history from end to end. A total without conditions may: it stops after so many
    rows, in whatever order they lie."""
    return not name.startswith("total of") and any(map(_of_history, plan.sequential))


def _seeded(url: str, rows: int) -> float:
    """Seconds that it took."""
    with psycopg.connect(url) as connection:
        if database.get_cursor(connection, database.Cursor.LATEST):
            return 0.0
    started = time.perf_counter()
    seed(url, rows)
    return time.perf_counter() - started


def _measured(connection: psycopg.Connection[Any], scale: Scale) -> dict[str, Any]:
    found = {}
    sequential, over = [], []
    for name, read in reads(scale).items():
        explain(connection, read)  # the first run fills the cache
        plans = explain(connection, read)
        buffers = sum(plan.buffers for plan in plans)
        if any(scans_history(name, plan) for plan in plans):
            sequential.append(name)
        if buffers > budget(name):
            over.append(name)
        found[name] = {
            "buffers": buffers,
            "rows_removed": sum(plan.rows_removed for plan in plans),
            "planning_ms": round(sum(plan.planning_ms for plan in plans), 2),
            "execution_ms": round(sum(plan.execution_ms for plan in plans), 2),
        }
    size = connection.execute("SELECT pg_database_size(current_database()) >> 20").fetchone()
    ordered = dict(sorted(found.items(), key=lambda item: -item[1]["buffers"]))
    return {"database_mib": size[0] if size else 0, "sequential": sequential, "over": over, "reads": ordered}


def _drop_what_was_left(url: str) -> None:
    """Databases of runs that were killed: nobody is connected to them, and the process they are named after is gone."""
    with psycopg.connect(url, autocommit=True) as admin:
        unused = admin.execute(
            "SELECT datname FROM pg_database d WHERE starts_with(datname, %s) "
            "AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)",
            (f"{_PREFIX}of_",),
        )
        for (name,) in unused.fetchall():
            if not Path(f"/proc/{name.rpartition('_')[2]}").exists():
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def _of_history(relation: str) -> bool:
    return relation in HISTORY or relation.startswith("_hyper")
