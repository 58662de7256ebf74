"""Kafka delivers at least once and in order inside a partition only. The sink gets worse, and ends with equal tables."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

import pytest
from confluent_kafka import Message, Producer

from lumenstream import kafka
from schemas.messages import Topic
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import Pipeline
from tests.chaos.snapshot import read_topic

MOST_DELIVERIES: Final = 5
FLUSH_SECONDS: Final = 30.0


def send_again(pipeline: Pipeline, messages: Iterable[Message], topic: Topic) -> None:
    """Put messages of another topic set on this pipeline's topic, each on the partition it was on, in the order given."""
    producer = Producer(kafka.producer_config(pipeline.kafka))
    for message in messages:
        partition = message.partition()
        assert partition is not None
        producer.produce(
            pipeline.kafka.topic(topic),
            value=message.value(),
            key=message.key(),
            headers=[*kafka.headers_of(message)],
            partition=partition,
        )
        producer.poll(0)
    assert producer.flush(FLUSH_SECONDS) == 0


@pytest.mark.parametrize("window_ledgers", [3, 64])
def test_parts_come_again_and_in_any_order(
    window_ledgers: int, make_pipeline: MakePipeline, baseline: Baseline, dice: random.Random
) -> None:
    """Every part 1 to 5 times, shuffled over everything: inside partitions too, and past a reorder window far too small."""
    parts = read_topic(baseline.pipeline.kafka, Topic.LEDGER_CHANGES)
    deliveries = [part for part in parts for _ in range(dice.randint(1, MOST_DELIVERIES))]
    dice.shuffle(deliveries)
    pipeline = make_pipeline(environment={"LUMENSTREAM_SINK__REORDER_WINDOW_LEDGERS": str(window_ledgers)})
    pipeline.start("sink", "publisher")
    send_again(pipeline, deliveries, Topic.LEDGER_CHANGES)
    pipeline.wait_for_end()
    baseline.check(pipeline)
    pipeline.wait(lambda: pipeline.roles["sink"].answers("/health"), 10, "healthy sink")


def test_partitions_run_ahead_of_each_other(make_pipeline: MakePipeline, baseline: Baseline, dice: random.Random) -> None:
    """One partition comes whole before the next one begins: the sink pauses, reads on where it must, and loses nothing."""
    parts = read_topic(baseline.pipeline.kafka, Topic.LEDGER_CHANGES)
    order = sorted({part.partition() or 0 for part in parts})
    dice.shuffle(order)
    pipeline = make_pipeline(environment={"LUMENSTREAM_SINK__REORDER_WINDOW_LEDGERS": "4"})
    pipeline.start("sink", "publisher")
    for partition in order:
        send_again(pipeline, [part for part in parts if part.partition() == partition], Topic.LEDGER_CHANGES)
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_ledgers_come_again(make_pipeline: MakePipeline, baseline: Baseline, dice: random.Random) -> None:
    """The raw ledgers come 1 to 5 times, too: the worker makes the same parts of them each time."""
    ledgers = read_topic(baseline.pipeline.kafka, Topic.LEDGERS)
    deliveries = [ledger for ledger in ledgers for _ in range(dice.randint(1, MOST_DELIVERIES))]
    dice.shuffle(deliveries)
    pipeline = make_pipeline()
    pipeline.start("publisher")
    pipeline.spawn("sink")
    pipeline.spawn("worker")
    send_again(pipeline, deliveries, Topic.LEDGERS)
    pipeline.wait_for_end()
    baseline.check(pipeline)
