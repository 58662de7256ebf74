"""`lumenstream enrich`: names, symbols and decimals of tokens whose instance storage did not tell, asked of Stellar RPC.

    calls       one contract asked by simulateTransaction, and what may be believed of its answers
    book        the rows of contract_tokens that lack metadata, and what became of them
    service     batch by batch, many contracts at a time; once, or going on

Never part of the sink's transaction: a slow RPC server delays nobody (spec/ingestion.md 8).
"""

from sinks.timescale.enrich.service import Summary, run, run_once

__all__ = ["Summary", "run", "run_once"]
