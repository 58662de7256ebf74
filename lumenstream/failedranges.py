"""Ranges of backfills and replays that failed and still need another run, from table `backfill_ranges`.

The sinks that fail them are gone with their job, so the maintenance role and the status view tell of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lumenstream.database import Connection

MAX_RANGES: Final = 1_000  # of the newest failures: each is held against what was written since
MAX_RANGE_LEDGERS: Final = 4_096  # setting kafka.backfill_range_size, at most

# A failure is over when ranges written after it cover its ledgers, and rewrote at least the rows that it was to rewrite. They are
# looked up job by job, which is what the primary key can do: a job of a whole history has a million ranges.
_QUERY: Final = """
with jobs as materialized (select distinct job from backfill_ranges where state = 'done')
select job, first_ledger, last_ledger, error, updated_at from (
    select * from backfill_ranges where state = 'failed' order by updated_at desc limit %(most)s
) as failed
where not coalesce((
    select range_agg(int4range(done.first_ledger, done.last_ledger, '[]'))
        @> int4range(failed.first_ledger, failed.last_ledger, '[]')
    from jobs join backfill_ranges as done using (job)
    where done.first_ledger > failed.first_ledger - %(longest)s and done.first_ledger <= failed.last_ledger
        and done.last_ledger >= failed.first_ledger and done.state = 'done' and done.updated_at > failed.updated_at
        and (done.processors is null or done.processors @> failed.processors)
), false)
order by updated_at desc, job, first_ledger
"""


@dataclass(frozen=True, slots=True)
class FailedRange:
    """Ledgers, both inclusive; why and when (ISO 8601) the range failed."""

    job: str
    first: int
    last: int
    error: str
    at: str


def failed_ranges(connection: Connection, most: int = MAX_RANGES) -> list[FailedRange]:
    """The newest first. Only the `most` newest failures are looked at, mended ones among them."""
    rows = connection.execute(_QUERY, {"most": most, "longest": MAX_RANGE_LEDGERS}).fetchall()
    return [FailedRange(job, first, last, error, at.isoformat()) for job, first, last, error, at in rows]
