"""Calls to a server that fails now and then: how often, with which pauses, and what to say when it stays away.

A call that failed in a way another attempt may mend raises Failure. The pauses are the caller's `wait`, so that they can be used
for other work and ended by a stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from lumenstream.errors import UnreachableError
from lumenstream.logs import get_logger

Wait = Callable[[float], bool]
"""Waits up to so many seconds; True: stop now. 0 only asks."""

T = TypeVar("T")
_log = get_logger("retry")


class Failure(Exception):
    """One call failed in a way that another attempt may mend. `kind` is a metric label."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Stopped(Exception):
    """The wait between two attempts was ended."""


class RetryPolicy(NamedTuple):
    """The pause after the first failure, doubled after each further one up to the longest."""

    attempts: int = 10
    first_pause_seconds: float = 1.0
    max_pause_seconds: float = 30.0


class Retry:
    """The failures in a row of one server. `problem` tells of them, for /health; empty while all is well.

    `count` hears the kind of each failure; `hint` goes with the error that ends it all.
    """

    def __init__(self, policy: RetryPolicy, wait: Wait, count: Callable[[str], None], *, hint: str) -> None:
        self._policy = policy
        self._wait = wait
        self._count = count
        self._hint = hint
        self._failures = 0
        self.problem = ""

    def run(self, what: str, once: Callable[[], T]) -> T:
        """The result of a call. UnreachableError after the last attempt, Stopped when a wait is ended."""
        while True:
            try:
                result = once()
            except Failure as failure:
                self.failed(what, failure)
            else:
                self.succeeded()
                return result

    def failed(self, what: str, failure: Failure) -> None:
        """Count a failure and wait. UnreachableError when it was the last attempt, Stopped when the wait is ended."""
        self._count(failure.kind)
        self._failures += 1
        if self._failures >= self._policy.attempts:
            often = "once" if self._failures == 1 else f"{self._failures} times, the last time"
            raise UnreachableError(f"{what} failed {often} with: {failure}", hint=self._hint) from failure
        pause = min(self._policy.first_pause_seconds * 2 ** (self._failures - 1), self._policy.max_pause_seconds)
        self.problem = f"{what}: {failure} (attempt {self._failures})"
        _log.warning("call failed", call=what, error=str(failure), attempt=self._failures, retry_seconds=pause)
        if self._wait(pause):
            raise Stopped

    def succeeded(self) -> None:
        self._failures = 0
        self.problem = ""
