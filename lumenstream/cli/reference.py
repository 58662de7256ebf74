"""docs/reference.md: every setting, command and metric, from the code itself. `make reference` writes it, a test compares it.

Where from: the tree of settings, the command line's own help, and lumenstream/metrics.py, whose comments hold purpose and query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import typer
from prometheus_client import Counter, Gauge, Histogram
from typer.core import TyperCommand, TyperGroup, TyperOption

from lumenstream import masking, metrics
from lumenstream.bench import api, checkpoint, decode, derive, lakeread, subscribers
from lumenstream.cli.equivalents import METRICS, OPTIONS, Equivalent
from lumenstream.cli.main import build
from lumenstream.cli.options import GLOBAL_OPTIONS
from lumenstream.settings import Settings

_COMMENT: Final = re.compile(r"((?:^# .*\n)+)((?:^[A-Z].*\n(?:^ .*\n|^\)\n)*)+)", re.MULTILINE)
_NAME: Final = re.compile(r"^([A-Z_]+): Final = (?:Counter|Gauge|Histogram)\(", re.MULTILINE)
_SAMPLES: Final = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
_HEAD: Final = """# Reference

Every setting, command and metric. Made from the code by `make reference`; change it there.
How to use them: [operations.md](operations.md), [runbook.md](runbook.md).
"""
# Read from the environment alone: neither a flag nor .env sets them. A test compares their names with the source.
VARIABLES: Final = (
    ("LUMENSTREAM_DECODER", "", "`python`: decode ledgers in Python even where the native decoder was built"),
    ("LUMENSTREAM_REQUIRE_NATIVE", "", "`1`: without the native decoder nothing starts; the image sets it"),
    ("LUMENSTREAM_WORKER_RESTARTS", "0", "set by workers alone: how often one has started itself anew"),
    ("LUMENSTREAM_CRASHPOINT", "", "tests: `name` or `name:n` kills the process when it comes to that place for the n-th time"),
    ("LUMENSTREAM_CHAOS_SEEDS", "1", "tests: seeds of each crash test; `make chaos` sets it"),
    ("LUMENSTREAM_TEST_KAFKA_BOOTSTRAP", "", "tests: a Kafka that stands already; empty: one is started"),
    ("LUMENSTREAM_TEST_DATABASE_URL", "", "tests: a PostgreSQL that stands already, as superuser; empty: one is started"),
    ("LUMENSTREAM_GOLDEN", "../shared/golden", "tests: folder of reference results"),
    ("LUMENSTREAM_LEDGERS", "../shared/ledgers", "tests and benchmarks: folder of real ledgers, in pubnet/ and loadtest/"),
    ("LUMENSTREAM_BENCH_LEDGERS", api.DEFAULT_LEDGERS, "bench api: ledgers in the database"),
    ("LUMENSTREAM_BENCH_SECONDS", api.DEFAULT_SECONDS, "bench api: how long each run takes"),
    ("LUMENSTREAM_BENCH_ROUNDS", api.DEFAULT_ROUNDS, "bench api: runs of each"),
    ("LUMENSTREAM_BENCH_PROCESSES", api.DEFAULT_PROCESSES, "bench api: processes of the API"),
    ("LUMENSTREAM_BENCH_SUBSCRIBERS", subscribers.DEFAULT_SUBSCRIBERS, "bench subscribers: how many"),
    ("LUMENSTREAM_BENCH_LAKE_LEDGERS", lakeread.DEFAULT_LEDGERS, "bench lake: ledgers to read"),
    ("LUMENSTREAM_BENCH_CHECKPOINT_ENTRIES", checkpoint.DEFAULT_ENTRIES, "bench checkpoint: entries that exist"),
    ("LUMENSTREAM_BENCH_DECODE_ROUNDS", decode.DEFAULT_ROUNDS, "bench decode: rounds over the ledgers"),
    ("LUMENSTREAM_BENCH_DERIVE_ROUNDS", derive.DEFAULT_ROUNDS, "bench derive: rounds over the ledgers"),
)


class Metric(NamedTuple):
    """`purpose` and `query`: what stands above it in lumenstream/metrics.py."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    purpose: str
    query: str


def document() -> str:
    """The whole text."""
    parts = [_HEAD, *_settings(), *_variables(), *_commands(), *_metrics()]
    parts += _equivalents("Options of stellar/wallet-backend", OPTIONS)
    parts += _equivalents("Metrics of stellar/wallet-backend", METRICS)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def metric_list() -> Iterator[Metric]:
    """In the order of the file. Metrics under one comment share its purpose and query."""
    text = Path(metrics.__file__).read_text(encoding="utf-8")
    for comment, definitions in _COMMENT.findall(text):
        words = " ".join(line.removeprefix("# ") for line in comment.splitlines())
        purpose, _, rest = words.partition(": ")
        query, _, remark = rest.partition(". ")
        purpose = f"{purpose}. {remark}" if remark else purpose
        for name in _NAME.findall(definitions):
            metric = getattr(metrics, name)
            assert isinstance(metric, (Counter, Gauge, Histogram))
            (family,) = metric.describe()
            shown = f"{family.name}_total" if isinstance(metric, Counter) else family.name
            yield Metric(shown, _SAMPLES[type(metric)], tuple(metric._labelnames), family.documentation, purpose, query)


def _settings() -> Iterator[str]:
    yield "## Settings\n\nFlag > environment > `.env` > default. `lumenstream config` shows what is in force, and from where."
    section = ""
    rows: list[Sequence[str]] = []
    for leaf in masking.leaves(Settings.model_construct(), {}):
        if section != (section := leaf.path.partition(".")[0]):
            if rows:
                yield _table(("variable", "default", "meaning"), rows)
            yield f"### {section}\n"
            rows = []
        rows.append((f"`{leaf.variable}`", _shown(leaf.value), leaf.description))
    yield _table(("variable", "default", "meaning"), rows)


def _variables() -> Iterator[str]:
    yield (
        "### Outside the settings\n\nFrom the environment alone, not from `.env`; most are for tests and benchmarks. Passwords "
        "and credentials have the variables of libpq and of the providers: [operations.md](operations.md#settings)."
    )
    yield _table(("variable", "default", "meaning"), [(f"`{name}`", _shown(value), text) for name, value, text in VARIABLES])


def _shown(value: object) -> str:
    return "" if value in (None, "") else f"`{value}`"


def _commands() -> Iterator[str]:
    yield (
        "## Commands\n\nEvery command takes these too; `lumenstream COMMAND --help` teaches it, with an example. Exit codes: "
        "[operations.md](operations.md#exit-codes)."
    )
    yield _table(
        ("option", "setting"), [(f"`{option.flag}`", f"`{option.setting.replace('__', '.')}`") for option in GLOBAL_OPTIONS]
    )
    shared = {option.setting for option in GLOBAL_OPTIONS}
    for name, command in sorted(_walk(typer.main.get_command(build()), "lumenstream")):
        first = (command.help or "").strip().partition("\n\n")[0].replace("\n", " ")
        options = [
            option
            for option in command.params
            if isinstance(option, TyperOption) and not option.hidden and option.name not in shared and option.name != "help"
        ]
        yield f"### {name}\n\n{first}"
        if options:
            rows = [(f"`{' / '.join([*option.opts, *option.secondary_opts])}`", option.help or "") for option in options]
            yield _table(("option", "meaning"), rows)


def _walk(command: object, name: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for child, found in command.commands.items():
            yield from _walk(found, f"{name} {child}")
    elif isinstance(command, TyperCommand):
        yield name, command


def _metrics() -> Iterator[str]:
    yield "## Metrics\n\n`/metrics` of every role. A histogram has `_bucket`, `_sum` and `_count`."
    rows = [
        (f"`{found.name}`", found.kind, ", ".join(found.labels), found.text, f"{found.purpose}: `{found.query}`")
        for found in metric_list()
    ]
    yield _table(("metric", "type", "labels", "meaning", "for example"), rows)


def _equivalents(title: str, found: Iterable[Equivalent]) -> Iterator[str]:
    yield f"## {title}\n\nWhat an operator of the reference knows, and what stands for it here."
    yield _table(
        ("there", "here", "remark"),
        [(f"`{there}`", ", ".join(f"`{name}`" for name in here) or "none", remark) for there, here, remark in found],
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
