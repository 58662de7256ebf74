"""Backfill and replay jobs: plan ranges, fill `ledgers.backfill` with their raw ledgers, watch until each is committed.

    plan    what is missing, cut into ranges        raw    raw ledgers from topics and from the source
    book    table backfill_ranges                   job    the job: back-pressure, progress, failures

Entry points: `Job(settings, request).plan()`, then `.run(...)`.
"""

from producers.backfill.job import Job, Progress, Request, Summary

__all__ = ["Job", "Progress", "Request", "Summary"]
