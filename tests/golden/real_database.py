"""Real ledgers in a database, written by the sink's own writer from the processors' own parts, without Kafka in between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from lumenstream.xdr import decode_ledger
from lumenstream.xdr.files import read_ledgers
from lumenstream.xdr.rows import Ledger
from processors import registry
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION, encode
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder
from sinks.timescale.writer import Writer

TOPIC = "ledger-changes"


def ingest(url: str, files: Sequence[Path], network_id: bytes) -> list[Ledger]:
    """Commit the ledgers of these files one after the other, as a stream with gaps; returns them decoded."""
    processors = registry.create(None, network_id)
    encoder, cursor = LedgerEncoder(), 0
    ledgers: list[Ledger] = []
    with psycopg.connect(url) as connection:
        writer = Writer(connection, TOPIC)
        for ledger in (decode_ledger(raw, network_id) for file in files for raw in read_ledgers(file)):
            gathered = Gathered(ledger.header.sequence, cursor or None, ledger.header.close_time, ledger.header.hash.hex(), 0.0)
            for processor in processors:
                headers = PartHeaders(
                    kind=PartKind.PART,
                    processor=processor.name,
                    version=processor.version,
                    schema=SCHEMA_VERSION,
                    sequence=ledger.header.sequence,
                    previous_sequence=cursor or None,
                    close_time=ledger.header.close_time,
                    ledger_hash=ledger.header.hash.hex(),
                    network_id=network_id.hex(),
                    job="live",
                    source_topic="ledgers",
                    source_partition=0,
                    source_offset=len(ledgers),
                )
                part = encode(processor.process(ledger))
                gathered.parts[processor.name] = Arrival(headers, part, 0, len(ledgers), 0.0)
            rows = encoder.encode(gathered, [part.value for part in gathered.parts.values()])
            cursor = writer.commit([rows], cursor, {0: len(ledgers)}).last
            ledgers.append(ledger)
    return ledgers
