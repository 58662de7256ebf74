"""Gathers parts into whole ledgers, in the order of the chain. Pure: no Kafka, no database, no clock of its own.

Parts arrive in any order, several times, from partitions that run ahead of each other. The next ledger is the one whose
previous-sequence is the cursor. The window holds the lowest ledgers seen, bounded by number and bytes. What does not fit is given
back: its partition is to be paused and later sought back to the first offset given back (`rewinds`), so memory is bounded and no
part is lost. It cannot lock up: the next ledger is always taken; a partition that holds some of its parts is never paused;
while nothing of it is seen for a while, every paused partition is read again, since any of them may hold it.

A failure tells of a message that may be wrong from its headers on. So a failure is shown while nothing better is known of its
ledger, and never contradicts a part; two parts that contradict each other stop the sink.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lumenstream.errors import IntegrityError
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION

FAILURE_TEXT_BYTES: Final = 500


class Verdict(StrEnum):
    ADDED = "added"
    DUPLICATE = "duplicate"  # came before, or its ledger is committed
    FAILURE = "failure"  # the processor could not process the ledger
    OUTSIDE = "outside"  # past the window: given back


@dataclass(slots=True)
class Arrival:
    """One part as it came. `time` is its arrival on the topic, in Unix seconds."""

    headers: PartHeaders
    value: bytes
    partition: int
    offset: int
    time: float


@dataclass(slots=True)
class Gathered:
    """A ledger in the window. `parts` and `failures` by processor."""

    sequence: int
    previous_sequence: int | None
    close_time: int
    ledger_hash: str
    since: float
    parts: dict[str, Arrival] = field(default_factory=dict)
    failures: dict[str, Arrival] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)  # partition: lowest offset of its parts
    size: int = 0

    def is_of(self, headers: PartHeaders) -> bool:
        """Whether headers speak of this very ledger."""
        identity = (headers.sequence, headers.previous_sequence, headers.ledger_hash)
        return identity == (self.sequence, self.previous_sequence, self.ledger_hash)

    @property
    def last_arrival(self) -> float:
        return max((part.time for part in self.parts.values()), default=self.since)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why the next ledger is not committed. `sequence` is None while nothing of it has come."""

    sequence: int | None
    missing: tuple[str, ...]
    failures: Mapping[str, str]
    since: float
    outdated: Mapping[str, int] = field(default_factory=dict)  # missing processor: the version that came, too low


class Reorder:
    """`cursor` 0: never started, so the next ledger is one without a predecessor."""

    def __init__(
        self,
        *,
        network_id: str,
        required: Mapping[str, int],
        versions: Mapping[str, int],
        cursor: int,
        cursor_hash: str,
        window_ledgers: int,
        window_bytes: int,
        now: float,
    ) -> None:
        self.cursor = cursor
        self.cursor_hash = cursor_hash  # empty: not known
        self.required = dict(required)
        self.versions = dict(versions)  # processor: lowest version of a part that counts
        self.rewinds: dict[int, tuple[int, int]] = {}  # partition: first offset given back, lowest ledger given back
        self.bytes = 0
        self._network_id = network_id
        self._window_ledgers = window_ledgers
        self._window_bytes = window_bytes
        self._ledgers: dict[int, Gathered] = {}
        self._by_previous: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._advanced_at = now

    def __len__(self) -> int:
        return len(self._ledgers)

    def add(self, part: Arrival) -> Verdict:
        """Take a part. IntegrityError for another network, a ledger that contradicts another, or an unknown encoding."""
        self._positions[part.partition] = part.offset + 1
        headers = part.headers
        self._check_network(part)
        if headers.sequence <= self.cursor:
            other_hash = headers.sequence == self.cursor and self.cursor_hash and headers.ledger_hash != self.cursor_hash
            if other_hash and headers.kind is PartKind.PART:
                raise _contradiction(part, f"the committed ledger has hash {self.cursor_hash}")
            return Verdict.DUPLICATE
        if headers.kind is PartKind.PART and headers.schema != SCHEMA_VERSION:
            raise IntegrityError(
                f"{_where(part)} has part schema {headers.schema}, this sink reads {SCHEMA_VERSION}",
                hint="upgrade the sink before the processors",
            )
        if headers.kind is PartKind.FAILURE and not self._agrees(part):
            return Verdict.DUPLICATE
        self._drop_hearsay(part)
        ledger = self._ledgers.get(headers.sequence)
        if ledger is None:
            self._check_predecessor(part)
            if not self._fits(part):
                self._give_back(part.partition, part.offset, headers.sequence)
                return Verdict.OUTSIDE
            ledger = self._open(part)
        elif not ledger.is_of(headers):
            raise _contradiction(
                part, f"another part says hash {ledger.ledger_hash}, previous ledger {ledger.previous_sequence or 'none'}"
            )
        verdict = self._store(ledger, part)
        self._evict()
        return Verdict.OUTSIDE if headers.sequence not in self._ledgers else verdict

    def complete(self, limit: int, after: int | None = None) -> list[Gathered]:
        """The next ledgers in chain order whose required parts are all here, at most `limit`. They stay until `advance`.

        `after`: those behind this ledger, instead of behind the cursor.
        """
        found: list[Gathered] = []
        at = self._next_after(self.cursor if after is None else after)
        while at is not None and len(found) < limit and not self._lacks(at):
            found.append(at)
            at = self._next_after(at.sequence)
        return found

    def count_complete(self, limit: int) -> int:
        """How many ledgers wait to be committed, counted up to `limit`."""
        return len(self.complete(limit))

    def required_parts(self, ledger: Gathered) -> list[Arrival]:
        """The parts of a whole ledger that its rows come from: a part that is not required yet is left to replay."""
        return [ledger.parts[name] for name in self.names_required(ledger.sequence)]

    def names_required(self, sequence: int) -> list[str]:
        return [name for name, first in self.required.items() if first <= sequence]

    def advance(self, cursor: int, cursor_hash: str, now: float) -> None:
        """The database has everything up to `cursor`: forget it."""
        self.cursor, self.cursor_hash, self._advanced_at = cursor, cursor_hash, now
        for sequence in [s for s in self._ledgers if s <= cursor]:
            self._drop(self._ledgers[sequence])
        for ledger in list(self._ledgers.values()):
            if not ledger.parts and (ledger.previous_sequence or 0) < cursor:
                self._drop(ledger)
            else:
                self._check_link(ledger.sequence, ledger.previous_sequence)

    def offsets_after(self, committed: Iterable[int]) -> dict[int, int]:
        """Per partition, where a restart must read from once these ledgers are committed."""
        gone = set(committed)
        offsets = dict(self._positions)
        for sequence, ledger in self._ledgers.items():
            if sequence not in gone:
                for partition, offset in ledger.offsets.items():
                    offsets[partition] = min(offset, offsets[partition])
        for partition, (offset, _) in self.rewinds.items():
            offsets[partition] = min(offset, offsets[partition])
        return offsets

    def waiting(self) -> Waiting | None:
        """What the next ledger lacks. None when it is whole, or when nothing past the cursor has come."""
        ledger = self._next_after(self.cursor)
        if ledger is not None:
            missing = self._lacks(ledger)
            if not missing:
                return None
            failures = {
                name: arrival.value[:FAILURE_TEXT_BYTES].decode("utf-8", "replace")
                for name, arrival in ledger.failures.items()
                if name in missing
            }
            outdated = {name: ledger.parts[name].headers.version for name in missing if name in ledger.parts}
            return Waiting(ledger.sequence, tuple(missing), failures, max(ledger.since, self._advanced_at), outdated)
        if not self._ledgers and not self.rewinds:
            return None
        first_seen = min((ledger.since for ledger in self._ledgers.values()), default=self._advanced_at)
        return Waiting(None, (), {}, max(first_seen, self._advanced_at))

    def may_pause(self, partition: int, after: int | None = None) -> bool:
        """False for a partition where parts of the ledger behind the cursor, or behind `after`, are still expected."""
        ledger = self._next_after(self.cursor if after is None else after)
        return ledger is None or partition not in ledger.offsets or not self._lacks(ledger)

    def take_rewinds(self) -> dict[int, int]:
        """Partitions to seek back and resume, with the offset.

        Those for which there is room again, and those that hold what is needed first: parts of ledgers not higher than any held.
        """
        if not self.rewinds:
            return {}
        lowest = min(self._ledgers, default=None)
        room = 4 * len(self._ledgers) <= 3 * self._window_ledgers and 4 * self.bytes <= 3 * self._window_bytes
        # Never forward: a partition that is being read again may not have come to that offset yet.
        due = {
            partition: min(offset, self._positions[partition])
            for partition, (offset, ledger) in self.rewinds.items()
            if room or lowest is None or ledger <= lowest
        }
        for partition, offset in due.items():
            del self.rewinds[partition]
            self._positions[partition] = offset
        return due

    def _check_network(self, part: Arrival) -> None:
        if part.headers.network_id != self._network_id:
            raise IntegrityError(
                f"{_where(part)} is of network {part.headers.network_id}, this sink writes {self._network_id}",
                hint="another network's producer writes to these topics: separate them by LUMENSTREAM_KAFKA__TOPIC_PREFIX",
            )

    def _agrees(self, failure: Arrival) -> bool:
        """Whether a failure fits what is known. If not, that is no contradiction: its headers may be what is wrong."""
        headers = failure.headers
        ledger = self._ledgers.get(headers.sequence)
        if ledger is not None:
            return ledger.is_of(headers)
        previous = headers.previous_sequence or 0
        return previous >= self.cursor and previous not in self._by_previous

    def _drop_hearsay(self, part: Arrival) -> None:
        """Forget ledgers that only failures tell of, where this part says otherwise."""
        headers = part.headers
        for sequence in {headers.sequence, self._by_previous.get(headers.previous_sequence or 0)}:
            ledger = None if sequence is None else self._ledgers.get(sequence)
            if ledger is not None and not ledger.parts and not ledger.is_of(headers):
                self._drop(ledger)

    def _check_predecessor(self, part: Arrival) -> None:
        headers = part.headers
        self._check_link(headers.sequence, headers.previous_sequence)
        key = headers.previous_sequence or 0
        other = self._by_previous.get(key)
        if other is not None:
            raise _contradiction(part, f"ledger {other} names the same previous ledger, {headers.previous_sequence or 'none'}")

    def _check_link(self, sequence: int, previous: int | None) -> None:
        if self.cursor and sequence > self.cursor and (previous or 0) < self.cursor:
            said = "is the start of a stream" if previous is None else f"follows ledger {previous}"
            raise IntegrityError(
                f"ledger {sequence} {said}, but the database is at ledger {self.cursor}: what lies between is missing",
                hint=f"lumenstream produce --from {self.cursor + 1} fills the topic from the source",
            )

    def _fits(self, part: Arrival) -> bool:
        if (part.headers.previous_sequence or 0) == self.cursor:
            return True
        full = len(self._ledgers) >= self._window_ledgers or self.bytes + len(part.value) > self._window_bytes
        return not full or part.headers.sequence < max(self._ledgers, default=0)

    def _open(self, part: Arrival) -> Gathered:
        headers = part.headers
        ledger = Gathered(headers.sequence, headers.previous_sequence, headers.close_time, headers.ledger_hash, part.time)
        self._ledgers[headers.sequence] = ledger
        self._by_previous[headers.previous_sequence or 0] = headers.sequence
        return ledger

    def _store(self, ledger: Gathered, part: Arrival) -> Verdict:
        name, headers = part.headers.processor, part.headers
        known = ledger.parts.get(name)
        if known is not None and (headers.kind is PartKind.FAILURE or headers.version <= known.headers.version):
            return Verdict.DUPLICATE
        if headers.kind is PartKind.FAILURE:
            replaced, ledger.failures[name] = ledger.failures.get(name), part
        else:
            replaced, ledger.parts[name] = known or ledger.failures.pop(name, None), part
        grown = len(part.value) - (len(replaced.value) if replaced else 0)
        ledger.size += grown
        self.bytes += grown
        ledger.offsets[part.partition] = min(part.offset, ledger.offsets.get(part.partition, part.offset))
        return Verdict.FAILURE if headers.kind is PartKind.FAILURE else Verdict.ADDED

    def _evict(self) -> None:
        """Give the highest ledgers back until the window holds; never the next one."""
        while len(self._ledgers) > 1 and (len(self._ledgers) > self._window_ledgers or self.bytes > self._window_bytes):
            ledger = self._ledgers[max(self._ledgers)]
            if (ledger.previous_sequence or 0) == self.cursor:
                return
            for partition, offset in ledger.offsets.items():
                self._give_back(partition, offset, ledger.sequence)
            self._drop(ledger)

    def _give_back(self, partition: int, offset: int, sequence: int) -> None:
        first, lowest = self.rewinds.get(partition, (offset, sequence))
        self.rewinds[partition] = (min(first, offset), min(lowest, sequence))

    def _drop(self, ledger: Gathered) -> None:
        del self._ledgers[ledger.sequence]
        del self._by_previous[ledger.previous_sequence or 0]
        self.bytes -= ledger.size

    def _next_after(self, cursor: int) -> Gathered | None:
        sequence = self._by_previous.get(cursor)
        return None if sequence is None else self._ledgers[sequence]

    def _lacks(self, ledger: Gathered) -> Sequence[str]:
        return [name for name in self.names_required(ledger.sequence) if not self._has(ledger, name)]

    def _has(self, ledger: Gathered, name: str) -> bool:
        """Whether a processor's part is here, of a version that counts: an old worker's part waits for its successor."""
        part = ledger.parts.get(name)
        return part is not None and part.headers.version >= self.versions.get(name, 0)


def _where(part: Arrival) -> str:
    return f"part {part.headers.processor} of ledger {part.headers.sequence} (partition {part.partition}, offset {part.offset})"


def _contradiction(part: Arrival, other: str) -> IntegrityError:
    headers = part.headers
    return IntegrityError(
        f"{_where(part)} says hash {headers.ledger_hash}, previous ledger {headers.previous_sequence or 'none'}; {other}",
        hint="two sources disagree about the chain: find the wrong one before going on",
    )
