"""What every processor is: a pure function of a decoded ledger, with the name and version under which its parts travel."""

from __future__ import annotations

from typing import Protocol

from lumenstream.xdr.rows import Ledger
from schemas.parts import Part


class Processor(Protocol):
    """Built with the id of the network it serves. The same ledger gives the same part on every machine."""

    @property
    def name(self) -> str:
        """Key in `schemas.processors.PROCESSORS`, message header and metric label."""

    @property
    def version(self) -> int:
        """Raised when the same ledger gives other rows."""

    def process(self, ledger: Ledger) -> Part:
        """All rows of the ledger. LedgerContentError when the ledger contradicts itself; nothing is ever skipped."""
