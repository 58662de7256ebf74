"""Ledgers sent at an even pace, and when each was visible in the database: a listener in a thread hears every commit."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from lumenstream.bench.lake import MadeLedger
from lumenstream.bench.pipeline import BenchPipeline, percentile

WARM_UP_LEDGERS: Final = 5
VISIBLE_WITHIN_SECONDS: Final = 60.0
MOST_SECONDS: Final = 3600.0


class Paced(NamedTuple):
    """`sent`: by ledger when it was handed over to the Kafka client, in monotonic seconds; `delays`: from there to visible, in
    seconds; both without the warm-up. `behind`: ledgers sent and not visible when the last one was sent."""

    sent: dict[int, float]
    delays: list[float]
    behind: int


def send_paced(
    pipeline: BenchPipeline,
    ledgers: Iterable[MadeLedger],
    interval_seconds: float,
    committed: Callable[[int], None] = lambda cursor: None,
) -> Paced:
    """Send ledgers, one every `interval_seconds` whatever becomes of them, and wait until the last is visible. `committed` is
    told every cursor that is heard of, in the listener's thread, and has returned from the last one at the end."""
    prepared = list(ledgers)
    heard: list[tuple[int, float]] = []
    listener = threading.Thread(target=_listen, args=(pipeline, prepared[-1].sequence, heard, committed), daemon=True)
    listener.start()
    producer, sent, previous = pipeline.producer(), {}, None
    start = time.monotonic() + interval_seconds
    for index, made in enumerate(prepared):
        time.sleep(max(0.0, start + index * interval_seconds - time.monotonic()))
        if index == WARM_UP_LEDGERS:
            pipeline.cpu.begin()
        sent[made.sequence] = time.monotonic()
        pipeline.send(producer, made, previous)
        producer.flush(VISIBLE_WITHIN_SECONDS)
        previous = made.sequence
        pipeline.cpu.sample_now_and_then()
    behind = prepared[-1].sequence - (heard[-1][0] if heard else prepared[0].sequence - 1)
    listener.join(VISIBLE_WITHIN_SECONDS)
    pipeline.cpu.sample()
    cursors = [cursor for cursor, _ in heard]
    measured = dict(islice(sent.items(), WARM_UP_LEDGERS, None))
    delays = [heard[bisect_left(cursors, sequence)][1] - at for sequence, at in measured.items()]
    return Paced(measured, delays, behind)


def milliseconds(delays: Sequence[float]) -> dict[str, float]:
    """p50, p99 and max of seconds."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * percentile(delays, share), 1) for name, share in shares.items()}


def report(paced: Paced, pipeline: BenchPipeline) -> dict[str, Any]:
    """Keys: ledgers, visible_ms (p50, p99, max), behind_at_end, and those of `CpuMeter.report`."""
    count = len(paced.delays)
    visible = {"ledgers": count, "visible_ms": milliseconds(paced.delays), "behind_at_end": paced.behind}
    return {**visible, **pipeline.cpu.report(count)}


def _listen(pipeline: BenchPipeline, last: int, heard: list[tuple[int, float]], committed: Callable[[int], None]) -> None:
    for cursor, at in pipeline.commits(last, MOST_SECONDS):
        heard.append((cursor, at))
        committed(cursor)
