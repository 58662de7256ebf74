"""Who took part in what, once all parts of a ledger are together.

Most participants are named by the participants processor. The rest are the accounts of state changes: the other side of a trade
is in no operation's body, yet the trade is part of its history. The sink and every offline reader apply this one rule (spec 5.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.families import (
    OPERATIONS_ACCOUNTS,
    STATE_CHANGES_PREFIX,
    TRANSACTIONS_ACCOUNTS,
    OperationAccountRow,
    TransactionAccountRow,
)
from schemas.parts import Part

Address = bytes

_TO_ID = 0
_OPERATION_ID = 1
_ACCOUNT_ID = 4


def union_accounts(parts: Iterable[Part]) -> tuple[list[TransactionAccountRow], list[OperationAccountRow]]:
    """Rows of `transactions_accounts` and `operations_accounts` of one ledger, each once, sorted.

    A state change outside every operation (operation_id 0: the fee) adds its account to the transaction only.
    """
    of_transactions: set[tuple[int, Address]] = set()
    of_operations: set[tuple[int, Address]] = set()
    for part in parts:
        for family, rows in part.rows.items():
            if family == TRANSACTIONS_ACCOUNTS.name:
                of_transactions.update((to_id, account) for to_id, account in rows)
            elif family == OPERATIONS_ACCOUNTS.name:
                of_operations.update((operation_id, account) for operation_id, account in rows)
            elif family.startswith(STATE_CHANGES_PREFIX):
                of_transactions.update((row[_TO_ID], row[_ACCOUNT_ID]) for row in rows)
                of_operations.update((row[_OPERATION_ID], row[_ACCOUNT_ID]) for row in rows if row[_OPERATION_ID])
    return (
        [TransactionAccountRow(*row) for row in sorted(of_transactions)],
        [OperationAccountRow(*row) for row in sorted(of_operations)],
    )
