"""Backfill sinks: parts from `ledger-changes.backfill` into the history tables, one transaction a range, any number of sinks.

    ranges    parts to whole ranges (pure)              consumer   a member of the consumer group
    book      table backfill_ranges                     writer     the transaction of one range
    tokens    custom tokens           service    the loop, health, metrics

Entry point: `run(settings, stop)`.
"""

from sinks.timescale.backfill.service import run

__all__ = ["run"]
