"""The live sink: parts from `ledger-changes` into TimescaleDB, one transaction for a ledger, one writer for a network.

    reorder    parts to whole ledgers in chain order        service, term   the loop        state   health, metrics
    grouping   whole ledgers to batches                     consumer   the topic, read by hand
    tables     a whole ledger to COPY streams and rows      leader     who may write
    balances   current state                                tip        how far behind
    writer     the transaction and the cursor               binary, addresses   wire forms

Entry point: `run(settings, stop)`.
"""

from sinks.timescale.service import run

__all__ = ["run"]
