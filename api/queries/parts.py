"""Pieces of SQL that several queries share: projection, keyset conditions, parallel arrays of parents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from api.paging import KeyPage, Page, moment_of

_LAST_ID: Final = (1 << 63) - 1


class Parent(NamedTuple):
    """A row whose children or parent are wanted: its id and close time."""

    id: int
    closed_at: datetime


@dataclass(frozen=True, eq=False, slots=True)
class Columns:
    """The columns of a row type in order; `optional` ones are read only when a field that shows them is selected."""

    names: tuple[str, ...]
    optional: Mapping[str, tuple[str, ...]]  # GraphQL field name -> columns


class Window(NamedTuple):
    """A page of a list of history, and what its rows must lie within: all bounds are inclusive."""

    page: Page
    since: datetime | None = None
    until: datetime | None = None
    from_ledger: int | None = None
    to_ledger: int | None = None


class Listing(NamedTuple):
    """The rows of a list on all its pages: `source` is what follows FROM, `conditions` what must hold."""

    name: str
    source: str
    conditions: list[str]
    values: dict[str, Any]


@lru_cache(maxsize=4096)
def projection(columns: Columns, selected: frozenset[str], alias: str) -> str:
    """A select list of all columns in order, NULL in place of those that no selected field shows."""
    wanted = {name for field in selected for name in columns.optional.get(field, ())}
    unread = frozenset(name for names in columns.optional.values() for name in names if name not in wanted)
    return ", ".join("NULL" if name in unread else f"{alias}.{name}" for name in columns.names)


def direction(page: Page | KeyPage) -> str:
    return "ASC" if page.forward else "DESC"


def order(names: Iterable[str], page: Page | KeyPage) -> str:
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


def within(window: Window, closed_at: str, identity: str, values: dict[str, Any]) -> list[str]:
    """The bounds of a window on the close time, which leaves out chunks, and on the id, which indexes are ordered by.

    `ledgers` has a row for every ledger there is history of: through it a time becomes an id.
    """
    conditions = []
    if window.since is not None:
        values["since"] = window.since
        first = _ledger("closed_at >= %(since)s ORDER BY l.closed_at, l.sequence", 0)
        conditions += [f"{closed_at} >= %(since)s", f"{identity} >= coalesce({first}, {_LAST_ID})"]
    if window.until is not None:
        values["until"] = window.until
        conditions += [
            f"{closed_at} <= %(until)s",
            f"{identity} < coalesce({_ledger('closed_at <= %(until)s ORDER BY l.closed_at DESC, l.sequence DESC', 1)}, 0)",
        ]
    if window.from_ledger is not None:
        values["from_id"] = min(window.from_ledger << 32, _LAST_ID)
        conditions.append(f"{identity} >= %(from_id)s::bigint")
    if window.to_ledger is not None:
        values["to_id"] = min((window.to_ledger + 1) << 32, _LAST_ID)
        conditions.append(f"{identity} < %(to_id)s::bigint")
    return conditions


def _ledger(chosen: str, ahead: int) -> str:
    return f"(SELECT (l.sequence + {ahead})::bigint << 32 FROM ledgers l WHERE l.{chosen} LIMIT 1)"


def where(conditions: list[str]) -> str:
    return "WHERE " + " AND ".join(conditions) if conditions else ""


_PARENTS: Final = "unnest(%(ids)s::bigint[], %(times)s::timestamptz[])"
_ONE_PARENT: Final = f"(SELECT * FROM {_PARENTS} LIMIT 1) AS p(id, closed_at)"
_MANY_PARENTS: Final = f"{_PARENTS} AS p(id, closed_at)"


def among(parents: Sequence[Parent]) -> str:
    """What follows FROM: the parents as `p`. That there is only one is said, because from an array of unknown length the planner
    would expect ten, and plan anew for every execution of a prepared statement."""
    return _ONE_PARENT if len(parents) == 1 else _MANY_PARENTS


def parallel(parents: Sequence[Parent]) -> dict[str, Any]:
    """The values that `among` takes."""
    return {"ids": [parent.id for parent in parents], "times": [parent.closed_at for parent in parents]}
