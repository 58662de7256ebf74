"""What a job has to do, from table `ledgers`: a ledger with a row is there, one without is missing. Ranges are inclusive."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from lumenstream.database import Connection


class Range(NamedTuple):
    first: int
    last: int

    @property
    def ledgers(self) -> int:
        """How many there are."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)


def present(connection: Connection, start: int, end: int) -> list[Range]:
    """The stretches of ledgers that the database has between two ledgers."""
    rows = connection.execute(
        "select min(sequence), max(sequence) from (select sequence, sequence - row_number() over (order by sequence) as stretch "
        "from ledgers where sequence between %s and %s) as numbered group by stretch order by 1",
        (start, end),
    ).fetchall()
    return [Range(first, last) for first, last in rows]


def missing(stretches: Iterable[Range], start: int, end: int) -> list[Range]:
    """The gaps between ascending stretches, and before and after them."""
    gaps, sequence = [], start
    for stretch in stretches:
        if stretch.first > sequence:
            gaps.append(Range(sequence, stretch.first - 1))
        sequence = stretch.last + 1
    return [*gaps, Range(sequence, end)] if sequence <= end else gaps


def cut(stretches: Iterable[Range], size: int) -> list[Range]:
    """Ranges that cross no multiple of `size`."""
    return [
        Range(max(first, start), min(last, start + size - 1))
        for first, last in stretches
        for start in range(first // size * size, last + 1, size)
    ]


def ends(ranges: Sequence[Range]) -> list[int]:
    """The last ledger of every stretch that ascending ranges make up."""
    pairs = zip_longest(ranges, ranges[1:])
    return [found.last for found, following in pairs if following is None or following.first > found.last + 1]


class Predecessors:
    """Which ledger comes before another, once a job is done."""

    def __init__(self, stretches: Iterable[Range], before: int | None) -> None:
        """`stretches`: what is there and what is planned; `before`: the highest ledger below all of them."""
        self._stretches: Sequence[Range] = sorted(stretches)
        self._firsts = [stretch.first for stretch in self._stretches]
        self._before = before

    def of(self, sequence: int) -> int | None:
        """The highest ledger below; None at the start of everything."""
        at = bisect_left(self._firsts, sequence) - 1
        if at < 0:
            return self._before
        return min(sequence - 1, self._stretches[at].last)
