"""What can be wrong with the bytes of a ledger."""

from __future__ import annotations


class LedgerDecodeError(ValueError):
    """The bytes are not a valid LedgerCloseMeta. The message names the offset and the XDR type that failed."""


class LedgerContentError(ValueError):
    """Valid XDR that cannot be a real ledger: a result without its envelope, an update without the state before it, a
    transaction meta of version 0. The message names the transaction."""


class LedgerFileError(ValueError):
    """A file that does not hold ledgers in any known form. The message names the file and, where it can, the offset."""
