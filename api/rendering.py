"""How raw database values look to a client: seven decimals, old-and-new pairs as JSON text, addresses (spec/api.md 1.2, 2.1)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from schemas import strkey

STROOPS: Final = 10_000_000
_SIGNED_64: Final = 1 << 64


def decimal7(stroops: int) -> str:
    """Whole units with seven decimals, exact for any size: -15 becomes -0.0000015."""
    sign = "-" if stroops < 0 else ""
    units, rest = divmod(abs(stroops), STROOPS)
    return f"{sign}{units}.{rest:07d}"


def decimal7_or_none(stroops: int | None) -> str | None:
    return None if stroops is None else decimal7(stroops)


def address(stored: bytes) -> str:
    return strkey.from_storage(stored)


def address_or_none(stored: bytes | None) -> str | None:
    return None if stored is None else strkey.from_storage(stored)


def muxed_address(stored: bytes, muxed_id: int | None) -> str:
    """The text of a stored address whose M id stands in its own column, in two's complement."""
    return strkey.from_storage(stored, None if muxed_id is None else muxed_id % _SIGNED_64)


def weights(old: int | None, new: int | None) -> str | None:
    """Signer weights, numbers unquoted; None when both are absent."""
    return None if old is None and new is None else json_text({"old": old, "new": new})


def thresholds(old: int | None, new: int | None) -> str:
    """Thresholds, numbers quoted."""
    return json_text({"old": None if old is None else str(old), "new": None if new is None else str(new)})


def limits(old: int | None, new: int | None) -> str | None:
    """Trustline limits in stroops, rendered with seven decimals and quoted; None when both are absent."""
    if old is None and new is None:
        return None
    return json_text({"old": decimal7_or_none(old), "new": decimal7_or_none(new)})


def json_text(value: Any) -> str:
    return orjson.dumps(value).decode()
