"""Assets: their text, the address of their Stellar asset contract, and the UUIDs that tables use as keys.

Asset-contract address: SHA-256 of HashIDPreimage CONTRACT_ID with preimage FROM_ASSET (CAP-46-06). UUIDs: version 5 in fixed
namespaces, so that every process computes the same key without asking the database (spec/data.md 1.2).
"""

from __future__ import annotations

import hashlib
import uuid
from functools import lru_cache
from typing import Final

from schemas import strkey

ASSET_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "trustline_assets")
CONTRACT_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "contract_tokens")

NATIVE: Final = 0
ALPHANUM4: Final = 1
ALPHANUM12: Final = 2
POOL_SHARE: Final = 3

_PREIMAGE_CONTRACT_ID: Final = (8).to_bytes(4, "big")
_FROM_ASSET: Final = (1).to_bytes(4, "big")
_CACHE_ASSETS: Final = 1 << 16


def network_id(passphrase: str) -> bytes:
    """SHA-256 of the network passphrase: 32 bytes."""
    return hashlib.sha256(passphrase.encode()).digest()


@lru_cache(maxsize=_CACHE_ASSETS)
def text(code: str, issuer: bytes | None) -> str:
    """`native` or `CODE:ISSUER`."""
    return "native" if issuer is None else f"{code}:{strkey.encode(issuer)}"


def asset_xdr(asset_type: int, code: str, issuer: bytes | None) -> bytes:
    """The XDR of an Asset union. `code` may hold `\\xNN` escapes for bytes that are not text."""
    if asset_type == NATIVE or issuer is None:
        return bytes(4)
    width = 4 if asset_type == ALPHANUM4 else 12
    raw = code.encode("ascii").decode("unicode_escape").encode("latin-1") if "\\x" in code else code.encode()
    return asset_type.to_bytes(4, "big") + raw.ljust(width, b"\0") + bytes(4) + issuer[1:33]


@lru_cache(maxsize=_CACHE_ASSETS)
def contract_address(network: bytes, asset_type: int, code: str, issuer: bytes | None) -> bytes:
    """The binary C address of the asset's Stellar asset contract on the network with this id."""
    preimage = _PREIMAGE_CONTRACT_ID + network + _FROM_ASSET + asset_xdr(asset_type, code, issuer)
    return bytes((strkey.CONTRACT,)) + hashlib.sha256(preimage).digest()


@lru_cache(maxsize=_CACHE_ASSETS)
def asset_uuid(code: str, issuer: bytes) -> bytes:
    """The 16-byte key of an issued asset in `trustline_assets`."""
    return uuid.uuid5(ASSET_NAMESPACE, text(code, issuer)).bytes


@lru_cache(maxsize=_CACHE_ASSETS)
def contract_uuid(contract: bytes) -> bytes:
    """The 16-byte key of a contract in `contract_tokens`."""
    return uuid.uuid5(CONTRACT_NAMESPACE, strkey.encode(contract)).bytes
