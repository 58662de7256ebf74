"""What a sink says about itself: a standby is healthy and not ready, as the publisher's is and docs/operations.md says."""

from __future__ import annotations

import pytest

from lumenstream.settings import SinkSettings
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
