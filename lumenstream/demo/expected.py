"""What a folder of ledger files holds, from the headers alone: so that the demo knows when everything has arrived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.xdr import read_header
from lumenstream.xdr.errors import LedgerDecodeError, LedgerFileError
from lumenstream.xdr.files import read_ledgers


class Expected(NamedTuple):
    """Distinct ledgers, and the sequence of the last one."""

    ledgers: int
    last: int


# Files that lie beside ledgers and hold none: those that the producer's files source leaves out too.
_NOT_LEDGERS: Final = frozenset({".md", ".json", ".txt"})


def ledger_files(path: Path) -> Iterator[Path]:
    """The file itself, or every file below a folder in order of names; hidden files and texts are left out."""
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.name.startswith(".") and file.suffix not in _NOT_LEDGERS:
            yield file


def expected(path: Path) -> Expected:
    """Read every header. ConfigurationError when there is no ledger, IntegrityError when a file is not one."""
    sequences: set[int] = set()
    for file in ledger_files(path):
        try:
            sequences.update(read_header(data).sequence for data in read_ledgers(file))
        except (LedgerDecodeError, LedgerFileError) as error:
            text = str(error) if isinstance(error, LedgerFileError) else f"{file}: {error}"  # the former names the file
            raise IntegrityError(text, hint="remove what is not a ledger from the folder") from error
    if not sequences:
        raise ConfigurationError(f"no ledger in {path}", hint="--ledgers takes a ledger file or a folder of them")
    return Expected(len(sequences), max(sequences))
