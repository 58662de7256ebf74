"""How much was compared with the reference's results: printed after the run, because a silent skip would show here.

In a run on several processes each counts what it compared, and the first one adds the counts up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Report:
    """Equal rows by golden set and family, and compared operations by kind."""

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


REPORT = pytest.StashKey[Report]()
OUTPUT = "golden"


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    return pytestconfig.stash.setdefault(REPORT, Report())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In one of several processes: hand the counts over."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    counts = session.config.stash.get(REPORT, None)
    if output is not None and counts is not None:
        rows = [[name, family, number] for (name, family), number in counts.rows.items()]
        output[OUTPUT] = {"rows": rows, "kinds": dict(counts.kinds), "refused": counts.refused}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """In the first of several processes: take the counts over."""
    found: dict[str, Any] | None = getattr(node, "workeroutput", {}).get(OUTPUT)
    if found is not None:
        counts = node.config.stash.setdefault(REPORT, Report())
        counts.rows.update({(name, family): number for name, family, number in found["rows"]})
        counts.kinds.update(found["kinds"])
        counts.refused += found["refused"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash.get(REPORT, None)
    if counts is None:
        return
    terminalreporter.section("golden: equal rows")
    for (name, family), number in sorted(counts.rows.items()):
        terminalreporter.write_line(f"{name:14} {family:24} {number:7}")
    for kind, number in sorted(counts.kinds.items()):
        terminalreporter.write_line(f"{'operations':14} {kind:44} {number:7}")
    for line in sorted(counts.refused):
        terminalreporter.write_line(f"refused        {line}")
