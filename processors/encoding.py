"""A processor's part as the bytes that travel on `ledger-changes`: `schemas.parts`, with its loop in Rust where that is built."""

from __future__ import annotations

from typing import Final

from lumenstream.xdr import fastest
from schemas import parts
from schemas.parts import Part

pack: Final[parts.Pack] = fastest("pack_rows", parts.pack_rows)


def encode(part: Part) -> bytes:
    """The encoded part: the same bytes from either loop."""
    return parts.encode(part, pack)
