"""Who took part: the ledger, its transactions and operations, and every account and contract that each of them concerns.

A transaction concerns its source, whoever pays its fee, and the participants of its operations. An operation concerns its source,
the account it is aimed at, whoever sponsors what it creates, and, for a contract call that took effect, the contract and everyone
whose authorization it carries. Accounts whose balances merely move (the other side of a trade) join later, from their state
changes: `schemas.participation`. Spec/processors.md 1.7, 6, 8 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

from lumenstream.xdr import fastest, rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import AccountEntry, Address, Change, Ledger, Operation, Transaction
from processors import result_codes, view
from processors.view import g_form
from schemas import toid
from schemas.families import (
    LEDGERS,
    OPERATIONS,
    OPERATIONS_ACCOUNTS,
    TRANSACTIONS,
    TRANSACTIONS_ACCOUNTS,
    LedgerRow,
    OperationRow,
    TransactionRow,
)
from schemas.parts import Part

_INVOKE_CONTRACT: Final = 0
_UPLOAD_WASM: Final = 2
_AUTHORIZED_CONTRACT_FUNCTION: Final = 0
_CREDENTIALS_ADDRESS: Final = 1
_PREIMAGE_FROM_ADDRESS: Final = 0
_PREIMAGE_FROM_ASSET: Final = 1

_KEY_TYPES_WITH_ACCOUNT: Final = (0, 1, 2, 3)  # account, trustline, offer, data: the account is the key's first field


class Participants:
    """Families `ledgers`, `transactions`, `operations`, `transactions_accounts` and `operations_accounts`."""

    name: Final = "participants"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Participants look alike on every network: contract ids come computed with the decoded ledger."""

    def process(self, ledger: Ledger) -> Part:
        transactions, operations, transactions_accounts, operations_accounts, succeeded = _rows(ledger)
        part = Part()
        part.add(LEDGERS, [_ledger_row(ledger, succeeded, len(operations))])
        part.add(TRANSACTIONS, transactions)
        part.add(OPERATIONS, operations)
        part.add(TRANSACTIONS_ACCOUNTS, transactions_accounts)
        part.add(OPERATIONS_ACCOUNTS, operations_accounts)
        return part


class _Rows(NamedTuple):
    transactions: list[TransactionRow]
    operations: list[OperationRow]
    transactions_accounts: list[tuple[int, Address]]
    operations_accounts: list[tuple[int, Address]]
    succeeded: int


def _rows_of(ledger: Ledger) -> _Rows:
    """Transaction by transaction: its row, the rows of its operations, and everyone who took part in either."""
    transactions: list[TransactionRow] = []
    operations: list[OperationRow] = []
    transactions_accounts: list[tuple[int, Address]] = []
    operations_accounts: list[tuple[int, Address]] = []
    succeeded = 0
    for tx in ledger.transactions:
        to_id = toid.transaction_id(ledger.header.sequence, tx.order)
        success = view.successful(tx)
        succeeded += success
        transactions.append(_transaction_row(tx, to_id, ledger.header.protocol_version))
        everyone = _transaction_participants(tx)
        for operation_id, op in view.with_ids(to_id, tx):
            operations.append(_operation_row(tx, op, operation_id))
            for account in _operation_participants(tx, op, success):
                operations_accounts.append((operation_id, account))
                everyone[account] = None
        transactions_accounts.extend([(to_id, account) for account in everyone])
    return _Rows(transactions, operations, transactions_accounts, operations_accounts, succeeded)


# --- rows -------------------------------------------------------------------------------------------------------------


def _ledger_row(ledger: Ledger, succeeded: int, operations: int) -> LedgerRow:
    header = ledger.header
    return LedgerRow(
        sequence=header.sequence,
        hash=header.hash,
        previous_hash=header.previous_hash,
        protocol_version=header.protocol_version,
        transaction_count=len(ledger.transactions),
        successful_transaction_count=succeeded,
        operation_count=operations,
    )


def _transaction_row(tx: Transaction, to_id: int, protocol_version: int) -> TransactionRow:
    """Envelope and meta are columns of the table that are not filled by default: the raw ledger has them."""
    fee = view.fee_charged(tx, protocol_version)
    return TransactionRow(to_id, tx.hash, tx.inner_hash, fee, view.transaction_result(tx), tx.fee_source is not None, None, None)


def _operation_row(tx: Transaction, op: Operation, operation_id: int) -> OperationRow:
    """`successful` says what became of this operation alone: it may stand inside a transaction that failed later (Q18)."""
    result = view.operation_result(tx, op)
    return OperationRow(operation_id, view.operation_type(tx, op), op.xdr, result, result == result_codes.SUCCESS)


# --- who takes part in a transaction ----------------------------------------------------------------------------------


# Sets keep their order here (dict keys), so that the same ledger gives the same bytes everywhere.
_Accounts = dict[Address, None]


def _transaction_participants(tx: Transaction) -> _Accounts:
    """Source, fee source, and every account in the fee's ledger changes. The operations' participants join later."""
    accounts = {g_form(tx.source): None}
    if tx.fee_source is not None:
        accounts[g_form(tx.fee_source)] = None
    for change in tx.fee_changes:
        if change.kind == view.RESTORED:
            raise LedgerContentError(f"transaction {tx.hash.hex()}: a fee change restores a ledger entry")
        if change.type == view.ACCOUNT:
            accounts[_account_of(change)] = None
    return accounts


def _account_of(change: Change) -> Address:
    entry = change.post or change.pre
    if entry is not None:
        return cast(AccountEntry, entry.data).account_id
    return cast(Address, cast(rows.LedgerKey, change.key).fields[0])


# --- who takes part in an operation -----------------------------------------------------------------------------------


def _operation_participants(tx: Transaction, op: Operation, success: bool) -> _Accounts:
    """Source, whom the operation is aimed at, sponsor, and everyone a contract call concerns. Only the first two can be known of
    an operation that did not take effect."""
    accounts = {g_form(op.source or tx.source): None}
    concerned = _CONCERNED.get(op.type)
    if concerned is not None:
        for account in concerned(op.body):
            accounts[account] = None
    elif op.type == view.END_SPONSORING and success:
        accounts.update(dict.fromkeys(_sponsor_who_began(tx, op)))
    if op.changes:
        sponsor = _sponsor_of_creation(op)
        if sponsor is not None:
            accounts[sponsor] = None
    if success and tx.is_soroban:
        accounts.update(dict.fromkeys(_soroban_participants(tx, op)))
    return accounts


def _destination(body: Any) -> Iterable[Address]:
    return (g_form(body.destination),)


def _trustor(body: Any) -> Iterable[Address]:
    return (body.trustor,)


def _claimants(body: Any) -> Iterable[Address]:
    return [claimant.destination for claimant in cast(rows.CreateClaimableBalance, body).claimants]


def _sponsored(body: Any) -> Iterable[Address]:
    return (cast(rows.BeginSponsoringFutureReserves, body).sponsored_id,)


def _clawed_back(body: Any) -> Iterable[Address]:
    return (g_form(cast(rows.Clawback, body).from_),)


def _owner_of_sponsored_entry(body: Any) -> Iterable[Address]:
    """The account whose entry or signer loses its sponsor. A signer is anyone's key and is not told."""
    revoked = cast(rows.RevokeSponsorship, body)
    if revoked.ledger_key is None:
        return (cast(Address, revoked.signer_account_id),)
    owned = revoked.ledger_key.type in _KEY_TYPES_WITH_ACCOUNT
    return (cast(Address, revoked.ledger_key.fields[0]),) if owned else ()


# Whom an operation of each type is aimed at. Types that are not listed concern their source only.
_CONCERNED: Final[dict[int, Callable[[Any], Iterable[Address]]]] = {
    view.CREATE_ACCOUNT: _destination,
    view.PAYMENT: _destination,
    view.PATH_PAYMENT_STRICT_RECEIVE: _destination,
    view.PATH_PAYMENT_STRICT_SEND: _destination,
    view.ACCOUNT_MERGE: _destination,
    view.ALLOW_TRUST: _trustor,
    view.SET_TRUST_LINE_FLAGS: _trustor,
    view.CREATE_CLAIMABLE_BALANCE: _claimants,
    view.BEGIN_SPONSORING: _sponsored,
    view.REVOKE_SPONSORSHIP: _owner_of_sponsored_entry,
    view.CLAWBACK: _clawed_back,
}


def _sponsor_who_began(tx: Transaction, op: Operation) -> Iterator[Address]:
    """Who opened the sponsorship that this end_sponsoring closes: the nearest begin before it for the same account."""
    sponsored = view.op_source(tx, op)
    index = next(at for at, other in enumerate(tx.operations) if other is op)
    for earlier in reversed(tx.operations[:index]):
        if earlier.type == view.BEGIN_SPONSORING and sponsored in _sponsored(earlier.body):
            yield view.op_source(tx, earlier)
            return


def _sponsor_of_creation(op: Operation) -> Address | None:
    """Who pays the reserve of what the operation created: of the signer that set_options added, or of the first new entry."""
    signer = cast(rows.SetOptions, op.body).signer if op.type == view.SET_OPTIONS else None
    for _, entry_type, pre, post, _ in op.changes:
        if post is None:
            continue
        if signer is not None and entry_type == view.ACCOUNT:
            sponsor = _sponsor_of_signer(post, signer.key)
            if sponsor is not None and (pre is None or _sponsor_of_signer(pre, signer.key) != sponsor):
                return sponsor
        if pre is None and post.sponsor is not None:
            return post.sponsor
    return None


def _sponsor_of_signer(entry: rows.Entry, key: Address) -> Address | None:
    for signer in cast(AccountEntry, entry.data).signers:
        if signer.key == key:
            return signer.sponsor
    return None


# --- contract calls ---------------------------------------------------------------------------------------------------


def _soroban_participants(tx: Transaction, op: Operation) -> Iterator[Address]:
    """Who a contract call concerns. Neither its arguments nor its footprint are read: being named there is not taking part."""
    yield op.source or tx.source  # as written: a muxed source counts besides its account (Q9)
    if op.type != view.INVOKE_HOST_FUNCTION:
        return
    call = cast(rows.InvokeHostFunction, op.body)
    if call.function_type == _UPLOAD_WASM:
        return
    if call.function_type == _INVOKE_CONTRACT:
        yield cast(rows.InvokeContract, call.function).contract
    else:
        yield from _created(tx, cast(rows.CreateContract, call.function))
    for entry in call.auth:
        if entry.credentials_type == _CREDENTIALS_ADDRESS:
            yield cast(Address, entry.address)
        yield from _invoked(tx, entry.root_invocation)


def _invoked(tx: Transaction, invocation: rows.AuthInvocation) -> Iterator[Address]:
    """Everyone in an authorization tree: contracts to be called and contracts to be created, depth first."""
    if invocation.function_type == _AUTHORIZED_CONTRACT_FUNCTION:
        yield cast(rows.InvokeContract, invocation.function).contract
    else:
        yield from _created(tx, cast(rows.CreateContract, invocation.function))
    for sub_invocation in invocation.sub_invocations:
        yield from _invoked(tx, sub_invocation)


def _created(tx: Transaction, creation: rows.CreateContract) -> Iterator[Address]:
    """The new contract, and its deployer unless it is the contract of an asset."""
    preimage = creation.preimage
    if preimage.type not in (_PREIMAGE_FROM_ADDRESS, _PREIMAGE_FROM_ASSET):
        raise LedgerContentError(f"transaction {tx.hash.hex()}: unknown contract id preimage {preimage.type}")
    yield preimage.contract_id
    if preimage.type == _PREIMAGE_FROM_ADDRESS:
        yield cast(Address, preimage.address)


# --- the loop in Rust -------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """What native/src/participants.rs leaves to Python: names, and everything rare."""

    transaction_row: type[TransactionRow] = TransactionRow
    operation_row: type[OperationRow] = OperationRow
    success: str = result_codes.SUCCESS
    transaction_result: Callable[[Transaction], str] = view.transaction_result
    operation_type: Callable[[Transaction, Operation], str] = view.operation_type
    operation_result: Callable[[Transaction, Operation], str] = view.operation_result
    fee_charged: Callable[[Transaction, int], int] = view.fee_charged
    transaction_participants: Callable[[Transaction], _Accounts] = _transaction_participants
    operation_participants: Callable[[Transaction, Operation, bool], _Accounts] = _operation_participants


_rows: Final = fastest("participant_rows", _rows_of, _Asked())
