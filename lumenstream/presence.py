"""Which ledgers are missing between the first and the last of table `ledgers`. Reads its primary key, and nothing else."""

from __future__ import annotations

from typing import Final, NamedTuple

from lumenstream.database import Connection

SHOWN_GAPS: Final = 20

_GAPS: Final = (
    "with gaps as (select first, last from (select sequence + 1 as first, lead(sequence) over (order by sequence) - 1 as last "
    "from ledgers) as pairs where last >= first) "
    "select first, last, count(*) over (), sum(last - first + 1) over () from gaps order by first limit %s"
)


class Missing(NamedTuple):
    """`gaps`: how many stretches; `ledgers`: how many in all; `shown`: first and last ledger of the lowest stretches."""

    gaps: int
    ledgers: int
    shown: tuple[tuple[int, int], ...]


def missing_ledgers(connection: Connection) -> Missing:
    """Every gap between two ledgers that are there."""
    rows = connection.execute(_GAPS, (SHOWN_GAPS,)).fetchall()
    if not rows:
        return Missing(0, 0, ())
    return Missing(int(rows[0][2]), int(rows[0][3]), tuple((first, last) for first, last, *_ in rows))
