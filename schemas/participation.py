"""Who took part in what, once all parts of a ledger are together.

Most participants are named by the participants processor. The rest are the accounts of state changes: the other side of a trade
is in no operation's body, yet the trade is part of its history. The sink and every offline reader apply this one rule (spec 5.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.families import OPERATIONS_ACCOUNTS, STATE_CHANGES_PREFIX, TRANSACTIONS_ACCOUNTS
from schemas.parts import Part, PartError
from schemas.state_changes import StateChange

Address = bytes
Participant = tuple[int, Address]  # id of a transaction or operation, and who took part

_TO_ID = 0
_OPERATION_ID = 1
_ACCOUNT_ID = 4


def accounts_beyond(
    changes: Iterable[StateChange], of_transactions: Iterable[Participant], of_operations: Iterable[Participant]
) -> tuple[list[Participant], list[Participant]]:
    """The rows that state changes add to those of a union: for changes that are known only later, as those of custom tokens."""
    rows = [(change.to_id, change.operation_id, change.account_id) for change in changes]
    transactions = {(to_id, account) for to_id, _, account in rows}.difference(of_transactions)
    operations = {(operation, account) for _, operation, account in rows if operation}.difference(of_operations)
    return sorted(transactions), sorted(operations)


def union_accounts(parts: Iterable[Part]) -> tuple[list[Participant], list[Participant]]:
    """Rows of `transactions_accounts` and `operations_accounts` of one ledger, each once, sorted.

    A state change outside every operation (operation_id 0: the fee) adds its account to the transaction only. PartError for a row
    without its account.
    """
    of_transactions: set[tuple[int, Address]] = set()
    of_operations: set[tuple[int, Address]] = set()
    for part in parts:
        for family, rows in part.rows.items():
            if family == TRANSACTIONS_ACCOUNTS.name:
                of_transactions.update(rows)
            elif family == OPERATIONS_ACCOUNTS.name:
                of_operations.update(rows)
            elif family.startswith(STATE_CHANGES_PREFIX):
                of_transactions.update([(row[_TO_ID], row[_ACCOUNT_ID]) for row in rows])
                of_operations.update([(row[_OPERATION_ID], row[_ACCOUNT_ID]) for row in rows])
    if any(account is None for _, account in of_transactions | of_operations):
        raise PartError("a row without its account")
    of_operations = {row for row in of_operations if row[0]}
    return sorted(of_transactions), sorted(of_operations)
