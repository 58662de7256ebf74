"""Prints, after the run, how much was compared: a silent skip would show here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest


@dataclass
class Report:
    """Equal rows by golden set and family, and compared operations by kind."""

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    counts = request.config.stash.setdefault(_REPORT, Report())
    yield counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash.get(_REPORT, None)
    if counts is None:
        return
    terminalreporter.section("golden: equal rows")
    for (name, family), number in sorted(counts.rows.items()):
        terminalreporter.write_line(f"{name:14} {family:24} {number:7}")
    for kind, number in sorted(counts.kinds.items()):
        terminalreporter.write_line(f"{'operations':14} {kind:44} {number:7}")
    for line in counts.refused:
        terminalreporter.write_line(f"refused        {line}")
