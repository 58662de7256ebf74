"""StrKey (SEP-23) text to and from the binary address that rows, parts and tables carry.

An address is the version byte followed by the payload, without the checksum: 33 bytes for G, C, L, T and X; 41 for M and W
(account or contract, then the 64-bit id); 34 for B (type byte, then the hash); 41 to 105 for P. Storage columns hold 33 bytes:
see `storage_form`.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Final, NamedTuple

ACCOUNT: Final = 6 << 3  # G
CONTRACT: Final = 2 << 3  # C
MUXED: Final = 12 << 3  # M
MUXED_CONTRACT: Final = 22 << 3  # W (CAP-67's muxed address of a contract)
PRE_AUTH_TX: Final = 19 << 3  # T
HASH_X: Final = 23 << 3  # X
SIGNED_PAYLOAD: Final = 15 << 3  # P
LIQUIDITY_POOL: Final = 11 << 3  # L
CLAIMABLE_BALANCE: Final = 1 << 3  # B

_PLAIN: Final = frozenset({ACCOUNT, CONTRACT, PRE_AUTH_TX, HASH_X, LIQUIDITY_POOL})
WITH_ID: Final = frozenset({MUXED, MUXED_CONTRACT})
_CACHE_ADDRESSES: Final = 1 << 16


class StrKeyError(ValueError):
    """The text or the bytes are not a valid Stellar address."""


@lru_cache(maxsize=_CACHE_ADDRESSES)
def encode(address: bytes) -> str:
    """The StrKey text of a binary address. StrKeyError when the length does not fit its version byte."""
    _check(address)
    checksum = binascii.crc_hqx(address, 0).to_bytes(2, "little")
    return base64.b32encode(address + checksum).decode("ascii").rstrip("=")


@lru_cache(maxsize=_CACHE_ADDRESSES)
def decode(text: str) -> bytes:
    """The binary address of a StrKey text. StrKeyError for bad length, alphabet, padding bits, checksum or version."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as error:
        raise StrKeyError(f"not a Stellar address: {text[:72]!r}") from error
    address, checksum = raw[:-2], raw[-2:]
    if len(raw) < 35 or binascii.crc_hqx(address, 0).to_bytes(2, "little") != checksum:
        raise StrKeyError(f"not a Stellar address (checksum): {text[:120]!r}")
    if encode(address) != text:
        raise StrKeyError(f"not a canonical Stellar address: {text[:120]!r}")
    return address


def is_account(text: str) -> bool:
    """True for a valid G address."""
    return _has_version(text, ACCOUNT)


def is_contract(text: str) -> bool:
    """True for a valid C address."""
    return _has_version(text, CONTRACT)


def account_of(address: bytes) -> bytes:
    """The G address behind an M address; any other address as it is."""
    return bytes((ACCOUNT,)) + address[1:33] if address[0] == MUXED else address


def muxed_id(address: bytes) -> int | None:
    """The 64-bit id of an M or W address, None for any other."""
    return int.from_bytes(address[33:41], "big") if address[0] in WITH_ID else None


class StorageForm(NamedTuple):
    """How tables keep an address: 33 bytes, and what does not fit beside it."""

    account_id: bytes
    muxed_id: int | None  # M and W only; unsigned 64 bits
    payload: bytes | None  # P only: length and payload after the key


def storage_form(address: bytes) -> StorageForm:
    """Split an address for storage. A B address loses its type byte (always V0), so that every byte of its hash stays."""
    length = len(address)
    if length == 33:
        return StorageForm(address, None, None)
    version = address[0] if address else None
    if version in WITH_ID and length == 41:
        return StorageForm(address[:33], int.from_bytes(address[33:], "big"), None)
    if version == CLAIMABLE_BALANCE and length == 34:
        return StorageForm(address[:1] + address[2:], None, None)
    if version == SIGNED_PAYLOAD and length > 33:
        return StorageForm(address[:33], None, address[33:])
    raise StrKeyError(f"no storage form for {address.hex()}")


def from_storage(account_id: bytes, muxed: int | None = None, payload: bytes | None = None) -> str:
    """The StrKey text of a stored address. StrKeyError when the column does not hold 33 bytes."""
    if len(account_id) != 33:
        raise StrKeyError(f"a stored address has 33 bytes, this one {len(account_id)}")
    version = account_id[0]
    if version in WITH_ID:
        return encode(account_id + (muxed or 0).to_bytes(8, "big"))
    if version == CLAIMABLE_BALANCE:
        return encode(account_id[:1] + b"\0" + account_id[1:])
    if version == SIGNED_PAYLOAD:
        return encode(account_id + (payload or b""))
    return encode(account_id)


def _has_version(text: str, version: int) -> bool:
    try:
        return decode(text)[0] == version
    except StrKeyError:
        return False


def _check(address: bytes) -> None:
    version, length = address[:1], len(address)
    if not version:
        raise StrKeyError("an empty address")
    kind = version[0]
    fits = (
        (kind in _PLAIN and length == 33)
        or (kind in WITH_ID and length == 41)
        or (kind == CLAIMABLE_BALANCE and length == 34 and address[1] == 0)
        or (kind == SIGNED_PAYLOAD and _payload_fits(address))
    )
    if not fits:
        raise StrKeyError(f"not a Stellar address: {address.hex()}")


def _payload_fits(address: bytes) -> bool:
    if len(address) < 41:
        return False
    size = int.from_bytes(address[33:37], "big")
    padded = (size + 3) & ~3
    return 1 <= size <= 64 and len(address) == 37 + padded and not any(address[37 + size :])
