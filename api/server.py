"""The API as a program and as an application: routes, lifetime, request ids and metrics.

Data flow: HTTP in, reads of the database, JSON out. Processes share nothing; run as many as needed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

import uvicorn
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from api import export, health
from api.admission import Admission
from api.database import Database
from api.execution import Executor
from api.live.documents import ACCOUNT_STATE_CHANGES, LEDGERS, TRANSACTIONS, Document
from api.live.feed import Feed
from api.pages import Pages
from api.schema import graphql_schema
from api.status import StatusPages
from api.tracing import Tracer, tracer
from api.transport import Endpoint, error_response, json_response
from lumenstream import database as ground
from lumenstream import logs, metrics, tracker
from lumenstream.errors import UnreachableError
from lumenstream.roleserver import cannot_listen
from lumenstream.settings import Settings

GRAPHQL: Final = "/graphql/query"
PATHS: Final = frozenset(
    {"/", GRAPHQL, "/health", "/ready", "/status", "/status.json", "/metrics"}
)  # labels of the request metric
ALLOWED: Final = "OPTIONS, GET, POST"  # of the GraphQL endpoint
CORS_METHODS: Final = ("GET", "POST")
CORS_HEADERS: Final = ("Authorization", "Content-Type")
STREAM: Final = "/stream/"
STREAMS: Final = {
    STREAM + "accounts/{address}/state-changes": ACCOUNT_STATE_CHANGES,
    STREAM + "accounts/{address}/transactions": TRANSACTIONS,
    STREAM + "transactions": TRANSACTIONS,
    STREAM + "ledgers": LEDGERS,
}
EXPORT: Final = "/export/"
STATIC: Final = "/static/"
GROUPS: Final = (STATIC, STREAM, EXPORT)  # paths that share a label
DRAIN_MARGIN_SECONDS: Final = 5
KEEP_ALIVE_SECONDS: Final = 75
NOT_FOUND_TEXT: Final = "The resource at the url requested was not found."
METHOD_TEXT: Final = "The method is not allowed for resource at the url requested."
SERVER_TEXT: Final = "An error occurred while processing this request."

_log = logs.get_logger("api")
_seconds = lru_cache(maxsize=512)(metrics.API_REQUEST_SECONDS.labels)  # finding the labels costs more than counting


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way.

    UnreachableError and SchemaVersionError before the first request when the database is not there or not right,
    ConfigurationError when the address cannot be listened on.
    """
    with ground.connect(settings.database, application_name="lumenstream-api-start", autocommit=True) as connection:
        ground.check_schema(connection)
        ground.check_network(connection, settings.network.network_id())
    listener = listen(settings.api.host, settings.api.port)
    _log.info("the API listens", host=settings.api.host, port=listener.getsockname()[1])
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws_max_size=settings.api.max_body_bytes,
        ws_ping_interval=None,  # the protocol of the connection has pings of its own
        limit_concurrency=settings.api.max_connections,
        forwarded_allow_ips=settings.api.trusted_proxies,
        timeout_graceful_shutdown=int(settings.api.request_timeout_seconds) + DRAIN_MARGIN_SECONDS,
    )
    server = _Server(config, app.state.feed)
    _end_well_when_asked()
    server.run(sockets=[listener])
    if not server.started:
        raise UnreachableError("the API could not start", hint="the log above says why")


class _Server(uvicorn.Server):
    """Ends subscriptions as soon as it stops: other requests have an end of their own and are waited for."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.close()
        await super().shutdown(sockets)


def _end_well_when_asked() -> None:
    """uvicorn sends itself the signal again after it has drained; by then it has nothing more to say."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, before uvicorn starts: its own way out of a taken port is exit code 1."""
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((host, port), family=socket.AddressFamily(family))
    except (OSError, OverflowError, UnicodeError) as error:
        raise cannot_listen(host, port, error, host_setting="api.host", port_setting="api.port") from error


def create_app(settings: Settings, executor: type[Executor] = Executor) -> FastAPI:
    """The application. Its connections to the database open and close with its lifespan."""
    traces = tracer(settings.api)
    database = Database(settings.database, settings.api.slow_query_seconds, traces)
    network_id = settings.network.network_id().hex()
    feed = Feed(settings.database)
    endpoint = Endpoint(
        executor(graphql_schema(), settings, database, feed), settings.api, Admission(settings.api), feed, database
    )
    pages = Pages() if settings.api.query_page else None
    status = StatusPages(settings) if settings.status.page else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with database:
            feed.start()
            try:
                yield
            finally:
                await feed.stop()
                if traces is not None:
                    await asyncio.to_thread(traces.close)

    app = _Application(title="Lumenstream", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    if settings.api.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.api.cors_origins, allow_methods=CORS_METHODS, allow_headers=CORS_HEADERS
        )
    app.add_middleware(Envelope, traces=traces)
    app.add_exception_handler(HTTPException, _http_error)
    app.state.feed = feed

    async def query(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(headers={"Allow": ALLOWED})
        if pages is not None and request.method == "GET" and _wants_page(request):
            return pages.page("query")
        return await endpoint.answer(request, request.state.request_id)

    async def connect(socket: WebSocket) -> None:
        await endpoint.connect(socket, uuid.uuid4().hex)

    def streaming(document: Document) -> Callable[[Request], Awaitable[Response]]:
        async def stream(request: Request) -> Response:
            return await endpoint.events(request, document, request.state.request_id)

        return stream

    def exporting(kind: str, form: str) -> Callable[[Request], Awaitable[Response]]:
        async def download(request: Request) -> Response:
            return await endpoint.download(request, kind, form, request.state.request_id)

        return download

    async def home(_: Request) -> Response:
        return _not_found() if pages is None else pages.page("explorer")

    async def static(request: Request) -> Response:
        found = None if pages is None else pages.find(request.path_params["name"])
        return _not_found() if found is None else found

    async def get_health(_: Request) -> Response:
        return json_response(*await health.state(database, network_id))

    async def get_status(_: Request) -> Response:
        return _not_found() if status is None else await status.page()

    async def get_status_json(_: Request) -> Response:
        return _not_found() if status is None else await status.json()

    async def get_ready(_: Request) -> Response:
        return json_response(*await health.readiness(database))

    async def get_metrics(_: Request) -> Response:
        return Response(generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def post(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await endpoint.answer(Request(scope, receive), scope["state"]["request_id"])
        await answer(scope, receive, send)

    app.shortcut = Envelope(post, traces=traces)
    app.add_route(GRAPHQL, query, ALLOWED.split(", "))
    app.router.routes.append(WebSocketRoute(GRAPHQL, connect))
    for path, document in STREAMS.items():
        app.add_route(path, streaming(document), ["GET"])
    for kind in export.EXPORTS:
        for form in export.MEDIA_TYPES:
            app.add_route(f"{EXPORT}accounts/{{address}}/{kind}.{form}", exporting(kind, form), ["GET"])
    app.add_route("/", home, ["GET"])
    app.add_route(STATIC + "{name}", static, ["GET"])
    app.add_route("/health", get_health, ["GET"])
    app.add_route("/ready", get_ready, ["GET"])
    app.add_route("/status", get_status, ["GET"])
    app.add_route("/status.json", get_status_json, ["GET"])
    app.add_route("/metrics", get_metrics, ["GET"])
    return app


class _Application(FastAPI):
    """FastAPI, but for queries by POST, which are most of what comes: they go straight to the endpoint.

    The way around is the same one, less the router and what stands in front of it; when more was put there than our Envelope,
    as for CORS or traces, everything takes the long way.
    """

    shortcut: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == GRAPHQL and len(self.user_middleware) == 1:
            await self.shortcut(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Envelope:
    """Around every request: an id (in `request.state`, the log and X-Request-Id), its time, and 500 for what nobody caught."""

    def __init__(self, app: ASGIApp, traces: Tracer | None) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        if self._traces is None:
            await self._answer(scope, receive, send, request_id)
            return
        with self._traces.request(scope["method"], _label(scope["path"]), Headers(scope=scope), request_id) as span:
            span.set_attribute("http.response.status_code", await self._answer(scope, receive, send, request_id))

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """The status of the answer."""
        scope.setdefault("state", {})["request_id"] = request_id
        path = _label(scope["path"])
        started = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as error:
            _log.error("a request failed", request_id=request_id, path=scope["path"], exc_info=error)
            tracker.report(error, request_id=request_id)
            if status:
                raise
            await error_response(500, SERVER_TEXT)(scope, receive, send_on)
        finally:
            _seconds(path, str(status)).observe(time.perf_counter() - started)
        return status


def _label(path: str) -> str:
    """Of the request metric: few, whatever clients ask for."""
    return path if path in PATHS else next((group for group in GROUPS if path.startswith(group)), "other")


def _wants_page(request: Request) -> bool:
    """A browser that opens the address, not a client that sends a query in it."""
    return "query" not in request.query_params and "text/html" in request.headers.get("accept", "")


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    texts = {404: NOT_FOUND_TEXT, 405: METHOD_TEXT}
    return error_response(error.status_code, texts.get(error.status_code, str(error.detail)), dict(error.headers or {}))


def _not_found() -> Response:
    return error_response(404, NOT_FOUND_TEXT)
