"""What keeps the history tables in shape while the sink writes them: retention, compression, and cursors that tell the truth.

    service     the loop, health, metrics           policies    TimescaleDB's own jobs, community edition
    retention   what is dropped, and what holds it  reconcile   the oldest cursor and `ledgers` against what is there

Data flow: settings in, the database's own catalogue and tables out; no Kafka. Entry points: `run(settings)` and
`run_once(settings)`.
"""

from sinks.timescale.maintenance.service import run, run_once

__all__ = ["run", "run_once"]
