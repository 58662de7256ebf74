"""The broker's retention passes a reader: a clear word about what is gone, never a jump, and `produce --from` as the way on."""

from __future__ import annotations

import random
from typing import Final

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient

from lumenstream.errors import ExitCode
from lumenstream.kafka import headers_of
from processors.agents import IN_FLIGHT_LEDGERS
from schemas.messages import LedgerHeaders, Topic
from schemas.processors import PROCESSORS
from tests.chaos.conftest import Baseline, Baselines, MakePipeline
from tests.chaos.pipeline import ONE_BY_ONE, Pipeline, Source, sandbox_source, wait_for_crash, wait_for_messages
from tests.chaos.snapshot import read_topic

pytestmark = pytest.mark.needs("kafka")

MOST_DONE_LEDGERS: Final = 4
LEDGERS: Final = 3 * (MOST_DONE_LEDGERS + IN_FLIGHT_LEDGERS)  # so many that a worker which is killed cannot have sent them all
END: Final = -1  # of a partition, as delete_records names it
DELETE_SECONDS: Final = 30.0
NOTICE_SECONDS: Final = 90.0


def delete(pipeline: Pipeline, topic: Topic, before: Message | None = None) -> None:
    """What retention does, at once: every message of the topic is gone, or, on its partition, every one before that message."""
    name = pipeline.kafka.topic(topic)
    firsts = dict.fromkeys(range(pipeline.kafka.partitions), END)
    if before is not None:
        firsts[before.partition() or 0] = before.offset() or 0
    admin = AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap})
    for future in admin.delete_records([TopicPartition(name, *first) for first in firsts.items()]).values():
        future.result(DELETE_SECONDS)


def sequence_of(message: Message) -> int:
    return LedgerHeaders.from_kafka(headers_of(message)).sequence


def produce_again(pipeline: Pipeline, first: int) -> None:
    pipeline.spawn("producer", environment={"LUMENSTREAM_PRODUCER__FROM_LEDGER": str(first)})


def test_parts_the_sink_still_needed_are_gone(
    make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    """The sink ends, names the ledger and the command that makes its parts again, and goes on after it."""
    pipeline = make_pipeline(environment=ONE_BY_ONE)
    committed = dice.randint(1, MOST_DONE_LEDGERS)
    pipeline.start_all({"sink": f"sink.after_commit:{committed}"})
    wait_for_crash(pipeline, "sink")
    cursor = source.first + committed - 1
    assert pipeline.cursor() == cursor
    wait_for_messages(pipeline, Topic.LEDGER_CHANGES, len(PROCESSORS) * (source.last - source.first + 1))
    delete(pipeline, Topic.LEDGER_CHANGES)

    sink = pipeline.spawn("sink")
    assert sink.exit_code() == ExitCode.INTEGRITY, pipeline.report()
    assert f"lumenstream produce --from {cursor + 1}" in sink.log()
    assert pipeline.cursor() == cursor

    produce_again(pipeline, cursor + 1)
    wait_for_messages(pipeline, Topic.LEDGER_CHANGES, len(PROCESSORS) * (source.last - cursor))
    pipeline.spawn("sink")
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_ledgers_the_workers_still_needed_are_gone(
    make_pipeline: MakePipeline, baselines: Baselines, chaos_seed: int, dice: random.Random
) -> None:
    """The worker reads on where the topic begins now. The sink does not jump after it: it says what is missing until it comes."""
    source = sandbox_source(chaos_seed, LEDGERS)
    baseline = baselines.of(source)
    pipeline = make_pipeline(source=source)
    pipeline.start_all({"worker": f"worker.before_ack:{dice.randint(1, MOST_DONE_LEDGERS * len(PROCESSORS))}"})
    wait_for_crash(pipeline, "worker")
    wait_for_messages(pipeline, Topic.LEDGERS, source.last - source.first + 1)
    last = next(message for message in read_topic(pipeline.kafka, Topic.LEDGERS) if sequence_of(message) == source.last)
    delete(pipeline, Topic.LEDGERS, before=last)

    pipeline.spawn("worker")
    sink = pipeline.roles["sink"]
    pipeline.wait(lambda: sink.health()["code"] == 503, NOTICE_SECONDS, "/health of the sink that says so")
    cursor = pipeline.cursor() or source.first - 1
    assert cursor < source.last - 1
    assert sink.health()["waiting"]["ledger"] in (None, cursor + 1), sink.health()

    produce_again(pipeline, cursor + 1)
    pipeline.wait_for_end()
    pipeline.wait(lambda: sink.answers("/health"), NOTICE_SECONDS, "healthy sink")
    baseline.check(pipeline)
