"""Which tests of a run on several processes stay together."""

from __future__ import annotations

import pytest

from tests.plugins.parallel import SPREAD, together
from tests.plugins.paths import REPOSITORY


@pytest.mark.parametrize(
    ("nodeid", "one_seed", "many_seeds"),
    [
        ("tests/unit/test_x.py::TestX::test_a[seed]", "tests/unit/test_x.py", "tests/unit/test_x.py"),
        ("tests/integration/test_agents.py::test_a", None, None),
        ("tests/chaos/test_x.py::test_a[seed7]", None, "7"),
        ("tests/chaos/test_x.py::test_a[seed12-sink.in_copy]", None, "12"),
        ("tests/chaos/test_x.py::test_a[in copy-seed3]", None, "3"),
    ],
)
def test_files_stay_together_long_tests_go_alone_and_many_seeds_stay_whole(
    nodeid: str, one_seed: str | None, many_seeds: str | None
) -> None:
    assert together(nodeid, many_seeds=False) == (one_seed or nodeid)
    assert together(nodeid, many_seeds=True) == (many_seeds or nodeid)


def test_what_goes_alone_exists() -> None:
    assert [path for path in SPREAD if not (REPOSITORY / path).exists()] == []
