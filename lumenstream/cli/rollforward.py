"""Raw ledgers through the processors and the sink's encoder in one process: for work that has no pipeline around it."""

from __future__ import annotations

from collections.abc import Sequence

from lumenstream.settings import Settings
from lumenstream.xdr import decode_ledger
from processors import registry
from processors.encoding import encode
from schemas.messages import LIVE_JOB, PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder, LedgerRows


class RowMaker:
    """For the configured network."""

    def __init__(self, settings: Settings) -> None:
        self._network_id = settings.network.network_id()
        self._processors = registry.create(None, self._network_id)
        self._encoder = LedgerEncoder()

    def rows(self, data: bytes, previous: int | None, place: tuple[str, int, int] = ("", 0, 0)) -> LedgerRows:
        """The rows of a ledger that follows ledger `previous`. `place`: topic, partition and offset of its message.

        LedgerDecodeError, LedgerContentError.
        """
        ledger = decode_ledger(data, self._network_id)
        header, (topic, partition, offset) = ledger.header, place
        gathered = Gathered(header.sequence, previous, header.close_time, header.hash.hex(), 0.0)
        encoded: list[bytes] = []
        for processor in self._processors:
            value = encode(processor.process(ledger))
            encoded.append(value)
            headers = PartHeaders(
                kind=PartKind.PART,
                processor=processor.name,
                version=processor.version,
                schema=SCHEMA_VERSION,
                sequence=header.sequence,
                previous_sequence=previous,
                close_time=header.close_time,
                ledger_hash=header.hash.hex(),
                network_id=self._network_id.hex(),
                job=LIVE_JOB,
                source_topic=topic,
                source_partition=partition,
                source_offset=offset,
            )
            gathered.parts[processor.name] = Arrival(headers, value, partition, offset, 0.0)
        return self._encoder.encode(gathered, encoded)


def consecutive(maker: RowMaker, ledgers: Sequence[bytes], previous: int | None) -> list[LedgerRows]:
    """The rows of ledgers that follow one another."""
    made: list[LedgerRows] = []
    for data in ledgers:
        rows = maker.rows(data, previous)
        previous = rows.header.sequence
        made.append(rows)
    return made
