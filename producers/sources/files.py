"""Ledger files as a source: one file or a folder of them, in every format `lumenstream.xdr.files` reads, in order of sequence.

A first pass reads headers only and keeps an index of (sequence, file, position). Folders may have gaps: each ledger names the one
before it in the folder as its predecessor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lumenstream import metrics
from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.logs import get_logger
from lumenstream.xdr import LedgerDecodeError, read_header
from lumenstream.xdr.errors import LedgerFileError
from lumenstream.xdr.files import ledger_files, read_ledgers
from producers.sources.port import Extent, SourceLedger, missing

_log = get_logger("source.files")


class _Entry(NamedTuple):
    sequence: int
    path: Path
    position: int  # among the ledgers of its file
    digest: bytes


class FilesSource:
    """ConfigurationError without any ledger; IntegrityError for a file that cannot be read or two ledgers of one sequence."""

    def __init__(self, path: Path) -> None:
        self._path = checked_path(path)
        self._entries = _index(self._path)
        self._open: tuple[Path, Iterator[bytes], int] | None = None
        if not self._entries:
            raise ConfigurationError(f"no ledger in {path}", hint="set LUMENSTREAM_PRODUCER__PATH to ledger files")
        first, last = self._entries[0].sequence, self._entries[-1].sequence
        _log.info("ledger files indexed", path=str(path), ledgers=len(self._entries), first=first, last=last)

    @property
    def tip(self) -> int:
        return self._entries[-1].sequence

    @property
    def problem(self) -> str:
        return ""

    def look(self) -> Extent:
        return Extent(str(self._path), self._entries[0].sequence, self.tip)

    def ledgers(self, after: int | None, through: int | None = None) -> Iterator[SourceLedger]:
        previous: int | None = None
        due = self._entries[0].sequence if after is None else after + 1
        for entry in self._entries:
            if through is not None and due > through:
                return
            if entry.sequence >= due:
                if through is not None and entry.sequence > due:
                    break
                with metrics.SOURCE_FETCH_SECONDS.time():
                    data = self._read(entry)
                yield SourceLedger(entry.sequence, previous, data, f"{entry.path} ledger {entry.position}")
                due = entry.sequence + 1
            previous = entry.sequence
        if through is not None and due <= through:
            raise missing(str(self._path), due)

    def _read(self, entry: _Entry) -> bytes:
        """The data of an entry. A file is read on from where it stands; only ledgers out of order in it start it over."""
        opened = self._open
        if opened is None or opened[0] != entry.path or opened[2] > entry.position:
            opened = (entry.path, read_ledgers(entry.path), 0)
        path, ledgers, position = opened
        for data in ledgers:
            position += 1
            if position > entry.position:
                self._open = (path, ledgers, position)
                if hashlib.sha256(data).digest() != entry.digest:
                    break
                return data
        raise IntegrityError(f"{path}: ledger {entry.sequence} changed while the files were read")

    def close(self) -> None:
        self._open = None


def checked_path(path: Path | None) -> Path:
    """ConfigurationError unless a path is set and there."""
    if path is None:
        raise ConfigurationError("source files needs a path", hint="set --path or LUMENSTREAM_PRODUCER__PATH")
    if not path.exists():
        raise ConfigurationError(f"ledger path {path} does not exist", hint="set --path or LUMENSTREAM_PRODUCER__PATH")
    return path


def _index(path: Path) -> list[_Entry]:
    found: dict[int, _Entry] = {}
    for file in ledger_files(path):
        position = 0
        try:
            for position, data in enumerate(read_ledgers(file)):
                entry = _Entry(read_header(data).sequence, file, position, hashlib.sha256(data).digest())
                known = found.setdefault(entry.sequence, entry)
                if known.digest != entry.digest:
                    raise IntegrityError(
                        f"ledger {entry.sequence} is in {known.path} and in {file} with different bytes",
                        hint="keep ledgers of one network and one history in the folder",
                    )
        except LedgerFileError as error:  # it names the file
            raise IntegrityError(f"{error} (ledger {position} of the file)", hint="remove the file or fetch it again") from error
        except (LedgerDecodeError, OSError) as error:
            text = error.strerror if isinstance(error, OSError) else error
            raise IntegrityError(f"{file}, ledger {position}: {text}", hint="remove the file or fetch it again") from error
    return sorted(found.values())
