"""Requests of streaming transports: a subscription gives many answers, any other operation one.

The transports (WebSocket, Server-Sent Events) ask here, so that limits, masking and persisted queries are the same everywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from api.admission import HttpError
from api.errors import ClientError, Code, bad_input, public
from api.execution import Body, Executor, StreamRefused
from api.persisted import Persisted
from api.requests import request_of
from lumenstream import metrics
from lumenstream.settings import ApiSettings

FULL_TEXT: Final = "the server has as many subscriptions as it takes: try another, or later"


class Subscriptions:
    """One per process: counts what runs, and runs it."""

    def __init__(self, executor: Executor, persisted: Persisted, settings: ApiSettings) -> None:
        self._executor = executor
        self._persisted = persisted
        self._limit = settings.max_subscriptions
        self._running = 0

    async def open(self, given: Any, request_id: str) -> AsyncGenerator[Body]:
        """The bodies of the answers to a request in decoded JSON. StreamRefused when it is answered with errors only."""
        try:
            request = request_of(given, self._persisted, read_only=False)
        except HttpError as error:
            raise StreamRefused([public(bad_input(error.message), request_id)]) from error
        except ClientError as error:
            raise StreamRefused([public(error, request_id)]) from error
        if self._running >= self._limit:
            metrics.API_REFUSALS.labels("subscriptions").inc()
            raise StreamRefused([public(ClientError(Code.BAD_USER_INPUT, FULL_TEXT), request_id)])
        return self._counted(await self._executor.stream(request, request_id))

    async def _counted(self, bodies: AsyncGenerator[Body]) -> AsyncGenerator[Body]:
        self._count(1)
        try:
            async for body in bodies:
                metrics.API_EVENTS.inc()
                yield body
        finally:
            self._count(-1)
            await bodies.aclose()

    def _count(self, change: int) -> None:
        self._running += change
        metrics.API_SUBSCRIPTIONS.set(self._running)
