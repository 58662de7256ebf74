"""The scalars Int64, UInt32 and Time (spec/api.md 1.3). Int64 leaves as a JSON number; every such field has a string twin."""

from __future__ import annotations

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


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC, without zeros at the end of the fraction: 2026-03-01T12:00:00.5Z."""
    text = moment.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if moment.microsecond else text) + "Z"


def parse_time(value: Any) -> datetime:
    """The moment of an RFC 3339 text. GraphQLError for anything else."""
    if not isinstance(value, str):
        raise GraphQLError("Time must be a string in RFC 3339 form")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise GraphQLError(f"not an RFC 3339 time: {value[:40]!r}") from error
    if moment.tzinfo is None:
        raise GraphQLError(f"a time needs an offset or Z: {value[:40]!r}")
    return moment.astimezone(UTC)


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
