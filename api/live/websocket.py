"""GraphQL over WebSocket: the protocol graphql-transport-ws, for subscriptions and for single queries.

A connection begins with `connection_init`; its answer, `connection_ack`, says in its payload which ledger is the newest, so that
a client that has no cursor yet can begin there. With authentication on, the handshake carries a token in its Authorization header
or `connection_init` carries it as `authorization`; it signs the handshake, `GET /graphql/query` with an empty body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.admission import Admission, HttpError
from api.errors import ClientError, Code, public
from api.execution import StreamRefused
from api.live.feed import Feed
from api.live.subscriptions import Subscriptions
from lumenstream import logs, metrics
from lumenstream.settings import ApiSettings

PROTOCOL: Final = "graphql-transport-ws"
MAX_ID_CHARACTERS: Final = 128
INIT_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
SEND_SECONDS: Final = 30.0  # a client that takes nothing for so long is let go

# Close codes of the protocol.
INVALID_MESSAGE: Final = 4400
UNAUTHORIZED: Final = 4401
NO_INIT: Final = 4408
DUPLICATE: Final = 4409
TWO_INITS: Final = 4429
GOING_AWAY: Final = 1001
NO_SUBPROTOCOL: Final = 4406
TRY_LATER: Final = 1013

_log = logs.get_logger("api")


class _Closed(Exception):
    """The connection ends, by us, with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """One client's connection, from handshake to end."""

    def __init__(
        self,
        socket: WebSocket,
        subscriptions: Subscriptions,
        admission: Admission,
        feed: Feed,
        settings: ApiSettings,
        request_id: str,
    ) -> None:
        self._socket = socket
        self._subscriptions = subscriptions
        self._admission = admission
        self._feed = feed
        self._settings = settings
        self._request_id = request_id
        self._sending = asyncio.Lock()
        self._severed = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Until the client leaves, breaks the protocol, or the server stops."""
        if PROTOCOL not in self._socket.scope.get("subprotocols", ()):
            await self._socket.accept()
            await self._socket.close(NO_SUBPROTOCOL, f"the subprotocol is {PROTOCOL}")
            return
        await self._socket.accept(PROTOCOL)
        metrics.API_CONNECTIONS.inc()
        pinging = asyncio.create_task(self._ping())
        pinging.add_done_callback(self._failed)
        talking = asyncio.create_task(self._talk())
        severing = asyncio.create_task(self._severed.wait())
        try:
            await asyncio.wait((talking, severing), return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                code, why = (GOING_AWAY, "the server stops") if self._feed.closed else (TRY_LATER, "messages cannot be delivered")
                raise _Closed(code, f"{why}: come back with your last cursor")
            await talking
        except _Closed as closed:
            await self._close(closed.code, closed.reason)
        except WebSocketDisconnect:
            pass  # the client left
        except asyncio.CancelledError:
            await self._close(GOING_AWAY, "the server stops: come back with your last cursor")
            raise
        finally:
            metrics.API_CONNECTIONS.dec()
            tasks = [pinging, talking, severing, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self) -> None:
        await self._begin()
        await self._listen()

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(INIT_SECONDS):
                message = await self._received()
        except TimeoutError:
            raise _Closed(NO_INIT, "connection_init did not come in time") from None
        if message["type"] != "connection_init":
            raise _Closed(UNAUTHORIZED, "connection_init comes first")
        payload = message.get("payload") or {}
        token = payload.get("authorization") or payload.get("Authorization") if isinstance(payload, dict) else None
        try:
            self._admission.admit(self._socket, "GET", b"", self._request_id, token if isinstance(token, str) else None)
        except HttpError as error:
            raise _Closed(UNAUTHORIZED if error.status == 401 else TRY_LATER, error.message) from error
        newest = self._feed.newest
        await self._send({"type": "connection_ack", "payload": {"latestLedger": newest.sequence if newest else None}})

    async def _listen(self) -> None:
        handlers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "subscribe": self._subscribe,
            "complete": self._complete,
            "ping": self._pong,
            "pong": self._nothing,
            "connection_init": self._second_init,
        }
        while True:
            message = await self._received()
            handler = handlers.get(message["type"])
            if handler is None:
                raise _Closed(INVALID_MESSAGE, f"no message has type {message['type'][:40]!r}")
            await handler(message)

    async def _received(self) -> dict[str, Any]:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", GOING_AWAY))
        try:
            message = orjson.loads(received.get("text") or received.get("bytes") or b"")
        except orjson.JSONDecodeError as error:
            raise _Closed(INVALID_MESSAGE, "a message is not JSON") from error
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise _Closed(INVALID_MESSAGE, "a message is a JSON object with a type")
        return message

    async def _subscribe(self, message: dict[str, Any]) -> None:
        name, payload = message.get("id"), message.get("payload")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARACTERS or not isinstance(payload, dict):
            raise _Closed(INVALID_MESSAGE, "subscribe has an id and a payload")
        if name in self._running:
            raise _Closed(DUPLICATE, f"a subscription with id {name} exists already")
        if len(self._running) >= self._settings.max_subscriptions_per_connection:
            limit = self._settings.max_subscriptions_per_connection
            refusal = ClientError(Code.BAD_USER_INPUT, f"a connection has at most {limit} subscriptions")
            await self._send({"type": "error", "id": name, "payload": [public(refusal, self._request_id)]})
            return
        task = self._running[name] = asyncio.create_task(self._run(name, payload))
        task.add_done_callback(lambda done: self._ended(name, done))

    async def _run(self, name: str, payload: dict[str, Any]) -> None:
        try:
            bodies = await self._subscriptions.open(payload, self._request_id)
        except StreamRefused as refused:
            await self._send({"type": "error", "id": name, "payload": refused.errors})
            return
        async with aclosing(bodies):
            async for body in bodies:
                await self._send({"type": "next", "id": name, "payload": body})
        if self._feed.closed:
            self._severed.set()  # not complete: it goes on elsewhere
            return
        await self._send({"type": "complete", "id": name})

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._running.get(name) is task:
            del self._running[name]
        self._failed(task)

    def _failed(self, task: asyncio.Task[None]) -> None:
        """A message that cannot be sent ends the connection; so does a defect, which is logged."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, WebSocketDisconnect | TimeoutError | RuntimeError | OSError):
            _log.error("a subscription failed", request_id=self._request_id, exc_info=error)
        self._severed.set()

    async def _complete(self, message: dict[str, Any]) -> None:
        """The client has enough; the id may be used again."""
        name = message.get("id")
        task = self._running.pop(name, None) if isinstance(name, str) else None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _pong(self, message: dict[str, Any]) -> None:
        payload = message.get("payload")
        await self._send({"type": "pong", **({} if payload is None else {"payload": payload})})

    async def _nothing(self, message: dict[str, Any]) -> None:
        """A pong proves that the client lives; the TCP connection says so too."""

    async def _second_init(self, message: dict[str, Any]) -> None:
        raise _Closed(TWO_INITS, "connection_init comes once")

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self._send({"type": "ping"})

    async def _send(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_SECONDS), self._sending:
            await self._socket.send_text(orjson.dumps(message).decode())

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await self._socket.close(code, reason)
            except (RuntimeError, OSError, TimeoutError):
                _log.debug("a connection was gone before it was closed", request_id=self._request_id)
