"""What the ledger producer checks before it sends, and how it finds the place to go on, without a broker."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from lumenstream.errors import IntegrityError
from lumenstream.xdr import read_header
from lumenstream.xdr.files import read_ledgers
from producers.header import NetworkCheck, ProtocolCheck, check_chain, checked_header, header_bytes
from producers.position import follow
from producers.sources import SourceLedger
from sandbox import ClosedLedger, Sandbox, SandboxSettings
from schemas.messages import LedgerHeaders

NETWORK = SandboxSettings(transactions_per_ledger=2)
NETWORK_ID = hashlib.sha256(NETWORK.network_passphrase.encode()).digest()


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    sandbox = Sandbox(NETWORK)
    return [sandbox.close_ledger() for _ in range(4)]


def ledger_of(closed: ClosedLedger, data: bytes | None = None) -> SourceLedger:
    return SourceLedger(closed.sequence, None, closed.meta if data is None else data, f"test ledger {closed.sequence}")


class TestHeader:
    def test_the_hash_of_every_sandbox_ledger_is_that_of_its_header(self, chain: list[ClosedLedger]) -> None:
        for closed in chain:
            assert checked_header(ledger_of(closed)).hash == closed.hash == hashlib.sha256(header_bytes(closed.meta)).digest()

    @pytest.mark.golden
    @pytest.mark.parametrize("folder", ["pubnet", "rebuilt", "lake", "loadtest", "stellar-core"])
    def test_the_hash_of_real_ledgers_is_that_of_their_headers(self, shared_ledgers: Path, folder: str) -> None:
        files = sorted(path for path in (shared_ledgers / folder).rglob("*.xdr*"))[:40]
        assert files
        for data in (data for file in files for data in read_ledgers(file)):
            assert read_header(data).hash == hashlib.sha256(header_bytes(data)).digest()

    @pytest.mark.parametrize("size", [0, 3, 40, 200])
    def test_truncated(self, chain: list[ClosedLedger], size: int) -> None:
        with pytest.raises(IntegrityError, match="test ledger 2: not a ledger"):
            checked_header(ledger_of(chain[0], chain[0].meta[:size]))

    def test_a_header_that_was_changed_has_another_hash(self, chain: list[ClosedLedger]) -> None:
        data = bytearray(chain[0].meta)
        at = data.index(struct.pack(">Q", chain[0].close_time))
        data[at + 7] ^= 1
        with pytest.raises(IntegrityError, match="test ledger 2: the hash"):
            checked_header(ledger_of(chain[0], bytes(data)))

    def test_another_sequence_than_the_source_says(self, chain: list[ClosedLedger]) -> None:
        with pytest.raises(IntegrityError, match="the data is of ledger 3, the source says 2"):
            checked_header(ledger_of(chain[0], chain[1].meta))


class TestNetwork:
    def test_transactions_prove_the_network(self, chain: list[ClosedLedger]) -> None:
        NetworkCheck(NETWORK_ID).check(ledger_of(chain[-1]))

    def test_another_network(self, chain: list[ClosedLedger]) -> None:
        with pytest.raises(IntegrityError, match="not a ledger of the configured network"):
            NetworkCheck(bytes(32)).check(ledger_of(chain[-1]))

    def test_a_ledger_without_transactions_proves_nothing(self, chain: list[ClosedLedger]) -> None:
        empty = Sandbox(SandboxSettings(transactions_per_ledger=0, accounts=2))
        ledgers = [empty.close_ledger() for _ in range(5)]
        check = NetworkCheck(bytes(32))
        check.check(ledger_of(ledgers[-1]))
        with pytest.raises(IntegrityError, match="not a ledger of the configured network"):
            check.check(ledger_of(chain[-1]))

    def test_once_proved_it_is_not_decoded_again(self, chain: list[ClosedLedger]) -> None:
        check = NetworkCheck(NETWORK_ID)
        check.check(ledger_of(chain[-1]))
        check.check(ledger_of(chain[0], b""))

    def test_an_undecodable_body_is_left_to_the_processors(self, chain: list[ClosedLedger]) -> None:
        NetworkCheck(NETWORK_ID).check(ledger_of(chain[-1], chain[-1].meta[:-8]))


class TestProtocolAndChain:
    def test_a_protocol_of_the_future_is_no_reason_to_stop(self, chain: list[ClosedLedger]) -> None:
        ProtocolCheck().check(read_header(chain[0].meta)._replace(protocol_version=99))

    def test_chain(self, chain: list[ClosedLedger]) -> None:
        header = read_header(chain[1].meta)
        check_chain(2, chain[0].hash.hex(), header, "here")
        check_chain(1, "00" * 32, header, "here")  # not neighbours: nothing to compare
        with pytest.raises(IntegrityError, match="here: ledger 3 follows hash"):
            check_chain(2, chain[2].hash.hex(), header, "here")


def headers_of(pairs: Iterable[tuple[int, int | None]]) -> dict[int, LedgerHeaders]:
    sample = LedgerHeaders(1, None, 0, "00" * 32, 23, "00" * 32)
    return {sequence: replace(sample, sequence=sequence, previous_sequence=previous) for sequence, previous in pairs}


class TestFollow:
    """The end of a topic, whatever a crash left of it."""

    def test_whole(self) -> None:
        tail = follow(headers_of([(2, None), (3, 2), (4, 3)]), 2, False)
        assert (tail.last.sequence, tail.highest, tail.beginning_uncertain) == (4, 4, False)

    def test_hole(self) -> None:
        tail = follow(headers_of([(10, 9), (11, 10), (13, 12), (14, 13)]), 10, False)
        assert (tail.last.sequence, tail.highest) == (11, 14)

    def test_two_holes_end_at_the_first(self) -> None:
        assert follow(headers_of([(10, 9), (12, 11), (14, 13)]), 10, False).last.sequence == 10

    def test_a_source_with_gaps_is_no_hole(self) -> None:
        assert follow(headers_of([(10, 9), (64, 10), (900, 64)]), 10, False).last.sequence == 900

    def test_below_the_floor_nothing_is_looked_at(self) -> None:
        assert follow(headers_of([(5, 4), (10, 9), (11, 10)]), 10, False).last.sequence == 11

    def test_a_beginning_that_is_the_streams_own(self) -> None:
        assert not follow(headers_of([(2, None), (3, 2)]), 0, True).beginning_uncertain

    def test_a_beginning_that_may_have_been_lost(self) -> None:
        assert follow(headers_of([(3, 2), (4, 3)]), 0, True).beginning_uncertain
