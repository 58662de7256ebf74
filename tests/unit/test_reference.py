"""docs/reference.md says what the code says, and everything in it has a meaning."""

from __future__ import annotations

import re
from collections import Counter as Count
from pathlib import Path

import typer
from prometheus_client import Counter, Gauge, Histogram

from lumenstream import metrics
from lumenstream.cli import equivalents, reference
from lumenstream.cli.main import build
from lumenstream.masking import leaves
from lumenstream.settings import Settings
from tests.unit.test_house import FOREIGN_METRICS, REPOSITORY, ROOMS, metric_names, names_in, tracked

ONLY_UPSTREAM = 10  # what of the reference may have nothing here


def test_the_document_is_what_the_code_gives() -> None:
    written = Path(REPOSITORY / "docs/reference.md").read_text(encoding="utf-8")
    assert written == reference.document(), "settings, options or metrics changed: run make reference"


def test_every_command_and_its_options_are_there() -> None:
    text = reference.document()
    commands = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 (a group, typed as a command)
    assert [name for name in commands if f"### lumenstream {name}" not in text] == []
    assert "| `--pause-retention` |" in text and "| `--kafka-bootstrap` | `kafka.bootstrap` |" in text


def test_every_setting_says_what_it_is_for() -> None:
    settings = list(leaves(Settings(), {}))
    assert len(settings) > 70
    assert [leaf.path for leaf in settings if not leaf.description] == []


def test_every_variable_outside_the_settings_is_there_and_read() -> None:
    """Names of settings have two underscores in a row; of what is left each that stands in the source is on the page."""
    sources = [path for path in tracked() if path.suffix == ".py" and path.relative_to(REPOSITORY).parts[0] in (*ROOMS, "tests")]
    outside = [path for path in sources if path != Path(reference.__file__) and path.parent.name not in ("unit", "integration")]
    texts = "".join(path.read_text(encoding="utf-8") for path in outside)
    read = set(re.findall(r'"(LUMENSTREAM_[A-Z]+(?:_[A-Z]+)*)"', texts))
    assert read == {name for name, _, _ in reference.VARIABLES}
    assert [name for name in read if f"\n| `{name}` |" not in reference.document()] == []


def test_every_metric_has_a_purpose_and_a_query_of_metrics_that_exist() -> None:
    found = list(reference.metric_list())
    defined = [value for value in vars(metrics).values() if isinstance(value, (Counter, Gauge, Histogram))]
    assert len(found) == len(defined) > 40
    assert max(Count(metric.name for metric in found).values()) == 1
    known = metric_names() | FOREIGN_METRICS
    assert {metric.name: unknown for metric in found if (unknown := names_in(metric.query) - known)} == {}
    assert [metric.name for metric in found if not metric.purpose or not metric.text or not names_in(metric.query)] == []


def test_what_stands_for_the_reference_exists() -> None:
    paths = {leaf.path for leaf in leaves(Settings(), {})}
    commands = {f"lumenstream {name}" for name in getattr(typer.main.get_command(build()), "commands")}  # noqa: B009
    everything = [*equivalents.OPTIONS, *equivalents.METRICS]
    named = {name for found in everything for name in found.here}
    assert named - paths - commands - metric_names() - {metric.name for metric in reference.metric_list()} == set()
    without = [found for found in everything if not found.here]
    assert all(found.remark for found in without) and len(without) <= ONLY_UPSTREAM
