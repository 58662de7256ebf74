"""How many ledgers a transaction takes: one at the tip, bounded groups behind it, and one again after a refusal."""

from __future__ import annotations

from typing import Any

from lumenstream.settings import SinkSettings
from sinks.timescale.grouping import Grouping
from sinks.timescale.reorder import Gathered


def grouping(**other: Any) -> Grouping:
    values = {"group_threshold": 4, "group_ledgers": 8, "group_bytes": 1000, "group_wait_seconds": 0.5}
    return Grouping(SinkSettings.model_validate(values | other))


def whole(count: int, size: int = 10, first: int = 100) -> list[Gathered]:
    return [Gathered(first + index, first + index - 1, 0, "", 0.0, size=size) for index in range(count)]


def sequences(chosen: list[Gathered]) -> list[int]:
    return [ledger.sequence for ledger in chosen]


def test_near_the_tip_ledgers_go_one_by_one_and_at_once() -> None:
    groups = grouping()
    assert groups.choose([], 3, 0.0) == []
    assert sequences(groups.choose(whole(1), 2, 0.0)) == [100]
    assert sequences(groups.choose(whole(4), 4, 0.0)) == [100]
    assert not groups.catching_up


def test_many_that_wait_go_in_groups_until_none_waits() -> None:
    groups = grouping()
    assert sequences(groups.choose(whole(12), None, 0.0)) == list(range(100, 108))
    assert sequences(groups.choose(whole(4, first=108), None, 0.0)) == [108, 109, 110, 111]
    assert groups.catching_up
    assert sequences(groups.choose(whole(1), None, 0.0)) == [100]
    assert not groups.catching_up


def test_a_group_waits_a_moment_for_ledgers_that_are_known_to_come() -> None:
    groups = grouping()
    assert groups.choose(whole(2), 100, 1.0) == []
    assert groups.choose(whole(3), 100, 1.4) == []
    assert sequences(groups.choose(whole(3), 100, 1.5)) == [100, 101, 102]
    assert groups.choose(whole(3), 100, 1.6) == [], "each group waits anew"
    assert len(groups.choose(whole(8), 100, 1.7)) == 8, "and a full one does not"
    assert len(groups.choose(whole(3), 3, 2.0)) == 3, "nor does one when nothing more is to come"
    assert sequences(groups.choose(whole(1), 2, 2.1)) == [100] and not groups.catching_up


def test_groups_are_bounded_by_bytes_and_the_window_and_one_ledger_always_goes() -> None:
    assert len(grouping().choose(whole(12, size=300), None, 0.0)) == 3
    assert len(grouping().choose(whole(12, size=5000), None, 0.0)) == 1
    assert len(grouping(reorder_window_ledgers=6).choose(whole(6), None, 0.0)) == 3
    assert len(grouping(group_ledgers=1).choose(whole(12), 100, 0.0)) == 1


def test_a_refused_group_goes_one_by_one_and_the_next_is_a_group_again() -> None:
    groups = grouping()
    groups.split(103)
    assert sequences(groups.choose(whole(10, first=102), 50, 0.0)) == [102]
    assert sequences(groups.choose(whole(9, first=103), 50, 0.0)) == [103]
    assert len(groups.choose(whole(8, first=104), 50, 0.0)) == 8
