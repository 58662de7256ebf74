"""Connections and edges of the three lists, and the one page-info type (spec/api.md 1.2, 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import strawberry

from api.paging import Page, slice_of
from api.types.later import LaterOperation, LaterStateChange, LaterTransaction

Row = TypeVar("Row")


@strawberry.type
class PageInfo:
    start_cursor: str | None
    end_cursor: str | None
    has_next_page: bool
    has_previous_page: bool


@strawberry.type
class TransactionEdge:
    node: LaterTransaction | None
    cursor: str


@strawberry.type
class TransactionConnection:
    edges: list[TransactionEdge] | None
    page_info: PageInfo


@strawberry.type
class OperationEdge:
    node: LaterOperation | None
    cursor: str


@strawberry.type
class OperationConnection:
    edges: list[OperationEdge] | None
    page_info: PageInfo


@strawberry.type
class StateChangeEdge:
    node: LaterStateChange | None
    cursor: str


@strawberry.type
class StateChangeConnection:
    edges: list[StateChangeEdge] | None
    page_info: PageInfo


def cut(page: Page, rows: Sequence[Row], cursor_of: Callable[[Row], str]) -> tuple[Sequence[Row], list[str], PageInfo]:
    """The rows of a page, their cursors, and its info."""
    part = slice_of(page, rows)
    cursors = [cursor_of(row) for row in part.rows]
    info = PageInfo(
        start_cursor=cursors[0] if cursors else None,
        end_cursor=cursors[-1] if cursors else None,
        has_next_page=part.has_next,
        has_previous_page=part.has_previous,
    )
    return part.rows, cursors, info
