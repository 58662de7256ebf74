"""How the tests of a run on several processes (`pytest -n 4`) are dealt out: in the order of their names, to whoever is free.

The tests of a file stay together, so that what its fixtures and caches hold is made once. Those of the chaos tests and of a few
other files go one by one: they share little, take long, and mostly wait. With many seeds a seed stays together instead, so that
its undisturbed run is made once.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.plugins.chaos import seeds

SPREAD: Final = (
    "tests/chaos/",
    "tests/integration/test_agents.py",
    "tests/integration/test_demo.py",
    "tests/integration/test_producer.py",
    "tests/integration/test_servers.py",
    "tests/integration/test_sink.py",
    "tests/integration/test_sink_stops.py",
)
_SEED: Final = re.compile(r"[\[-]seed(\d+)[\]-]")


def together(nodeid: str, many_seeds: bool) -> str:
    """The name of the group that a test runs in; its own if it goes alone."""
    if many_seeds and (seed := _SEED.search(nodeid)):
        return seed[1]
    return nodeid if nodeid.startswith(SPREAD) else nodeid.partition("::")[0]


class Groups(LoadScopeScheduling):
    """Deals out what `together` says."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid, len(seeds(self.config)) > 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    config.option.loadscopereorder = False  # by the size of a group, which would leave the longest tests for the end
    return Groups(config, log)
