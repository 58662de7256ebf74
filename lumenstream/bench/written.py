"""A database of made ledgers for benchmarks that read: written once by the processors and the sink's writer, then kept.

Ledgers come from `lumenstream.bench.lake`; rows go through the very code of worker and sink, without Kafka in between. The
database stays on the server under a name with the number of ledgers and the schema version in it.
"""

from __future__ import annotations

import sys
import time
from typing import Final

import psycopg

from lumenstream import database
from lumenstream.bench.databases import bench_database
from lumenstream.bench.lake import MadeLedger
from lumenstream.bench.pipeline import PUBNET_ID, made_ledgers
from lumenstream.settings import Settings
from lumenstream.xdr import decode_ledger
from migrations import runner
from processors import registry
from processors.encoding import encode
from processors.port import Processor
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION as PARTS_VERSION
from schemas.version import SCHEMA_VERSION
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder, LedgerRows
from sinks.timescale.writer import Writer

TOPIC: Final = "ledger-changes"
GROUP_LEDGERS: Final = 16
_PROGRESS_LEDGERS: Final = 100


def written_database(settings: Settings, count: int) -> str:
    """The URL of a database with `count` ledgers of the public network's weight; writes what is missing of it."""
    with bench_database(settings, f"lumenstream_bench_{count}_ledgers_v{SCHEMA_VERSION}", keep=True) as url:
        runner.migrate(url)
        with psycopg.connect(url) as connection:
            cursor = database.get_cursor(connection, database.Cursor.LATEST)
            connection.commit()
            _fill(connection, settings, count, cursor)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        return url


def _fill(connection: database.Connection, settings: Settings, count: int, cursor: int) -> None:
    writer, encoder = Writer(connection, TOPIC), LedgerEncoder()
    processors = registry.create(None, PUBNET_ID)
    started, previous = time.monotonic(), None
    batch: list[LedgerRows] = []
    for number, made in enumerate(made_ledgers(settings, count), 1):
        if made.sequence > cursor:
            batch.append(_rows(encoder, processors, made, previous))
        previous = made.sequence
        if batch and (len(batch) == GROUP_LEDGERS or number == count):
            cursor = writer.commit(batch, cursor, {}).last
            batch = []
        if number % _PROGRESS_LEDGERS == 0:
            print(f"{number} of {count} ledgers, {time.monotonic() - started:.0f} s", file=sys.stderr)


def _rows(encoder: LedgerEncoder, processors: list[Processor], made: MadeLedger, previous: int | None) -> LedgerRows:
    """A ledger as the sink gathers it from the parts of all processors."""
    ledger = decode_ledger(made.data, PUBNET_ID)
    ledger_hash = ledger.header.hash.hex()
    gathered = Gathered(made.sequence, previous, made.close_time, ledger_hash, 0.0)
    for processor in processors:
        headers = PartHeaders(
            kind=PartKind.PART,
            processor=processor.name,
            version=processor.version,
            schema=PARTS_VERSION,
            sequence=made.sequence,
            previous_sequence=previous,
            close_time=made.close_time,
            ledger_hash=ledger_hash,
            network_id=PUBNET_ID.hex(),
            job="bench",
            source_topic="ledgers",
            source_partition=0,
            source_offset=made.sequence,
        )
        gathered.parts[processor.name] = Arrival(headers, encode(processor.process(ledger)), 0, 0, 0.0)
    return encoder.encode(gathered, [part.value for part in gathered.parts.values()])
