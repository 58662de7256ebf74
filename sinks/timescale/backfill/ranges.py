"""Gathers the parts of whole ranges. Pure: no Kafka, no database; `look_up` says what a job has planned.

A range lies in one partition. A part whose range is not open (unknown, done, failed, superseded) is dropped. A failure of a
processor, or two parts that contradict each other, spoil their range and no other: it is handed out as spoiled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.messages import PartKind
from schemas.parts import SCHEMA_VERSION
from sinks.timescale.reorder import FAILURE_TEXT_BYTES, Arrival, Gathered

MAX_REMEMBERED: Final = 512


class Planned(NamedTuple):
    """A range as table backfill_ranges has it. `processors` None: its whole history is rewritten."""

    job: str
    first: int
    last: int
    parts: frozenset[str]
    processors: tuple[str, ...] | None
    is_open: bool


class Key(NamedTuple):
    job: str
    first: int


class Verdict(StrEnum):
    ADDED = "added"
    DUPLICATE = "duplicate"
    DROPPED = "dropped"


@dataclass(slots=True)
class OpenRange:
    """What has come of a range. `spoiled` says what is wrong with it, empty while nothing is."""

    planned: Planned
    partition: int
    offset: int  # the lowest of its parts
    ledgers: dict[int, Gathered] = field(default_factory=dict)
    whole_ledgers: int = 0
    size: int = 0
    spoiled: str = ""

    @property
    def key(self) -> Key:
        return Key(self.planned.job, self.planned.first)

    @property
    def is_whole(self) -> bool:
        return self.whole_ledgers == self.planned.last - self.planned.first + 1

    def in_order(self) -> list[Gathered]:
        return [self.ledgers[sequence] for sequence in sorted(self.ledgers)]


class Ranges:
    """The open ranges of the partitions that this sink reads."""

    def __init__(self, network_id: str, look_up: Callable[[str, int], Planned | None]) -> None:
        self.bytes = 0
        self._network_id = network_id
        self._look_up = look_up
        self._open: dict[Key, OpenRange] = {}
        self._closed: OrderedDict[Key, Planned] = OrderedDict()
        self._unknown_jobs: OrderedDict[str, None] = OrderedDict()
        self._positions: dict[int, int] = {}

    def add(self, part: Arrival) -> Verdict:
        """Take a part of any job."""
        headers = part.headers
        self._positions[part.partition] = max(part.offset + 1, self._positions.get(part.partition, 0))
        found = self._range_of(headers.job, headers.sequence, part)
        if found is None or headers.processor not in found.planned.parts:
            return Verdict.DROPPED
        found.offset = min(found.offset, part.offset)
        ledger = found.ledgers.get(headers.sequence)
        if ledger is None:
            ledger = found.ledgers[headers.sequence] = Gathered(
                headers.sequence, headers.previous_sequence, headers.close_time, headers.ledger_hash, part.time
            )
        known = ledger.parts.get(headers.processor)
        if problem := self._problem(part, ledger, known):
            found.spoiled = found.spoiled or problem
            return Verdict.ADDED
        if known is not None:
            return Verdict.DUPLICATE
        ledger.parts[headers.processor] = part
        found.size += len(part.value)
        self.bytes += len(part.value)
        found.whole_ledgers += len(ledger.parts) == len(found.planned.parts)
        return Verdict.ADDED

    def ready(self) -> list[OpenRange]:
        """Ranges that are whole or spoiled, lowest first. They stay until `close`."""
        return sorted(
            (found for found in self._open.values() if found.is_whole or found.spoiled), key=lambda found: found.key.first
        )

    def open_keys(self) -> list[Key]:
        return list(self._open)

    def close(self, key: Key) -> None:
        """The range has ended, in whatever way: forget its parts and drop those that still come."""
        found = self._open.pop(key)
        self.bytes -= found.size
        self._remember(found.planned)

    def revoke(self, partitions: Iterable[int]) -> None:
        """These partitions are another sink's now, which reads them from the committed offset."""
        gone = set(partitions)
        for key in [key for key, found in self._open.items() if found.partition in gone]:
            self.bytes -= self._open.pop(key).size
        for partition in gone:
            self._positions.pop(partition, None)
        self._closed.clear()

    def offsets(self) -> dict[int, int]:
        """Per partition, where another sink must read on: everything before belongs to ranges that have ended."""
        offsets = dict(self._positions)
        for found in self._open.values():
            offsets[found.partition] = min(found.offset, offsets.get(found.partition, found.offset))
        return offsets

    def missing(self, key: Key) -> str:
        """What an open range lacks, in a few words."""
        found = self._open[key]
        planned = found.planned
        absent = [sequence for sequence in range(planned.first, planned.last + 1) if sequence not in found.ledgers]
        lacking = sorted({name for ledger in found.ledgers.values() for name in planned.parts - ledger.parts.keys()})
        texts = [f"{len(absent)} ledgers from {absent[0]} on"] if absent else []
        return ", ".join([*texts, *lacking])

    def _range_of(self, job: str, sequence: int, part: Arrival) -> OpenRange | None:
        for key, found in self._open.items():
            if key.job == job and found.planned.first <= sequence <= found.planned.last:
                return found
        if job in self._unknown_jobs:
            return None
        if any(key.job == job and planned.first <= sequence <= planned.last for key, planned in self._closed.items()):
            return None
        planned = self._look_up(job, sequence)
        if planned is None:
            self._unknown_jobs[job] = None
            if len(self._unknown_jobs) > MAX_REMEMBERED:
                self._unknown_jobs.popitem(last=False)
            return None
        if not planned.is_open:
            self._remember(planned)
            return None
        opened = self._open[Key(job, planned.first)] = OpenRange(planned, part.partition, part.offset)
        return opened

    def _remember(self, planned: Planned) -> None:
        self._closed[Key(planned.job, planned.first)] = planned
        if len(self._closed) > MAX_REMEMBERED:
            self._closed.popitem(last=False)

    def _problem(self, part: Arrival, ledger: Gathered, known: Arrival | None) -> str:
        """Why a part spoils its range, empty when it does not. A failure after the good part says nothing new."""
        headers = part.headers
        if headers.kind is PartKind.FAILURE:
            text = part.value[:FAILURE_TEXT_BYTES].decode("utf-8", "replace")
            return "" if known is not None else f"ledger {headers.sequence}: {headers.processor} failed: {text}"
        if headers.network_id != self._network_id:
            return f"ledger {headers.sequence} is of network {headers.network_id}"
        if headers.schema != SCHEMA_VERSION:
            return f"ledger {headers.sequence}: part schema {headers.schema}, this sink reads {SCHEMA_VERSION}"
        if not ledger.is_of(headers):
            return f"ledger {headers.sequence}: parts of two ledgers, {ledger.ledger_hash} and {headers.ledger_hash}"
        return ""
