"""How parts become history tables: which family fills which table, and in what form each column is copied.

From the columns of the families (`schemas.families`) and of the tables; `streams` and its twin in Rust go by it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from schemas import families
from schemas.families import Family, Kind
from sinks.timescale import binary
from sinks.timescale.binary import Field

# Families whose rows are rows of the history table of their name.
EVENTS: Final = (families.CLAIMABLE_BALANCE_EVENTS, families.TRADES)
HISTORY: Final = {
    "transactions": (
        "ledger_created_at",
        "ledger_number",
        "to_id",
        "hash",
        "inner_hash",
        "fee_charged",
        "result_code",
        "is_fee_bump",
        "envelope_xdr",
        "meta_xdr",
    ),
    "transactions_accounts": ("ledger_created_at", "account_id", "account_muxed_id", "tx_to_id"),
    "operations": ("ledger_created_at", "ledger_number", "id", "operation_type", "operation_xdr", "result_code", "successful"),
    "operations_accounts": ("ledger_created_at", "account_id", "account_muxed_id", "operation_id"),
    "state_changes": (
        "ledger_created_at",
        "ledger_number",
        "state_change_category",
        "to_id",
        "operation_id",
        "state_change_id",
        "state_change_reason",
        "account_id",
        "account_muxed_id",
        "token_id",
        "amount",
        "to_muxed_id",
        "signer_account_id",
        "signer_payload",
        "signer_weight_old",
        "signer_weight_new",
        "spender_account_id",
        "sponsored_account_id",
        "sponsor_account_id",
        "creator_account_id",
        "destination_account_id",
        "claimable_balance_id",
        "liquidity_pool_id",
        "sponsored_data",
        "data_entry_name",
        "threshold_old",
        "threshold_new",
        "trustline_limit_old",
        "trustline_limit_new",
        "flags",
        "key_value",
    ),
    **{family.name: ("ledger_created_at", "ledger_number", *(name for name, _ in family.columns)) for family in EVENTS},
}


class Form(StrEnum):
    """How a value of a part becomes a field. ACCOUNT and SIGNER are two fields; a step NULLS is as many as its number says."""

    NULLS = "0"
    INT64 = "q"
    BOOL = "?"
    HASH = "h"
    ADDRESS = "a"  # 33 bytes
    ACCOUNT = "m"  # and the id of an M address or NULL
    SIGNER = "s"  # and what a signed payload has after its key or NULL
    WORD = "w"
    DIGITS = "d"  # an integer of any size as text
    BIGINT = "l"  # an integer of any size that must fit
    SMALLINT = "i"
    TEXT = "t"
    BYTES = "y"
    BYTES_OR_NULL = "x"  # NULL also for no bytes at all
    JSON = "j"


Step = tuple[Form, int]


class Batch(NamedTuple):
    """Rows of a family as rows of a table. `constant`: fields after close time and ledger. A step: form, column of the family."""

    family: str
    constant: Field
    steps: tuple[Step, ...]


_OF_KIND: Final = {
    Kind.I64: Form.INT64,
    Kind.BOOL: Form.BOOL,
    Kind.HASH: Form.HASH,
    Kind.ADDRESS: Form.ADDRESS,
    Kind.WORD: Form.WORD,
    Kind.BIG: Form.BIGINT,
}
_OF_COLUMN: Final = {
    (Kind.BIG, "amount"): Form.DIGITS,
    (Kind.ANY, "key_value"): Form.JSON,
    (Kind.ANY, "inner_hash"): Form.BYTES,
    (Kind.ANY, "operation_xdr"): Form.BYTES_OR_NULL,
    **dict.fromkeys(((Kind.ANY, name) for name in ("envelope_xdr", "meta_xdr", "to_muxed_id")), Form.TEXT),
    **dict.fromkeys(((Kind.ANY, name) for name in ("sponsored_data", "data_entry_name")), Form.TEXT),
    **dict.fromkeys(((Kind.ANY, name) for name in ("signer_weight_old", "signer_weight_new")), Form.SMALLINT),
    **dict.fromkeys(((Kind.ANY, name) for name in ("threshold_old", "threshold_new", "flags")), Form.SMALLINT),
}
_WITH_COMPANION: Final = {"account_id": ("account_muxed_id", Form.ACCOUNT), "signer_account_id": ("signer_payload", Form.SIGNER)}


def _steps(columns: tuple[str, ...], family: Family) -> tuple[Step, ...]:
    """NULLs that stand side by side are one step."""
    places = {name: place for place, (name, _) in enumerate(family.columns)}
    kinds = dict(family.columns)
    steps: list[Step] = []
    companions = {companion for name, (companion, _) in _WITH_COMPANION.items() if name in places}
    for name in columns:
        companion, form = _WITH_COMPANION.get(name, (None, None))
        if name in places and form is not None and companion in columns:
            steps.append((form, places[name]))
        elif name in places:
            kind = kinds[name]
            steps.append((_OF_COLUMN.get((kind, name)) or _OF_KIND[kind], places[name]))
        elif name in companions:
            continue
        elif steps and steps[-1][0] is Form.NULLS:
            steps[-1] = (Form.NULLS, steps[-1][1] + 1)
        else:
            steps.append((Form.NULLS, 1))
    return tuple(steps)


def _of_family(family: Family) -> tuple[Batch, ...]:
    return (Batch(family.name, b"", _steps(HISTORY[family.name][2:], family)),)


# Tables of which a row is a row of a family.
BATCHES: Final[dict[str, tuple[Batch, ...]]] = {
    "transactions": _of_family(families.TRANSACTIONS),
    "operations": _of_family(families.OPERATIONS),
    "state_changes": tuple(
        Batch(family.name, binary.text(category.value), _steps(HISTORY["state_changes"][3:], family))
        for category, family in families.STATE_CHANGES.items()
    ),
    **{family.name: _of_family(family) for family in EVENTS},
}


class Source(NamedTuple):
    """A family that names participants, and the columns where it does."""

    family: str
    id: int
    account: int


class LinkTable(NamedTuple):
    """Rows of a link table come from these; `but_zero`: id 0 is no operation."""

    but_zero: bool
    sources: tuple[Source, ...]


_ID, _ACCOUNT, _TO_ID, _OPERATION_ID, _ACCOUNT_OF_CHANGE = 0, 1, 0, 1, 4
LINKS: Final = {
    family.name: LinkTable(
        but_zero,
        (
            Source(family.name, _ID, _ACCOUNT),
            *(Source(changes.name, id_of_change, _ACCOUNT_OF_CHANGE) for changes in families.STATE_CHANGES.values()),
        ),
    )
    for family, but_zero, id_of_change in (
        (families.TRANSACTIONS_ACCOUNTS, False, _TO_ID),
        (families.OPERATIONS_ACCOUNTS, True, _OPERATION_ID),
    )
}
# Where a transaction's hashes stand.
HASH, INNER_HASH = 1, 2
# Every family that becomes history.
FAMILIES: Final = frozenset(batch.family for batches in BATCHES.values() for batch in batches) | LINKS.keys()
