"""What happens to trustlines: opened, limited, closed by their owner; authorized and restricted by the issuer of the asset.

change_trust is the owner's word. allow_trust and its successor set_trust_line_flags are the issuer's; they are told as requested,
whether or not the trustline had the flag before. Trustlines also hold pool shares; those name a pool instead of a token.
Spec/processors.md 2.3; categories TRUSTLINE and BALANCE_AUTHORIZATION.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, cast

from lumenstream.xdr import rows
from lumenstream.xdr.rows import Address, Asset, Change, LiquidityPoolParameters, TrustLineEntry
from processors.effects_context import Context, latest, token_of
from processors.view import TRUSTLINE
from schemas import assets
from schemas.state_changes import BalanceAuthorizationChange, Flag, Reason, StateChange, TrustlineChange

AUTHORIZED: Final = 1  # XDR flag bits of a trustline
MAINTAIN_LIABILITIES: Final = 2
CLAWBACK_ENABLED: Final = 4
_MASK_OF_FLAG: Final = (
    (AUTHORIZED, Flag.AUTHORIZED),
    (MAINTAIN_LIABILITIES, Flag.AUTHORIZED_TO_MAINTAIN_LIABILITIES),
    (CLAWBACK_ENABLED, Flag.CLAWBACK_ENABLED),
)

_CONSTANT_PRODUCT: Final = bytes(4)  # the one type of liquidity pool
_CACHE_POOLS: Final = 1 << 12


def change_trust(context: Context) -> Iterator[StateChange]:
    """One row for the line; a new one also starts out with the authorization that its asset grants. Nothing when an issuer trusts
    itself: such an operation succeeds and changes no ledger entry."""
    body = cast(rows.ChangeTrust, context.op.body)
    line = body.line if isinstance(body.line, Asset) else Asset(assets.POOL_SHARE, pool_id(body.line), None)
    pool = line.code if line.type == assets.POOL_SHARE else None
    token = token_of(context.network_id, line) if pool is None else None
    own, change = _line_changed(context, line)
    if change is None:
        return
    head = context.to_id, context.operation_id
    if change.post is None:
        yield TrustlineChange(*head, next(context.ids), Reason.REMOVE, context.source, token, pool)
    elif change.pre is not None:
        old = cast(TrustLineEntry, own.pre.data).limit if own is not None and own.pre is not None else None
        yield TrustlineChange(*head, next(context.ids), Reason.UPDATE, context.source, token, pool, old, body.limit)
    else:
        yield TrustlineChange(*head, next(context.ids), Reason.ADD, context.source, token, pool, None, body.limit)
        if pool is not None:
            yield BalanceAuthorizationChange(*head, next(context.ids), Reason.SET, context.source, None, pool)
        elif own is not None:
            flags = _mask(cast(TrustLineEntry, latest(own)).flags) or None
            yield BalanceAuthorizationChange(*head, next(context.ids), Reason.SET, context.source, token, None, flags)


def _line_changed(context: Context, line: Asset) -> tuple[Change | None, Change | None]:
    """The change of the source's own line, and the one that tells what became of it: its own, else the first of the same type.

    Opening pool shares also touches the lines of the pool's assets, which are of other types.
    """
    first = None
    for change in context.op.changes:
        if change.type == TRUSTLINE:
            entry = cast(TrustLineEntry, latest(change))
            if entry.asset == line and entry.account_id == context.source:
                return change, change
            if first is None and entry.asset.type == line.type:
                first = change
    return None, first


@lru_cache(maxsize=_CACHE_POOLS)
def pool_id(parameters: LiquidityPoolParameters) -> str:
    """SHA-256 of the parameters' XDR, in hex."""
    a, b = (assets.asset_xdr(asset.type, asset.code, asset.issuer) for asset in (parameters.asset_a, parameters.asset_b))
    return hashlib.sha256(_CONSTANT_PRODUCT + a + b + parameters.fee.to_bytes(4, "big")).hexdigest()


def allow_trust(context: Context) -> Iterator[StateChange]:
    """Full authorization, or only that to maintain liabilities, or neither."""
    body = cast(rows.AllowTrust, context.op.body)
    asset = Asset(body.asset_type, body.asset_code, context.source)
    if body.authorize & AUTHORIZED:
        yield from _authorization(context, body.trustor, asset, AUTHORIZED, 0)
    elif body.authorize & MAINTAIN_LIABILITIES:
        yield from _authorization(context, body.trustor, asset, MAINTAIN_LIABILITIES, 0)
    else:
        yield from _authorization(context, body.trustor, asset, 0, AUTHORIZED | MAINTAIN_LIABILITIES)


def set_trust_line_flags(context: Context) -> Iterator[StateChange]:
    body = cast(rows.SetTrustLineFlags, context.op.body)
    yield from _authorization(context, body.trustor, body.asset, body.set_flags, body.clear_flags)


def _authorization(
    context: Context, trustor: Address, asset: Asset, to_set: int, to_clear: int
) -> Iterator[BalanceAuthorizationChange]:
    """A flag that is both set and cleared ends up cleared."""
    token = token_of(context.network_id, asset)
    for reason, flags in ((Reason.SET, to_set & ~to_clear), (Reason.CLEAR, to_clear)):
        if mask := _mask(flags):
            yield BalanceAuthorizationChange(
                context.to_id, context.operation_id, next(context.ids), reason, trustor, token, None, mask
            )


def _mask(flags: int) -> int:
    return sum(mask for flag, mask in _MASK_OF_FLAG if flags & flag)
