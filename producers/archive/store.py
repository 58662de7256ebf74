"""The files of a history archive, read through whatever fails now and then.

A read goes on at the byte where it broke off, with the pauses of `lumenstream.retry`. A file that is not there is not asked for
again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from lumenstream import metrics
from lumenstream.errors import IntegrityError, UnreachableError
from lumenstream.retry import Failure, Retry, RetryPolicy, Stopped, Wait
from lumenstream.settings import ArchiveSettings
from producers.archive.places import CHUNK_BYTES, MissingFileError, Place, place_of

MAX_SMALL_FILE_BYTES: Final = 16 << 20
_GZIP: Final = 31  # zlib's window size for a gzip stream
_HINT: Final = "is LUMENSTREAM_ARCHIVE__URL right, and the archive reachable from here?"


class Store:
    """Files by path, relative to the archive's root. `name` is for messages, without secrets."""

    def __init__(self, place: Place, wait: Wait, policy: RetryPolicy | None = None) -> None:
        self.name = place.name
        self._place = place
        self._retry = Retry(policy or RetryPolicy(), wait, self._count, hint=_HINT)

    def close(self) -> None:
        self._place.close()

    def size(self, path: str) -> int:
        """Bytes; 0 where that is not told. MissingFileError, UnreachableError."""
        try:
            return self._retry.run(f"{self.name}/{path}", lambda: self._place.size(path))
        except Stopped as stopped:
            raise UnreachableError(f"{self.name}/{path}: asked to stop") from stopped

    def stream(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, a piece at a time. MissingFileError, UnreachableError."""
        done = 0
        while True:
            try:
                for chunk in self._place.read(path, done):
                    done += len(chunk)
                    self._retry.succeeded()
                    yield chunk
                return
            except Failure as failure:
                try:
                    self._retry.failed(f"{self.name}/{path}", failure)
                except Stopped as stopped:
                    raise UnreachableError(f"{self.name}/{path}: asked to stop") from stopped

    def read(self, path: str) -> bytes:
        """A small file, whole. IntegrityError when it is not small."""
        data = bytearray()
        for chunk in self.stream(path):
            data += chunk
            if len(data) > MAX_SMALL_FILE_BYTES:
                raise IntegrityError(f"{self.name}/{path}: more than {MAX_SMALL_FILE_BYTES} bytes")
        return bytes(data)

    @staticmethod
    def _count(kind: str) -> None:
        metrics.SOURCE_ERRORS.labels(kind).inc()


def open_store(settings: ArchiveSettings, wait: Wait) -> Store:
    """The store of an archive's URL. ConfigurationError for one that is none."""
    return Store(place_of(settings), wait)


def unzipped(chunks: Iterator[bytes], place: str) -> Iterator[bytes]:
    """The content of a gzip file, in pieces of bounded size. IntegrityError when it is damaged or ends early."""
    unzip = zlib.decompressobj(_GZIP)
    try:
        for chunk in chunks:
            data, more = chunk, False
            while data or more:
                if unzip.eof:  # another member follows
                    unzip = zlib.decompressobj(_GZIP)
                if piece := unzip.decompress(data, CHUNK_BYTES):
                    yield piece
                data = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
                more = len(piece) == CHUNK_BYTES and not unzip.eof  # it may hold back what found no room
    except zlib.error as error:
        raise IntegrityError(f"{place}: damaged gzip: {error}", hint="the archive is damaged: use another one") from error
    if not unzip.eof:
        raise IntegrityError(f"{place}: the file ends early", hint="the archive is damaged: use another one")


__all__ = ["MissingFileError", "Store", "open_store", "unzipped"]
