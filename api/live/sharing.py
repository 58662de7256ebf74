"""One read for many subscriptions: those woken by the same ledger ask the same, at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from api.database import Reader, Row, Values


class SharedReads:
    """A reader that sends equal reads which are under way at once only once. Rows are shared: never change them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._under_way: dict[Hashable, asyncio.Task[list[Any]]] = {}

    async def fetch(self, name: str, statement: str, values: Values, row: Callable[[Sequence[Any]], Row]) -> list[Row]:
        given = tuple((place, tuple(value) if isinstance(value, list) else value) for place, value in values.items())
        key = (statement, row, given)
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._reader.fetch(name, statement, values, row))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)  # a subscriber that leaves does not take the read from the others
