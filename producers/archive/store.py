"""Where the files of a history archive lie: a folder or a web server. Reads survive a connection that breaks.

A read goes on at the byte where it broke off, with doubling pauses; a file that is not there is not asked for again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import httpx

from lumenstream import masking, metrics
from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.logs import get_logger

ATTEMPTS: Final = 10
FIRST_BACKOFF_SECONDS: Final = 1.0
MAX_BACKOFF_SECONDS: Final = 30.0
CHUNK_BYTES: Final = 1 << 20
MAX_SMALL_FILE_BYTES: Final = 16 << 20
CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 60.0
_GZIP: Final = 31  # zlib's window size for a gzip stream
_RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Wait = Callable[[float], bool]  # sleeps; True when asked to stop

_log = get_logger("archive")


class MissingFileError(UnreachableError):
    """The archive does not have the file."""


class _Broken(Exception):
    """A read failed in a way that another attempt may mend."""


class Store(Protocol):
    """Files by path, relative to the archive's root. `name` is for messages, without secrets."""

    @property
    def name(self) -> str: ...

    def size(self, path: str) -> int:
        """Bytes; 0 where that is not told. MissingFileError, UnreachableError."""

    def stream(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, a piece at a time. MissingFileError, UnreachableError."""

    def close(self) -> None: ...


def read(store: Store, path: str) -> bytes:
    """A small file, whole. IntegrityError when it is not small."""
    data = bytearray()
    for chunk in store.stream(path):
        data += chunk
        if len(data) > MAX_SMALL_FILE_BYTES:
            raise IntegrityError(f"{store.name}/{path}: more than {MAX_SMALL_FILE_BYTES} bytes")
    return bytes(data)


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


class Folder:
    """An archive on a disk of this machine."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def size(self, path: str) -> int:
        return self._found(path).stat().st_size

    def stream(self, path: str) -> Iterator[bytes]:
        try:
            with self._found(path).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise UnreachableError(f"{self.name}/{path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is held open between reads."""

    def _found(self, path: str) -> Path:
        file = self._root / path
        if not file.is_file():
            raise _missing(self.name, path)
        return file


class Web:
    """An archive behind http or https."""

    def __init__(self, url: str, wait: Wait, *, first_backoff_seconds: float = FIRST_BACKOFF_SECONDS) -> None:
        self.name = masking.mask_text(url.rstrip("/"))
        self._url = url.rstrip("/")
        self._wait = wait
        self._first_backoff = first_backoff_seconds
        timeout = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        self._client = httpx.Client(timeout=timeout, follow_redirects=True)

    def size(self, path: str) -> int:
        return self._retried(path, lambda: self._head(path))

    def stream(self, path: str) -> Iterator[bytes]:
        done, failures, backoff = 0, 0, self._first_backoff
        while True:
            try:
                for chunk in self._from(path, done):
                    done += len(chunk)
                    failures, backoff = 0, self._first_backoff
                    yield chunk
                return
            except (_Broken, httpx.TransportError) as error:
                failures += 1
                self._pause(path, error, failures, backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    def close(self) -> None:
        self._client.close()

    def _from(self, path: str, start: int) -> Iterator[bytes]:
        """The file from a byte on. A server that knows no ranges sends all of it, and what is there already is passed over."""
        # As it lies there: a bucket's gzip is a file format here, not something for the HTTP client to take off.
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={start}-"} if start else {})
        with self._client.stream("GET", f"{self._url}/{path}", headers=headers) as answer:
            self._check(answer, path)
            skip = start if answer.status_code != httpx.codes.PARTIAL_CONTENT else 0
            for chunk in answer.iter_raw(CHUNK_BYTES):
                passed = min(skip, len(chunk))
                skip -= passed
                if passed < len(chunk):
                    yield chunk[passed:]

    def _head(self, path: str) -> int:
        answer = self._client.head(f"{self._url}/{path}", headers={"accept-encoding": "identity"})
        self._check(answer, path)
        return int(answer.headers.get("content-length", 0))

    def _check(self, answer: httpx.Response, path: str) -> None:
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE, httpx.codes.FORBIDDEN):
            raise _missing(self.name, path)
        if answer.status_code in _RETRIED_STATUS:
            raise _Broken(f"HTTP {answer.status_code}")
        if not answer.is_success:
            raise UnreachableError(f"{self.name}/{path}: HTTP {answer.status_code}", hint="is archive.url right?")

    def _retried(self, path: str, ask: Callable[[], int]) -> int:
        backoff = self._first_backoff
        for failures in range(1, ATTEMPTS + 1):
            try:
                return ask()
            except (_Broken, httpx.TransportError) as error:
                self._pause(path, error, failures, backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
        raise AssertionError("the last failure raises")

    def _pause(self, path: str, error: Exception, failures: int, backoff: float) -> None:
        """Wait before another attempt. UnreachableError after the last one, or when asked to stop."""
        text = str(error) or type(error).__name__
        metrics.SOURCE_ERRORS.labels("archive").inc()
        if failures >= ATTEMPTS:
            raise UnreachableError(f"{self.name}/{path}: {text}, {failures} times in a row") from error
        _log.warning("reading the archive again", file=path, reason=text, attempt=failures, seconds=backoff)
        if self._wait(backoff):
            raise UnreachableError(f"{self.name}/{path}: {text}, and asked to stop") from error


def open_store(url: str, wait: Wait) -> Store:
    """The store of an archive's URL. ConfigurationError for one that is none."""
    parts = urlsplit(url)
    match parts.scheme:
        case "http" | "https" if parts.netloc:
            return Web(url, wait)
        case "file":
            return Folder(Path(unquote(parts.path)))
        case "":
            return Folder(Path(url))
        case _:
            raise ConfigurationError(
                f"archive.url {masking.mask_text(url)!r} is no archive", hint="a folder, file://, http:// or https://"
            )


def _missing(name: str, path: str) -> MissingFileError:
    return MissingFileError(f"{name}/{path} does not exist", hint="is archive.url the root of a history archive?")
