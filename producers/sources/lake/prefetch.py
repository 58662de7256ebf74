"""Reads ahead: objects of a lake by several threads, handed out strictly in order.

Bounded in objects and in bytes. How large an object is, is known when it has arrived; those under way count as the largest one
so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from lumenstream import metrics
from lumenstream.retry import Failure
from producers.sources.lake.layout import Batch, Layout

_LOOK_SECONDS: Final = 0.1


class Limits(NamedTuple):
    readers: int
    objects: int
    bytes: int


class _Reading(NamedTuple):
    batch: Batch
    future: Future[bytes | None]

    @property
    def failed(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Failure)


class Prefetch:
    """A window of objects from the one that is wanted next on. `fetch` gives an object's bytes, None when it is not there."""

    def __init__(self, layout: Layout, fetch: Callable[[Batch], bytes | None], limits: Limits, largest: int) -> None:
        """`largest`: bytes of a typical object, until a larger one was seen."""
        self._layout = layout
        self._fetch = fetch
        self._limits = limits
        self._largest = largest
        self._window: deque[_Reading] = deque()
        self._pool = ThreadPoolExecutor(limits.readers, thread_name_prefix="lake")

    def start(self, batch: Batch, last: int) -> None:
        """Read this object, and ahead up to the one that holds ledger `last`, as far as the limits allow."""
        if not self._window:
            self._window.append(self._reading(batch))
        following = self._layout.after(self._window[-1].batch)
        while following.first <= last and len(self._window) < self._limits.objects and self._has_room():
            self._window.append(self._reading(following))
            following = self._layout.after(following)

    def wait(self, stop: Callable[[], bool]) -> bool:
        """Wait for the first object of the window. False: `stop`, asked ten times a second, said so."""
        first = self._window[0].future
        while not first.done():
            wait([first], _LOOK_SECONDS)
            if stop():
                return False
        return True

    def take(self) -> bytes | None:
        """The first object of the window, which has arrived; None, and nothing is read ahead any more, when it is not there.

        Failure, and what else `fetch` raises: the object stays the first.
        """
        data = self._window[0].future.result()
        if data is None:
            self._drop()
        else:
            self._window.popleft()
            self._largest = max(self._largest, len(data))
        return data

    def again(self) -> None:
        """Read once more what failed."""
        for at, reading in enumerate(self._window):
            if reading.failed:
                self._window[at] = self._reading(reading.batch)

    def close(self) -> None:
        self._drop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _drop(self) -> None:
        for reading in self._window:
            reading.future.cancel()
        self._window.clear()
        metrics.SOURCE_PREFETCHED_BYTES.set(0)

    def _reading(self, batch: Batch) -> _Reading:
        return _Reading(batch, self._pool.submit(self._fetch, batch))

    def _has_room(self) -> bool:
        """Whether one more object of the largest size fits."""
        sizes = [self._size(reading.future) for reading in self._window]
        metrics.SOURCE_PREFETCHED_BYTES.set(sum(sizes))
        return sum(sizes) + self._largest <= self._limits.bytes

    def _size(self, future: Future[bytes | None]) -> int:
        if not future.done() or future.exception() is not None:
            return self._largest
        return len(future.result() or b"")
