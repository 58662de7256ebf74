"""Did the broker delete ledgers before the workers read them? A Kafka client says nothing about it: it goes on with the first one
that is still there.

Offsets of a partition of `ledgers` have no holes: whatever lies between the offset a worker has to go on at and the first it is
given was deleted. Told to /health, the log and a metric; the sink waits for what is missing, so nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping

from lumenstream import metrics
from lumenstream.logs import get_logger
from processors.handling import Status

_log = get_logger("processor")


class Losses:
    """What one worker missed of one topic. Offsets come from the consumer's thread, what is told is read by others."""

    def __init__(self, topic: str, status: Status) -> None:
        self._topic = topic
        self._status = status
        self._following: dict[int, int] = {}  # by partition, the offset that has to come next
        self._counted: dict[int, int] = {}  # by partition, the end of what was told already
        self._messages = 0

    def goes_on_at(self, topic: str, partition: int, offset: int | None) -> None:
        """Where the group has got to; None where it never committed, and so begins at whatever is there."""
        if topic != self._topic:
            return
        if offset is None:
            self._following.pop(partition, None)
        else:
            self._following[partition] = offset

    def was_given(self, topic: str, partition: int, first: int, last: int) -> None:
        """The offsets of messages that came in a row."""
        if topic != self._topic:
            return
        needed = self._following.get(partition, first)
        if first > needed:
            self.tell({partition: (needed, first)})
        self._following[partition] = last + 1

    def tell(self, lost: Mapping[int, tuple[int, int]]) -> None:
        """By partition the first offset that was needed, and the first that is still there. Nothing is counted twice."""
        new = 0
        for partition, (needed, low) in lost.items():
            new += max(0, low - max(needed, self._counted.get(partition, 0)))
            self._counted[partition] = max(low, self._counted.get(partition, 0))
        if not new:
            return
        self._messages += new
        metrics.LOST_MESSAGES.inc(new)
        self._status.lost = (
            f"the broker deleted {self._messages} ledgers on {len(self._counted)} partitions before they were read: "
            "lumenstream produce --from N makes them again, N being the ledger after the cursor"
        )
        _log.error("ledgers are lost", problem=self._status.lost, topic=self._topic, partitions=sorted(lost))
