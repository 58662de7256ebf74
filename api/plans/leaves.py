"""Values of scalars and enums as JSON takes them: the common case decided by the value's type, all else by graphql-core."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from graphql import GraphQLEnumType, GraphQLScalarType

from api.plans.errors import NotPlanned
from api.scalars import time_text

Write = Callable[[Any], Any]
_INT32: Final = 1 << 31
_MOMENTS: Final = 20_000


def writer(kind: GraphQLScalarType | GraphQLEnumType, nullable: bool) -> Write:
    """From what a resolver gives to what JSON holds. NotPlanned for a value that the type does not take, or a null too many."""
    slow = _slow(kind, nullable)
    if isinstance(kind, GraphQLEnumType):
        return _enum(kind, slow)
    match kind.name:
        case "String":
            return lambda value: value if type(value) is str else slow(value)
        case "Boolean":
            return lambda value: value if type(value) is bool else slow(value)
        case "Int":
            return lambda value: value if type(value) is int and -_INT32 <= value < _INT32 else slow(value)
        case "Int64" | "UInt32":
            return lambda value: value if type(value) is int else slow(value)
        case "Time":
            return lambda value: _moment(value) if type(value) is datetime else slow(value)
        case _:
            return slow


_moment = lru_cache(maxsize=_MOMENTS)(time_text)  # the rows of a page share few moments


def _slow(kind: GraphQLScalarType | GraphQLEnumType, nullable: bool) -> Write:
    def write(value: Any) -> Any:
        if value is None:
            if nullable:
                return None
            raise NotPlanned(f"a null for {kind.name}!")
        written = kind.coerce_output_value(value)
        if written is None:
            raise NotPlanned(f"{kind.name} does not take {type(value).__name__}")
        return written

    return write


def _enum(kind: GraphQLEnumType, slow: Write) -> Write:
    """Members of Python's enums by identity of the member, whose hash is quick; text and aliases go the slow way."""
    members: dict[Any, Any] = {}

    def write(value: Any) -> Any:
        if not isinstance(value, Enum):
            return slow(value)
        found = members.get(value)
        if found is None:
            found = members[value] = slow(value)
        return found

    return write
