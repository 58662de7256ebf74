"""A processor that raises on one ledger: the pipeline stops there and says so, and `lumenstream replay` mends it afterwards."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lumenstream.errors import ExitCode
from lumenstream.kafka import headers_of
from lumenstream.settings import NetworkSettings, ProcessSettings, Settings
from lumenstream.xdr.rows import Ledger
from processors import registry, worker
from processors.effects import Effects
from processors.port import Processor
from schemas import history
from schemas.messages import Headers, LedgerHeaders, Topic, partition_of
from schemas.parts import Part
from schemas.processors import PROCESSORS
from tests.chaos.conftest import Baseline
from tests.chaos.jobs import check, falsify
from tests.chaos.ledgers import Feed, chain
from tests.chaos.pipeline import Pipeline, Source, wait_for_messages
from tests.chaos.snapshot import difference, read_topic, snapshot

REPORT_SECONDS: Final = 90.0
JOIN_SECONDS: Final = 90.0
COMMAND_SECONDS: Final = 180.0
OTHER: Final = "sac_events"


class Poisoned:
    """Effects with a defect that shows on one ledger."""

    name: Final = Effects.name
    version: Final = Effects.version

    def __init__(self, network_id: bytes, sequence: int) -> None:
        self._right = Effects(network_id)
        self._sequence = sequence

    def process(self, ledger: Ledger) -> Part:
        if ledger.header.sequence == self._sequence:
            raise ZeroDivisionError("nobody thought of this ledger")
        return self._right.process(ledger)


@contextmanager
def worker_with_a_defect(pipeline: Pipeline, source: Source, sequence: int) -> Iterator[None]:
    """A worker in this process whose effects processor raises on one ledger."""
    settings = Settings(
        kafka=pipeline.kafka,
        network=NetworkSettings(name=source.network, passphrase=source.passphrase),
        process=ProcessSettings(http_port=0),
    )
    network_id = settings.network.network_id()
    processors: list[Processor] = [
        Poisoned(network_id, sequence) if processor.name == Effects.name else processor
        for processor in registry.create(None, network_id)
    ]
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(settings,), kwargs={"processors": processors, "stop": stop})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(JOIN_SECONDS)
        assert not thread.is_alive()


def test_replay_after_the_fix_completes_the_ledger(
    pipeline: Pipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    ledgers = chain(source)
    poison = ledgers[dice.randrange(1, len(ledgers) - 1)]
    feed = Feed(pipeline)
    pipeline.start("publisher", "sink")
    sink = pipeline.roles["sink"]
    with worker_with_a_defect(pipeline, source, poison.sequence):
        feed.send(*ledgers)
        pipeline.wait_for_cursor(poison.sequence - 1)
        pipeline.wait(lambda: sink.health()["code"] == 503, REPORT_SECONDS, "/health of the sink that says so")
        pipeline.wait(lambda: sink.failures() == {Effects.name}, REPORT_SECONDS, "failure of the processor with the defect")
        report = sink.health()["waiting"]
        assert report["ledger"] == poison.sequence
        assert "ZeroDivisionError: nobody thought of this ledger" in report["failures"][Effects.name]
        # The failure may come before the parts of the others.
        pipeline.wait(lambda: sink.metric("lumenstream_sink_missing_part") == 1, REPORT_SECONDS, "only the failed part missing")
        check_failed_message(pipeline, source, feed, poison)
    assert pipeline.cursor() == poison.sequence - 1

    pipeline.start("worker")
    code, out, error = replay(pipeline, "--ledger", str(poison.sequence), "--processors", Effects.name)
    assert (code, error) == (ExitCode.OK, ""), error
    assert f"ledger {poison.sequence} ({poison.hash.hex()})" in out
    pipeline.wait_for_end()
    assert not (problem := difference(snapshot(pipeline.database_url), baseline.tables)), problem
    (retried,) = read_topic(pipeline.kafka, Topic.LEDGERS_RETRY)
    assert retried.value() == poison.meta
    assert retried.partition() == partition_of(poison.sequence, 1, pipeline.kafka.partitions)
    assert LedgerHeaders.from_kafka(headers_of(retried)).processors == (Effects.name,)


def test_replay_of_a_range_on_both_sides_of_the_cursor(
    pipeline: Pipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    """Below the cursor rows are wrong, behind it a ledger failed: one command mends both, the live worker comes back later."""
    ledgers = chain(source)
    at = dice.randrange(3, len(ledgers) - 3)
    poison, first, last = ledgers[at].sequence, ledgers[dice.randrange(at - 1)].sequence, ledgers[at + 2].sequence
    print(f"ledger {poison} fails, replay of {first} to {last}")
    feed = Feed(pipeline)
    pipeline.start("publisher", "sink")
    with worker_with_a_defect(pipeline, source, poison):
        feed.send(*ledgers)
        pipeline.wait_for_cursor(poison - 1)
        wait_for_messages(pipeline, Topic.LEDGERS_FAILED, 1)
    pipeline.wait_for_cursor(poison - 1, "publisher_cursor")
    falsify(pipeline, first, poison - 1)

    code, out, error = replay(pipeline, "--from", str(first), "--to", str(source.last + 1), "--json")
    assert code == ExitCode.CONFIGURATION and f"the newest is {source.last} (--to {source.last})" in error
    assert json.loads(out)["sent_to_retry"] == 0
    unfit = ("--processors", "accounts")  # it writes no history
    code, _, error = replay(pipeline, "--from", str(first), "--to", str(last), *unfit)
    assert code == ExitCode.CONFIGURATION and "no processor of that name writes history" in error
    assert read_topic(pipeline.kafka, Topic.LEDGERS_RETRY) == []

    code, out, error = replay(pipeline, "--from", str(poison + 1), "--to", str(last), *unfit)  # nothing of it is history
    assert (code, error) == (ExitCode.OK, ""), error
    assert out == f"2 ledgers above the cursor sent to ledgers.retry: {poison + 1}-{last}\n"
    assert retried(pipeline) == {poison + 1: ("accounts",), last: ("accounts",)}

    names = tuple(sorted((*history.STREAMS, history.PARTICIPANTS)))
    code, out, error = replay(pipeline, "--from", str(first), "--to", str(last), "--processors", ",".join(names), "--json")
    assert code == ExitCode.OK, error
    summary = json.loads(out)
    assert summary["ok"] and summary["sent_to_retry"] == 3
    assert summary["done_ledgers"] == summary["copied_ledgers"] == summary["ledgers"] == poison - first
    assert retried(pipeline) == dict.fromkeys((poison, poison + 1, last), names)
    assert pipeline.cursor() == poison - 1  # no worker runs yet

    pipeline.start("worker")
    pipeline.wait_for_end()
    check(pipeline, baseline)
    baseline.check_events(pipeline)


def retried(pipeline: Pipeline) -> dict[int, tuple[str, ...]]:
    """Of each ledger on `ledgers.retry` the processors that are to run, as its last message says."""
    messages = read_topic(pipeline.kafka, Topic.LEDGERS_RETRY)
    headers = [LedgerHeaders.from_kafka(headers_of(message)) for message in messages]
    return {found.sequence: found.processors for found in headers}


def check_failed_message(pipeline: Pipeline, source: Source, feed: Feed, poison: Any) -> None:
    """`ledgers.failed` holds all that a replay and an operator need: bytes, headers, coordinates, processor, reason."""
    wait_for_messages(pipeline, Topic.LEDGERS_FAILED, 1)
    (failed,) = read_topic(pipeline.kafka, Topic.LEDGERS_FAILED)
    assert failed.value() == poison.meta
    headers: Headers = headers_of(failed)
    assert LedgerHeaders.from_kafka(headers) == feed.headers(poison)
    named = dict(headers)
    partitions = pipeline.kafka.partitions
    assert named["failed-topic"].decode() == pipeline.kafka.topic(Topic.LEDGERS)
    assert int(named["failed-partition"]) == failed.partition() == partition_of(poison.sequence, 1, partitions)
    (offset,) = [message.offset() for message in read_topic(pipeline.kafka, Topic.LEDGERS) if message.value() == poison.meta]
    assert int(named["failed-offset"]) == offset
    assert named["failed-processor"].decode() == Effects.name
    assert int(named["failed-version"]) == PROCESSORS[Effects.name].version
    assert b"ZeroDivisionError" in named["failed-error"]
    assert b"in process" in named["failed-traceback"]


def test_what_replay_refuses(pipeline: Pipeline, source: Source) -> None:
    """One clear line each: history, a ledger that was never sent, a processor nobody knows, a message that is damaged."""
    first, second, *_ = chain(source)
    feed = Feed(pipeline)
    pipeline.start("publisher", "sink", "worker")
    feed.send(first)
    pipeline.wait_for_cursor(first.sequence)

    code, _, error = replay(pipeline, "--ledger", str(first.sequence))
    assert code == ExitCode.CONFIGURATION
    assert f"the cursor stands at {first.sequence}" in error
    assert "lumenstream replay --from" in error

    code, _, error = replay(pipeline, "--ledger", str(source.last))
    assert code == ExitCode.INTEGRITY
    assert "neither on `ledgers` nor on `ledgers.failed`" in error

    code, _, error = replay(pipeline, "--ledger", str(second.sequence), "--processors", f"{OTHER},magic")
    assert code == ExitCode.CONFIGURATION
    assert "unknown processors: magic" in error

    pipeline.kill("worker")
    feed.send(second, value=second.meta[:-40])
    code, _, error = replay(pipeline, "--ledger", str(second.sequence), "--processors", OTHER)
    assert code == ExitCode.INTEGRITY
    assert "damaged in every message" in error
    assert f"produce --from {second.sequence}" in error

    feed.send(second)  # as `produce --from` would: the good one behind the damaged one is found
    code, out, error = replay(pipeline, "--ledger", str(second.sequence), "--json")
    assert code == ExitCode.OK, error
    sent = json.loads(out)
    assert (sent["sequence"], sent["ledger_hash"], sent["offset"]) == (second.sequence, second.hash.hex(), 0)
    (retried,) = read_topic(pipeline.kafka, Topic.LEDGERS_RETRY)
    assert retried.value() == second.meta
    pipeline.start("worker")
    pipeline.wait_for_cursor(second.sequence)


def replay(pipeline: Pipeline, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `lumenstream replay` against the pipeline's servers."""
    done = subprocess.run(
        [sys.executable, "-m", "lumenstream", "replay", "--log-level", "warning", *arguments],
        env=pipeline.environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
