"""What /health and /ready ask of the database."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from api.database import Reader
from lumenstream.database import NETWORK_ID, OLDEST_PROGRAM, Cursor
from schemas.version import SCHEMA_VERSION


class CursorRow(NamedTuple):
    """Where ingestion stands. 0 and None: it never started, or started at a checkpoint and committed no ledger yet."""

    latest: int
    oldest: int
    network_id: str | None
    closed_at: datetime | None


async def cursor(database: Reader) -> CursorRow:
    statement = (
        "SELECT c.latest, c.oldest, c.network_id, l.closed_at FROM (SELECT "
        "coalesce(max(value::bigint) FILTER (WHERE key = %(latest)s), 0) AS latest, "
        "coalesce(max(value::bigint) FILTER (WHERE key = %(oldest)s), 0) AS oldest, "
        "max(value) FILTER (WHERE key = %(network)s) AS network_id "
        "FROM ingest_store WHERE key IN (%(latest)s, %(oldest)s, %(network)s)) c LEFT JOIN ledgers l ON l.sequence = c.latest"
    )
    values = {"latest": Cursor.LATEST.value, "oldest": Cursor.OLDEST.value, "network": NETWORK_ID}
    return (await database.fetch("cursor", statement, values, CursorRow._make))[0]


async def schema_version(database: Reader) -> tuple[int, int]:
    """The newest migration applied, 0 for none; and the schema version of programs that those newer than ours ask for."""
    found = await database.fetch("schema_exists", "SELECT to_regclass('schema_migrations')::text", {}, tuple)
    if found[0][0] is None:
        return 0, 0
    rows = await database.fetch("schema_version", "SELECT coalesce(max(version), 0) FROM schema_migrations", {}, tuple)
    needs = await database.fetch("schema_needs", OLDEST_PROGRAM, {"version": SCHEMA_VERSION}, tuple)
    return int(rows[0][0]), int(needs[0][0])
