"""GraphQL over HTTP: takes the request from the wire, within limits (spec/api.md 6).

POST with application/json, or GET with query, variables and operationName in the URL. A request that is not GraphQL at all gets
400, 413 or 415 with a JSON body; from there on the answer is GraphQL's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.websockets import WebSocket

from api import export
from api.admission import Admission, HttpError
from api.database import Database
from api.errors import INTERNAL_TEXT, ClientError, Code, public
from api.execution import OK, Executor
from api.live import sse
from api.live.documents import Document
from api.live.feed import Feed
from api.live.subscriptions import Subscriptions
from api.live.websocket import Connection
from api.persisted import Persisted
from api.requests import BAD_REQUEST, request_of
from lumenstream import logs, metrics
from lumenstream.settings import ApiSettings

JSON: Final = "application/json"
_JSON_HEADER: Final = (b"content-type", JSON.encode())
TOO_LARGE: Final = 413
WRONG_TYPE: Final = 415
TIMED_OUT: Final = 504

_log = logs.get_logger("api")


def json_response(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, JSON)


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return json_response(status, {"error": message}, headers)


class _Answered(Response):
    """An answer in JSON, whose headers need no looking at."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON_HEADER]


class Endpoint:
    """The GraphQL endpoint of one process."""

    def __init__(self, executor: Executor, settings: ApiSettings, admission: Admission, feed: Feed, database: Database) -> None:
        self._executor = executor
        self._settings = settings
        self._admission = admission
        self._feed = feed
        self._database = database
        self._persisted = Persisted(settings)
        self._subscriptions = Subscriptions(executor, self._persisted, settings)

    async def connect(self, socket: WebSocket, request_id: str) -> None:
        """Serve a WebSocket connection to its end."""
        await Connection(socket, self._subscriptions, self._admission, self._feed, self._settings, request_id).serve()

    async def download(self, http: HttpRequest, kind: str, form: str, request_id: str) -> Response:
        """An export of an account's history."""
        try:
            self._admission.admit(http, http.method, b"", request_id)
            return export.response(http, self._database, kind, form)
        except HttpError as error:
            return error_response(error.status, error.message, error.headers)
        except ClientError as error:
            return error_response(BAD_REQUEST, error.message)

    async def events(self, http: HttpRequest, document: Document, request_id: str) -> Response:
        """The events of a canned subscription."""
        try:
            self._admission.admit(http, http.method, b"", request_id)
        except HttpError as error:
            return error_response(error.status, error.message, error.headers)
        return await sse.plain_events(http, document, self._subscriptions, request_id)

    async def answer(self, http: HttpRequest, request_id: str) -> Response:
        """The answer to a GraphQL request."""
        try:
            with self._admission.place():
                return await self._answer(http, request_id)
        except HttpError as error:
            return error_response(error.status, error.message, error.headers)
        except ClientError as error:
            return json_response(OK, {"errors": [public(error, request_id)], "data": None})

    async def _answer(self, http: HttpRequest, request_id: str) -> Response:
        body = b"" if http.method == "GET" else await _json_body(http, self._settings.max_body_bytes)
        self._admission.admit(http, http.method, body, request_id)
        given = _from_url(http) if http.method == "GET" else _json(body, "the body")
        if sse.wanted(http):
            return await sse.graphql_events(given, self._subscriptions, request_id)
        request = request_of(given, self._persisted, read_only=http.method == "GET")
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                answer = await self._executor.answer(request, request_id)
        except TimeoutError:
            _log.warning("a request took too long", request_id=request_id, seconds=self._settings.request_timeout_seconds)
            code = Code.INTERNAL_SERVER_ERROR.value
            metrics.API_ERRORS.labels(code).inc()
            failure = {"message": INTERNAL_TEXT, "extensions": {"code": code, "requestId": request_id}}
            return json_response(TIMED_OUT, {"errors": [failure], "data": None})
        return _Answered(answer.status, answer.body)


def _from_url(http: HttpRequest) -> dict[str, Any]:
    given = http.query_params
    return {
        "query": given.get("query"),
        "operationName": given.get("operationName"),
        **{name: _json(given[name].encode(), name) for name in ("variables", "extensions") if given.get(name)},
    }


async def _json_body(http: HttpRequest, limit: int) -> bytes:
    if http.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise HttpError(WRONG_TYPE, f"Content-Type must be {JSON}")
    return await _body(http, limit)


async def _body(http: HttpRequest, limit: int) -> bytes:
    announced = http.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise HttpError(TOO_LARGE, f"the body is larger than {limit} bytes")
    body = bytearray()
    async for piece in http.stream():
        body += piece
        if len(body) > limit:
            raise HttpError(TOO_LARGE, f"the body is larger than {limit} bytes")
    return bytes(body)


def _json(text: bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise HttpError(BAD_REQUEST, f"{what} is not JSON: {error}") from error
