"""Errors that a client of the API may see.

Only an error made here keeps its code and text. Whatever else goes wrong inside a resolver is logged with the request's id
and shown as INTERNAL_SERVER_ERROR (spec/api.md 2.3).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final

from graphql import GraphQLError

from lumenstream import logs, metrics, tracker

_log = logs.get_logger("api")


class Code(StrEnum):
    """Every code that `extensions.code` may hold."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    INVALID_ADDRESS = "INVALID_ADDRESS"
    INVALID_TRANSACTION_HASH = "INVALID_TRANSACTION_HASH"
    EMPTY_ADDRESSES = "EMPTY_ADDRESSES"
    TOO_MANY_ADDRESSES = "TOO_MANY_ADDRESSES"
    NOT_FOUND = "NOT_FOUND"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    COMPLEXITY_LIMIT_EXCEEDED = "COMPLEXITY_LIMIT_EXCEEDED"
    QUERY_TOO_DEEP = "QUERY_TOO_DEEP"
    PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"


INTERNAL_TEXT: Final = "internal server error"
_KNOWN: Final = frozenset(code.value for code in Code)
_HINT: Final = r"(?P<hint> Did you mean [^?]*\?)?"
# What graphql-core says of a field that is selected, and of one of an input object, in the document or in a variable.
_UNKNOWN_FIELD: Final = (
    re.compile(rf"^Cannot query field '(?P<field>\w+)' on type '(?P<type>\w+)'\.{_HINT}"),
    re.compile(rf"Expected value of type '(?P<type>\w+)!?' not to include unknown field '(?P<field>\w+)'[.,]{_HINT}"),
)


class ClientError(GraphQLError):
    """An error in what the client sent, with a code and what helps to mend it."""

    def __init__(self, code: Code, message: str, **details: Any) -> None:
        super().__init__(message, extensions={"code": code.value, **details})


def bad_input(message: str) -> ClientError:
    return ClientError(Code.BAD_USER_INPUT, message)


def with_code(error: GraphQLError, code: Code) -> dict[str, Any]:
    """The JSON form of a parse or validation error, under our code; of an unknown field in the reference's words."""
    metrics.API_ERRORS.labels(code.value).inc()
    return {**_place(error), "message": _plainly(error.message), "extensions": {"code": code.value}}


def _plainly(message: str) -> str:
    for unknown in _UNKNOWN_FIELD:
        if found := unknown.search(message):
            return f"Unknown field '{found['field']}' on type '{found['type']}'.{found['hint'] or ''}"
    return message


def public(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """The JSON form of an execution error: as it is when its code is listed, masked and logged when not."""
    extensions: dict[str, Any] = dict(error.extensions or {})
    code = extensions.get("code")
    if isinstance(code, str) and code in _KNOWN:
        metrics.API_ERRORS.labels(code).inc()
        return {**_place(error), "extensions": extensions}
    metrics.API_ERRORS.labels(Code.INTERNAL_SERVER_ERROR.value).inc()
    cause = error.original_error or error
    _log.error("a resolver failed", request_id=request_id, path=error.path, error=str(cause), exc_info=cause)
    tracker.report(cause, request_id=request_id)
    masked = {"code": Code.INTERNAL_SERVER_ERROR.value, "requestId": request_id}
    return {**_place(error), "message": INTERNAL_TEXT, "extensions": masked}


def _place(error: GraphQLError) -> dict[str, Any]:
    body: dict[str, Any] = {"message": error.message}
    if error.locations:
        body["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path:
        body["path"] = list(error.path)
    return body
