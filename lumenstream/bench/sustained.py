"""Heavy ledgers without end: 6,000 transactions every two seconds. Does the pipeline stay with them, and how far behind is it?

The ledgers are joined from those of a load test (`heavy`); each has its own number, close time and place in the hash chain, and
the same transactions.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from stellar_sdk import xdr

from lumenstream.bench.heavy import HeavyLedgers
from lumenstream.bench.lake import MadeLedger
from lumenstream.bench.paced import WARM_UP_LEDGERS, report, send_paced
from lumenstream.bench.pipeline import BenchPipeline
from lumenstream.settings import NetworkSettings, Settings
from lumenstream.xdr.files import read_ledgers

NETWORK: Final = NetworkSettings(name="loadtest", passphrase="load test network")
TRANSACTIONS: Final = 6_000
INTERVAL_SECONDS: Final = 2.0
DEFAULT_LEDGERS: Final = 30
FIRST_LEDGER: Final = 1_000_000
_SOURCE_LEDGERS: Final = 24


def run(settings: Settings) -> dict[str, Any]:
    """Keys of `paced.report`, and workers, transactions, interval_seconds, rows (by table)."""
    count = settings.bench.ledgers or DEFAULT_LEDGERS
    load_test = Path(os.environ.get("LUMENSTREAM_LEDGERS", "../shared/ledgers")) / "loadtest" / "v26.xdr.zst"
    source = list(islice(read_ledgers(load_test), _SOURCE_LEDGERS))
    heavy = HeavyLedgers(source, NETWORK.network_id()).ledger(TRANSACTIONS)
    with BenchPipeline(settings, "sustained", NETWORK) as pipeline:
        pipeline.start("sink")
        pipeline.start("process", "--workers", str(settings.bench.workers))
        paced = send_paced(pipeline, chained(heavy, source[-1], count + WARM_UP_LEDGERS, int(time.time())), INTERVAL_SECONDS)
        rows = pipeline.rows()
    return {
        "workers": settings.bench.workers,
        "transactions": TRANSACTIONS,
        "interval_seconds": INTERVAL_SECONDS,
        **report(paced, pipeline),
        "rows": rows,
    }


def chained(heavy: bytes, source: bytes, count: int, close_time: int) -> Iterator[MadeLedger]:
    """`count` copies of a heavy ledger as consecutive ledgers: number, close time and hashes are new. `source`: the ledger that
    lent it the header."""
    body = xdr.LedgerCloseMeta.from_xdr_bytes(source).v2
    if body is None:
        raise ValueError("heavy ledgers are joined from LedgerCloseMeta V2")
    entry = body.ledger_header
    front, _, back = heavy.partition(entry.to_xdr_bytes())
    previous = hashlib.sha256(b"before the first").digest()
    for index in range(count):
        closed = close_time + index * int(INTERVAL_SECONDS)
        entry.header.ledger_seq = xdr.Uint32(FIRST_LEDGER + index)
        entry.header.previous_ledger_hash = xdr.Hash(previous)
        entry.header.scp_value.close_time = xdr.TimePoint(xdr.Uint64(closed))
        previous = hashlib.sha256(entry.header.to_xdr_bytes()).digest()
        entry.hash = xdr.Hash(previous)
        yield MadeLedger(FIRST_LEDGER + index, closed, TRANSACTIONS, front + entry.to_xdr_bytes() + back)
