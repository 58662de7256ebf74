"""Seeds of the chaos tests: `--chaos-seeds N` runs every one with seeds 1 to N, `--chaos-seed S` repeats one seed.

A test that asks for `chaos_seed` runs once per seed; `dice` is a random generator of that seed and test, so that a test's choices
do not depend on which tests ran before it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

VARIABLE = "LUMENSTREAM_CHAOS_SEEDS"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--chaos-seeds", type=int, metavar="N", help=f"chaos tests with seeds 1 to N (default: {VARIABLE}, else 1)")
    group.addoption("--chaos-seed", type=int, metavar="S", help="chaos tests with this seed only")


def seeds(config: pytest.Config) -> list[int]:
    """The seeds of this run."""
    one: int | None = config.getoption("--chaos-seed")
    if one is not None:
        return [one]
    count: int | None = config.getoption("--chaos-seeds")
    return list(range(1, (count or int(os.environ.get(VARIABLE, "1"))) + 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chaos_seed" in metafunc.fixturenames:
        metafunc.parametrize("chaos_seed", seeds(metafunc.config), ids=lambda seed: f"seed{seed}", scope="session")


@pytest.fixture
def dice(request: pytest.FixtureRequest, chaos_seed: int) -> Iterator[random.Random]:
    """Random choices of this test and seed; the line on standard output says how to see them again."""
    node: pytest.Item = request.node
    print(f"again: pytest '{node.nodeid}' --chaos-seed {chaos_seed}")
    yield random.Random(f"{node.name} {chaos_seed}")
