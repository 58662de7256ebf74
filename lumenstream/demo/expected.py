"""What a folder of ledger files holds, from the headers alone: so that the demo knows when everything has arrived."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.xdr import read_header
from lumenstream.xdr.errors import LedgerDecodeError, LedgerFileError
from lumenstream.xdr.files import ledger_files, read_ledgers


class Expected(NamedTuple):
    """Distinct ledgers, and the sequence of the last one."""

    ledgers: int
    last: int


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
