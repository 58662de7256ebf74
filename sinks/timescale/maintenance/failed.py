"""Ranges of backfills and replays that failed and still need another run, from table `backfill_ranges`.

The sinks that fail them are gone with their job; this role is not, so it is the one that tells.
"""

from __future__ import annotations

from typing import Final

from lumenstream.database import Connection

MAX_RANGES: Final = 1_000  # of the newest failures: each is held against what was written since

# A failure is over when ranges written after it cover its ledgers, and rewrote at least the rows that it was to rewrite.
_QUERY: Final = """
select count(*) from (
    select * from backfill_ranges where state = 'failed' order by updated_at desc limit %s
) as failed
where not coalesce((
    select range_agg(int4range(done.first_ledger, done.last_ledger, '[]'))
        @> int4range(failed.first_ledger, failed.last_ledger, '[]')
    from backfill_ranges as done
    where done.state = 'done' and done.updated_at > failed.updated_at
        and done.first_ledger <= failed.last_ledger and done.last_ledger >= failed.first_ledger
        and (done.processors is null or done.processors @> failed.processors)
), false)
"""


def failed_ranges(connection: Connection) -> int:
    """How many there are, MAX_RANGES at most."""
    row = connection.execute(_QUERY, (MAX_RANGES,)).fetchone()
    assert row is not None
    return int(row[0])
