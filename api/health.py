"""/health and /ready: what the database says about ingestion and about itself.

/health is ok while the database answers and ingestion has begun; it tells the cursor and the lag, and leaves the judgement of the
lag to whoever watches, because a quiet or replayed network is not ill. /ready is ok when this process can serve queries.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api.database import DATABASE_ERRORS, Database
from api.queries import health
from api.scalars import time_text
from lumenstream import logs
from lumenstream.database import error_class
from schemas.version import SCHEMA_VERSION

_log = logs.get_logger("api")

OK = 200
UNAVAILABLE = 503


async def state(database: Database, network_id: str) -> tuple[int, dict[str, Any]]:
    """Status and body of /health. `network_id`: hex, of the settings."""
    try:
        cursor = await health.cursor(database)
    except DATABASE_ERRORS as error:
        return UNAVAILABLE, _no_answer(error)
    if cursor.network_id not in (None, network_id):
        message = f"the database holds ledgers of network {cursor.network_id}, settings say {network_id}"
        return UNAVAILABLE, {"status": "error", "error": message}
    body: dict[str, Any] = {"backend_latest_ledger": cursor.latest, "backend_oldest_ledger": cursor.oldest}
    if cursor.closed_at is not None:
        body["latest_ledger_closed_at"] = time_text(cursor.closed_at)
        body["lag_seconds"] = max(0.0, round((datetime.now(UTC) - cursor.closed_at).total_seconds(), 3))
    if cursor.latest == 0:
        return UNAVAILABLE, {"status": "error", "error": "ingestion has not committed a ledger yet", "extras": body}
    return OK, {"status": "ok", **body}


async def readiness(database: Database) -> tuple[int, dict[str, Any]]:
    """Status and body of /ready."""
    try:
        found, needs = await health.schema_version(database)
    except DATABASE_ERRORS as error:
        return UNAVAILABLE, _no_answer(error)
    if found < SCHEMA_VERSION or needs > SCHEMA_VERSION:
        message = f"the database schema is at version {found}, this program needs {SCHEMA_VERSION}"
        return UNAVAILABLE, {"status": "error", "error": message}
    return OK, {"status": "ok"}


def _no_answer(error: Exception) -> dict[str, Any]:
    _log.warning("the database does not answer", reason=error_class(error), error=str(error))
    return {"status": "error", "error": "the database does not answer"}
