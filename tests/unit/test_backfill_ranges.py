"""Parts to whole ranges: any order, repeats, several jobs, failures, contradictions, partitions that move to another sink."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION
from sinks.timescale.backfill.ranges import Key, Planned, Ranges, Verdict
from sinks.timescale.reorder import Arrival

NETWORK = "aa" * 32
PARTS = ("accounts", "effects", "participants")
PLAN = {
    "one": [Planned("one", 8, 11, frozenset(PARTS), None, True), Planned("one", 16, 17, frozenset(PARTS), None, True)],
    "two": [Planned("two", 8, 11, frozenset(PARTS[:1]), ("accounts",), True)],
    "old": [Planned("old", 8, 11, frozenset(PARTS), None, False)],
}


def look_up(job: str, sequence: int) -> Planned | None:
    return next((planned for planned in PLAN.get(job, ()) if planned.first <= sequence <= planned.last), None)


def part(sequence: int, processor: str, job: str = "one", partition: int = 0, offset: int = 0, **other: Any) -> Arrival:
    headers = PartHeaders(
        kind=PartKind.PART,
        processor=processor,
        version=1,
        schema=SCHEMA_VERSION,
        sequence=sequence,
        previous_sequence=sequence - 1,
        close_time=1000 + sequence,
        ledger_hash=f"{sequence:064x}",
        network_id=NETWORK,
        job=job,
        source_topic="ledgers.backfill",
        source_partition=partition,
        source_offset=offset,
    )
    return Arrival(replace(headers, **other), b"x" * 10, partition, offset, 0.0)


def every(job: str = "one", first: int = 8, last: int = 11, names: tuple[str, ...] = PARTS) -> list[Arrival]:
    return [part(sequence, name, job) for sequence in range(first, last + 1) for name in names]


def numbered(parts: list[Arrival]) -> list[Arrival]:
    return [replace(arrival, offset=offset) for offset, arrival in enumerate(parts)]


def test_a_range_is_whole_with_its_last_part_in_any_order_and_with_repeats() -> None:
    parts = every() * 2
    random.Random(1).shuffle(parts)
    ranges = Ranges(NETWORK, look_up)
    seen: set[tuple[int, str]] = set()
    for arrival in numbered(parts):
        key = (arrival.headers.sequence, arrival.headers.processor)
        assert ranges.add(arrival) is (Verdict.DUPLICATE if key in seen else Verdict.ADDED)
        seen.add(key)
        assert bool(ranges.ready()) == (len(seen) == 12)
    (found,) = ranges.ready()
    assert [ledger.sequence for ledger in found.in_order()] == [8, 9, 10, 11]
    assert ranges.bytes == 120
    assert ranges.offsets() == {0: 0}
    ranges.close(found.key)
    assert ranges.bytes == 0
    assert ranges.offsets() == {0: len(parts)}
    assert ranges.add(part(9, "effects", offset=99)) is Verdict.DROPPED


def test_offsets_wait_for_the_oldest_open_range() -> None:
    ranges = Ranges(NETWORK, look_up)
    for arrival in numbered([part(16, "effects"), *every()]):
        ranges.add(arrival)
    (found,) = ranges.ready()
    ranges.close(found.key)
    assert ranges.offsets() == {0: 0}
    assert ranges.missing(Key("one", 16)) == "1 ledgers from 17 on, accounts, participants"


def test_jobs_do_not_mix_and_parts_nobody_asked_for_are_dropped() -> None:
    ranges = Ranges(NETWORK, look_up)
    verdicts = [ranges.add(arrival) for arrival in every("two")]
    assert verdicts.count(Verdict.ADDED) == 4
    assert {ranges.add(arrival) for job in ("old", "unknown") for arrival in every(job)} == {Verdict.DROPPED}
    (found,) = ranges.ready()
    assert found.key == Key("two", 8)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (part(9, "effects", kind=PartKind.FAILURE), "ledger 9: effects failed: xxx"),
        (part(9, "effects", network_id="bb" * 32), "of network bb"),
        (part(9, "effects", ledger_hash="cc" * 32), "parts of two ledgers"),
        (part(9, "effects", schema=SCHEMA_VERSION + 1), "part schema"),
    ],
)
def test_what_is_wrong_spoils_its_range_only(wrong: Arrival, text: str) -> None:
    ranges = Ranges(NETWORK, look_up)
    for arrival in (part(9, "accounts"), part(16, "accounts"), wrong):
        ranges.add(arrival)
    (found,) = ranges.ready()
    assert found.key == Key("one", 8)
    assert text in found.spoiled


def test_a_failure_after_the_good_part_changes_nothing() -> None:
    ranges = Ranges(NETWORK, look_up)
    ranges.add(part(9, "effects"))
    ranges.add(part(9, "effects", kind=PartKind.FAILURE))
    assert ranges.ready() == []


def test_a_partition_that_moves_takes_its_ranges_along() -> None:
    ranges = Ranges(NETWORK, look_up)
    ranges.add(part(8, "effects", partition=1, offset=5))
    ranges.add(part(16, "effects", partition=2, offset=7))
    ranges.revoke([1])
    assert ranges.offsets() == {2: 7}
    assert ranges.bytes == 10
    for arrival in every():
        ranges.add(replace(arrival, partition=1))
    assert [found.key for found in ranges.ready()] == [Key("one", 8)]
