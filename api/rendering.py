"""How raw database values look to a client: seven decimals, old-and-new pairs as JSON text, addresses (spec/api.md 1.2, 2.1)."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any, Final

import orjson

from schemas import assets, strkey

STROOPS: Final = 10_000_000
NATIVE_ASSET: Final = "native"
_SIGNED_64: Final = 1 << 64
_SHORT_CODE_BYTES: Final = 4
_LONG_CODE_BYTES: Final = 12


def decimal7(stroops: int) -> str:
    """Whole units with seven decimals, exact for any size: -15 becomes -0.0000015."""
    sign = "-" if stroops < 0 else ""
    units, rest = divmod(abs(stroops), STROOPS)
    return f"{sign}{units}.{rest:07d}"


def decimal7_or_none(stroops: int | None) -> str | None:
    return None if stroops is None else decimal7(stroops)


def ratio7(numerator: int, denominator: int) -> str | None:
    """A ratio with seven decimals, rounded half up; None when it has no value."""
    return None if denominator == 0 else decimal7((2 * numerator * STROOPS + denominator) // (2 * denominator))


@lru_cache(maxsize=1 << 16)
def token_of(network_id: bytes, asset: str) -> str:
    """The contract address of the token of `native` or CODE:ISSUER. ValueError for other text."""
    code, _, issuer = asset.partition(":")
    if not issuer:
        if asset != NATIVE_ASSET:
            raise ValueError(f"neither native nor CODE:ISSUER: {asset[:80]!r}")
        return strkey.encode(assets.contract_address(network_id, assets.NATIVE, NATIVE_ASSET, None))
    account = strkey.decode(issuer)
    raw = code_bytes(code)
    if account[0] != strkey.ACCOUNT or not 1 <= len(raw) <= _LONG_CODE_BYTES:
        raise ValueError(f"neither native nor CODE:ISSUER: {asset[:80]!r}")
    return strkey.encode(assets.contract_address(network_id, asset_type(code), code, account))


def asset_type(code: str) -> int:
    """ALPHANUM4 or ALPHANUM12 by the code's length in bytes."""
    return assets.ALPHANUM4 if len(code_bytes(code)) <= _SHORT_CODE_BYTES else assets.ALPHANUM12


def code_bytes(code: str) -> bytes:
    """The bytes of an asset's code. One that is no text is written as four characters."""
    return code.encode("ascii").decode("unicode_escape").encode("latin-1") if "\\x" in code else code.encode()


def base64_text(raw: bytes | None) -> str:
    return base64.b64encode(raw).decode() if raw else ""


def address(stored: bytes) -> str:
    return strkey.from_storage(stored)


def address_or_none(stored: bytes | None) -> str | None:
    return None if stored is None else strkey.from_storage(stored)


def signer_or_none(stored: bytes | None, payload: bytes | None) -> str | None:
    """The text of a stored signer; `payload` is what a P signer has after its key."""
    return None if stored is None else strkey.from_storage(stored, payload=payload)


def muxed_address(stored: bytes, muxed_id: int | None) -> str:
    """The text of a stored address whose M id stands in its own column, in two's complement."""
    return strkey.from_storage(stored, None if muxed_id is None else muxed_id % _SIGNED_64)


def weights(old: int | None, new: int | None) -> str | None:
    """Signer weights, numbers unquoted; None when both are absent."""
    return None if old is None and new is None else _pair(old, new)


def thresholds(old: int | None, new: int | None) -> str:
    """Thresholds, numbers quoted."""
    return _pair(None if old is None else f'"{old}"', None if new is None else f'"{new}"')


def limits(old: int | None, new: int | None) -> str | None:
    """Trustline limits in stroops, rendered with seven decimals and quoted; None when both are absent."""
    if old is None and new is None:
        return None
    return _pair(None if old is None else f'"{decimal7(old)}"', None if new is None else f'"{decimal7(new)}"')


def _pair(old: int | str | None, new: int | str | None) -> str:
    """The reference's text, spaces included, for those who compare it as text."""
    return f'{{"old": {"null" if old is None else old}, "new": {"null" if new is None else new}}}'


def json_text(value: Any) -> str:
    return orjson.dumps(value).decode()
