"""What a contract's code says about itself: the functions in a wasm's section `contractspecv0`, and whether a token has them.

The Soroban compiler puts a description of every exported function into that section: consecutive XDR values of ScSpecEntry
(SEP-48). The bytes come from whoever uploaded the code, so every size is checked before it is believed; code that cannot be read
is merely no token. Spec/processors.md 10.5, spec/ingestion.md 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_WASM_BYTES: Final = 2 << 20
MAX_SPEC_ENTRIES: Final = 10_000
MAX_TYPE_DEPTH: Final = 64

_MAGIC_AND_VERSION: Final = b"\0asm\x01\0\0\0"
_CUSTOM_SECTION: Final = 0
_SPEC_SECTION: Final = b"contractspecv0"
_LEB128_BYTES: Final = 5  # of an unsigned 32-bit number
_LEB128_LAST: Final = 0x0F  # the fifth byte brings the last four bits
_U32_BYTES: Final = 4

# Most bytes of texts, most items of lists (Stellar XDR, contract spec). A list without a limit is bounded by the section.
_DOC: Final = 1024
_LIBRARY: Final = 80
_TYPE_NAME: Final = 60
_FIELD_NAME: Final = 30
_SYMBOL: Final = 32
_OUTPUTS: Final = 1
_PREFIX_TOPICS: Final = 2
_TUPLE_ITEMS: Final = 12
_DATA_FORMATS: Final = 3
_LOCATIONS: Final = 2

# ScSpecType: the plain ones by name; then those that hold other types, and how many.
_PLAIN: Final = {
    0: "Val",
    1: "bool",
    2: "void",
    3: "Error",
    4: "u32",
    5: "i32",
    6: "u64",
    7: "i64",
    8: "Timepoint",
    9: "Duration",
    10: "u128",
    11: "i128",
    12: "u256",
    13: "i256",
    14: "Bytes",
    16: "String",
    17: "Symbol",
    19: "Address",
    20: "MuxedAddress",
}
_NESTED: Final = {1000: ("Option", 1), 1001: ("Result", 2), 1002: ("Vec", 1), 1004: ("Map", 2)}


class WasmError(ValueError):
    """The bytes are no wasm with a readable description of its functions; the text says why."""


class Function(NamedTuple):
    """An exported function. Types by name; of one that holds others only the outer name, such as `Vec`."""

    name: str
    inputs: tuple[tuple[str, str], ...]  # (name, type)
    outputs: tuple[str, ...]


_TRANSFER: Final = (("from", "Address"), ("to", "Address"), ("amount", "i128"))
_TRANSFER_MUXED: Final = (("from", "Address"), ("to_muxed", "MuxedAddress"), ("amount", "i128"))
_SPENT: Final = (("spender", "Address"), ("from", "Address"))

# The token interface (SEP-41) with the exact names and types, in order. `transfer` has an older form and one since CAP-67.
SEP41_FUNCTIONS: Final = frozenset(
    {
        Function("balance", (("id", "Address"),), ("i128",)),
        Function("allowance", (("from", "Address"), ("spender", "Address")), ("i128",)),
        Function("decimals", (), ("u32",)),
        Function("name", (), ("String",)),
        Function("symbol", (), ("String",)),
        Function("approve", (("from", "Address"), ("spender", "Address"), ("amount", "i128"), ("expiration_ledger", "u32")), ()),
        Function("transfer", _TRANSFER, ()),
        Function("transfer", _TRANSFER_MUXED, ()),
        Function("transfer_from", (*_SPENT, ("to", "Address"), ("amount", "i128")), ()),
        Function("burn", (("from", "Address"), ("amount", "i128")), ()),
        Function("burn_from", (*_SPENT, ("amount", "i128")), ()),
    }
)
_SEP41_NAMES: Final = frozenset(function.name for function in SEP41_FUNCTIONS)


def is_sep41(functions: Iterable[Function]) -> bool:
    """Does every function of the token interface exist exactly as it is defined? Others may exist besides."""
    return {function.name for function in functions if function in SEP41_FUNCTIONS} == _SEP41_NAMES


def functions(code: bytes) -> list[Function]:
    """The functions that a wasm describes. WasmError when it is too large, broken, or describes nothing."""
    if len(code) > MAX_WASM_BYTES:
        raise WasmError(f"{len(code)} bytes are over the limit of {MAX_WASM_BYTES}")
    spec = _Reader(_spec_section(code))
    found: list[Function] = []
    for _ in range(MAX_SPEC_ENTRIES):
        if spec.done:
            return found
        function = _entry(spec)
        if function is not None:
            found.append(function)
    if spec.done:
        return found
    raise WasmError(f"more than {MAX_SPEC_ENTRIES} entries in contractspecv0")


def _spec_section(code: bytes) -> bytes:
    """The content of the first custom section with the name."""
    if not code.startswith(_MAGIC_AND_VERSION):
        raise WasmError("no wasm of version 1")
    at = len(_MAGIC_AND_VERSION)
    while at < len(code):
        kind = code[at]
        size, start = _leb128(code, at + 1, len(code))
        at = start + size
        if at > len(code):
            raise WasmError(f"a section of {size} bytes at {start} reaches beyond the end at {len(code)}")
        if kind == _CUSTOM_SECTION:
            length, name = _leb128(code, start, at)
            if name + length > at:
                raise WasmError(f"the name of a custom section, {length} bytes at {name}, reaches beyond its section")
            if code[name : name + length] == _SPEC_SECTION:
                return code[name + length : at]
    raise WasmError("no section contractspecv0")


def _leb128(data: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned 32-bit number and the place after it."""
    value = 0
    for index in range(_LEB128_BYTES):
        if at + index >= end:
            raise WasmError(f"a number at {at} is cut off")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if index == _LEB128_BYTES - 1 and byte > _LEB128_LAST:
                break
            return value, at + index + 1
    raise WasmError(f"a number at {at} has more than 32 bits")


class _Reader:
    """Strict XDR: every length within its limit and within the data, padding zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._data)

    def u32(self) -> int:
        return int.from_bytes(self._take(_U32_BYTES), "big")

    def text(self, limit: int) -> str:
        size = self.u32()
        if size > limit:
            raise WasmError(f"a text of {size} bytes at {self._at} is over its limit of {limit}")
        data = self._take(size)
        if any(self._take(-size % _U32_BYTES)):
            raise WasmError(f"padding before {self._at} is not zero")
        return data.decode("utf-8", "backslashreplace")

    def items(self, limit: int | None = None) -> range:
        """As many turns as the list has items."""
        count = self.u32()
        if limit is not None and count > limit:
            raise WasmError(f"a list of {count} items at {self._at} is over its limit of {limit}")
        if count * _U32_BYTES > len(self._data) - self._at:  # the smallest item takes four bytes
            raise WasmError(f"a list of {count} items at {self._at} reaches beyond the end at {len(self._data)}")
        return range(count)

    def choice(self, choices: int) -> int:
        value = self.u32()
        if value >= choices:
            raise WasmError(f"value {value} before {self._at} is none of {choices} choices")
        return value

    def type(self, depth: int = 0) -> str:
        """The outer name of a type; what it holds is read and dropped."""
        kind = self.u32()
        name = _PLAIN.get(kind)
        if name is not None:
            return name
        if depth == MAX_TYPE_DEPTH:
            raise WasmError(f"types nested deeper than {MAX_TYPE_DEPTH} at {self._at}")
        if kind in _NESTED:
            name, inner = _NESTED[kind]
            for _ in range(inner):
                self.type(depth + 1)
            return name
        match kind:
            case 1005:  # tuple
                for _ in self.items(_TUPLE_ITEMS):
                    self.type(depth + 1)
                return "Tuple"
            case 1006:  # bytes of a fixed length
                self.u32()
                return "BytesN"
            case 2000:  # defined by the contract
                return f"type {self.text(_TYPE_NAME)}"
            case _:
                raise WasmError(f"unknown type {kind} before {self._at}")

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise WasmError(f"{size} bytes at {self._at} reach beyond the end at {len(self._data)}")
        data, self._at = self._data[self._at : end], end
        return data


def _entry(spec: _Reader) -> Function | None:
    """One ScSpecEntry: a function, or None for what else a contract describes. An entry of a kind that is not known has no known
    size, so nothing after it could be read either."""
    kind = spec.u32()  # ScSpecEntryKind
    match kind:
        case 0:
            return _function(spec)
        case 1:  # struct
            _head(spec)
            for _ in spec.items():
                _described(spec, _FIELD_NAME)
                spec.type()
        case 2:  # union
            _head(spec)
            for _ in spec.items():
                has_types = spec.choice(2)
                _described(spec, _TYPE_NAME)
                for _ in spec.items() if has_types else ():
                    spec.type()
        case 3 | 4:  # enum, enum of errors
            _head(spec)
            for _ in spec.items():
                _described(spec, _TYPE_NAME)
                spec.u32()
        case 5:
            _event(spec)
        case _:
            raise WasmError(f"unknown kind of entry {kind}")
    return None


def _function(spec: _Reader) -> Function:
    spec.text(_DOC)
    name = spec.text(_SYMBOL)
    inputs = tuple(_input(spec) for _ in spec.items())
    return Function(name, inputs, tuple(spec.type() for _ in spec.items(_OUTPUTS)))


def _input(spec: _Reader) -> tuple[str, str]:
    name = _described(spec, _FIELD_NAME)
    return name, spec.type()


def _event(spec: _Reader) -> None:
    spec.text(_DOC)
    spec.text(_LIBRARY)
    spec.text(_SYMBOL)
    for _ in spec.items(_PREFIX_TOPICS):
        spec.text(_SYMBOL)
    for _ in spec.items():
        _described(spec, _FIELD_NAME)
        spec.type()
        spec.choice(_LOCATIONS)
    spec.choice(_DATA_FORMATS)


def _head(spec: _Reader) -> None:
    """What every defined type begins with: documentation, library, name."""
    spec.text(_DOC)
    spec.text(_LIBRARY)
    spec.text(_TYPE_NAME)


def _described(spec: _Reader, limit: int) -> str:
    """A name after its documentation."""
    spec.text(_DOC)
    return spec.text(limit)
