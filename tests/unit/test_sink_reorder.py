"""The reorder window: chain order, duplicates, contradictions, bounded memory without a lock-up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from lumenstream.errors import IntegrityError
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION
from sinks.timescale.reorder import Arrival, Reorder, Verdict

NETWORK = "aa" * 32
REQUIRED = {"participants": 1, "accounts": 1}


def reorder(**other: Any) -> Reorder:
    values: dict[str, Any] = {
        "network_id": NETWORK,
        "required": REQUIRED,
        "versions": {},
        "cursor": 0,
        "cursor_hash": "",
        "window_ledgers": 8,
        "window_bytes": 1 << 20,
        "now": 0.0,
    }
    return Reorder(**(values | other))


def part(
    sequence: int, processor: str = "participants", *, offset: int = 0, partition: int = 0, value: bytes = b"x", **other: Any
) -> Arrival:
    values: dict[str, Any] = {
        "kind": PartKind.PART,
        "processor": processor,
        "version": 1,
        "schema": SCHEMA_VERSION,
        "sequence": sequence,
        "previous_sequence": sequence - 1 if sequence > 100 else None,
        "close_time": sequence,
        "ledger_hash": f"{sequence:064x}",
        "network_id": NETWORK,
        "job": "live",
        "source_topic": "ledgers",
        "source_partition": partition,
        "source_offset": 0,
    }
    return Arrival(PartHeaders(**(values | other)), value, partition, offset, 1.0)


def add_whole(window: Reorder, sequences: Sequence[int]) -> None:
    for sequence in sequences:
        for name in REQUIRED:
            window.add(part(sequence, name, offset=sequence))


def test_ledgers_come_out_in_chain_order_whatever_the_order_they_came_in() -> None:
    window = reorder()
    add_whole(window, [103, 101, 100, 102, 105])
    assert [ledger.sequence for ledger in window.complete(10)] == [100, 101, 102, 103]
    assert [ledger.sequence for ledger in window.complete(2)] == [100, 101]
    assert [ledger.sequence for ledger in window.complete(10, after=101)] == [102, 103]
    assert window.complete(10, after=103) == []
    window.advance(103, "", 2.0)
    assert window.complete(10) == []
    add_whole(window, [104])
    assert [ledger.sequence for ledger in window.complete(10)] == [104, 105]


def test_a_part_of_a_lower_version_than_required_is_missing() -> None:
    """Guards: an old worker's parts were committed after an upgrade had raised a processor's version."""
    window = reorder(versions={"participants": 1, "accounts": 2})
    add_whole(window, [100])
    waiting = window.waiting()
    assert window.complete(10) == []
    assert waiting is not None and (waiting.missing, dict(waiting.outdated)) == (("accounts",), {"accounts": 1})
    window.add(part(100, "accounts", offset=5, version=3))
    assert window.waiting() is None
    assert [found.headers.version for found in window.required_parts(window.complete(1)[0])] == [1, 3]


def test_a_ledger_waits_for_every_required_part_and_says_which() -> None:
    window = reorder()
    window.add(part(100))
    waiting = window.waiting()
    assert window.complete(10) == []
    assert waiting is not None and (waiting.sequence, waiting.missing, waiting.since) == (100, ("accounts",), 1.0)
    window.add(part(100, "accounts"))
    assert window.waiting() is None


def test_nothing_of_the_next_ledger_is_a_wait_too() -> None:
    window = reorder(cursor=100)
    assert window.waiting() is None
    add_whole(window, [102])
    waiting = window.waiting()
    assert waiting is not None and waiting.sequence is None


def test_a_partition_with_parts_of_the_ledger_behind_the_batch_is_not_paused() -> None:
    window = reorder()
    add_whole(window, [100])
    window.add(part(101, partition=1))
    assert (window.may_pause(1), window.may_pause(0)) == (True, True)
    assert (window.may_pause(1, after=100), window.may_pause(0, after=100)) == (False, True)


def test_a_processor_is_required_from_its_first_ledger_on() -> None:
    window = reorder(required=REQUIRED | {"effects": 101})
    add_whole(window, [100, 101])
    assert [ledger.sequence for ledger in window.complete(10)] == [100]
    window.add(part(100, "effects"))
    counted = window.required_parts(window.complete(1)[0])
    assert [found.headers.processor for found in counted] == ["participants", "accounts"]  # its earlier ledgers come by replay
    window.add(part(101, "effects"))
    assert [ledger.sequence for ledger in window.complete(10)] == [100, 101]


def test_repeated_and_late_parts_are_dropped() -> None:
    window = reorder()
    assert window.add(part(100)) is Verdict.ADDED
    assert window.add(part(100, offset=1)) is Verdict.DUPLICATE
    window.add(part(100, "accounts"))
    window.advance(100, f"{100:064x}", 2.0)
    assert window.add(part(100, offset=2)) is Verdict.DUPLICATE
    assert window.add(part(99, offset=3, previous_sequence=None)) is Verdict.DUPLICATE


def test_a_higher_version_replaces_a_lower_one() -> None:
    window = reorder()
    window.add(part(100, value=b"old"))
    assert window.add(part(100, value=b"new", version=2)) is Verdict.ADDED
    assert window.add(part(100, value=b"old")) is Verdict.DUPLICATE
    window.add(part(100, "accounts"))
    assert window.required_parts(window.complete(1)[0])[0].value == b"new"


def test_a_failure_is_shown_and_a_later_good_part_supersedes_it() -> None:
    window = reorder()
    window.add(part(100, "accounts"))
    assert window.add(part(100, kind=PartKind.FAILURE, schema=0, value=b"ZeroDivisionError")) is Verdict.FAILURE
    waiting = window.waiting()
    assert waiting is not None and waiting.failures == {"participants": "ZeroDivisionError"}
    assert window.add(part(100)) is Verdict.ADDED
    assert window.waiting() is None
    assert window.add(part(100, kind=PartKind.FAILURE)) is Verdict.DUPLICATE
    assert window.bytes == 2


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"network_id": "bb" * 32}, "network"),
        ({"ledger_hash": "cc" * 32}, "hash"),
        ({"previous_sequence": 7}, "previous ledger"),
        ({"schema": SCHEMA_VERSION + 1}, "part schema"),
    ],
)
def test_contradictions_stop(other: dict[str, Any], text: str) -> None:
    window = reorder()
    window.add(part(100))
    with pytest.raises(IntegrityError, match=text):
        window.add(part(100, "accounts", **other))


def test_a_stream_that_starts_after_the_cursor_stops_and_says_what_to_do() -> None:
    with pytest.raises(IntegrityError, match="start of a stream") as caught:
        reorder(cursor=50).add(part(100))
    assert "produce --from 51" in caught.value.hint
    with pytest.raises(IntegrityError, match="follows ledger 104"):
        reorder(cursor=110).add(part(120, previous_sequence=104))


def test_a_buffered_ledger_that_the_cursor_jumped_into_stops_too() -> None:
    window = reorder()
    add_whole(window, [100])
    window.add(part(103, previous_sequence=101))
    with pytest.raises(IntegrityError, match="follows ledger 101"):
        window.advance(102, "", 1.0)


def test_another_hash_for_the_committed_ledger_stops() -> None:
    with pytest.raises(IntegrityError, match="committed ledger has hash"):
        reorder(cursor=100, cursor_hash="dd" * 32).add(part(100))


def test_two_ledgers_may_not_follow_the_same_one() -> None:
    window = reorder()
    add_whole(window, [100, 101])
    with pytest.raises(IntegrityError, match="names the same previous ledger"):
        window.add(part(150, previous_sequence=100))


def test_a_source_with_gaps_names_its_predecessor() -> None:
    window = reorder(required={"participants": 1})
    for sequence, previous in ((9000, 100), (100, None), (9001, 9000)):
        window.add(part(sequence, previous_sequence=previous))
    assert [ledger.sequence for ledger in window.complete(9)] == [100, 9000, 9001]


def test_the_window_keeps_the_lowest_ledgers_and_gives_the_rest_back() -> None:
    window = reorder(window_ledgers=3, required={"participants": 1})
    for sequence in (105, 104, 103):
        assert window.add(part(sequence, offset=sequence)) is Verdict.ADDED
    assert window.add(part(106, partition=1, offset=7)) is Verdict.OUTSIDE
    assert window.add(part(102, partition=2, offset=9)) is Verdict.ADDED  # lower: 105 goes instead
    assert window.rewinds == {1: (7, 106), 0: (105, 105)}
    assert len(window) == 3
    assert window.take_rewinds() == {}
    window.add(part(100, partition=3))
    window.add(part(101, partition=3, offset=1))
    window.advance(102, "", 1.0)
    assert window.take_rewinds() == {1: 7, 0: 103}  # 100 and 101 pushed 104 and 103 out


def test_bytes_bound_the_window_and_the_next_ledger_is_always_taken() -> None:
    window = reorder(window_bytes=100, required={"participants": 1})
    assert window.add(part(101, value=b"y" * 90)) is Verdict.ADDED
    assert window.add(part(102, value=b"y" * 90, offset=1)) is Verdict.OUTSIDE
    assert window.add(part(100, value=b"y" * 500, partition=1)) is Verdict.ADDED
    assert [ledger.sequence for ledger in window.complete(9)] == [100]
    assert window.bytes == 500


def test_a_restart_reads_from_the_lowest_offset_of_what_is_not_committed() -> None:
    window = reorder(required=REQUIRED)
    for offset, (sequence, name) in enumerate(
        [(100, "participants"), (101, "accounts"), (100, "accounts"), (102, "participants")]
    ):
        window.add(part(sequence, name, offset=offset))
    window.add(part(103, partition=1, offset=40))
    assert window.offsets_after([]) == {0: 0, 1: 40}
    assert window.offsets_after([100]) == {0: 1, 1: 40}
    assert window.offsets_after([100, 101, 102, 103]) == {0: 4, 1: 41}


def test_a_partition_with_parts_of_the_next_ledger_is_not_paused() -> None:
    window = reorder()
    window.add(part(100, partition=2))
    assert not window.may_pause(2)
    assert window.may_pause(1)
    window.add(part(100, "accounts", partition=2))
    assert window.may_pause(2)


@pytest.mark.parametrize("seed", range(40))
def test_any_interleaving_commits_every_ledger_within_a_small_window(seed: int) -> None:
    """Partitions read at random speeds, also during commits; processors apart, parts repeated; pauses and rewinds obeyed."""
    rng = random.Random(seed)
    ledgers, partitions = 60, 3
    logs: list[list[Arrival]] = [[] for _ in range(partitions)]
    behind = rng.randrange(20)  # how many ledgers of a partition one processor is behind the other
    for partition in range(partitions):
        sequences = [s for s in range(100, 100 + ledgers) if s % partitions == partition]
        stream = [(s, index, name) for index, s in enumerate(sequences) for name in REQUIRED]
        stream.sort(key=lambda at: (at[1] + (behind if at[2] == "accounts" else 0), at[0]))
        for sequence, _, name in stream:
            for _ in range(rng.randrange(1, 6)):
                logs[partition].append(part(sequence, name, partition=partition, offset=len(logs[partition])))
    window = reorder(window_ledgers=rng.randrange(1, 9))
    at, paused, quiet, committed = [0] * partitions, set[int](), 0, list[int]()

    def read(after: int | None = None) -> bool:
        readable = [p for p in range(partitions) if p not in paused and at[p] < len(logs[p])]
        if not readable:
            return False
        chosen = rng.choice(readable)
        window.add(logs[chosen][at[chosen]])
        at[chosen] += 1
        paused.update(p for p in window.rewinds if window.may_pause(p, after))
        return True

    for _ in range(200_000):
        if read():
            quiet = 0
        else:
            quiet += 1
            assert quiet < 3, f"locked up after {committed[-1:]}, seed {seed}"
            paused.clear()
        if batch := [ledger.sequence for ledger in window.complete(4)]:
            for _ in range(rng.randrange(8)):  # what comes while the batch is committed
                read(batch[-1])
            committed.extend(batch)
            window.advance(batch[-1], "", 0.0)
        for partition, offset in window.take_rewinds().items():
            at[partition] = offset
            paused.discard(partition)
        if len(committed) == ledgers:
            break
    assert committed == list(range(100, 100 + ledgers))
