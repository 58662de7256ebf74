"""Ledger files as a source: what only they do. The rest is in test_sources.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumenstream.errors import ConfigurationError, IntegrityError
from producers.sources import FilesSource
from sandbox import ClosedLedger, Sandbox, SandboxSettings
from tests.unit.source_support import make_chain, record


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    return make_chain()


class TestFiles:
    def test_a_gap_is_kept_and_named(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(record(chain[0].meta) + record(chain[5].meta))
        found = list(FilesSource(tmp_path).ledgers(None))
        assert [(ledger.sequence, ledger.previous_sequence) for ledger in found] == [(2, None), (7, 2)]
        assert [ledger.previous_sequence for ledger in FilesSource(tmp_path).ledgers(4)] == [2]

    def test_equal_duplicates_are_dropped(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(chain[0].meta)
        (tmp_path / "b.xdr").write_bytes(record(chain[0].meta) * 2 + record(chain[1].meta))
        assert [ledger.sequence for ledger in FilesSource(tmp_path).ledgers(None)] == [2, 3]

    def test_contradicting_duplicates_are_refused(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        other = Sandbox(SandboxSettings(seed=2, transactions_per_ledger=2)).close_ledger()
        (tmp_path / "a.xdr").write_bytes(chain[0].meta)
        (tmp_path / "b.xdr").write_bytes(other.meta)
        with pytest.raises(IntegrityError, match=r"ledger 2 is in .*a\.xdr and in .*b\.xdr"):
            FilesSource(tmp_path)

    def test_a_truncated_file_is_named(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(record(chain[0].meta) + record(chain[1].meta)[:-9])
        with pytest.raises(IntegrityError, match=r"a\.xdr"):
            FilesSource(tmp_path)

    def test_a_file_that_changes_while_read_is_noticed(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        path = tmp_path / "a.xdr"
        path.write_bytes(chain[0].meta)
        source = FilesSource(tmp_path)
        path.write_bytes(chain[1].meta)
        with pytest.raises(IntegrityError, match="changed while"):
            list(source.ledgers(None))

    @pytest.mark.parametrize("path", ["missing", "empty"])
    def test_no_ledgers_is_a_mistake_of_configuration(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConfigurationError):
            FilesSource(tmp_path / path)

    def test_a_gap_in_a_range_is_an_error(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(record(chain[0].meta) + record(chain[5].meta))
        found: list[int] = []
        with pytest.raises(IntegrityError, match="does not have ledger 3"):
            found.extend(ledger.sequence for ledger in FilesSource(tmp_path).ledgers(1, 7))
        assert found == [2]
