"""Reads on behind a cursor for ever: pages of rows while there are some, then a wait for the next ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from api.context import Context
from api.errors import bad_input
from api.live.feed import Newest
from api.paging import Page, decode_cursor
from api.queries.parts import Window

PAGE_ROWS: Final = 100


class HasCursor(Protocol):
    cursor: str


Edge = TypeVar("Edge", bound=HasCursor)
Read = Callable[[Window], Awaitable[Sequence[Edge]]]


def follow(
    context: Context, read: Read[Edge], width: int, after: str | None, after_ledger: int | None, account: bytes | None = None
) -> AsyncIterator[Edge]:
    """The edges behind a cursor (of `width` numbers), or of the ledgers after a given one, or after the newest; never ends.

    Each edge is handed on with fresh loaders, which remember nothing of the one before. BAD_USER_INPUT for two beginnings.
    """
    if after is not None and after_ledger is not None:
        raise bad_input("after and afterLedger cannot be used together")
    return _follow(context, read, width, None if after is None else decode_cursor(after, width), after_ledger, account)


async def _follow(
    context: Context,
    read: Read[Edge],
    width: int,
    cursor: tuple[int, ...] | None,
    after_ledger: int | None,
    account: bytes | None,
) -> AsyncIterator[Edge]:
    feed = context.streaming().feed
    with feed.watch(account) as bell:
        beginning = _beginning(after_ledger, await feed.known()) if cursor is None else Window(Page(PAGE_ROWS))
        while not feed.closed:
            page = Page(PAGE_ROWS, True, cursor)
            edges = await read(beginning._replace(page=page) if cursor is None else Window(page))
            for edge in edges:
                context.renew()
                yield edge
            if edges:
                cursor = decode_cursor(edges[-1].cursor, width)
            if len(edges) < PAGE_ROWS:
                await bell.wait()


def _beginning(after_ledger: int | None, newest: Newest | None) -> Window:
    if after_ledger is not None:
        return Window(Page(PAGE_ROWS), from_ledger=after_ledger + 1)
    if newest is None:
        return Window(Page(PAGE_ROWS))
    return Window(Page(PAGE_ROWS), since=newest.closed_at, from_ledger=newest.sequence + 1)
