"""A database that answers slowly: the producer is held back, or partitions are paused; memory stays bounded, nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from schemas.messages import Topic
from schemas.processors import PROCESSORS
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import Pipeline, Role, Source, wait_for_messages
from tests.plugins.proxy import TcpProxy, port_of, through

AHEAD_LEDGERS: Final = 3
WINDOW_LEDGERS: Final = 3
DELAY_SECONDS: Final = (0.002, 0.01)  # of every chunk of bytes, in each direction
SLOW_SECONDS: Final = 240.0
GROWTH_BYTES: Final = 96 << 20  # the reader's own queue may hold 64 MiB
RESIDENT: Final = "process_resident_memory_bytes"


def with_held_sink(
    make_pipeline: MakePipeline, proxy: TcpProxy, database_url: str, source: Source, **environment: str
) -> tuple[Pipeline, Role]:
    """A pipeline without producer whose sink, ready already, hears nothing of its database until `proxy.delay`."""
    pipeline = make_pipeline(source=source, environment=environment)
    pipeline.start("publisher")
    pipeline.start("sink", environment={"LUMENSTREAM_DATABASE__URL": through(database_url, proxy.port)})
    pipeline.start("worker")
    proxy.hold()
    return pipeline, pipeline.roles["sink"]


def test_a_slow_sink_holds_the_producer_back(
    make_pipeline: MakePipeline,
    tcp_proxy: Callable[[int], TcpProxy],
    database_url: str,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
) -> None:
    """With a limit on how far the producer may be ahead of the database, it waits for the sink, ledger by ledger."""
    proxy = tcp_proxy(port_of(database_url))
    limit = {"LUMENSTREAM_PRODUCER__MAX_AHEAD_LEDGERS": str(AHEAD_LEDGERS)}
    pipeline, _ = with_held_sink(make_pipeline, proxy, database_url, source, **limit)
    producer = pipeline.spawn("producer")
    ahead: list[int] = []

    def look() -> int:
        """The cursor, having noted how far the producer is ahead of it."""
        produced = int(producer.metric("lumenstream_produced_ledger"))  # first: the cursor only grows
        cursor = pipeline.cursor() or source.first - 1
        ahead.append(produced - cursor)
        return cursor

    def at_the_limit() -> bool:
        look()
        return ahead[-1] == AHEAD_LEDGERS

    def all_committed() -> bool:
        return look() == source.last

    pipeline.wait(at_the_limit, SLOW_SECONDS, "producer at its limit")
    proxy.delay(dice.uniform(*DELAY_SECONDS))
    pipeline.wait(all_committed, SLOW_SECONDS, "commit of the last ledger")
    assert max(ahead) == AHEAD_LEDGERS, ahead
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_a_slow_sink_keeps_its_memory_bounded(
    make_pipeline: MakePipeline,
    tcp_proxy: Callable[[int], TcpProxy],
    database_url: str,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
) -> None:
    """Everything lies on the topic already: what does not fit into the window is given back, and its partition paused."""
    proxy = tcp_proxy(port_of(database_url))
    window = {
        "LUMENSTREAM_SINK__REORDER_WINDOW_LEDGERS": str(WINDOW_LEDGERS),
        "LUMENSTREAM_SINK__GROUP_LEDGERS": "1",
    }
    pipeline, sink = with_held_sink(make_pipeline, proxy, database_url, source, **window)
    resident = sink.metric(RESIDENT)
    assert resident > 0
    pipeline.spawn("producer")
    wait_for_messages(pipeline, Topic.LEDGER_CHANGES, len(PROCESSORS) * (source.last - source.first + 1))
    proxy.delay(dice.uniform(*DELAY_SECONDS))
    buffered: list[float] = []
    paused: list[float] = []

    def all_committed() -> bool:
        buffered.append(sink.metric("lumenstream_sink_buffered_ledgers"))
        paused.append(sink.metric("lumenstream_sink_paused_partitions"))
        return pipeline.cursor() == source.last

    pipeline.wait(all_committed, SLOW_SECONDS, "commit of the last ledger")
    assert max(buffered) <= WINDOW_LEDGERS, buffered
    assert max(paused) > 0, paused
    assert sink.metric(RESIDENT) < resident + GROWTH_BYTES
    pipeline.wait_for_end()
    baseline.check(pipeline)
