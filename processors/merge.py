"""One last change per ledger entry: how the balance tables see a ledger in which an entry changed many times (spec 5.2, 10.4).

Tables of current state need one upsert or delete per row and ledger. The change with the highest order wins, whatever order
the changes come in. An entry that did not exist before the ledger and does not exist after it leaves no trace; one that existed
before and is gone afterwards is deleted, even if it came back in between (quirks Q14 and Q15 of the reference, fixed here).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from lumenstream.xdr import fastest
from lumenstream.xdr.rows import Change
from processors.view import CREATED, REMOVED, RESTORED, UPDATED

ADD: Final = "ADD"
UPDATE: Final = "UPDATE"
REMOVE: Final = "REMOVE"

_WORDS: Final = {CREATED: ADD, UPDATED: UPDATE, REMOVED: REMOVE, RESTORED: ADD}


def _last_changes(changes: Iterable[tuple[Hashable, int, Change]]) -> list[tuple[int, Change]]:
    """From (key, order, change) of one ledger to (order, change), one for each key, by first appearance of the key.

    Among equal orders the later one wins: an operation may change an entry twice. A cancelled key keeps its place in `seen`,
    so that a change of lower order that comes afterwards cannot revive it.
    """
    seen: dict[Hashable, tuple[int, Change, int, Change]] = {}  # first order and change, last order and change
    for key, order, change in changes:
        known = seen.get(key)
        if known is None:
            seen[key] = (order, change, order, change)
            continue
        first_order, first, last_order, last = known
        if order >= last_order:
            seen[key] = (first_order, first, order, change)
        elif order < first_order:
            seen[key] = (order, change, last_order, last)
    return [(order, last) for _, first, order, last in seen.values() if last.kind != REMOVED or existed_before(first)]


last_changes: Final = fastest("last_changes", _last_changes)


def existed_before(first: Change) -> bool:
    """Did the entry exist before this change? A restored one did: it was archived, which removes no balance row."""
    return first.kind != CREATED


def operation_word(change: Change) -> str:
    """ADD, UPDATE or REMOVE. A restored entry reads like an added one (Q28): an upsert either way."""
    return _WORDS[change.kind]
