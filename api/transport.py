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

from api.errors import INTERNAL_TEXT, Code
from api.execution import Executor, Request
from lumenstream import logs, metrics
from lumenstream.settings import ApiSettings

JSON: Final = "application/json"
BAD_REQUEST: Final = 400
TOO_LARGE: Final = 413
WRONG_TYPE: Final = 415
TIMED_OUT: Final = 504

_log = logs.get_logger("api")


class HttpError(Exception):
    """A request refused before GraphQL: a status and one line of text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def json_response(status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, JSON)


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return json_response(status, {"error": message}, headers)


async def graphql(http: HttpRequest, executor: Executor, settings: ApiSettings, request_id: str) -> Response:
    """The answer to a GraphQL request."""
    try:
        request = _from_url(http) if http.method == "GET" else await _from_body(http, settings.max_body_bytes)
    except HttpError as error:
        return error_response(error.status, error.message)
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            answer = await executor.answer(request, request_id)
    except TimeoutError:
        _log.warning("a request took too long", request_id=request_id, seconds=settings.request_timeout_seconds)
        code = Code.INTERNAL_SERVER_ERROR.value
        metrics.API_ERRORS.labels(code).inc()
        failure = {"message": INTERNAL_TEXT, "extensions": {"code": code, "requestId": request_id}}
        return json_response(TIMED_OUT, {"errors": [failure], "data": None})
    return Response(answer.body, answer.status, media_type=JSON)


def _from_url(http: HttpRequest) -> Request:
    given = http.query_params
    variables = _json(given["variables"].encode(), "variables") if given.get("variables") else None
    return _request({"query": given.get("query"), "variables": variables, "operationName": given.get("operationName")}, True)


async def _from_body(http: HttpRequest, limit: int) -> Request:
    if http.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise HttpError(WRONG_TYPE, f"Content-Type must be {JSON}")
    return _request(_json(await _body(http, limit), "the body"), False)


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


def _request(given: Any, read_only: bool) -> Request:
    if not isinstance(given, dict):
        raise HttpError(BAD_REQUEST, "a GraphQL request is a JSON object with query, variables and operationName")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str):
        raise HttpError(BAD_REQUEST, "query must be a string")
    if not isinstance(variables, dict | None):
        raise HttpError(BAD_REQUEST, "variables must be an object")
    if not isinstance(name, str | None):
        raise HttpError(BAD_REQUEST, "operationName must be a string")
    return Request(query, variables or {}, name or None, read_only)
