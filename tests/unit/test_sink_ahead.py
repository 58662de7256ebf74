"""Rows made ahead: the same as made in time, of the parts that count, and no more of them than asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from lumenstream.errors import IntegrityError
from processors import encoding, registry
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION
from sinks.timescale.ahead import EncodedAhead
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import CURRENT, LedgerEncoder, LedgerRows
from tests.unit.ledger_builder import NETWORK
from tests.unit.test_processor_registry import BUSY

HEADER = BUSY.header
NAMES = ("participants", "accounts", "trustlines")
MOST_ROWS = 1_000


class CountingEncoder(LedgerEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[int] = []

    def encode(self, ledger: Gathered, encoded: Iterable[bytes]) -> LedgerRows:
        self.encoded.append(ledger.sequence)
        return super().encode(ledger, encoded)


def parts_of(version: int = 1, names: Sequence[str] = NAMES) -> list[Arrival]:
    found = []
    for processor in registry.create(names, NETWORK):
        headers = PartHeaders(
            kind=PartKind.PART,
            processor=processor.name,
            version=version,
            schema=SCHEMA_VERSION,
            sequence=HEADER.sequence,
            previous_sequence=None,
            close_time=HEADER.close_time,
            ledger_hash=HEADER.hash.hex(),
            network_id=NETWORK.hex(),
            job="live",
            source_topic="ledgers",
            source_partition=0,
            source_offset=0,
        )
        found.append(Arrival(headers, encoding.encode(processor.process(BUSY)), 0, 0, 0.0))
    return found


def busy() -> Gathered:
    return Gathered(HEADER.sequence, None, HEADER.close_time, HEADER.hash.hex(), 0.0)


def test_rows_made_ahead_are_made_once_and_are_the_rows() -> None:
    encoder = CountingEncoder()
    ahead, ledger, parts = EncodedAhead(encoder, MOST_ROWS), busy(), parts_of()
    assert ahead.prepare([(ledger, parts)])
    assert not ahead.prepare([(ledger, parts_of())])
    assert ahead.rows(ledger, parts).history == LedgerEncoder().encode(ledger, [part.value for part in parts]).history
    assert encoder.encoded == [HEADER.sequence]


def test_rows_of_other_parts_are_made_anew() -> None:
    encoder = CountingEncoder()
    ahead, ledger = EncodedAhead(encoder, MOST_ROWS), busy()
    ahead.prepare([(ledger, parts_of())])
    assert ahead.prepare([(ledger, parts_of(version=2))])
    ahead.rows(ledger, parts_of(version=3))
    assert encoder.encoded == [HEADER.sequence] * 3


def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    encoder = CountingEncoder()
    ahead, ledger, parts = EncodedAhead(encoder, MOST_ROWS), busy(), parts_of()
    ahead.prepare([(ledger, parts)])
    assert not ahead.prepare([])
    ahead.rows(ledger, parts)
    assert encoder.encoded == [HEADER.sequence] * 2


def test_rows_made_ahead_are_bounded() -> None:
    encoder, parts = CountingEncoder(), parts_of()
    wanted = [(replace(busy(), sequence=sequence), parts) for sequence in (HEADER.sequence, HEADER.sequence + 1)]
    one_is_enough = EncodedAhead(encoder, 1)
    assert one_is_enough.prepare(wanted)
    assert not one_is_enough.prepare(wanted)
    assert encoder.encoded == [HEADER.sequence]


def test_a_wrong_ledger_is_told_of_in_its_turn() -> None:
    ahead, ledger, parts = EncodedAhead(LedgerEncoder(), MOST_ROWS), busy(), parts_of(names=["accounts"])
    assert ahead.prepare([(ledger, parts)])
    assert not ahead.prepare([(ledger, parts)])
    with pytest.raises(IntegrityError, match="hold 0 ledger rows"):
        ahead.rows(ledger, parts)


def test_an_encoder_for_history_leaves_current_state_out() -> None:
    ledger, values = busy(), [part.value for part in parts_of()]
    whole, history = LedgerEncoder().encode(ledger, values), LedgerEncoder(history_only=True).encode(ledger, values)
    assert {family.name for family in CURRENT} >= whole.changes.keys() >= {"account_changes", "trustline_changes"}
    assert history.changes == {}
    assert (history.history, history.assets, history.header) == (whole.history, whole.assets, whole.header)
