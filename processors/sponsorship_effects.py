"""Who pays whose reserves: every ledger entry locks a base reserve, and another account may be its sponsor.

Sponsorship has no operation of its own that tells all of it: entries are sponsored when they are created between
begin_sponsoring and end_sponsoring, freed when they vanish, handed over by revoke_sponsorship. So it is read from the ledger
changes, where each entry, and each signer of an account, names its sponsor. Spec/processors.md 2.3.2, 2.3.3; category RESERVES.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, cast

from lumenstream.xdr.rows import AccountEntry, Address, Change, ClaimableBalanceEntry, DataEntry, Entry, TrustLineEntry
from processors.effects_context import DATA, Context, latest, readable, token_of
from processors.view import ACCOUNT, CLAIMABLE_BALANCE, TRUSTLINE
from schemas import assets, strkey
from schemas.state_changes import Reason, ReservesChange

_TOLD: Final = frozenset({ACCOUNT, TRUSTLINE, DATA, CLAIMABLE_BALANCE})  # offers have sponsors too, but no row (Q25)


class _Reserve(NamedTuple):
    """What is sponsored. With a `holder` both sides get a row; of other things only the sponsor does."""

    holder: Address | None = None
    token_id: Address | None = None
    liquidity_pool_id: str | None = None
    claimable_balance_id: str | None = None
    sponsored_data: str | None = None
    signer_account_id: Address | None = None


def reserves(context: Context) -> Iterator[ReservesChange]:
    """Rows for every entry, and every signer, whose sponsor came, went or changed, in the order of the changes."""
    for change in context.op.changes:
        _, entry_type, pre, post, _ = change
        if entry_type not in _TOLD:
            continue
        former = None if pre is None else pre.sponsor
        sponsor = None if post is None else post.sponsor
        if former != sponsor:
            yield from _rows(context, former, sponsor, _reserve(context, change))
        if entry_type == ACCOUNT:
            yield from _signers(context, pre, post)


def _reserve(context: Context, change: Change) -> _Reserve:
    entry = latest(change)
    if change.type == ACCOUNT:
        return _Reserve(holder=cast(AccountEntry, entry).account_id)
    if change.type == DATA:
        return _Reserve(sponsored_data=readable(cast(DataEntry, entry).data_name))
    if change.type == CLAIMABLE_BALANCE:
        return _Reserve(claimable_balance_id=cast(ClaimableBalanceEntry, entry).balance_id)
    line = cast(TrustLineEntry, entry)
    if line.asset.type == assets.POOL_SHARE:
        return _Reserve(holder=line.account_id, liquidity_pool_id=line.asset.code)
    return _Reserve(holder=line.account_id, token_id=token_of(context.network_id, line.asset))


def _signers(context: Context, pre: Entry | None, post: Entry | None) -> Iterator[ReservesChange]:
    """Each signer locks a reserve of its own. In the order of the signers' text."""
    before, after = _sponsors(pre), _sponsors(post)
    if before == after:
        return
    for key in sorted(before.keys() | after.keys(), key=strkey.encode):
        former, sponsor = before.get(key), after.get(key)
        if former != sponsor:
            yield from _rows(context, former, sponsor, _Reserve(signer_account_id=key))


def _sponsors(entry: Entry | None) -> dict[Address, Address]:
    signers = () if entry is None else cast(AccountEntry, entry.data).signers
    return {signer.key: signer.sponsor for signer in signers if signer.sponsor is not None}


def _rows(context: Context, former: Address | None, sponsor: Address | None, reserve: _Reserve) -> Iterator[ReservesChange]:
    """First what the sponsors see, the new one before the former, then what the holder sees, likewise."""
    holder, entity = reserve.holder, reserve[1:]
    sides = [
        (reason, account) for reason, account in ((Reason.SPONSOR, sponsor), (Reason.UNSPONSOR, former)) if account is not None
    ]
    for reason, account in sides:
        yield ReservesChange(context.to_id, context.operation_id, next(context.ids), reason, account, holder, None, *entity)
    if holder is not None:
        for reason, account in sides:
            yield ReservesChange(context.to_id, context.operation_id, next(context.ids), reason, holder, None, account, *entity)
