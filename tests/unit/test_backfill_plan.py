"""What a job plans: gaps, ranges, predecessors; and which rows of history belong to which processor."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from processors import registry
from producers.backfill.plan import Predecessors, Range, cut, missing
from schemas import history
from schemas.families import STATE_CHANGES_PREFIX
from schemas.processors import PROCESSORS
from sinks.timescale.layouts import HISTORY
from tests.unit.ledger_builder import NETWORK
from tests.unit.test_processor_registry import BUSY


@pytest.mark.parametrize(
    ("stretches", "gaps"),
    [
        ([], [Range(10, 20)]),
        ([Range(10, 20)], []),
        ([Range(12, 13), Range(15, 20)], [Range(10, 11), Range(14, 14)]),
        ([Range(10, 19)], [Range(20, 20)]),
        ([Range(11, 20)], [Range(10, 10)]),
    ],
)
def test_what_is_missing(stretches: list[Range], gaps: list[Range]) -> None:
    assert missing(stretches, 10, 20) == gaps


def test_ranges_cover_every_ledger_once_and_cross_no_boundary() -> None:
    dice = random.Random(3)
    for _ in range(50):
        size = dice.randint(1, 70)
        marks = sorted(dice.sample(range(1, 500), 6))
        stretches = [Range(*marks[at : at + 2]) for at in (0, 2, 4)]
        ranges = cut(stretches, size)
        covered = [ledger for found in ranges for ledger in range(found.first, found.last + 1)]
        assert covered == [ledger for stretch in stretches for ledger in range(stretch.first, stretch.last + 1)]
        assert all(found.first // size == found.last // size for found in ranges)
        assert sum(found.ledgers for found in ranges) == len(covered)


def test_the_predecessor_is_the_highest_ledger_below_that_is_there_or_planned() -> None:
    predecessors = Predecessors([Range(40, 50), Range(10, 20), Range(21, 29)], 7)
    assert [predecessors.of(ledger) for ledger in (10, 11, 21, 29, 30, 40, 45, 99)] == [7, 10, 20, 28, 29, 29, 44, 50]
    assert Predecessors([Range(10, 20)], None).of(10) is None


def test_every_table_of_history_has_a_way_to_be_rewritten() -> None:
    owned = history.tables_of(PROCESSORS, HISTORY)
    assert {*owned, *history.LINK_TABLES, history.STATE_CHANGES} == set(HISTORY)


def test_streams_do_not_overlap() -> None:
    streams = sorted(history.streams_of(PROCESSORS))
    assert all(last < first for (_, last), (first, _) in pairwise(streams))
    assert history.STREAMS.keys() <= PROCESSORS.keys()


@pytest.mark.parametrize("name", registry.REGISTRY)
def test_state_changes_lie_in_the_stream_of_their_processor(name: str) -> None:
    (processor,) = registry.create([name], NETWORK)
    streams = history.streams_of([name])
    for family, rows in processor.process(BUSY).rows.items():
        if family.startswith(STATE_CHANGES_PREFIX):
            assert all(any(first <= row[2] <= last for first, last in streams) for row in rows)


def test_processors_of_current_state_have_no_history() -> None:
    assert set(PROCESSORS) - set(history.history_processors()) == {"accounts", "liquidity_pools"}
    assert history.history_processors(["accounts", "effects", "participants"]) == ("participants", "effects")
