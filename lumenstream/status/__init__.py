"""How the pipeline does: one snapshot from the roles' own pages and from the database.

    targets    where the roles are            database   what the database says
    scraping   /metrics and /health           monitor    snapshots, rates, lag
    stages     the row of a role              page       a snapshot as HTML

Prometheus, /health and this view read the same registry, so all three tell the same truth (docs/decisions/0020).
"""

from lumenstream.status.database import DatabaseStatus, database_status
from lumenstream.status.monitor import Monitor, Snapshot
from lumenstream.status.scraping import Samples, scrape
from lumenstream.status.stages import Stage, stage_of
from lumenstream.status.targets import Endpoint, endpoints

__all__ = [
    "DatabaseStatus",
    "Endpoint",
    "Monitor",
    "Samples",
    "Snapshot",
    "Stage",
    "database_status",
    "endpoints",
    "scrape",
    "stage_of",
]
