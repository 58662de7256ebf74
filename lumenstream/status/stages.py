"""The row of a role: what its pages say, in the same columns for every role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lumenstream.status.scraping import Pages, Samples
from lumenstream.status.targets import Endpoint

MAX_PROBLEMS: Final = 8
MAX_PROBLEM_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the panel. `count` only grows, `rate` is its change a second in `unit`; `lag` is ledgers behind the head, and
    `lag_seconds` how much earlier its ledger closed than the head's. `waiting`: what the sink's next ledger lacks."""

    name: str
    up: bool
    ledger: int | None = None
    close_time: float = 0.0
    count: float = 0.0
    unit: str = "ledgers"
    rate: float | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    partitions: int | None = None
    assignment: tuple[str, ...] = ()
    memory_bytes: int | None = None
    errors: int = 0
    note: str = ""
    problems: tuple[str, ...] = ()
    waiting: Mapping[str, Any] | None = None

    @property
    def spans(self) -> tuple[str, ...]:
        """The assignment for eyes: consecutive partitions of a topic as one, `ledgers 0-11`."""
        by_topic: dict[str, list[int]] = {}
        for name in self.assignment:
            topic, _, partition = name.rpartition(" ")
            by_topic.setdefault(topic, []).append(int(partition))
        return tuple(f"{topic} {span}" for topic, partitions in sorted(by_topic.items()) for span in _spans(sorted(partitions)))


def _spans(numbers: list[int]) -> list[str]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in runs]


def stage_of(endpoint: Endpoint, samples: Samples, health: Mapping[str, Any] | None = None) -> Stage:
    """The row of a role from its pages, without rate and lag."""
    ledger: int | None = None
    close_time, count, unit, partitions, note = 0.0, 0.0, "ledgers", None, ""
    errors = samples.total("lumenstream_server_errors_total")
    match endpoint.kind:
        case "producer":
            ledger = _integer(samples.highest("lumenstream_produced_ledger"))
            close_time = samples.highest("lumenstream_produced_close_time_seconds")
            count = samples.total("lumenstream_produced_ledgers_total")
            errors += samples.total("lumenstream_source_errors_total")
        case "worker":
            ledger = _integer(samples.highest("lumenstream_processed_ledger"))
            close_time = samples.highest("lumenstream_processed_close_time_seconds")
            count = samples.highest("lumenstream_parts_sent_total")  # every processor sends one part a ledger
            partitions = int(samples.total("lumenstream_assigned_partitions"))
            errors += samples.total("lumenstream_processor_failures_total")
            behind = int(samples.total("lumenstream_worker_lag_messages"))
            note = f"{behind:,} messages behind" if behind else ""
        case "sink":
            ledger = _integer(samples.highest("lumenstream_cursor_ledger"))
            close_time = samples.highest("lumenstream_cursor_close_time_seconds")
            count = samples.total("lumenstream_committed_ledgers_total")
            partitions = _integer(samples.total("lumenstream_assigned_partitions"))
            note = _sink_note(samples)
        case "backfill-sink":
            count = samples.total("lumenstream_backfill_ledgers_total")
            partitions = _integer(samples.total("lumenstream_assigned_partitions"))
            errors += samples.total("lumenstream_backfill_failed_ranges_total")
        case "publisher":
            ledger = _integer(samples.highest("lumenstream_published_ledger"))
            count, unit = samples.total("lumenstream_published_events_total"), "events"
        case "maintenance":
            count, unit = samples.total("lumenstream_retention_dropped_ledgers_total"), "dropped"
        case "enrichment":
            count, unit = samples.total("lumenstream_enriched_tokens_total"), "tokens"
            lacking = int(samples.highest("lumenstream_tokens_without_metadata"))
            note = f"{lacking} without metadata" if lacking else ""
        case _:
            count, unit = samples.total("lumenstream_api_request_seconds_count"), "requests"
            errors += samples.total("lumenstream_api_errors_total")
    said = health or {}
    return Stage(
        name=endpoint.role,
        up=True,
        ledger=ledger,
        close_time=close_time,
        count=count,
        unit=unit,
        partitions=partitions,
        assignment=tuple(str(name) for name in said.get("assignment", ())),
        memory_bytes=_integer(samples.total("process_resident_memory_bytes")),
        errors=int(errors),
        note=note,
        problems=_problems(said),
        waiting=said.get("waiting"),
    )


def row_of(endpoint: Endpoint, pages: Pages) -> Stage:
    return stage_of(endpoint, pages.samples, pages.health)


def _problems(health: Mapping[str, Any]) -> tuple[str, ...]:
    """What a role itself says is wrong."""
    found = [*health.get("problems", ()), health.get("error")]
    return tuple(str(text)[:MAX_PROBLEM_CHARACTERS] for text in found if text)[:MAX_PROBLEMS]


def _integer(value: float) -> int | None:
    return int(value) if value else None


def _sink_note(samples: Samples) -> str:
    if not samples.total("lumenstream_sink_is_leader"):
        return "standing by"
    missing = [name for name, value in samples.by_label("lumenstream_sink_missing_part", "processor").items() if value]
    waiting = samples.total("lumenstream_sink_waiting_seconds")
    if missing and waiting > 1:
        return f"waits {waiting:.0f} s for {', '.join(sorted(missing))}"
    return "leading, catching up" if samples.total("lumenstream_sink_catching_up") else "leading"
