"""Files of ledgers: every wrapping is told apart, damage is named, sizes are bounded."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from lumenstream.xdr import files, read_header
from lumenstream.xdr.errors import LedgerFileError
from lumenstream.xdr.files import read_ledgers
from tests.unit.xdr_support import PASSPHRASES, ledger_files

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.fixture(scope="module")
def ledgers(shared_ledgers: Path) -> list[bytes]:
    """Three small ledgers of different content."""
    return [next(read_ledgers(path)) for path in ledger_files(shared_ledgers, "unit")[:3]]


def record(ledger: bytes) -> bytes:
    return (len(ledger) | 1 << 31).to_bytes(4, "big") + ledger


def batch(first: int, found: list[bytes]) -> bytes:
    return b"".join(n.to_bytes(4, "big") for n in (first, first + len(found) - 1, len(found))) + b"".join(found)


def written(directory: Path, content: bytes) -> Path:
    path = directory / "ledgers"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_wrapping(tmp_path: Path, ledgers: list[bytes], compression: str) -> None:
    compress = COMPRESSIONS[compression]
    assert list(read_ledgers(written(tmp_path, compress(ledgers[0])))) == ledgers[:1]
    assert list(read_ledgers(written(tmp_path, compress(b"".join(map(record, ledgers)))))) == ledgers
    for first in (1, 2, 3, 63_000_000):
        assert list(read_ledgers(written(tmp_path, compress(batch(first, ledgers))))) == ledgers


def test_all_real_files_can_be_read(shared_ledgers: Path) -> None:
    counts = {
        folder: sum(
            read_header(data).sequence > 0 for path in ledger_files(shared_ledgers, folder) for data in read_ledgers(path)
        )
        for folder in PASSPHRASES
    }
    assert counts["stellar-core"] > 7000
    assert {name: counts[name] for name in ("lake", "loadtest", "pubnet", "rebuilt")} == {
        "lake": 1,
        "loadtest": 30,
        "pubnet": 4,
        "rebuilt": 6,
    }


def damaged_contents(ledgers: list[bytes]) -> dict[str, tuple[bytes, str]]:
    whole = b"".join(map(record, ledgers))
    return {
        "empty": (b"", "only 0 bytes"),
        "short": (b"\0\0\0\1", "only 4 bytes"),
        "text": (b"{'a': 'ledger, really'}", "neither ledgers nor records"),
        "gzip cut": (gzip.compress(whole)[:-20], "ended before"),
        "gzip damaged": (gzip.compress(whole)[:40] + b"\xff" * 9 + gzip.compress(whole)[49:], "."),
        "record cut": (whole[:-1], "claims .* bytes, .* follow"),
        "mark cut": (whole + b"\x80\0", f"record mark at offset {len(whole)} is cut short"),
        "mark without its high bit": (record(ledgers[0]) + b"\0\0\0\4abcd", "is not whole"),
        "record too large": (record(ledgers[0]) + b"\xff\xff\xff\xff", "claims 2147483647 bytes, more than"),
        "record too small": (b"\x80\0\0\2abcdefghijkl", "too few"),
        "batch cut": (batch(5, ledgers)[:-4], "offset"),
        "batch with more": (batch(5, ledgers) + b"\0\0\0\0", "4 bytes after the end"),
    }


def test_damage_is_named_with_the_file(tmp_path: Path, ledgers: list[bytes]) -> None:
    for name, (content, message) in damaged_contents(ledgers).items():
        path = written(tmp_path, content)
        with pytest.raises(LedgerFileError, match=message) as caught:
            list(read_ledgers(path))
        assert str(path) in str(caught.value), name


def test_what_comes_before_the_damage_is_given(tmp_path: Path, ledgers: list[bytes]) -> None:
    reader = read_ledgers(written(tmp_path, b"".join(map(record, ledgers))[:-1]))
    assert [next(reader), next(reader)] == ledgers[:2]
    with pytest.raises(LedgerFileError):
        next(reader)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LEDGER_BYTES", 1 << 20)
    path = written(tmp_path, gzip.compress(bytes(1 << 22)))
    with pytest.raises(LedgerFileError, match="more than 1048576 bytes"):
        list(read_ledgers(path))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_ledgers(tmp_path / "none"))
