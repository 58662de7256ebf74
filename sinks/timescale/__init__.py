"""The live sink: parts from `ledger-changes` into TimescaleDB, one transaction for a ledger, one writer for a network.

    reorder    parts to whole ledgers in chain order        service    the loop, health, metrics
    tables     a whole ledger to COPY streams and rows      consumer   the topic, read by hand
    balances   current state                                leader     who may write
    writer     the transaction and the cursor               binary, addresses   wire forms

Entry point: `run(settings, stop)`.
"""

from sinks.timescale.service import run

__all__ = ["run"]
