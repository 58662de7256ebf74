"""Server-Sent Events: the same subscriptions for clients that speak plain HTTP.

Two forms. A GraphQL request that accepts `text/event-stream` is answered with `next` events and a last `complete` (the protocol
graphql-sse, distinct connections). And the addresses under /stream need no GraphQL: each event is one JSON object with its cursor
as id, so that a browser's EventSource, which sends Last-Event-ID by itself, goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.execution import Body, StreamRefused
from api.live.documents import Document
from api.live.subscriptions import Subscriptions
from api.requests import BAD_REQUEST

EVENT_STREAM: Final = "text/event-stream"
QUIET_SECONDS: Final = 15.0  # then a comment shows proxies that the connection lives
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def wanted(http: Request) -> bool:
    """Whether a GraphQL request asks for events."""
    return EVENT_STREAM in http.headers.get("accept", "")


async def graphql_events(given: Any, subscriptions: Subscriptions, request_id: str) -> Response:
    """The answers to a GraphQL request as `next` events."""

    async def events() -> AsyncGenerator[bytes]:
        try:
            async with aclosing(await subscriptions.open(given, request_id)) as bodies:
                async for body in bodies:
                    yield _event("next", orjson.dumps(body))
        except StreamRefused as refused:
            yield _event("next", orjson.dumps({"errors": refused.errors}))
        yield _event("complete", b"")

    return _streaming(events())


async def plain_events(http: Request, document: Document, subscriptions: Subscriptions, request_id: str) -> Response:
    """The rows of a canned subscription, with their cursors as ids. 400 for arguments that are refused."""
    try:
        bodies = await subscriptions.open({"query": document.text, "variables": document.variables(http)}, request_id)
    except StreamRefused as refused:
        return Response(orjson.dumps({"error": str(refused)}), BAD_REQUEST, media_type="application/json")

    async def events() -> AsyncGenerator[bytes]:
        yield b": the events follow\n\n"
        async with aclosing(bodies):
            async for body in bodies:
                yield _row(body, document.field)

    return _streaming(events())


def _row(body: Body, field: str) -> bytes:
    if "errors" in body:
        return _event("error", orjson.dumps(body["errors"][0]))
    edge = body["data"][field]
    return _event("", orjson.dumps(edge["node"]), edge["cursor"])


def _event(name: str, data: bytes, identity: str = "") -> bytes:
    head = (f"event: {name}\n" if name else "") + (f"id: {identity}\n" if identity else "")
    return head.encode() + b"data: " + data + b"\n\n"


def _streaming(events: AsyncGenerator[bytes]) -> Response:
    return StreamingResponse(_lively(events), media_type=EVENT_STREAM, headers=HEADERS)


async def _lively(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The events, and a comment whenever there was none for a while."""
    async with aclosing(events):
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                done, _ = await asyncio.wait((coming,), timeout=QUIET_SECONDS)
                if not done:
                    yield b": nothing new\n\n"
                    continue
                event = coming.result()
                if event is None:
                    return
                yield event
                coming = asyncio.ensure_future(anext(events, None))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
