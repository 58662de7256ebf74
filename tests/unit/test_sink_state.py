"""What a sink says about itself: a standby is healthy and not ready, as the publisher's is and docs/operations.md says."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from lumenstream import metrics
from lumenstream.settings import SinkSettings
from sinks.timescale.reorder import Waiting
from sinks.timescale.state import SinkState


@pytest.mark.parametrize(
    ("phase", "ready"), [("leader", True), ("standby", False), ("starting", False), ("waiting for kafka", False)]
)
def test_only_the_leader_is_ready(phase: str, ready: bool) -> None:
    state = SinkState(SinkSettings())
    state.phase = phase
    assert (state.health().ok, state.health().ready) == (True, ready)


def test_a_leader_without_its_server_is_neither() -> None:
    state = SinkState(SinkSettings())
    state.phase = "leader"
    state.troubled("kafka", "gone")
    assert (state.health().ok, state.health().ready) == (False, False)


def test_a_standby_reports_nothing_of_an_earlier_term() -> None:
    state = SinkState(SinkSettings(missing_part_seconds=1))
    state.phase = "leader"
    state.troubled("database", "gone")
    state.waiting, state.buffered, state.catching_up = Waiting(8, ("effects",), {}, 0.0), 5, True
    metrics.SINK_WAITING_SECONDS.set(99)
    state.phase = "standby"
    assert not state.health().ok and len(state.health().details["problems"]) == 2
    state.stands_by()
    assert state.health().ok and "waiting" not in state.health().details and not state.health().details["catching_up"]
    assert REGISTRY.get_sample_value("lumenstream_sink_waiting_seconds") == 0


def test_a_term_tells_where_it_begins_before_the_first_commit() -> None:
    """A restarted sink that waits would otherwise seem to be at ledger 0, and everything produced to be behind."""
    state = SinkState(SinkSettings())
    state.begins(63_000_000, 1_790_000_000)
    assert state.health().details["cursor"] == 63_000_000
    assert REGISTRY.get_sample_value("lumenstream_cursor_ledger") == 63_000_000
    assert REGISTRY.get_sample_value("lumenstream_cursor_close_time_seconds") == 1_790_000_000
    state.begins(0, None)
    assert REGISTRY.get_sample_value("lumenstream_cursor_ledger") == 0
