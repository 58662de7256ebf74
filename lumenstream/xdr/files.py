"""Ledgers from files, whatever their wrapping: the raw bytes of each LedgerCloseMeta in file order.

    compression   gzip, zstd or none, told by the first bytes
    content       one LedgerCloseMeta; one LedgerCloseMetaBatch (SEP-54, the objects of a data lake); or a stream of records,
                  each a 4-byte length with the high bit set and then one LedgerCloseMeta (stellar-core's meta stream)
Reading streams of records takes memory for one ledger; a batch is held whole. Sizes are bounded, so that a damaged or hostile
file cannot exhaust memory.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

import zstandard

from lumenstream.xdr import split_batch
from lumenstream.xdr.errors import LedgerDecodeError, LedgerFileError

NOT_LEDGERS: Final = frozenset({".md", ".json", ".txt"})  # files that lie beside ledgers and hold none
MAX_LEDGER_BYTES: Final = 256 << 20
MAX_BATCH_BYTES: Final = 1 << 30

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LAST_FRAGMENT: Final = 1 << 31
_PREFIX_BYTES: Final = 12  # enough to tell the three contents apart
_CHUNK_BYTES: Final = 1 << 20
_FRAME_STEP_BYTES: Final = 8 << 10  # what so little can expand to is bounded


def ledger_files(path: Path) -> list[Path]:
    """The file itself, or every file below a folder in order of names; hidden files and texts are left out."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and _may_hold_ledgers(file))


def _may_hold_ledgers(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix not in NOT_LEDGERS


def read_ledgers(path: Path) -> Iterator[bytes]:
    """Raw bytes of every ledger in the file, in file order. They are not decoded, except to split a batch.

    LedgerFileError when the file is empty, cut short, too large or not in any of the forms above; OSError from the file.
    """
    with path.open("rb") as file, _decompressed(file) as stream:
        try:
            yield from _ledgers(stream)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, LedgerDecodeError, _Malformed) as error:
            raise LedgerFileError(f"{path}: {error}") from error


class LedgerBatch(NamedTuple):
    """A LedgerCloseMetaBatch: its first and last sequence, and the bytes of each ledger."""

    first: int
    last: int
    ledgers: list[bytes]


def read_batch(data: bytes, name: str) -> LedgerBatch:
    """The batch in the bytes of one object of a data lake: a whole zstd frame. LedgerFileError, which begins with `name`, else.

    Where one ledger ends and the next begins takes decoding all of them; a batch of one is handed out as it is.
    """
    try:
        content = _frame(data)
        if len(content) < _PREFIX_BYTES:
            raise _Malformed(f"only {len(content)} bytes, which cannot hold a ledger")
        first, last, count = (int.from_bytes(content[at : at + 4], "big") for at in (0, 4, 8))
        ledgers = [content[_PREFIX_BYTES:]] if count == 1 else split_batch(content)
        return LedgerBatch(first, last, ledgers)
    except (zstandard.ZstdError, LedgerDecodeError, _Malformed) as error:
        raise LedgerFileError(f"{name}: {error}") from error


def _frame(data: bytes) -> bytes:
    """The content of one zstd frame, decompressed by steps, so that a hostile one is noticed before it fills the memory."""
    decompressor, pieces, size = zstandard.ZstdDecompressor().decompressobj(), list[bytes](), 0
    view = memoryview(data)
    for at in range(0, len(data), _FRAME_STEP_BYTES):
        if decompressor.eof:
            raise _Malformed(f"the zstd frame ends before offset {at} of {len(data)}")
        piece = decompressor.decompress(view[at : at + _FRAME_STEP_BYTES])
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BATCH_BYTES:
            raise _Malformed(f"more than {MAX_BATCH_BYTES} bytes")
    if not decompressor.eof or decompressor.unused_data:
        raise _Malformed("more than one zstd frame" if decompressor.eof else "the zstd frame is cut short")
    return b"".join(pieces)


class _Malformed(Exception):
    """What is wrong with the content; `read_ledgers` adds the file's name."""


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    magic = file.read(len(_ZSTD_MAGIC))
    file.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if magic == _ZSTD_MAGIC:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
    return file


def _ledgers(stream: IO[bytes]) -> Iterator[bytes]:
    prefix = _read(stream, _PREFIX_BYTES)
    if len(prefix) < _PREFIX_BYTES:
        raise _Malformed(f"only {len(prefix)} bytes, which cannot hold a ledger")
    first, second, third = (int.from_bytes(prefix[at : at + 4], "big") for at in (0, 4, 8))
    if first & _LAST_FRAGMENT:
        yield from _records(stream, prefix)
    elif first >= 1 and second >= first and third == second - first + 1:  # first and last sequence, number of ledgers
        yield from split_batch(prefix + _rest(stream, MAX_BATCH_BYTES))
    elif first <= 2:  # a version of LedgerCloseMeta
        yield prefix + _rest(stream, MAX_LEDGER_BYTES)
    else:
        raise _Malformed(f"neither ledgers nor records of them: it begins with {prefix.hex()}")


def _records(stream: IO[bytes], pending: bytes) -> Iterator[bytes]:
    """Record-marked ledgers. `pending` is what has been read already: less than one record."""
    offset = 0
    while mark := pending[:4] or _read(stream, 4):
        if len(mark) < 4:
            raise _Malformed(f"record mark at offset {offset} is cut short")
        length = int.from_bytes(mark, "big")
        if not length & _LAST_FRAGMENT:
            raise _Malformed(f"record at offset {offset} is not whole: its mark is {mark.hex()}")
        length ^= _LAST_FRAGMENT
        if length > MAX_LEDGER_BYTES:
            raise _Malformed(f"record at offset {offset} claims {length} bytes, more than {MAX_LEDGER_BYTES}")
        start, pending = pending[4:], b""
        if length < len(start):
            raise _Malformed(f"record at offset {offset} claims {length} bytes, too few for a ledger")
        ledger = start + _read(stream, length - len(start))
        if len(ledger) < length:
            raise _Malformed(f"record at offset {offset} claims {length} bytes, {len(ledger)} follow")
        yield ledger
        offset += 4 + length


def _read(stream: IO[bytes], size: int) -> bytes:
    """Up to `size` bytes, fewer only at the end; memory grows with what is there, not with what is claimed."""
    chunks = []
    while size > 0 and (chunk := stream.read(min(size, _CHUNK_BYTES))):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _rest(stream: IO[bytes], limit: int) -> bytes:
    rest = _read(stream, limit + 1)
    if len(rest) > limit:
        raise _Malformed(f"more than {limit} bytes")
    return rest
