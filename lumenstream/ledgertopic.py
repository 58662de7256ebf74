"""Where ledgers lie on topic `ledgers`, for who has no offsets there: a group that begins, a job that looks for copies."""

from __future__ import annotations

from lumenstream import kafka
from schemas.messages import LedgerHeaders, MessageError


def first_offset(reader: kafka.TopicReader, partition: int, sequence: int) -> int:
    """An offset with a ledger at or above `sequence` right after a lower one: everything from `sequence` on lies behind it.

    Sequences rise by steps and only ever fall back (a ledger sent again), so a binary search finds such a place.
    """
    low, high = reader.watermarks(partition)
    while low < high:
        middle = (low + high) // 2
        message = reader.one(partition, middle)
        try:
            found = LedgerHeaders.from_kafka(kafka.headers_of(message)).sequence
        except MessageError:
            found = sequence  # unreadable: keep it, so that it is reported
        if found < sequence:
            low = middle + 1
        else:
            high = middle
    return low
