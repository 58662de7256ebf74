"""Kafka messages: topic names and the headers of ledger and part messages.

Topics (each with the configured prefix in front)
    ledgers                  one message per ledger: value = LedgerCloseMeta XDR untouched, key = first sequence of its range
    ledger-changes           one message per ledger and processor: value = part, key = sequence, same partition number
    ledgers.retry            ledgers above the cursor that are processed again; parts go to ledger-changes
    ledgers.failed           ledgers a processor could not process, with all that a replay needs
    ledgers.backfill, ledger-changes.backfill   the same for backfill jobs
    state-changes, state-changes.replay         committed state changes, keyed by account, JSON
Header values are ASCII text. Hashes and network ids are lower-case hex.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Headers = list[tuple[str, bytes]]

MAX_LEDGER_BYTES: Final = 32 << 20
LIVE_JOB: Final = "live"
_NONE: Final = "none"


class Topic(StrEnum):
    LEDGERS = "ledgers"
    LEDGER_CHANGES = "ledger-changes"
    LEDGERS_RETRY = "ledgers.retry"
    LEDGERS_FAILED = "ledgers.failed"
    LEDGERS_BACKFILL = "ledgers.backfill"
    LEDGER_CHANGES_BACKFILL = "ledger-changes.backfill"
    STATE_CHANGES = "state-changes"
    STATE_CHANGES_REPLAY = "state-changes.replay"


SAME_PARTITIONS: Final = tuple(topic for topic in Topic if topic.startswith("ledger"))
"""A partition's number means the same on all of these: parts, retries and failures go where their ledger lay."""


class FailedHeader(StrEnum):
    """Headers that `ledgers.failed` adds behind the message's own: where it lay, whose failure it is, and what it was."""

    TOPIC = "failed-topic"
    PARTITION = "failed-partition"
    OFFSET = "failed-offset"
    PROCESSOR = "failed-processor"
    VERSION = "failed-version"  # of the processor
    ERROR = "failed-error"
    TRACEBACK = "failed-traceback"


class MessageError(ValueError):
    """A message whose headers do not follow the contract. The text names the header."""


def range_key(sequence: int, range_size: int) -> bytes:
    """Key of a ledger message: the first sequence of its range."""
    return str(sequence // range_size * range_size).encode()


def partition_of(sequence: int, range_size: int, partitions: int) -> int:
    """Partition of a ledger and of all its parts."""
    return sequence // range_size % partitions


@dataclass(frozen=True, slots=True)
class LedgerHeaders:
    """Headers of a message on a `ledgers` topic. `previous_sequence` is None at the start of a stream."""

    sequence: int
    previous_sequence: int | None
    close_time: int  # Unix seconds
    ledger_hash: str
    protocol_version: int
    network_id: str
    job: str = LIVE_JOB
    processors: tuple[str, ...] = ()  # backfill and retry: only these; empty: all

    def to_kafka(self) -> Headers:
        headers = {
            "sequence": str(self.sequence),
            "previous-sequence": _NONE if self.previous_sequence is None else str(self.previous_sequence),
            "close-time": str(self.close_time),
            "ledger-hash": self.ledger_hash,
            "protocol-version": str(self.protocol_version),
            "network-id": self.network_id,
            "job": self.job,
            "processors": ",".join(self.processors),
        }
        return [(name, value.encode()) for name, value in headers.items() if value]

    @classmethod
    def from_kafka(cls, headers: Iterable[tuple[str, bytes | str | None]] | None) -> LedgerHeaders:
        """Parse and check. MessageError names the first header that is missing or wrong."""
        values = _texts(headers)
        previous = _required(values, "previous-sequence")
        sequence = _sequence(values, "sequence")
        return cls(
            sequence=sequence,
            previous_sequence=None if previous == _NONE else _previous(values, sequence),
            close_time=_number(values, "close-time"),
            ledger_hash=_hex(values, "ledger-hash"),
            protocol_version=_number(values, "protocol-version"),
            network_id=_hex(values, "network-id"),
            job=values.get("job", LIVE_JOB),
            processors=tuple(name for name in values.get("processors", "").split(",") if name),
        )


class PartKind(StrEnum):
    PART = "part"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """Headers of a message on a `ledger-changes` topic. The source coordinates say where the raw ledger lies."""

    kind: PartKind
    processor: str
    version: int  # of the processor
    schema: int  # of the part's encoding
    sequence: int
    previous_sequence: int | None
    close_time: int
    ledger_hash: str
    network_id: str
    job: str
    source_topic: str
    source_partition: int
    source_offset: int

    def to_kafka(self) -> Headers:
        headers = {
            "kind": self.kind.value,
            "processor": self.processor,
            "version": str(self.version),
            "schema": str(self.schema),
            "sequence": str(self.sequence),
            "previous-sequence": _NONE if self.previous_sequence is None else str(self.previous_sequence),
            "close-time": str(self.close_time),
            "ledger-hash": self.ledger_hash,
            "network-id": self.network_id,
            "job": self.job,
            "source-topic": self.source_topic,
            "source-partition": str(self.source_partition),
            "source-offset": str(self.source_offset),
        }
        return [(name, value.encode()) for name, value in headers.items()]

    @classmethod
    def from_kafka(cls, headers: Iterable[tuple[str, bytes | str | None]] | None) -> PartHeaders:
        """Parse and check. MessageError names the first header that is missing or wrong."""
        values = _texts(headers)
        kind = _required(values, "kind")
        if kind not in [known.value for known in PartKind]:
            raise MessageError(f"header kind: {kind!r} is neither part nor failure")
        previous = _required(values, "previous-sequence")
        sequence = _sequence(values, "sequence")
        return cls(
            kind=PartKind(kind),
            processor=_required(values, "processor"),
            version=_number(values, "version"),
            schema=_number(values, "schema"),
            sequence=sequence,
            previous_sequence=None if previous == _NONE else _previous(values, sequence),
            close_time=_number(values, "close-time"),
            ledger_hash=_hex(values, "ledger-hash"),
            network_id=_hex(values, "network-id"),
            job=_required(values, "job"),
            source_topic=_required(values, "source-topic"),
            source_partition=_number(values, "source-partition"),
            source_offset=_number(values, "source-offset"),
        )


def _texts(headers: Iterable[tuple[str, bytes | str | None]] | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in headers or ():
        if value is None:
            raise MessageError(f"header {name} has no value")
        try:
            texts[name] = value.decode("ascii") if isinstance(value, bytes) else value
        except UnicodeDecodeError as error:
            raise MessageError(f"header {name} is not ASCII") from error
    return texts


def _required(values: dict[str, str], name: str) -> str:
    if not values.get(name):
        raise MessageError(f"header {name} is missing")
    return values[name]


def _number(values: dict[str, str], name: str) -> int:
    text = _required(values, name)
    if not text.isdigit() or len(text) > 19:
        raise MessageError(f"header {name}: {text[:40]!r} is not a number")
    return int(text)


def _sequence(values: dict[str, str], name: str) -> int:
    number = _number(values, name)
    if not 1 <= number < 1 << 31:
        raise MessageError(f"header {name}: {number} is not a ledger sequence")
    return number


def _previous(values: dict[str, str], sequence: int) -> int:
    """The predecessor of a ledger that has one."""
    previous = _sequence(values, "previous-sequence")
    if previous >= sequence:
        raise MessageError(f"header previous-sequence: {previous} is not before ledger {sequence}")
    return previous


def _hex(values: dict[str, str], name: str) -> str:
    text = _required(values, name)
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise MessageError(f"header {name}: {text[:70]!r} is not 64 hex digits")
    return text
