"""What a GraphQL request holds, whatever it came by: a query or the hash of a persisted one, variables, a name."""

from __future__ import annotations

from typing import Any, Final

from api.admission import HttpError
from api.execution import Request
from api.persisted import Persisted

BAD_REQUEST: Final = 400


def request_of(given: Any, persisted: Persisted, *, read_only: bool) -> Request:
    """The request in a decoded JSON value. HttpError 400 for one of another form, ClientError when its query cannot be had."""
    if not isinstance(given, dict):
        raise HttpError(BAD_REQUEST, "a GraphQL request is a JSON object with query, variables and operationName")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str | None):
        raise HttpError(BAD_REQUEST, "query must be a string")
    if not isinstance(variables, dict | None):
        raise HttpError(BAD_REQUEST, "variables must be an object")
    if not isinstance(name, str | None):
        raise HttpError(BAD_REQUEST, "operationName must be a string")
    text = persisted.query(query, given.get("extensions"))
    if text is None:
        raise HttpError(BAD_REQUEST, "query must be a string")
    return Request(text, variables or {}, name or None, read_only)
