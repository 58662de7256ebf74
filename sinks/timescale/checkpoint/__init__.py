"""Current state from a checkpoint of a history archive, instead of from ledgers: first run, comparison and repair.

In: `schemas.checkpoint.EntryRows`, made by `processors.checkpoint`. Out: the tables that the live sink keeps. The command line
puts the three together (`lumenstream bootstrap`, `verify --checkpoint`, `rebuild-state`).
"""

from sinks.timescale.checkpoint.firstrun import Origin, bootstrap
from sinks.timescale.checkpoint.repair import Check, Rebuilt, check_state, rebuild_state
from sinks.timescale.checkpoint.shadow import Expected

__all__ = ["Check", "Expected", "Origin", "Rebuilt", "bootstrap", "check_state", "rebuild_state"]
