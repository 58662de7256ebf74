"""How many ledgers the next transaction takes. Pure: the whole ledgers that wait and how far behind we are in, a batch out.

At the tip one, at once. Behind by more than the threshold, groups, because a transaction costs almost as much as a ledger; until
the tip is near. A group may wait a moment for ledgers that are known to come. A group that the database refused is committed
again ledger by ledger, so that the good ones before the wrong one are in and the wrong one is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from lumenstream.settings import SinkSettings
from sinks.timescale.reorder import Gathered


class Grouping:
    """`catching_up` says whether ledgers go in groups now."""

    def __init__(self, settings: SinkSettings) -> None:
        self.catching_up = False
        self._threshold = settings.group_threshold
        self._most = max(1, min(settings.group_ledgers, settings.reorder_window_ledgers // 2))
        self._most_bytes = settings.group_bytes
        self._wait_seconds = settings.group_wait_seconds
        self._alone_until = 0  # up to here ledgers go alone
        self._waiting_since: float | None = None

    @property
    def limit(self) -> int:
        """How many whole ledgers `choose` wants to see."""
        return max(self._most, self._threshold + 1)

    def choose(self, whole: Sequence[Gathered], lag: int | None, now: float) -> list[Gathered]:
        """The next batch; empty while there is nothing, or a group waits for more. `lag`: ledgers produced and not committed,
        None where nobody knows; `now` in monotonic seconds."""
        behind = max(len(whole), lag or 0)
        if self.catching_up:
            self.catching_up = len(whole) > 1 or behind > self._threshold // 2
        else:
            self.catching_up = behind > self._threshold
        if not whole:
            return []
        if not self.catching_up or self._most == 1 or whole[0].sequence <= self._alone_until:
            return [whole[0]]
        group = self.group(whole)
        more_may_come = len(group) == len(whole) < min(self._most, behind)
        if more_may_come and not self._waited(now):
            return []
        self._waiting_since = None
        return group

    def split(self, last: int) -> None:
        """A group that ends with this ledger was refused: its ledgers go alone."""
        self._alone_until = last

    def group(self, whole: Sequence[Gathered]) -> list[Gathered]:
        """So many of these ledgers as fit a group: the first, and more while there are not too many bytes."""
        group: list[Gathered] = []
        size = 0
        for ledger in whole[: self._most]:
            size += ledger.size
            if group and size > self._most_bytes:
                break
            group.append(ledger)
        return group

    def _waited(self, now: float) -> bool:
        if self._waiting_since is None:
            self._waiting_since = now
        return now - self._waiting_since >= self._wait_seconds
