"""How far a partition is processed without a hole: what a worker may commit.

A partition of `ledgers` has no holes of its own. So an offset that was never acknowledged, with later ones that were, is a
message that Faust fetched and threw away in a rebalance. Faust itself would commit past it; here it holds everything back until
it is read again. Only what the broker does not have is passed over, which `losses` tells of.

What was given is noted in the consumer's thread, the rest is the event loop's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

Partition = tuple[str, int]


class Offsets:
    """By partition: up to where it is processed, and what the broker does not have of what comes after."""

    def __init__(self) -> None:
        self._next: dict[Partition, int] = {}  # everything before it is processed, or nowhere
        self._given: dict[Partition, int] = {}  # the offset behind what was given last
        self._absent: dict[Partition, dict[int, int]] = {}  # first absent offset: the next one that is there

    def sought(self, place: Partition) -> None:
        """The partition is read again from what is committed, wherever that lies."""
        for known in (self._next, self._given, self._absent):
            known.pop(place, None)

    def was_given(self, place: Partition, offsets: Iterable[int]) -> None:
        """What the broker gave, in order. The first one after a seek has to be processed first."""
        for offset in offsets:
            self._next.setdefault(place, offset)
            if (due := self._given.get(place, offset)) < offset:
                self._absent.setdefault(place, {})[due] = offset
            self._given[place] = offset + 1

    def processed(self, place: Partition, acknowledged: Collection[int]) -> int | None:
        """The offset behind the last message before which none is missing; None while nothing was given."""
        at = self._next.get(place)
        if at is None:
            return None
        absent = self._absent.get(place, {})
        while at in acknowledged or at in absent:
            at = absent.pop(at) if at in absent else at + 1
        self._next[place] = at
        return at

    def behind(self, place: Partition, unread: range) -> int:
        """How many messages before the end of `unread` are not processed, as of the last look.

        While nothing was given that is all of `unread`: it begins where the client stands, behind what the broker has deleted.
        """
        return max(0, unread.stop - self._next.get(place, unread.start))

    def held(self, place: Partition, acknowledged: Collection[int]) -> int | None:
        """The offset of a message that is missing although a later one was acknowledged; None when there is none."""
        at = self.processed(place, acknowledged)
        return at if at is not None and any(offset > at for offset in acknowledged) else None
