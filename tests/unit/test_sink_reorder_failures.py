"""Guards: a message with wrong headers gave failure parts that contradicted the good ones, and no retry could mend that.

A failure is shown while nothing better is known, and gives way to whatever part says otherwise, before or after it.
"""

from __future__ import annotations

from typing import Any

import pytest

from schemas.messages import PartKind
from sinks.timescale.reorder import Arrival, Reorder, Verdict
from tests.unit.test_sink_reorder import REQUIRED, add_whole, part, reorder

WRONG_HEADERS = [
    {"ledger_hash": "cc" * 32},
    {"previous_sequence": 7},
    {"previous_sequence": None},
    {"sequence": 107, "previous_sequence": 101},
]


def failure(sequence: int, **other: Any) -> Arrival:
    values: dict[str, Any] = {"previous_sequence": sequence - 1, "kind": PartKind.FAILURE, "schema": 0, "value": b"a reason"}
    return part(sequence, **{**values, "offset": 9, **other})


def window_at(cursor: int) -> Reorder:
    return reorder(cursor=cursor, cursor_hash=f"{cursor:064x}")


@pytest.mark.parametrize("wrong", WRONG_HEADERS)
def test_good_parts_mend_a_failure_with_wrong_headers(wrong: dict[str, Any]) -> None:
    window = window_at(101)
    for name in REQUIRED:
        window.add(failure(**{"sequence": 102, **wrong}, processor=name))
    add_whole(window, [103, 102])
    assert [ledger.sequence for ledger in window.complete(10)] == [102, 103]
    assert window.waiting() is None
    window.advance(103, "", 2.0)
    assert (len(window), window.bytes) == (0, 0)


@pytest.mark.parametrize("wrong", WRONG_HEADERS)
def test_a_failure_with_wrong_headers_does_not_disturb_good_parts(wrong: dict[str, Any]) -> None:
    window = window_at(101)
    add_whole(window, [102, 103])
    assert window.add(failure(**{"sequence": 102, **wrong})) is Verdict.DUPLICATE
    assert [ledger.sequence for ledger in window.complete(10)] == [102, 103]


def test_a_failure_about_the_committed_ledger_does_not_stop() -> None:
    assert window_at(101).add(failure(101, ledger_hash="cc" * 32)) is Verdict.DUPLICATE


def test_a_failure_that_follows_a_ledger_before_the_cursor_is_forgotten() -> None:
    """It came first and claimed to follow 101; meanwhile the cursor passed that."""
    window = window_at(100)
    add_whole(window, [102])
    assert window.add(failure(107, previous_sequence=101)) is Verdict.DUPLICATE
    window = window_at(100)
    assert window.add(failure(107, previous_sequence=101)) is Verdict.FAILURE
    window.advance(102, f"{102:064x}", 2.0)
    assert len(window) == 0


def test_the_reason_is_shown_until_then() -> None:
    window = window_at(101)
    window.add(failure(102, ledger_hash="cc" * 32))
    waiting = window.waiting()
    assert waiting is not None
    assert (waiting.sequence, waiting.failures) == (102, {"participants": "a reason"})
