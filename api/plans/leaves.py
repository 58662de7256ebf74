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
Read = Callable[[Any], Any]
_INT32: Final = 1 << 31
_MOMENTS: Final = 20_000


def reader(kind: GraphQLScalarType | GraphQLEnumType, nullable: bool, read: Read) -> Write:
    """Reads a value of this type from its object and makes it what JSON holds, in one call: this runs for every field and row.

    NotPlanned for a value that the type does not take, or a null too many.
    """
    slow = _slow(kind, nullable)
    if isinstance(kind, GraphQLEnumType):
        return _enum(read, slow)
    match kind.name:
        case "String":
            return _exactly(str, read, slow)
        case "Boolean":
            return _exactly(bool, read, slow)
        case "Int64" | "UInt32":
            return _exactly(int, read, slow)
        case "Int":
            return _int32(read, slow)
        case "Time":
            return _time(read, slow)
        case _:
            return lambda source: slow(read(source))


def _exactly(kind: type, read: Read, slow: Write) -> Write:
    def write(source: Any) -> Any:
        value = read(source)
        return value if type(value) is kind else slow(value)

    return write


def _int32(read: Read, slow: Write) -> Write:
    def write(source: Any) -> Any:
        value = read(source)
        return value if type(value) is int and -_INT32 <= value < _INT32 else slow(value)

    return write


def _time(read: Read, slow: Write) -> Write:
    def write(source: Any) -> Any:
        value = read(source)
        return _moment(value) if type(value) is datetime else slow(value)

    return write


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


def _enum(read: Read, slow: Write) -> Write:
    """Members of Python's enum are remembered, of which there are few; all else goes the slow way."""
    members: dict[Any, Any] = {}

    def write(source: Any) -> Any:
        value = read(source)
        found = members.get(value)
        if found is None:
            found = slow(value)
            if isinstance(value, Enum):
                members[value] = found
        return found

    return write
