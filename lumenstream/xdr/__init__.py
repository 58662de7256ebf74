"""From the bytes of a LedgerCloseMeta to rows: one interface over the native decoder and its pure-Python twin.

The native one (`native/`, Rust) is used when it was built. LUMENSTREAM_REQUIRE_NATIVE=1 makes its absence an ImportError, for
containers and CI; LUMENSTREAM_DECODER=python selects the twin even so, for tests. `DECODER` says which one is in use.
The inner loops of the processors follow the same choice (`fastest`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from lumenstream.xdr.errors import LedgerContentError, LedgerDecodeError
from lumenstream.xdr.rows import Ledger, LedgerHeader, TransactionDetails

__all__ = [
    "DECODER",
    "LedgerContentError",
    "LedgerDecodeError",
    "decode_details",
    "decode_ledger",
    "fastest",
    "read_header",
    "split_batch",
    "transaction_count",
    "validate",
]


Loop = TypeVar("Loop", bound=Callable[..., Any])


# What `fastest` finds in Rust. A module that lacks one was built from older sources.
LOOPS: Final = (
    *("pack_rows", "changes_of", "last_changes", "last_account_changes", "participant_rows", "movement_rows"),
    "HistoryStreams",
)


class Decoder(NamedTuple):
    """The functions of one implementation."""

    name: Literal["native", "python"]
    decode_ledger: Callable[[bytes, bytes], Ledger]
    decode_details: Callable[[bytes, bytes], tuple[TransactionDetails, ...]]
    read_header: Callable[[bytes], LedgerHeader]
    validate: Callable[[bytes], None]
    transaction_count: Callable[[bytes], int]
    split_batch: Callable[[bytes], list[bytes]]


def native_decoder() -> Decoder:
    """The Rust decoder. ImportError when it was not built, or from older sources than these."""
    from lumenstream import _native

    if missing := [name for name in LOOPS if not hasattr(_native, name)]:
        raise ImportError(f"lumenstream._native was built from older sources: it lacks {', '.join(missing)}")
    try:
        return Decoder(
            "native",
            _native.extract_ledger,
            _native.extract_details,
            _native.read_header,
            _native.validate,
            _native.transaction_count,
            _native.split_batch,
        )
    except AttributeError as error:
        raise ImportError(f"lumenstream._native was built from older sources: {error}") from error


def python_decoder() -> Decoder:
    """The twin that needs no compiler."""
    from lumenstream.xdr import _python

    return Decoder(
        "python",
        _python.extract_ledger,
        _python.extract_details,
        _python.read_header,
        _python.validate,
        _python.transaction_count,
        _python.split_batch,
    )


def _select() -> Decoder:
    if os.environ.get("LUMENSTREAM_DECODER") == "python":
        return python_decoder()
    try:
        return native_decoder()
    except ImportError as error:
        if os.environ.get("LUMENSTREAM_REQUIRE_NATIVE") == "1":
            raise ImportError(
                "lumenstream._native is not built and LUMENSTREAM_REQUIRE_NATIVE=1 forbids the slower decoder in Python; "
                "install a Rust toolchain and run `pip install --no-build-isolation -e .` again"
            ) from error
        return python_decoder()


_DECODER = _select()
DECODER: Literal["native", "python"] = _DECODER.name


def decode_ledger(data: bytes, network_id: bytes) -> Ledger:
    """All rows of one ledger. `network_id` is the SHA-256 of the network passphrase.

    LedgerDecodeError when the bytes are not exactly one LedgerCloseMeta; LedgerContentError when the ledger cannot be real.
    """
    return _DECODER.decode_ledger(data, network_id)


def decode_details(data: bytes, network_id: bytes) -> tuple[TransactionDetails, ...]:
    """What `decode_ledger` leaves out, one row for each transaction in the same order. Errors as in `decode_ledger`."""
    return _DECODER.decode_details(data, network_id)


def read_header(data: bytes) -> LedgerHeader:
    """The header alone; what follows it is not looked at. LedgerDecodeError when there is none."""
    return _DECODER.read_header(data)


def validate(data: bytes) -> None:
    """Decode every byte strictly and build nothing. LedgerDecodeError when the bytes are not one LedgerCloseMeta."""
    _DECODER.validate(data)


def transaction_count(data: bytes) -> int:
    """How many transactions the ledger holds. LedgerDecodeError as in `validate`."""
    return _DECODER.transaction_count(data)


def split_batch(data: bytes) -> list[bytes]:
    """The bytes of every ledger in a LedgerCloseMetaBatch (SEP-54). LedgerDecodeError when it is none."""
    return _DECODER.split_batch(data)


def fastest(name: str, twin: Loop, *asked: object) -> Loop:
    """An inner loop over rows: that of this name in Rust where the native decoder is in use, else its twin in Python.

    Both give the same for every ledger. What the one in Rust asks of Python comes as its first arguments.
    """
    if name not in LOOPS:
        raise ValueError(f"{name} is not among LOOPS")
    if DECODER == "python":
        return twin
    from lumenstream import _native

    return cast(Loop, partial(getattr(_native, name), *asked))
