"""Does a worker stand still? Judged from outside: what its consumer group has yet to read, against what the worker does.

A Kafka client can stop for good without an error (docs/decisions/0011). It then looks like one that has nothing to do, except
that its group's offset stays where it is with messages behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

Partition = tuple[str, int]


class Watch:
    """Looks come from the worker at intervals; time is the caller's."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._steps = -1
        self._stuck: dict[Partition, int] = {}
        self._since = 0.0

    def moves(self, steps: int) -> bool:
        """Whether the worker did anything since the last call. If so, what was seen before does not count."""
        moves, self._steps = steps != self._steps, steps
        if moves:
            self.forget()
        return moves

    def forget(self) -> None:
        """Start anew, for example because the broker does not answer: then waiting is right."""
        self._stuck = {}

    def stalled(self, behind: Mapping[Partition, int], assigned: Collection[Partition], now: float) -> bool:
        """`behind`: the group's next offset where messages wait. A worker without partitions answers for all of the group's.

        True when a partition has been behind at the same offset for `stall_seconds`.
        """
        mine = {partition: offset for partition, offset in behind.items() if not assigned or partition in assigned}
        still = {partition: offset for partition, offset in self._stuck.items() if mine.get(partition) == offset}
        if still:
            self._stuck = still
        else:
            self._stuck, self._since = mine, now
        return bool(still) and now - self._since >= self._stall_seconds

    def stuck(self) -> str:
        """The partitions that do not move, for the log."""
        return ", ".join(f"{topic} [{partition}] at {offset}" for (topic, partition), offset in sorted(self._stuck.items()))
