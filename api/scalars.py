"""The scalars Int64, UInt32 and Time (spec/api.md 1.3). Int64 leaves as a JSON number; every id has a string twin.

The database keeps microseconds: digits beyond them are read and dropped.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, NewType

import strawberry
from graphql import GraphQLError, IntValueNode, StringValueNode, ValueNode
from strawberry.types.scalar import ScalarDefinition

Int64 = NewType("Int64", int)
UInt32 = NewType("UInt32", int)
Time = NewType("Time", datetime)

_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_UINT32: Final = (0, (1 << 32) - 1)
_MAX_DIGITS: Final = 20
_MAX_TIME_CHARACTERS: Final = 40
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC, without zeros at the end of the fraction: 2026-03-01T12:00:00.5Z."""
    text = moment.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if moment.microsecond else text) + "Z"


def parse_time(value: Any) -> datetime:
    """The moment of an RFC 3339 text. GraphQLError for anything else."""
    if not isinstance(value, str):
        raise GraphQLError("Time must be a string in RFC 3339 form")
    if len(value) > _MAX_TIME_CHARACTERS or not _RFC_3339.fullmatch(value):
        raise GraphQLError(f"not an RFC 3339 time with an offset or Z: {value[:40]!r}")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise GraphQLError(f"not an RFC 3339 time: {value[:40]!r}") from error
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise GraphQLError(f"not a time that UTC has: {value[:40]!r}") from error


def _in_range(value: int, bounds: tuple[int, int], name: str) -> int:
    if not bounds[0] <= value <= bounds[1]:
        raise GraphQLError(f"{value} does not fit {name}")
    return value


def _parse_int64(value: Any) -> int:
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and value.isascii() and value.removeprefix("-").isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise GraphQLError("Int64 must be a whole number or its decimal text")
    return _in_range(value, _INT64, "Int64")


def _parse_uint32(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GraphQLError("UInt32 must be a whole number")
    return _in_range(value, _UINT32, "UInt32")


def _literal_int64(node: ValueNode, _variables: dict[str, Any] | None = None) -> int:
    if isinstance(node, IntValueNode) and len(node.value) <= _MAX_DIGITS:
        return _parse_int64(int(node.value))
    return _parse_int64(node.value if isinstance(node, StringValueNode) else None)


def _literal_uint32(node: ValueNode, _variables: dict[str, Any] | None = None) -> int:
    fits = isinstance(node, IntValueNode) and len(node.value) <= _MAX_DIGITS
    return _parse_uint32(int(node.value) if fits and isinstance(node, IntValueNode) else None)


def _literal_time(node: ValueNode, _variables: dict[str, Any] | None = None) -> datetime:
    return parse_time(node.value if isinstance(node, StringValueNode) else None)


SCALARS: Final[dict[object, ScalarDefinition]] = {
    Int64: strawberry.scalar(
        name="Int64",
        description="A signed 64-bit integer as a JSON number; a number or its decimal text as input.",
        serialize=int,
        parse_value=_parse_int64,
        parse_literal=_literal_int64,
    ),
    UInt32: strawberry.scalar(
        name="UInt32",
        description="An unsigned 32-bit integer.",
        serialize=int,
        parse_value=_parse_uint32,
        parse_literal=_literal_uint32,
    ),
    Time: strawberry.scalar(
        name="Time",
        description="A moment in RFC 3339 form, UTC.",
        serialize=time_text,
        parse_value=parse_time,
        parse_literal=_literal_time,
    ),
}
