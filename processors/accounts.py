"""What every account holds in lumens after the ledger: balance, liabilities, subentries and minimum balance.

Balances move in three phases. Every transaction pays its fee first, then operations are applied one transaction after the other,
then (from protocol 23 on) unused resource fees go back. The last phase that touched an account tells its balance, so each change
carries a rank: phase, transaction, operation. Spec/processors.md 2.7 and 10.4; table `native_balances`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from lumenstream.xdr import fastest
from lumenstream.xdr.rows import AccountEntry, Address, Change, Entry, Ledger
from processors import merge
from processors.view import ACCOUNT, STATE
from schemas.families import ACCOUNT_CHANGES, AccountBalanceChange
from schemas.parts import Part

CREATE: Final = "CREATE"

_FEE_PHASE: Final = 0
_OPERATION_PHASE: Final = 1 << 37
_REFUND_PHASE: Final = 2 << 37
TRANSACTION_SHIFT: Final = 13

_BASE_RESERVE_STROOPS: Final = 5_000_000
_OWN_RESERVES: Final = 2
_U32_MASK: Final = (1 << 32) - 1

# Fields of AccountEntry by position: signers stand between these two runs, the extension's number closes the row.
_BEFORE_SIGNERS: Final = slice(0, AccountEntry._fields.index("signers"))
_AFTER_SIGNERS: Final = slice(AccountEntry._fields.index("signers") + 1, AccountEntry._fields.index("extension"))
_LIABILITIES_EXTENSION: Final = 1
_SPONSORSHIP_EXTENSION: Final = 2


class Accounts:
    """Family `account_changes`."""

    name: Final = "accounts"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Accounts look alike on every network."""

    def process(self, ledger: Ledger) -> Part:
        part = Part()
        part.add(ACCOUNT_CHANGES, [_row(rank, change) for rank, change in _last_changes(ledger)])
        return part


def minimum_balance(account: AccountEntry) -> int:
    """Stroops the account must keep for its reserves. Liabilities are a column of their own (Q12)."""
    reserves = _OWN_RESERVES + account.num_sub_entries + account.num_sponsoring - account.num_sponsored
    return (reserves & _U32_MASK) * _BASE_RESERVE_STROOPS


def _ranked(ledger: Ledger) -> Iterator[tuple[Address, int, Change]]:
    """Every change of an account as (account, rank, change), in the order in which the ledger made them."""
    for rank, changes in _phases(ledger):
        for change in changes:
            kind, entry_type, pre, post, _ = change
            entry = post or pre
            if entry_type != ACCOUNT or kind == STATE or entry is None:
                continue
            if pre is None or post is None or not _only_signers_changed(pre, post):
                yield cast(AccountEntry, entry.data).account_id, rank, change


def _phases(ledger: Ledger) -> list[tuple[int, tuple[Change, ...]]]:
    """Fees, operations, refunds: the ledger's changes with their rank."""
    shifted = [(tx.order << TRANSACTION_SHIFT, tx) for tx in ledger.transactions]
    fees = [(_FEE_PHASE | order, tx.fee_changes) for order, tx in shifted]
    operations = [
        (_OPERATION_PHASE | order | index, op.changes)
        for order, tx in shifted
        for index, op in enumerate(tx.operations)
        if op.changes
    ]
    refunds = [(_REFUND_PHASE | order, tx.post_fee_changes) for order, tx in shifted if tx.post_fee_changes]
    return fees + operations + refunds


def _only_signers_changed(pre: Entry, post: Entry) -> bool:
    """True when nothing but signers and their weights differs, which no balance row shows.

    Every other difference counts, also that the entry was not touched in this ledger before. An account without extension
    equals one with zero liabilities. Sponsors of signers are part of the extension, so a change of them counts.
    """
    if pre.last_modified_ledger_seq != post.last_modified_ledger_seq:
        return False
    old, new = cast(AccountEntry, pre.data), cast(AccountEntry, post.data)
    return (
        old.balance == new.balance  # nearly always decides
        and old[_BEFORE_SIGNERS] == new[_BEFORE_SIGNERS]
        and old[_AFTER_SIGNERS] == new[_AFTER_SIGNERS]
        and max(old.extension, _LIABILITIES_EXTENSION) == max(new.extension, _LIABILITIES_EXTENSION)
        and (old.extension < _SPONSORSHIP_EXTENSION or [s.sponsor for s in old.signers] == [s.sponsor for s in new.signers])
    )


def _last_changes_of_accounts(ledger: Ledger) -> list[tuple[int, Change]]:
    return merge.last_changes(_ranked(ledger))


_last_changes: Final = fastest("last_account_changes", _last_changes_of_accounts)


def _row(rank: int, change: Change) -> AccountBalanceChange:
    operation = merge.operation_word(change)
    account = cast(AccountEntry, (change.post or cast(Entry, change.pre)).data)
    return AccountBalanceChange(
        account.account_id,
        CREATE if operation == merge.ADD else operation,
        rank,
        account.balance,
        minimum_balance(account),
        account.buying_liabilities,
        account.selling_liabilities,
        account.num_sub_entries,
    )
