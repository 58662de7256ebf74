"""Total order ids (SEP-35): ledger << 32 | transaction order << 12 | operation order, orders counted from 1."""

from __future__ import annotations

from typing import Final

MAX_LEDGER: Final = (1 << 31) - 1
MAX_TRANSACTION: Final = (1 << 20) - 1
MAX_OPERATION: Final = (1 << 12) - 1
OPERATION_MASK: Final = MAX_OPERATION


def transaction_id(ledger: int, order: int) -> int:
    """The `to_id` of the `order`-th transaction (1-based) of a ledger. ValueError past the widths of the format."""
    if not 0 <= ledger <= MAX_LEDGER or not 0 <= order <= MAX_TRANSACTION:
        raise ValueError(f"no TOID for ledger {ledger}, transaction {order}")
    return ledger << 32 | order << 12


def operation_id(to_id: int, index: int) -> int:
    """The id of the operation with 0-based `index` in transaction `to_id`."""
    if not 0 <= index < MAX_OPERATION:
        raise ValueError(f"no TOID for operation index {index}")
    return to_id | index + 1


def transaction_of(operation: int) -> int:
    return operation & ~OPERATION_MASK


def ledger_of(toid: int) -> int:
    return toid >> 32


def ledger_range(first: int, last: int) -> tuple[int, int]:
    """Half-open range of ids that covers ledgers `first` to `last` inclusive."""
    return first << 32, (last + 1) << 32
