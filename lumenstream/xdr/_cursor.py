"""Position in the message bytes and the primitives that the generated `_wire` module is made of.

The counterpart of native/src/cursor.rs: the same checks, the same offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from traceback import walk_tb
from typing import Any, Final, NoReturn, TypeVar

from lumenstream.xdr.errors import LedgerDecodeError

MAX_DEPTH: Final = 500  # levels of nesting, counted as the reference decoder counts its own limit

_I32: Final = Struct(">i").unpack_from
_U32: Final = Struct(">I").unpack_from
_I64: Final = Struct(">q").unpack_from
_U64: Final = Struct(">Q").unpack_from

T = TypeVar("T")


class Stop(Exception):
    """The value cannot be decoded."""


class Cursor:
    __slots__ = ("data", "depth", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.depth = MAX_DEPTH

    def i32(self) -> int:
        value: int = _I32(self.data, self.pos)[0]
        self.pos += 4
        return value

    def u32(self) -> int:
        value: int = _U32(self.data, self.pos)[0]
        self.pos += 4
        return value

    def i64(self) -> int:
        value: int = _I64(self.data, self.pos)[0]
        self.pos += 8
        return value

    def u64(self) -> int:
        value: int = _U64(self.data, self.pos)[0]
        self.pos += 8
        return value

    def boolean(self) -> bool:
        value = self.u32()
        return value == 1 if value < 2 else self.bad_boolean(value)

    def enumeration(self, known: frozenset[int], name: str) -> int:
        value = self.i32()
        if value not in known:
            self.pos -= 4
            self.bad_enum(value, name)
        return value

    def fixed(self, size: int) -> bytes:
        start = self.pos
        end = start + size
        self.pos = end + (-size & 3)
        if self.pos > len(self.data):
            self.pos = start
            raise Stop(f"{size} more bytes expected, {len(self.data) - start} left")
        if self.pos != end and any(self.data[end : self.pos]):
            self.pos = end
            raise Stop("padding is not zero")
        return self.data[start:end]

    def opaque(self, limit: int) -> bytes:
        length = self.u32()
        if length > limit:
            self.pos -= 4
            raise Stop(f"length {length} is above its limit {limit}")
        return self.fixed(length)

    def optional(self, read: Callable[[Cursor], T]) -> T | None:
        return read(self) if self.boolean() else None

    def _count(self, smallest: int, limit: int) -> int:
        count = self.u32()
        remaining = len(self.data) - self.pos
        if count > limit:
            self.pos -= 4
            raise Stop(f"length {count} is above its limit {limit}")
        if count * smallest > remaining:
            self.pos -= 4
            raise Stop(f"{count} elements cannot fit in the {remaining} bytes left")
        return count

    def array(self, smallest: int, limit: int, read: Callable[[Cursor], T]) -> list[T]:
        return [read(self) for _ in range(self._count(smallest, limit))]

    def repeat(self, count: int, read: Callable[[Cursor], T]) -> list[T]:
        return [read(self) for _ in range(count)]

    def spanned(self, read: Callable[[Cursor], T]) -> tuple[T, bytes]:
        start = self.pos
        value = read(self)
        return value, self.data[start : self.pos]

    # Types on a recursive path spend levels of the depth limit.

    def deeper(self, levels: int, read: Callable[[Cursor], T]) -> T:
        if self.depth < levels:
            self.too_deep()
        self.depth -= levels
        value = read(self)
        self.depth += levels
        return value

    def deep_optional(self, entered: int, levels: int, read: Callable[[Cursor], T]) -> T | None:
        if not self.boolean():
            return None
        if self.depth < entered + levels:
            self.too_deep()
        return self.deeper(entered, read)

    def deep_array(self, smallest: int, limit: int, entered: int, levels: int, read: Callable[[Cursor], T]) -> list[T]:
        count = self._count(smallest, limit)
        if not count:
            return []
        if self.depth < entered + levels:
            self.too_deep()
        self.depth -= entered
        values = [read(self) for _ in range(count)]
        self.depth += entered
        return values

    # What the generated checks call; the offsets of values unpacked in one go are those of the end of the run.

    def bad_boolean(self, value: int) -> NoReturn:
        raise Stop(f"a boolean is 0 or 1, not {value}")

    def bad_enum(self, value: int, name: str) -> NoReturn:
        raise Stop(f"unknown value {value} of {name}")

    def bad_case(self, value: int, name: str) -> NoReturn:
        raise Stop(f"unknown value {value} of {name}")

    def unknown(self, value: int) -> NoReturn:
        """The discriminant just read belongs to no arm of its union."""
        self.pos -= 4
        raise Stop(f"unknown value {value}")

    def too_deep(self) -> NoReturn:
        raise Stop(f"nested deeper than {MAX_DEPTH} levels")


def decode(data: bytes, read: Callable[[Cursor], Any], *, whole: bool = True) -> Any:
    """Read one value, which must be all there is when `whole`. LedgerDecodeError with offset and the types around it."""
    cursor = Cursor(data)
    try:
        value = read(cursor)
        if whole and cursor.pos != len(data):
            raise Stop(f"{len(data) - cursor.pos} bytes after the end")
        return value
    except Stop as stop:
        raise _decode_error(str(stop), cursor, stop) from None
    except StructError as stop:
        raise _decode_error(f"more bytes expected, {len(data) - cursor.pos} left", cursor, stop) from None


def _decode_error(what: str, cursor: Cursor, stop: Exception) -> LedgerDecodeError:
    """The generated readers are named after the types they read, so the traceback is the path of types."""
    names = [frame.f_code.co_name for frame, _ in walk_tb(stop.__traceback__)]
    types = [name for name in reversed(names) if name[0].isupper()]
    return LedgerDecodeError(f"{what} at offset {cursor.pos}" + (f" in {' < '.join(types)}" if types else ""))
