"""What a worker may commit: nothing behind a message that is missing."""

from __future__ import annotations

import pytest

from processors.offsets import Offsets

PLACE = ("ledgers", 1)


@pytest.mark.parametrize("first", [0, 1, 40])
def test_messages_in_a_row(first: int) -> None:
    offsets, done = Offsets(), set[int]()
    assert offsets.processed(PLACE, done) is None
    offsets.was_given(PLACE, range(first, first + 3))
    assert offsets.processed(PLACE, done) == first
    done |= {first, first + 1}
    assert offsets.processed(PLACE, done) == first + 2
    assert offsets.held(PLACE, done) is None
    assert offsets.processed(PLACE, {first + 2}) == first + 3  # those before are forgotten by now


@pytest.mark.parametrize("first", [0, 1, 40])
@pytest.mark.parametrize("thrown_away", [1, 2])
def test_nothing_is_committed_past_what_was_thrown_away(first: int, thrown_away: int) -> None:
    offsets = Offsets()
    offsets.was_given(PLACE, range(first, first + 6))
    done = set(range(first + thrown_away, first + 6))
    assert offsets.processed(PLACE, done) == first
    assert offsets.held(PLACE, done) == first
    offsets.sought(PLACE)
    assert offsets.processed(PLACE, done) is None
    offsets.was_given(PLACE, range(first, first + 6))
    assert offsets.held(PLACE, done) == first
    done |= set(range(first, first + thrown_away))
    assert offsets.processed(PLACE, done) == first + 6
    assert offsets.held(PLACE, done) is None


def test_what_the_broker_does_not_have_is_passed_over() -> None:
    offsets = Offsets()
    offsets.was_given(PLACE, [3, 4, 6])
    offsets.was_given(PLACE, [9, 10])
    assert offsets.processed(PLACE, {3}) == 4
    assert offsets.held(PLACE, {6}) == 4
    assert offsets.processed(PLACE, {4, 6}) == 9
    assert offsets.held(PLACE, {10}) == 9
    assert offsets.processed(PLACE, {9, 10}) == 11


def test_partitions_are_apart() -> None:
    offsets, other = Offsets(), ("ledgers", 2)
    offsets.was_given(PLACE, [0, 1])
    offsets.was_given(other, [5])
    assert (offsets.processed(PLACE, {0}), offsets.processed(other, {5})) == (1, 6)
    offsets.sought(other)
    assert (offsets.processed(PLACE, {1}), offsets.processed(other, set())) == (2, None)


def test_what_waits_is_counted_from_where_the_client_stands_until_something_is_given() -> None:
    offsets = Offsets()
    assert offsets.behind(PLACE, range(4, 9)) == 5
    assert offsets.behind(PLACE, range(9, 9)) == 0  # the broker deleted all of it
    offsets.was_given(PLACE, [4, 5, 8])
    assert offsets.behind(PLACE, range(9, 9)) == 5  # given, and not processed
    assert (offsets.processed(PLACE, {4, 5}), offsets.behind(PLACE, range(9, 9))) == (8, 1)
    offsets.sought(PLACE)
    assert offsets.behind(PLACE, range(2, 9)) == 7
    offsets.was_given(PLACE, [2])
    assert offsets.behind(PLACE, range(3, 1)) == 0  # an end that is known from earlier
