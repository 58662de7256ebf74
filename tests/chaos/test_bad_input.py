"""Bad ledgers on the topic and in the source: a clear stop, nothing of them written, and a way on after the correction."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Message

from lumenstream.errors import ExitCode
from lumenstream.kafka import headers_of
from sandbox.network import ClosedLedger
from schemas.messages import Headers, LedgerHeaders, Topic
from schemas.processors import PROCESSORS
from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.ledgers import Feed, chain, forged, padded, unknown_version, write_ledgers
from tests.chaos.pipeline import Pipeline, Source, files_source, wait_for_messages
from tests.chaos.snapshot import difference, read_topic, snapshot

REPORT_SECONDS: Final = 90.0
BIG_BYTES: Final = 20 << 20
OTHER_NETWORK: Final = "Some Other Network ; November 2026"
MISSING_PART: Final = "lumenstream_sink_missing_part"
WAITING: Final = "lumenstream_sink_waiting_seconds"
FAILURES: Final = "lumenstream_processor_failures_total"
DUPLICATES: Final = "lumenstream_sink_duplicate_parts_total"


@dataclass(frozen=True)
class Bad:
    """What is sent instead of a ledger."""

    value: bytes
    headers: Headers


def truncated(ledger: ClosedLedger, headers: LedgerHeaders, dice: random.Random) -> Bad:
    return Bad(ledger.meta[: dice.randrange(len(ledger.meta))], headers.to_kafka())


def mutated(ledger: ClosedLedger, headers: LedgerHeaders, dice: random.Random) -> Bad:
    """A byte that no ledger has there: the number of bytes of a list."""
    at = ledger.meta.index(ledger.hash) + 32 + 4 + 32 + 32 + 8  # upgrades of the StellarValue in the header
    return Bad(ledger.meta[:at] + bytes([dice.randrange(1, 256)]) + ledger.meta[at + 1 :], headers.to_kafka())


def of_unknown_version(ledger: ClosedLedger, headers: LedgerHeaders, dice: random.Random) -> Bad:
    return Bad(unknown_version(ledger), headers.to_kafka())


def with_wrong_hash(ledger: ClosedLedger, headers: LedgerHeaders, dice: random.Random) -> Bad:
    return Bad(ledger.meta, replace(headers, ledger_hash=dice.randbytes(32).hex()).to_kafka())


def with_wrong_network(ledger: ClosedLedger, headers: LedgerHeaders, dice: random.Random) -> Bad:
    return Bad(ledger.meta, replace(headers, network_id=dice.randbytes(32).hex()).to_kafka())


def of_another_ledger(ledger: ClosedLedger, headers: LedgerHeaders, dice: random.Random) -> Bad:
    """Right headers in front of bytes that are not this ledger's."""
    other = forged(ledger, previous_hash=dice.randbytes(32))
    return Bad(other.meta, headers.to_kafka())


KINDS: Final[tuple[Callable[[ClosedLedger, LedgerHeaders, random.Random], Bad], ...]] = (
    truncated,
    mutated,
    of_unknown_version,
    with_wrong_hash,
    with_wrong_network,
    of_another_ledger,
)


def start_consumers(pipeline: Pipeline) -> Feed:
    """Every role but the producer, whose place the test takes."""
    pipeline.start("publisher")
    pipeline.spawn("sink")
    pipeline.spawn("worker")
    return Feed(pipeline)


def failed_ledgers(pipeline: Pipeline) -> list[Message]:
    """What is in `ledgers.failed`, once every processor has sent there, exactly once."""
    wait_for_messages(pipeline, Topic.LEDGERS_FAILED, len(PROCESSORS))
    failed = read_topic(pipeline.kafka, Topic.LEDGERS_FAILED)
    assert len(failed) == len(PROCESSORS)
    return failed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_ledger_that_cannot_be_processed(
    kind: Callable[[ClosedLedger, LedgerHeaders, random.Random], Bad],
    pipeline: Pipeline,
    source: Source,
    baseline: Baseline,
    dice: random.Random,
) -> None:
    """It goes to `ledgers.failed`, once per processor; the sink stops there and says why; a retry of the good one mends it."""
    ledgers = chain(source)
    wrong = dice.randrange(1, len(ledgers))
    feed = start_consumers(pipeline)
    bad = kind(ledgers[wrong], feed.headers(ledgers[wrong]), dice)
    feed.send(*ledgers[:wrong])
    feed.send(ledgers[wrong], value=bad.value, headers=bad.headers)
    feed.send(*ledgers[wrong + 1 :])
    sink, worker = pipeline.roles["sink"], pipeline.roles["worker"]

    pipeline.wait_for_cursor(ledgers[wrong - 1].sequence)
    pipeline.wait(lambda: sink.health()["code"] == 503, REPORT_SECONDS, "/health of the sink that says so")
    pipeline.wait(lambda: sink.failures() == set(PROCESSORS), REPORT_SECONDS, "failure of every processor")
    report = sink.health()
    assert report["code"] == 503 and report["waiting"]["ledger"] == ledgers[wrong].sequence, report
    assert worker.metric(FAILURES) == len(PROCESSORS)
    pipeline.wait(lambda: sink.metric(MISSING_PART) == len(PROCESSORS), REPORT_SECONDS, "count of missing parts")
    failed = failed_ledgers(pipeline)
    assert {message.value() for message in failed} == {bad.value}
    assert {dict(headers_of(message))["failed-processor"].decode() for message in failed} == set(PROCESSORS)
    assert pipeline.cursor() == ledgers[wrong - 1].sequence

    feed.send(ledgers[wrong], topic=Topic.LEDGERS_RETRY)
    pipeline.wait_for_end()
    pipeline.wait(lambda: sink.answers("/health"), REPORT_SECONDS, "healthy sink")
    baseline.check(pipeline)


def without(name: str, headers: Headers) -> Headers:
    return [(header, value) for header, value in headers if header != name]


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "impossible"])
def test_message_with_unusable_headers(
    missing: bool, pipeline: Pipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    """Nobody can say which ledger it is: it goes to `ledgers.failed`, the worker reports it, the sink misses a ledger."""
    ledgers = chain(source)
    wrong = dice.randrange(1, len(ledgers) - 1)
    feed = start_consumers(pipeline)
    right = feed.headers(ledgers[wrong])
    if missing:
        name = dice.choice(("sequence", "previous-sequence", "ledger-hash", "network-id", "close-time"))
        headers = without(name, right.to_kafka())
    else:
        name = "previous-sequence"
        headers = replace(right, previous_sequence=right.sequence + dice.randrange(3)).to_kafka()
    feed.send(*ledgers[:wrong])
    feed.send(ledgers[wrong], headers=headers)
    feed.send(*ledgers[wrong + 1 :])
    sink, worker = pipeline.roles["sink"], pipeline.roles["worker"]
    pipeline.wait(lambda: worker.health()["code"] == 503, REPORT_SECONDS, "/health of the worker that says so")
    assert name in worker.health()["error"]
    pipeline.wait_for_cursor(ledgers[wrong - 1].sequence)
    pipeline.wait(lambda: sink.health()["code"] == 503, REPORT_SECONDS, "/health of the sink that says so")
    assert pipeline.cursor() == ledgers[wrong - 1].sequence
    failed_ledgers(pipeline)

    feed.send(ledgers[wrong], topic=Topic.LEDGERS_RETRY)
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_missing_ledger(pipeline: Pipeline, source: Source, baseline: Baseline, dice: random.Random) -> None:
    """The sink waits before the gap, with a metric, and goes on when the ledger comes."""
    ledgers = chain(source)
    gap = dice.randrange(1, len(ledgers) - 1)
    feed = start_consumers(pipeline)
    feed.send(*ledgers[:gap], *ledgers[gap + 1 :])
    sink = pipeline.roles["sink"]
    pipeline.wait_for_cursor(ledgers[gap - 1].sequence)
    pipeline.wait(lambda: sink.health()["code"] == 503, REPORT_SECONDS, "/health of the sink that says so")
    assert sink.health()["waiting"]["ledger"] is None
    assert sink.metric(WAITING) > 0
    assert pipeline.cursor() == ledgers[gap - 1].sequence
    feed.send(ledgers[gap])
    pipeline.wait_for_end()
    pipeline.wait(lambda: sink.answers("/health"), REPORT_SECONDS, "healthy sink")
    baseline.check(pipeline)


def test_duplicate_ledger(pipeline: Pipeline, source: Source, baseline: Baseline, dice: random.Random) -> None:
    """Right behind itself, and again when it is long committed."""
    ledgers = chain(source)
    twice = dice.randrange(len(ledgers))
    feed = start_consumers(pipeline)
    feed.send(*ledgers[: twice + 1], *ledgers[twice:])
    pipeline.wait_for_end()
    feed.send(ledgers[twice])
    sink = pipeline.roles["sink"]
    pipeline.wait(lambda: sink.metric(DUPLICATES) == 2 * len(PROCESSORS), REPORT_SECONDS, "count of duplicates")
    assert sink.answers("/health")
    baseline.check(pipeline)


def test_message_that_says_another_sequence(pipeline: Pipeline, source: Source, baseline: Baseline, dice: random.Random) -> None:
    """Labelled as a ledger before it or as one still to come: the sink waits for what is missing, and a retry mends it."""
    ledgers = chain(source)
    wrong = dice.randrange(1, len(ledgers) - 1)
    feed = start_consumers(pipeline)
    headers = feed.headers(ledgers[dice.choice([at for at in range(1, len(ledgers)) if at != wrong])])
    feed.send(*ledgers[:wrong])
    feed.send(ledgers[wrong], headers=headers.to_kafka())
    feed.send(*ledgers[wrong + 1 :])
    sink = pipeline.roles["sink"]
    pipeline.wait_for_cursor(ledgers[wrong - 1].sequence)
    pipeline.wait(lambda: sink.health()["code"] == 503, REPORT_SECONDS, "/health of the sink that says so")
    failed_ledgers(pipeline)
    assert pipeline.cursor() == ledgers[wrong - 1].sequence
    feed.send(ledgers[wrong], topic=Topic.LEDGERS_RETRY)
    pipeline.wait_for_end()
    pipeline.wait(lambda: sink.answers("/health"), REPORT_SECONDS, "healthy sink")
    baseline.check(pipeline)


@pytest.mark.parametrize("what", ["hash", "sequence"])
def test_broken_chain_on_the_topic(
    what: str, make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    """A ledger that follows another one ends the sink before it is written; on clean topics all goes on after the cursor."""
    ledgers = chain(source)
    wrong = dice.randrange(2, len(ledgers))
    pipeline = make_pipeline()
    feed = start_consumers(pipeline)
    feed.send(*ledgers[:wrong])
    pipeline.wait_for_cursor(ledgers[wrong - 1].sequence)
    if what == "hash":
        feed.send(forged(ledgers[wrong], previous_hash=dice.randbytes(32)))
    else:
        headers = replace(feed.headers(ledgers[wrong]), previous_sequence=dice.choice([None, ledgers[wrong - 2].sequence]))
        feed.send(ledgers[wrong], headers=headers.to_kafka())
    sink = pipeline.roles["sink"]
    assert sink.exit_code() == ExitCode.INTEGRITY, pipeline.report()
    assert pipeline.cursor() == ledgers[wrong - 1].sequence
    for name in ("sink", "worker", "publisher"):
        pipeline.kill(name)

    clean = make_pipeline(topic_prefix=f"{pipeline.kafka.topic_prefix}clean.")
    for name in ("sink", "worker", "producer", "publisher"):
        clean.spawn(name)
    clean.wait_for_end()
    assert not difference(snapshot(clean.database_url), baseline.tables)


def test_broken_hash_chain_in_the_source(
    make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random, tmp_path: Path
) -> None:
    """The producer refuses it with its exit code, everything before it arrives, and the mended source goes on."""
    ledgers = chain(source)
    wrong = dice.randrange(1, len(ledgers))
    broken = [*ledgers[:wrong], forged(ledgers[wrong], previous_hash=dice.randbytes(32)), *ledgers[wrong + 1 :]]
    refuse_then_go_on(make_pipeline, baseline, source, write_ledgers(tmp_path / "broken", broken), ledgers[wrong - 1].sequence)


def test_another_network_in_the_source(make_pipeline: MakePipeline, source: Source, baseline: Baseline, tmp_path: Path) -> None:
    """Nothing of it reaches the topic, whatever the folder is called."""
    other = chain(source, passphrase=OTHER_NETWORK)
    refuse_then_go_on(make_pipeline, baseline, source, write_ledgers(tmp_path / "other", other), None)


def refuse_then_go_on(
    make_pipeline: MakePipeline, baseline: Baseline, source: Source, folder: Path, last_good: int | None
) -> None:
    """The producer must refuse the folder after `last_good`, and go on from there with the good source."""
    pipeline = make_pipeline()
    for name in ("sink", "worker"):
        pipeline.spawn(name)
    pipeline.start("publisher")
    from_folder = files_source(folder, source.first, source.last, source.network)
    refused = pipeline.spawn("producer", environment=from_folder.environment)
    assert refused.exit_code() == ExitCode.INTEGRITY, pipeline.report()
    refused.accepted.add(ExitCode.INTEGRITY)
    if last_good is not None:
        pipeline.wait_for_cursor(last_good)
    assert pipeline.cursor() == last_good
    pipeline.spawn("producer")
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_ledger_over_the_limit(make_pipeline: MakePipeline, source: Source, tmp_path: Path) -> None:
    """A ledger that no message can hold is refused before anything of it is sent."""
    ledgers = chain(source)
    folder = write_ledgers(tmp_path / "big", [*ledgers[:2], padded(ledgers[2], 3 << 20)])
    limit = {"LUMENSTREAM_KAFKA__MAX_MESSAGE_BYTES": str(2 << 20)}
    pipeline = make_pipeline(source=files_source(folder, source.first, source.first + 2, source.network), environment=limit)
    producer = pipeline.spawn("producer")
    assert producer.exit_code() == ExitCode.INTEGRITY, pipeline.report()
    assert "MAX_MESSAGE_BYTES" in producer.log()
    assert len(read_topic(pipeline.kafka, Topic.LEDGERS)) == 2


def test_ledger_of_20_megabytes(make_pipeline: MakePipeline, source: Source, baseline: Baseline, tmp_path: Path) -> None:
    """A huge but valid ledger goes the whole way; what fills it leaves no row."""
    ledgers = chain(source)
    middle = len(ledgers) // 2
    big = padded(ledgers[middle], BIG_BYTES)
    assert len(big.meta) > BIG_BYTES
    folder = write_ledgers(tmp_path / "big", [*ledgers[:middle], big, *ledgers[middle + 1 :]])
    pipeline = make_pipeline(source=files_source(folder, source.first, source.last, source.network))
    pipeline.start_all()
    pipeline.wait_for_end()
    baseline.check(pipeline)


def test_unknown_protocol_that_can_be_read(make_pipeline: MakePipeline, source: Source, tmp_path: Path) -> None:
    """It is counted and sent on, since it may be readable; here it is, so it is committed."""
    ledgers = chain(source)[:4]
    newest = forged(ledgers[-1], protocol_version=9_999)
    folder = write_ledgers(tmp_path / "newest", [*ledgers[:-1], newest])
    pipeline = make_pipeline(source=files_source(folder, source.first, newest.sequence, source.network))
    pipeline.start_all()
    pipeline.wait_for_end()
    committed = snapshot(pipeline.database_url).rows["ledgers"]
    assert len(committed) == len(ledgers)
    assert sum('"protocol_version": 9999' in row for row in committed) == 1
    assert "protocol newer than this program knows" in pipeline.roles["producer"].log()
