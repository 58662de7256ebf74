"""What happens to accounts themselves: the keys that may sign for them, their thresholds, flags, home domain and data entries.

An account is born with one signer, its own key (the master key) with weight 1. set_options changes everything else, manage_data
the name-value pairs that an account keeps on the ledger. Spec/processors.md 2.3; categories SIGNER, SIGNATURE_THRESHOLD, FLAGS
and METADATA.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final, cast

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import AccountEntry, Address, Change, DataEntry
from processors.effects_context import DATA, Context, latest, readable
from processors.view import ACCOUNT
from schemas import strkey
from schemas.state_changes import FlagsChange, MetadataChange, Reason, SignerChange, StateChange, ThresholdChange

_MASTER_WEIGHT_AT_BIRTH: Final = 1
_MASTER_WEIGHT: Final = 0  # places in AccountEntry.thresholds
_LOW: Final = 1
_MEDIUM: Final = 2
_HIGH: Final = 3

_ACCOUNT_FLAGS: Final = 0b1111  # XDR: required, revocable, immutable, clawback enabled
_MASK_SHIFT: Final = 1  # the column's mask has the same flags one bit higher


def create_account(context: Context) -> Iterator[StateChange]:
    account = cast(rows.CreateAccount, context.op.body).destination
    yield SignerChange(
        context.to_id, context.operation_id, next(context.ids), Reason.ADD, account, account, None, _MASTER_WEIGHT_AT_BIRTH
    )


def set_options(context: Context) -> Iterator[StateChange]:
    """Each option that is present, in this order. Thresholds and flags are told as requested, also when they were so before."""
    body = cast(rows.SetOptions, context.op.body)
    before = _account_before(context)
    if body.home_domain is not None:
        yield from _home_domain(context, before, readable(body.home_domain))
    yield from _thresholds(context, before, body)
    yield from _flags(context, body.set_flags or 0, body.clear_flags or 0)
    for change in context.op.changes:
        if change.type == ACCOUNT:
            yield from _signers(context, change)


def _account_before(context: Context) -> AccountEntry | None:
    """The source account as the operation found it. Sponsors of its signers may be among the changed accounts too."""
    for change in context.op.changes:
        if change.type == ACCOUNT and change.pre is not None:
            account = cast(AccountEntry, change.pre.data)
            if account.account_id == context.source:
                return account
    return None


def _home_domain(context: Context, before: AccountEntry | None, new: str) -> Iterator[MetadataChange]:
    """No row when nothing changed. An empty domain is no domain."""
    old = "" if before is None else readable(before.home_domain)
    if before is not None and old == new:
        return
    sides = {side: domain for side, domain in (("old", old), ("new", new)) if domain}
    yield MetadataChange(
        context.to_id, context.operation_id, next(context.ids), Reason.HOME_DOMAIN, context.source, {"home_domain": sides}
    )


def _thresholds(context: Context, before: AccountEntry | None, body: rows.SetOptions) -> Iterator[ThresholdChange]:
    for reason, place, new in (
        (Reason.LOW, _LOW, body.low_threshold),
        (Reason.MEDIUM, _MEDIUM, body.med_threshold),
        (Reason.HIGH, _HIGH, body.high_threshold),
    ):
        if new is not None:
            old = None if before is None else before.thresholds[place]
            yield ThresholdChange(context.to_id, context.operation_id, next(context.ids), reason, context.source, old, new)


def _flags(context: Context, to_set: int, to_clear: int) -> Iterator[FlagsChange]:
    """A flag that is both set and cleared ends up cleared."""
    for reason, flags in ((Reason.SET, to_set & ~to_clear), (Reason.CLEAR, to_clear)):
        if mask := (flags & _ACCOUNT_FLAGS) << _MASK_SHIFT:
            yield FlagsChange(context.to_id, context.operation_id, next(context.ids), reason, context.source, mask)


def _signers(context: Context, change: Change) -> Iterator[SignerChange]:
    """First the keys that lost or changed their weight, then the new ones, each in the order of their text."""
    if change.pre is None or change.post is None:
        raise LedgerContentError(f"operation {context.operation_id}: set_options created or removed an account")
    before = _weights(cast(AccountEntry, change.pre.data))
    after = _weights(cast(AccountEntry, change.post.data))
    if before == after:
        return
    for key in sorted(before, key=strkey.encode):
        old, new = before[key], after.get(key)
        if new != old:
            reason = Reason.REMOVE if new is None else Reason.UPDATE
            yield SignerChange(context.to_id, context.operation_id, next(context.ids), reason, context.source, key, old, new)
    for key in sorted(after.keys() - before.keys(), key=strkey.encode):
        yield SignerChange(
            context.to_id, context.operation_id, next(context.ids), Reason.ADD, context.source, key, None, after[key]
        )


def _weights(account: AccountEntry) -> dict[Address, int]:
    """Who may sign with which weight. A master key of weight 0 may not sign, so it is no signer."""
    master = account.thresholds[_MASTER_WEIGHT]
    weights = {account.account_id: master} if master else {}
    weights.update((signer.key, signer.weight) for signer in account.signers)
    return weights


def manage_data(context: Context) -> Iterator[StateChange]:
    """One row for the named entry, with its values before and after in base64."""
    name = cast(rows.ManageData, context.op.body).data_name
    for change in context.op.changes:
        if change.type == DATA:
            entry = cast(DataEntry, latest(change))
            if entry.account_id == context.source and entry.data_name == name:
                sides = {
                    side: base64.b64encode(cast(DataEntry, state.data).data_value).decode()
                    for side, state in (("old", change.pre), ("new", change.post))
                    if state is not None
                }
                text = readable(name)
                yield MetadataChange(
                    context.to_id, context.operation_id, next(context.ids), Reason.DATA_ENTRY, context.source, {text: sides}, text
                )
                return
