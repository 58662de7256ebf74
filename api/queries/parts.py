"""Pieces of SQL that several queries share: projection, keyset conditions, parallel arrays of parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from api.paging import Page, moment_of


class Parent(NamedTuple):
    """A row whose children or parent are wanted: its id and close time."""

    id: int
    closed_at: datetime


class Columns(NamedTuple):
    """The columns of a row type in order; `optional` ones are read only when a field that shows them is selected."""

    names: tuple[str, ...]
    optional: Mapping[str, tuple[str, ...]]  # GraphQL field name -> columns


@lru_cache(maxsize=4096)
def _projection(names: tuple[str, ...], unread: frozenset[str], alias: str) -> str:
    return ", ".join("NULL" if name in unread else f"{alias}.{name}" for name in names)


def projection(columns: Columns, selected: frozenset[str], alias: str) -> str:
    """A select list of all columns in order, NULL in place of those that no selected field shows."""
    wanted = {name for field in selected for name in columns.optional.get(field, ())}
    unread = frozenset(name for names in columns.optional.values() for name in names if name not in wanted)
    return _projection(columns.names, unread, alias)


def direction(page: Page) -> str:
    return "ASC" if page.forward else "DESC"


def order(names: Iterable[str], page: Page) -> str:
    way = direction(page)
    return "ORDER BY " + ", ".join(f"{name} {way}" for name in names)


def beyond(page: Page, names: tuple[str, ...], values: dict[str, Any]) -> list[str]:
    """The condition that a row lies behind the cursor on the columns `names`; none without a cursor. Fills `values`."""
    if page.cursor is None:
        return []
    sign = ">" if page.forward else "<"
    numbers = page.cursor[-len(names) :]
    values.update({f"key{index}": number for index, number in enumerate(numbers)})
    keys = ", ".join(f"%(key{index})s::bigint" for index in range(len(names)))
    return [f"({', '.join(names)}) {sign} ({keys})"]


def timed_beyond(page: Page, closed_at: str, names: tuple[str, ...], values: dict[str, Any]) -> list[str]:
    """As `beyond`, for a cursor that begins with the close time, whose bound leaves out chunks."""
    conditions = beyond(page, names, values)
    if page.cursor is not None:
        values["key_time"] = moment_of(page.cursor[0])
        conditions.append(f"{closed_at} {'>=' if page.forward else '<='} %(key_time)s")
    return conditions


def between(since: datetime | None, until: datetime | None, closed_at: str, values: dict[str, Any]) -> list[str]:
    """Bounds of the close time, both inclusive."""
    conditions = []
    if since is not None:
        values["since"] = since
        conditions.append(f"{closed_at} >= %(since)s")
    if until is not None:
        values["until"] = until
        conditions.append(f"{closed_at} <= %(until)s")
    return conditions


def where(conditions: list[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""


PARENTS: Final = "unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS p(id, closed_at)"


def parallel(parents: Iterable[Parent]) -> dict[str, Any]:
    """The values that PARENTS takes."""
    listed = list(parents)
    return {"ids": [parent.id for parent in listed], "times": [parent.closed_at for parent in listed]}
