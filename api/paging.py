"""Relay paging: arguments to a page, rows to edges, cursors to text and back (spec/api.md 3).

A cursor of history is base64 of decimal numbers joined by colons. Lists of an account and root lists begin with the close time in
nanoseconds, which lets the database leave out chunks: `nanos:id`, `nanos:to_id:operation_id:state_change_id`. Lists inside a
transaction or operation do without it. Lists of what is now have cursors `v1:<text>:<text>`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, NamedTuple, TypeVar

from api.errors import bad_input

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MAX_CURSOR_TEXT: Final = 160
_MAX_NUMBER: Final = (1 << 63) - 1
_MAX_DIGITS: Final = 19
_KEY_VERSION: Final = "v1"
_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

ID: Final = 1  # numbers in a cursor, by kind of list
CHANGE: Final = 3
TIMED_ID: Final = 2
TIMED_CHANGE: Final = 4
NAME: Final = 1  # texts in a cursor of what is now
BALANCE: Final = 2
ALLOWANCE: Final = 2

Row = TypeVar("Row")


class PageArguments(NamedTuple):
    """What the client gave."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None


class Page(NamedTuple):
    """One page to read: `limit` rows after `cursor` when forward, before it when not. Hashable: it is part of loader keys."""

    limit: int
    forward: bool = True
    cursor: tuple[int, ...] | None = None

    @property
    def fetch(self) -> int:
        """Rows to ask for: one more tells whether there is another page."""
        return self.limit + 1


class KeyPage(NamedTuple):
    """As Page, for lists of what is now, which are in the order of a key of text."""

    limit: int
    forward: bool = True
    cursor: tuple[str, ...] | None = None

    @property
    def fetch(self) -> int:
        return self.limit + 1


class Slice(NamedTuple, Generic[Row]):
    """The rows of a page in ascending order, and what lies beyond."""

    rows: Sequence[Row]
    has_next: bool
    has_previous: bool


def page_of(given: PageArguments, width: int, default: int, maximum: int) -> Page:
    """The page that the arguments ask for. `width`: numbers in a cursor of this list. BAD_USER_INPUT when they contradict."""
    limit, forward, text = _checked(given, default, maximum)
    return Page(limit, forward, None if text is None else decode_cursor(text, width))


def key_page_of(given: PageArguments, width: int, default: int, maximum: int) -> KeyPage:
    """As `page_of`, for a list whose cursors hold `width` texts."""
    limit, forward, text = _checked(given, default, maximum)
    return KeyPage(limit, forward, None if text is None else decode_key(text, width))


def _checked(given: PageArguments, default: int, maximum: int) -> tuple[int, bool, str | None]:
    first, after, last, before = given
    if first is not None and last is not None:
        raise bad_input("first and last cannot be used together")
    if after is not None and before is not None:
        raise bad_input("after and before cannot be used together")
    if first is not None and before is not None:
        raise bad_input("first cannot be used with before")
    if last is not None and after is not None:
        raise bad_input("last cannot be used with after")
    for name, number in (("first", first), ("last", last)):
        if number is not None and number <= 0:
            raise bad_input(f"{name} must be greater than 0")
        if number is not None and number > maximum:
            raise bad_input(f"{name} must be at most {maximum}")
    forward = last is None and before is None
    return first or last or min(default, maximum), forward, after if forward else before


def slice_of(page: Page | KeyPage, rows: Sequence[Row]) -> Slice[Row]:
    """Cut the extra row off and put the page in ascending order. `rows` come in the order of the scan."""
    more = len(rows) > page.limit
    kept = rows[: page.limit]
    given = page.cursor is not None
    return Slice(kept, more, given) if page.forward else Slice(kept[::-1], given, more)


def encode_cursor(*numbers: int) -> str:
    return base64.b64encode(":".join(map(str, numbers)).encode()).decode()


def decode_cursor(text: str, width: int) -> tuple[int, ...]:
    """The numbers of a cursor. BAD_USER_INPUT unless it has `width` of them, each within 63 bits."""
    parts = _parts(text)
    if len(parts) != width or not all(part.isdigit() and len(part) <= _MAX_DIGITS for part in parts):
        raise bad_input(f"invalid cursor: {text!r}")
    numbers = tuple(map(int, parts))
    if max(numbers) > _MAX_NUMBER:
        raise bad_input(f"invalid cursor: {text!r}")
    return numbers


def encode_key(*texts: str) -> str:
    return base64.b64encode(":".join((_KEY_VERSION, *texts)).encode()).decode()


def decode_key(text: str, width: int) -> tuple[str, ...]:
    """The texts of a cursor made by `encode_key`. BAD_USER_INPUT unless it has `width` of them."""
    version, *texts = _parts(text)
    if version != _KEY_VERSION or len(texts) != width or not all(part.isalnum() or _is_uuid(part) for part in texts):
        raise bad_input(f"invalid cursor: {text!r}")
    return tuple(texts)


def _parts(text: str) -> list[str]:
    if len(text) > _MAX_CURSOR_TEXT:
        raise bad_input("invalid cursor")
    try:
        return base64.b64decode(text, validate=True).decode("ascii").split(":")
    except (binascii.Error, ValueError) as error:
        raise bad_input(f"invalid cursor: {text!r}") from error


def _is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def nanoseconds(moment: datetime) -> int:
    """Unix nanoseconds, exact to the microsecond that the database keeps."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def moment_of(nanos: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanos // 1000)
