"""The few XDR shapes (RFC 4506) every other module of the sandbox writes with.

The sandbox encodes straight to bytes: building the same structures from stellar_sdk objects costs some twenty times the
CPU, and the shapes a classic network needs are few. stellar_sdk decodes the result in the tests.
"""

import struct
from collections.abc import Sequence

_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_INT64 = struct.Struct(">q")
_UINT64 = struct.Struct(">Q")

ZERO = bytes(4)
ONE = bytes((0, 0, 0, 1))


def int32(value: int) -> bytes:
    return _INT32.pack(value)


def uint32(value: int) -> bytes:
    return _UINT32.pack(value)


def int64(value: int) -> bytes:
    return _INT64.pack(value)


def uint64(value: int) -> bytes:
    return _UINT64.pack(value)


def opaque(value: bytes) -> bytes:
    """Variable-length opaque, or a string: length, bytes, zeros up to a multiple of four."""
    return _UINT32.pack(len(value)) + value + bytes(-len(value) % 4)


def array(items: Sequence[bytes]) -> bytes:
    return _UINT32.pack(len(items)) + b"".join(items)


def option(value: bytes | None) -> bytes:
    return ZERO if value is None else ONE + value


def account_id(key: bytes) -> bytes:
    """AccountID of a raw ed25519 public key; also the plain form of MuxedAccount."""
    return ZERO + key
