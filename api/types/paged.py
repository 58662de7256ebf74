"""Pages of any list: page info, totals on request, and the connections of our own lists, which have no nulls (spec/api.md 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import strawberry

from api.context import Context
from api.loaders import Key
from api.paging import KeyPage, Page, slice_of
from api.queries import counts
from api.queries.parts import Listing, Parent
from api.types.described import described

Row = TypeVar("Row")
Node = TypeVar("Node")
Counter = Callable[[], Awaitable[int]]


@strawberry.type
class PageInfo:
    start_cursor: str | None
    end_cursor: str | None
    has_next_page: bool
    has_previous_page: bool


@strawberry.type(description=f"A number of rows. Nobody counts further than {counts.MAX_COUNT}: then `exact` is false.")
class TotalCount:
    count: int
    exact: bool


@strawberry.type
class Counted:
    """What every connection has: its total, counted when it is asked for."""

    counter: strawberry.Private[Counter]

    @described("How many rows the list has on all its pages.")
    async def total_count(self) -> TotalCount:
        found = await self.counter()
        return TotalCount(count=min(found, counts.MAX_COUNT), exact=found <= counts.MAX_COUNT)


@strawberry.type
class Edge(Generic[Node]):
    node: Node
    cursor: str


@strawberry.type
class Connection(Counted, Generic[Node]):
    edges: list[Edge[Node]]
    page_info: PageInfo


def cut(page: Page | KeyPage, rows: Sequence[Row], cursor_of: Callable[[Row], str]) -> tuple[Sequence[Row], list[str], PageInfo]:
    """The rows of a page, their cursors, and its info."""
    part = slice_of(page, rows)
    cursors = [cursor_of(row) for row in part.rows]
    return part.rows, cursors, page_info(cursors, part.has_next, part.has_previous)


def page_info(cursors: Sequence[str], has_next: bool, has_previous: bool) -> PageInfo:
    return PageInfo(
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
        has_next_page=has_next,
        has_previous_page=has_previous,
    )


def connection(
    page: Page | KeyPage, rows: Sequence[Row], cursor_of: Callable[[Row], str], node_of: Callable[[Row], Node], counter: Counter
) -> Connection[Node]:
    """The connection of a list of ours."""
    kept, cursors, info = cut(page, rows, cursor_of)
    edges = [Edge(node=node_of(row), cursor=cursor) for row, cursor in zip(kept, cursors, strict=True)]
    return Connection(edges=edges, page_info=info, counter=counter)


def counter(context: Context, listing: Listing) -> Counter:
    """Counts a list of the root or of an account."""

    async def count() -> int:
        return await counts.total(context.database, listing)

    return count


async def uncounted() -> int:
    """For edges that are shown without their connection."""
    raise LookupError("these edges belong to no list that could be counted")


def child_counter(context: Context, children: counts.Children, parent: Parent) -> Counter:
    """Counts the children of a parent, together with those of its siblings."""

    async def count() -> int:
        return await context.loaders.total.load(Key(parent, children))

    return count
