"""Where a history archive lies: a folder, a web server, or a bucket of S3, GCS or Azure.

A read is tried once here. `Failure` says that another attempt may mend it; it may begin at the byte where the last one broke off.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import httpx
import obstore
from obstore.exceptions import BaseError

from lumenstream import masking
from lumenstream.errors import ConfigurationError, UnreachableError
from lumenstream.retry import Failure
from lumenstream.settings import ArchiveSettings
from producers.bucket import SCHEMES, access_denied, open_bucket, plain

CHUNK_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_SECONDS: Final = 5.0
_KIND: Final = "archive"  # metric label
_RETRIED_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_MISSING_STATUS: Final = frozenset({403, 404, 410})  # public buckets answer 403 for what is not there
_RANGE_NOT_SATISFIABLE: Final = 416
_HINT: Final = "is LUMENSTREAM_ARCHIVE__URL the root of a history archive?"


class MissingFileError(UnreachableError):
    """The archive does not have the file."""


class Place(Protocol):
    """Files by path. MissingFileError, Failure, UnreachableError."""

    @property
    def name(self) -> str:
        """For messages, without secrets."""

    def size(self, path: str) -> int:
        """Bytes; 0 where that is not told."""

    def read(self, path: str, start: int) -> Iterator[bytes]:
        """The bytes from `start` on, in pieces."""

    def close(self) -> None: ...


class Folder:
    """An archive on a disk of this machine."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def size(self, path: str) -> int:
        return self._found(path).stat().st_size

    def read(self, path: str, start: int) -> Iterator[bytes]:
        try:
            with self._found(path).open("rb") as file:
                file.seek(start)
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

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url.rstrip("/")
        self.name = masking.mask_text(self._url)
        timeout = httpx.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        self._client = httpx.Client(timeout=timeout, follow_redirects=True)

    def size(self, path: str) -> int:
        try:
            answer = self._client.head(f"{self._url}/{path}", headers={"accept-encoding": "identity"})
        except httpx.TransportError as error:
            raise _failure(error) from error
        self._check(answer, path)
        return int(answer.headers.get("content-length", 0))

    def read(self, path: str, start: int) -> Iterator[bytes]:
        """A server that knows no ranges sends all of it, and what is there already is passed over."""
        # As it lies there: a bucket's gzip is a file format here, not something for the HTTP client to take off.
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={start}-"} if start else {})
        try:
            with self._client.stream("GET", f"{self._url}/{path}", headers=headers) as answer:
                if start and answer.status_code == _RANGE_NOT_SATISFIABLE:
                    return  # it broke off behind the last byte
                self._check(answer, path)
                skip = start if answer.status_code != httpx.codes.PARTIAL_CONTENT else 0
                for chunk in answer.iter_raw(CHUNK_BYTES):
                    passed = min(skip, len(chunk))
                    skip -= passed
                    if passed < len(chunk):
                        yield chunk[passed:]
        except httpx.TransportError as error:
            raise _failure(error) from error

    def close(self) -> None:
        self._client.close()

    def _check(self, answer: httpx.Response, path: str) -> None:
        if answer.status_code in _MISSING_STATUS:
            raise _missing(self.name, path)
        if answer.status_code in _RETRIED_STATUS:
            raise Failure(_KIND, f"HTTP {answer.status_code}")
        if not answer.is_success:
            raise UnreachableError(f"{self.name}/{path}: HTTP {answer.status_code}", hint=_HINT)


class Bucket:
    """An archive in an object store. Credentials come from the environment of the provider's own tools, as for a data lake."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self.name = masking.mask_text(settings.url.rstrip("/"))
        self._store = open_bucket(settings, f"archive {self.name}", _HINT)

    def size(self, path: str) -> int:
        try:
            return int(obstore.head(self._store, path)["size"])
        except (BaseError, OSError) as error:
            raise self._failed(path, error) from error

    def read(self, path: str, start: int) -> Iterator[bytes]:
        try:
            if start and start >= self.size(path):
                return  # it broke off behind the last byte
            found = obstore.get(self._store, path, options={"range": {"offset": start}} if start else None)
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise self._failed(path, error) from error

    def close(self) -> None:
        """The store has nothing to close."""

    def _failed(self, path: str, error: Exception) -> Exception:
        if isinstance(error, FileNotFoundError):
            return _missing(self.name, path)
        if access_denied(error):
            hint = "may these credentials read it? A public archive is read with LUMENSTREAM_ARCHIVE__ANONYMOUS=true"
            return ConfigurationError(f"{self.name}/{path}: access denied: {plain(error)}", hint=hint)
        return Failure(_KIND, plain(error))


def place_of(settings: ArchiveSettings) -> Place:
    """ConfigurationError for a URL that is none of an archive."""
    parts = urlsplit(settings.url)
    match parts.scheme:
        case "http" | "https" if parts.netloc:
            return Web(settings.url, settings.timeout_seconds)
        case scheme if scheme in SCHEMES and parts.netloc:
            return Bucket(settings)
        case "file":
            return Folder(Path(unquote(parts.path)))
        case "":
            return Folder(Path(settings.url))
        case _:
            raise ConfigurationError(
                f"archive.url {masking.mask_text(settings.url)!r} is no archive",
                hint="a folder, file://, http://, https://, s3://, gs:// or az://",
            )


def _missing(name: str, path: str) -> MissingFileError:
    return MissingFileError(f"{name}/{path} does not exist", hint=_HINT)


def _failure(error: Exception) -> Failure:
    return Failure(_KIND, str(error) or type(error).__name__)
