"""Persisted queries: a client sends the SHA-256 of a query instead of its text.

Automatic ones are remembered when first sent with their text. A file of known ones (a JSON object from hash to text) can be
given, and can be made the only ones that are answered. The request's form is Apollo's: `extensions.persistedQuery` with `version`
1 and `sha256Hash` (spec/api.md 5).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import orjson

from api.errors import ClientError, Code, bad_input
from lumenstream.errors import ConfigurationError
from lumenstream.settings import ApiSettings

REMEMBERED: Final = 100
MAX_REMEMBERED_CHARACTERS: Final = 32_000
VERSION: Final = 1
NOT_FOUND_TEXT: Final = "PersistedQueryNotFound"  # clients look for this text


class Persisted:
    """One per process. ConfigurationError for a file that is not what it should be."""

    def __init__(self, settings: ApiSettings) -> None:
        self._known = _read(settings.persisted_file) if settings.persisted_file is not None else {}
        self._only = settings.persisted_only
        if self._only and settings.persisted_file is None:
            raise ConfigurationError("api.persisted_only needs a file of queries", hint="set api.persisted_file")
        self._automatic: OrderedDict[str, str] = OrderedDict()

    def query(self, text: str | None, extensions: Any) -> str | None:
        """The text of the query that a request asks for; None when it names none. ClientError when it cannot be had."""
        digest = _digest(extensions)
        if digest is None:
            if self._only and text is not None and _hash(text) not in self._known:
                raise bad_input("only persisted queries are answered")
            return text
        if text is None:
            found = self._known.get(digest) or self._automatic.get(digest)
            if found is None:
                raise ClientError(Code.PERSISTED_QUERY_NOT_FOUND, NOT_FOUND_TEXT)
            return found
        if _hash(text) != digest:
            raise bad_input("sha256Hash is not that of the query")
        if self._only and digest not in self._known:
            raise bad_input("only persisted queries are answered")
        self._remember(digest, text)
        return text

    def _remember(self, digest: str, text: str) -> None:
        if digest in self._known or len(text) > MAX_REMEMBERED_CHARACTERS:
            return
        self._automatic[digest] = text
        self._automatic.move_to_end(digest)
        if len(self._automatic) > REMEMBERED:
            self._automatic.popitem(last=False)


def _digest(extensions: Any) -> str | None:
    if extensions is None:
        return None
    if not isinstance(extensions, dict):
        raise bad_input("extensions must be an object")
    persisted = extensions.get("persistedQuery")
    if persisted is None:
        return None
    if not isinstance(persisted, dict) or persisted.get("version") != VERSION or not isinstance(persisted.get("sha256Hash"), str):
        raise bad_input(f"extensions.persistedQuery must be an object with version {VERSION} and sha256Hash")
    return str(persisted["sha256Hash"]).lower()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, str]:
    try:
        given = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(
            f"the file of persisted queries cannot be read: {error}", hint="mend api.persisted_file"
        ) from error
    if not isinstance(given, dict):
        raise ConfigurationError(
            "the file of persisted queries is not a JSON object", hint='its form is {"sha256": "query", ...}'
        )
    for digest, text in given.items():
        if not isinstance(text, str) or _hash(text) != digest:
            raise ConfigurationError(f"persisted query {digest!r} does not have that SHA-256", hint="mend api.persisted_file")
    return given
