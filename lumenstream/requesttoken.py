"""The token that signs one request to the API (spec/api.md 7): a JWT, EdDSA over the Ed25519 key of a Stellar account.

It names the account (`sub`), the method and path with its query string, and the SHA-256 of the body, so that it opens this one
request and no other, for a few seconds. `lumenstream.client.signing` makes it, `api.auth` checks it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas import strkey

ALGORITHM: Final = "EdDSA"
BODY_HASH: Final = "bodyHash"
METHOD_AND_PATH: Final = "methodAndPath"
SCHEME: Final = "Bearer "


def body_hash(body: bytes) -> str:
    """SHA-256 of the exact body in lower-case hex."""
    return hashlib.sha256(body).hexdigest()


def method_and_path(method: str, target: str) -> str:
    """`POST /graphql/query`; the target is what stands in the request line, with its query string."""
    return f"{method.upper()} {target}"


def public_key(account: str) -> Ed25519PublicKey:
    """The key of a G address. StrKeyError when the text is not one."""
    address = strkey.decode(account)
    if address[0] != strkey.ACCOUNT:
        raise strkey.StrKeyError(f"not a public key (G...): {account[:72]!r}")
    return Ed25519PublicKey.from_public_bytes(address[1:])
