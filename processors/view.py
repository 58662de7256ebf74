"""What processors ask a decoded ledger again and again: who pays, who acts, did it succeed, under which names is it stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from lumenstream.xdr import fastest
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import AccountEntry, Address, Change, Ledger, Operation, Transaction
from processors import result_codes
from schemas import strkey, toid

# LedgerEntryType
ACCOUNT: Final = 0
TRUSTLINE: Final = 1
OFFER: Final = 2
CLAIMABLE_BALANCE: Final = 4
LIQUIDITY_POOL: Final = 5

# LedgerEntryChangeType
CREATED: Final = 0
UPDATED: Final = 1
REMOVED: Final = 2
STATE: Final = 3
RESTORED: Final = 4

# OperationType
CREATE_ACCOUNT: Final = 0
PAYMENT: Final = 1
PATH_PAYMENT_STRICT_RECEIVE: Final = 2
MANAGE_SELL_OFFER: Final = 3
CREATE_PASSIVE_SELL_OFFER: Final = 4
SET_OPTIONS: Final = 5
ALLOW_TRUST: Final = 7
ACCOUNT_MERGE: Final = 8
INFLATION: Final = 9
MANAGE_BUY_OFFER: Final = 12
PATH_PAYMENT_STRICT_SEND: Final = 13
CREATE_CLAIMABLE_BALANCE: Final = 14
CLAIM_CLAIMABLE_BALANCE: Final = 15
BEGIN_SPONSORING: Final = 16
END_SPONSORING: Final = 17
REVOKE_SPONSORSHIP: Final = 18
CLAWBACK: Final = 19
CLAWBACK_CLAIMABLE_BALANCE: Final = 20
SET_TRUST_LINE_FLAGS: Final = 21
LIQUIDITY_POOL_DEPOSIT: Final = 22
LIQUIDITY_POOL_WITHDRAW: Final = 23
INVOKE_HOST_FUNCTION: Final = 24

_TX_SUCCESS: Final = 0
_TX_FEE_BUMP_INNER_SUCCESS: Final = 1
_FEE_REFUND_FIXED_IN_PROTOCOL: Final = 21

g_form = strkey.account_of


def successful(tx: Transaction) -> bool:
    """Did the transaction (for a fee bump: its inner one) take effect? Operations may be `op_success` in one that did not."""
    return tx.result_code in (_TX_SUCCESS, _TX_FEE_BUMP_INNER_SUCCESS)


def with_ids(to_id: int, tx: Transaction) -> Iterator[tuple[int, Operation]]:
    """The transaction's operations with their ids, which follow its own; at most 100 by protocol, so they fit their width."""
    return enumerate(tx.operations, to_id + 1)


def _changes_of(ledger: Ledger, entry_type: int) -> list[tuple[int, Transaction, Operation, Change, Any]]:
    """The changes that operations made to entries of a type, each with its operation's id and with the entry's data as it is
    afterwards, or was if it is gone; in the order in which they were made."""
    numbered: Any = with_to_ids(ledger)
    return [
        (operation_id, tx, op, change, (change.post or change.pre).data)
        for to_id, tx in numbered
        for operation_id, op in enumerate(tx.operations, to_id + 1)
        for change in op.changes
        if change.type == entry_type
    ]


changes_of: Final = fastest("changes_of", _changes_of)


def with_to_ids(ledger: Ledger) -> Iterator[tuple[int, Transaction]]:
    """The ledger's transactions with their ids: a transaction's order is its position, so the ids are evenly spaced."""
    sequence, count = ledger.header.sequence, len(ledger.transactions)
    first, end = toid.transaction_id(sequence, 1), toid.transaction_id(sequence, count + 1)
    return zip(range(first, end, toid.OPERATION_MASK + 1), ledger.transactions, strict=True)


def op_source(tx: Transaction, op: Operation) -> Address:
    """The G address that an operation acts for."""
    return g_form(op.source or tx.source)


def fee_account(tx: Transaction) -> Address:
    """The G address that pays: the outer source of a fee bump."""
    return g_form(tx.fee_source or tx.source)


def fee_taken(tx: Transaction) -> int:
    """Stroops that left the fee account before anything was applied. LedgerContentError when it got richer."""
    before, after = _native_balances(tx.fee_changes, fee_account(tx))
    if after > before:
        raise LedgerContentError(f"transaction {tx.hash.hex()}: taking its fee raised the balance from {before} to {after}")
    return before - after


def fee_refund(tx: Transaction) -> int:
    """Stroops of resource fee given back. They stand after the transaction's own changes, and from protocol 23 on after the
    whole transaction set, but never in both places."""
    if not tx.is_soroban:
        return 0
    before, after = _native_balances(tx.changes_after + tx.post_fee_changes, fee_account(tx))
    if before > after:
        raise LedgerContentError(f"transaction {tx.hash.hex()}: a fee refund lowered the balance from {before} to {after}")
    return after - before


def fee_charged(tx: Transaction, protocol_version: int) -> int:
    """Stroops in the result, corrected for the fee bumps of Soroban transactions that protocol 20 reported without the refund."""
    if tx.is_soroban and tx.fee_source is not None and protocol_version < _FEE_REFUND_FIXED_IN_PROTOCOL:
        return tx.fee_charged - fee_refund(tx)
    return tx.fee_charged


def _native_balances(changes: tuple[Change, ...], account: Address) -> tuple[int, int]:
    """The account's last state before and its last state after, 0 where there is none."""
    before = after = 0
    for change in changes:
        if change.type != ACCOUNT or change.pre is None:
            continue
        pre = cast(AccountEntry, change.pre.data)
        if pre.account_id == account:
            before = pre.balance
            if change.post is not None:
                after = cast(AccountEntry, change.post.data).balance
    return before, after


def transaction_result(tx: Transaction) -> str:
    """`transactions.result_code`. LedgerContentError for a code of a protocol we do not know."""
    name = result_codes.TRANSACTION.get(tx.result_code)
    if name is None:
        raise LedgerContentError(f"transaction {tx.hash.hex()}: unknown result code {tx.result_code}")
    return name


def operation_type(tx: Transaction, op: Operation) -> str:
    """`operations.operation_type`. LedgerContentError for a type of a protocol we do not know."""
    if not 0 <= op.type < len(result_codes.OPERATION_TYPES):
        raise LedgerContentError(f"transaction {tx.hash.hex()}: unknown operation type {op.type}")
    return result_codes.OPERATION_TYPES[op.type]


def operation_result(tx: Transaction, op: Operation) -> str:
    """`operations.result_code`, from the operation's own result. LedgerContentError for a code of a protocol we do not know."""
    if op.result is None:
        return result_codes.UNKNOWN
    code, kind, inner_code, _ = op.result
    name = result_codes.OUTER.get(code) if code else result_codes.INNER.get((kind, inner_code))
    if name is None:
        raise LedgerContentError(f"transaction {tx.hash.hex()}: unknown operation result {code}, type {kind}, code {inner_code}")
    return name
