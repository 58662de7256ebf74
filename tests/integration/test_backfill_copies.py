"""Raw ledgers of a gap from topic `ledgers`: a range whole or not at all, and only what is one chain."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from lumenstream.errors import ConfigurationError
from producers.backfill.plan import Range
from producers.backfill.raw import RawLedgers
from tests.integration.backfill_world import LAST, BackfillWorld, Chain, make_chain
from tests.plugins.servers import KafkaForTest


@pytest.fixture
def world(kafka: KafkaForTest, tmp_path: Path) -> BackfillWorld:
    """Topics that hold nothing, beside files with every ledger."""
    return BackfillWorld(kafka.bootstrap, kafka.topic_prefix, tmp_path, make_chain())


def send(world: BackfillWorld, chain: Chain, sequences: Iterable[int]) -> None:
    some = Chain({sequence: chain.ledgers[sequence] for sequence in sequences})
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    BackfillWorld(world.bootstrap, world.topic_prefix, folder, some).produce_ledgers()


def read(world: BackfillWorld, *ranges: Range, source: bool = True) -> tuple[list[str], int]:
    """The hashes of all, and how many were copied."""
    settings = world.settings("postgresql://nowhere", path=None if source else Path("/nowhere"))
    raw = RawLedgers(settings, threading.Event(), ranges)
    try:
        return [header.hash.hex() for wanted in ranges for _, header in raw.read(wanted, [])], raw.copied
    finally:
        raw.close()


def hashes(chain: Chain, *ranges: Range) -> list[str]:
    return [chain.ledgers[sequence].hash.hex() for first, last in ranges for sequence in range(first, last + 1)]


def test_ranges_on_the_topic_need_no_source(world: BackfillWorld) -> None:
    send(world, world.chain, range(10, LAST + 1))
    send(world, world.chain, range(12, 20))  # sent again, as after `produce --from`
    wanted = (Range(10, 15), Range(16, 23), Range(24, 31), Range(40, 41))
    assert read(world, *wanted, source=False) == (hashes(world.chain, *wanted), 6 + 8 + 8 + 2)


def test_a_range_that_the_topic_has_in_part_comes_from_the_source(world: BackfillWorld) -> None:
    send(world, world.chain, [*range(20, 26), *range(27, LAST + 1)])
    wanted = (Range(8, 15), Range(16, 23), Range(24, 31), Range(32, 39))
    assert read(world, *wanted) == (hashes(world.chain, *wanted), 8)


def test_copies_of_two_histories_are_left_to_the_source(world: BackfillWorld) -> None:
    other = make_chain(seed=6)
    send(world, world.chain, range(10, 20))
    send(world, other, range(20, LAST + 1))
    assert read(world, Range(16, 23)) == (hashes(world.chain, Range(16, 23)), 0)
    with pytest.raises(ConfigurationError, match="/nowhere does not exist"):
        read(world, Range(16, 23), source=False)


def test_topics_that_were_never_made_are_no_error(world: BackfillWorld) -> None:
    assert read(world, Range(8, 15)) == (hashes(world.chain, Range(8, 15)), 0)
