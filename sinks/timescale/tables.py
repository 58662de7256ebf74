"""The rows of one ledger, from its parts to COPY streams and balance changes. Pure.

History goes straight into binary COPY; balances, assets and contracts stay as rows, because a group of ledgers merges them first:
of each key only the last change counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Final

import orjson

from lumenstream.errors import IntegrityError
from schemas import families, parts, strkey
from schemas.families import (
    AccountBalanceChange,
    Kind,
    LedgerRow,
    SacBalanceChange,
    SacContractRow,
    TrustlineAssetRow,
    TrustlineBalanceChange,
)
from schemas.participation import Participant, accounts_beyond, union_accounts
from schemas.sep41 import CandidateEvent, state_changes
from schemas.state_changes import CATEGORY_OF, Category
from sinks.timescale import binary
from sinks.timescale.addresses import AccountAndId, AccountAndNullableId, AddressFields, SignerFields
from sinks.timescale.binary import NULL, Field
from sinks.timescale.reorder import Gathered
from sinks.timescale.sep41 import Sightings

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
# Families of ledger entries, which `entries` applies.
CURRENT: Final = (
    families.LIQUIDITY_POOL_CHANGES,
    families.LIQUIDITY_POOL_SHARE_CHANGES,
    families.CLAIMABLE_BALANCE_CHANGES,
    families.CLAIMABLE_BALANCE_CLAIMANTS,
    families.OFFER_CHANGES,
)
STORED_BYTES: Final = 33
_CONSTANT_COLUMNS: Final = 3  # of state_changes: close time, ledger, category
_ENCODERS_BY_COLUMN: Final = HISTORY["state_changes"][_CONSTANT_COLUMNS:]
_WITH_COMPANION: Final = {"account_id": "account_muxed_id", "signer_account_id": "signer_payload"}
_SMALLINTS: Final = frozenset({"signer_weight_old", "signer_weight_new", "threshold_old", "threshold_new", "flags"})
_BIGINTS: Final = frozenset({"to_id", "operation_id", "state_change_id"})
_LIMITS: Final = frozenset({"trustline_limit_old", "trustline_limit_new"})
_WORDS: Final = frozenset({"state_change_reason", "liquidity_pool_id", "claimable_balance_id"})
_TEXTS: Final = frozenset({"to_muxed_id", "sponsored_data", "data_entry_name"})

Column = Sequence[Any]
Encoder = Callable[[Column], Iterable[Field]]


@dataclass(slots=True)
class LedgerRows:
    """One ledger, ready to write. `history`: COPY tuples and their number, by table."""

    ledger: Gathered
    header: LedgerRow
    history: dict[str, tuple[bytes, int]]
    hashes: set[bytes]  # outer and inner transaction hashes
    assets: list[TrustlineAssetRow] = field(default_factory=list)
    contracts: list[SacContractRow] = field(default_factory=list)
    trustlines: list[TrustlineBalanceChange] = field(default_factory=list)
    accounts: list[AccountBalanceChange] = field(default_factory=list)
    sac_balances: list[SacBalanceChange] = field(default_factory=list)
    current: dict[str, list[parts.Row]] = field(default_factory=dict)  # by family
    sightings: Sightings = field(default_factory=Sightings)
    participants: tuple[list[Participant], list[Participant]] = field(default_factory=lambda: ([], []))

    @property
    def history_count(self) -> int:
        return sum(count for _, count in self.history.values())

    @property
    def state_change_count(self) -> int:
        return self.history["state_changes"][1]


class LedgerEncoder:
    """Turns whole ledgers into rows. Keeps the fields of addresses and words from ledger to ledger: most come again."""

    def __init__(self) -> None:
        self._words = binary.Words()
        self._addresses = AddressFields()
        self._participants = AccountAndId()
        self._accounts = AccountAndNullableId()
        self._signers = SignerFields()
        self._plans = {category: self._plan(family) for category, family in families.STATE_CHANGES.items()}

    def encode(self, ledger: Gathered, encoded: Iterable[bytes]) -> LedgerRows:
        """The rows of a ledger from its encoded parts. IntegrityError when a part cannot be read or is not of this ledger."""
        decoded = [_decode(ledger, data) for data in encoded]
        rows = _gather(decoded)
        header = _header(ledger, rows.pop(families.LEDGERS.name, []))
        close_time = binary.timestamptz(ledger.close_time)
        both = close_time + binary.int32(ledger.sequence)
        changes = {category: rows.get(family.name, []) for category, family in families.STATE_CHANGES.items()}
        transactions = rows.get(families.TRANSACTIONS.name, [])
        of_transactions, of_operations = union_accounts(decoded)
        operations = rows.get(families.OPERATIONS.name, [])
        sightings = Sightings.of(ledger.sequence, rows)
        history = {
            "transactions": (self._transactions(transactions, both), len(transactions)),
            "transactions_accounts": (self._links(of_transactions, close_time), len(of_transactions)),
            "operations": (self._operations(operations, both), len(operations)),
            "operations_accounts": (self._links(of_operations, close_time), len(of_operations)),
            "state_changes": (self._state_changes(changes, both), sum(len(batch) for batch in changes.values())),
            **{family.name: self._events(family, rows.get(family.name, []), both) for family in EVENTS},
        }
        return LedgerRows(
            ledger,
            header,
            history,
            {row[1] for row in transactions} | {row[2] for row in transactions if row[2] is not None},
            list(map(TrustlineAssetRow._make, rows.get(families.TRUSTLINE_ASSETS.name, []))),
            list(map(SacContractRow._make, rows.get(families.SAC_CONTRACTS.name, []))),
            list(map(TrustlineBalanceChange._make, rows.get(families.TRUSTLINE_CHANGES.name, []))),
            list(map(AccountBalanceChange._make, rows.get(families.ACCOUNT_CHANGES.name, []))),
            list(map(SacBalanceChange._make, rows.get(families.SAC_BALANCE_CHANGES.name, []))),
            {family.name: rows[family.name] for family in CURRENT if family.name in rows},
            sightings,
            (of_transactions, of_operations) if sightings.events else ([], []),
        )

    def extended(self, rows: LedgerRows, events: Sequence[CandidateEvent]) -> LedgerRows:
        """The same ledger with the state changes of custom tokens' events, which only who knows the tokens could choose."""
        if not events:
            return rows
        changes = list(state_changes(events))
        close_time = binary.timestamptz(rows.ledger.close_time)
        by_category: dict[Category, list[parts.Row]] = {}
        for change in changes:
            by_category.setdefault(CATEGORY_OF[type(change)], []).append(change)
        of_transactions, of_operations = accounts_beyond(changes, *rows.participants)
        added = {
            "transactions_accounts": (self._links(of_transactions, close_time), len(of_transactions)),
            "operations_accounts": (self._links(of_operations, close_time), len(of_operations)),
            "state_changes": (self._state_changes(by_category, close_time + binary.int32(rows.ledger.sequence)), len(changes)),
        }
        history = dict(rows.history)
        for table, (data, count) in added.items():
            history[table] = history[table][0] + data, history[table][1] + count
        return replace(rows, history=history)

    def _transactions(self, rows: Sequence[parts.Row], both: Field) -> bytes:
        if not rows:
            return b""
        ids, hashes, inner, fees, codes, bumps, envelopes, metas = zip(*rows, strict=True)
        columns = [
            binary.int64s(ids),
            binary.raws(hashes),
            binary.raws(inner),
            binary.int64s(fees),
            self._words.fields(codes),
            binary.bools(bumps),
            binary.texts(envelopes),
            binary.texts(metas),
        ]
        return binary.rows(columns, binary.field_count(len(HISTORY["transactions"])) + both)

    def _operations(self, rows: Sequence[parts.Row], both: Field) -> bytes:
        if not rows:
            return b""
        ids, types, xdrs, codes, successes = zip(*rows, strict=True)
        columns = [
            binary.int64s(ids),
            self._words.fields(types),
            binary.raws([xdr or None for xdr in xdrs]),
            self._words.fields(codes),
            binary.bools(successes),
        ]
        return binary.rows(columns, binary.field_count(len(HISTORY["operations"])) + both)

    def _links(self, pairs: Sequence[tuple[int, bytes]], close_time: Field) -> bytes:
        if not pairs:
            return b""
        ids, accounts = zip(*pairs, strict=True)
        known = self._participants.ready()
        columns = [[known[account] for account in accounts], binary.int64s(ids)]
        return binary.rows(columns, binary.field_count(len(HISTORY["transactions_accounts"])) + close_time)

    def _events(self, family: families.Family, rows: Sequence[parts.Row], both: Field) -> tuple[bytes, int]:
        """Column by column, by the kind of the column."""
        if not rows:
            return b"", 0
        encoders: dict[Kind, Encoder] = {
            Kind.I64: binary.int64s,
            Kind.BIG: _nullable(binary.int64),
            Kind.WORD: binary.texts,
            Kind.ADDRESS: self._addresses.ready().fields,
        }
        values = zip(*rows, strict=True)
        columns = [encoders[kind](column) for (_, kind), column in zip(family.columns, values, strict=True)]
        return binary.rows(columns, binary.field_count(len(HISTORY[family.name])) + both), len(rows)

    def _state_changes(self, changes: dict[Category, list[parts.Row]], both: Field) -> bytes:
        for cache in (self._addresses, self._accounts, self._signers):
            cache.ready()
        count = binary.field_count(len(HISTORY["state_changes"]))
        return b"".join(
            binary.rows(self._plans[category](rows), count + both + binary.text(category.value))
            for category, rows in changes.items()
            if rows
        )

    def _plan(self, family: families.Family) -> Callable[[Sequence[parts.Row]], list[Iterable[Field]]]:
        """How the rows of a category become columns of the table. NULLs that stand side by side are one constant."""
        place = {name: index for index, (name, _) in enumerate(family.columns)}
        steps: list[tuple[int, Encoder] | Field] = []
        companions = {companion for name, companion in _WITH_COMPANION.items() if name in place}
        for name in _ENCODERS_BY_COLUMN:
            if name in place:
                steps.append((place[name], self._encoder(name)))
            elif name in companions:
                continue
            elif steps and isinstance(steps[-1], bytes):
                steps[-1] += NULL
            else:
                steps.append(NULL)

        def columns(rows: Sequence[parts.Row]) -> list[Iterable[Field]]:
            values = list(zip(*rows, strict=True))
            return [repeat(step) if isinstance(step, bytes) else step[1](values[step[0]]) for step in steps]

        return columns

    def _encoder(self, name: str) -> Encoder:
        if name in _BIGINTS:
            return binary.int64s
        if name in _WORDS:
            return self._words.fields
        if name in _SMALLINTS:
            return _nullable(binary.int16)
        if name in _LIMITS:
            return _nullable(binary.int64)
        if name in _TEXTS:
            return binary.texts
        match name:
            case "amount":
                return binary.amounts
            case "key_value":
                return _nullable(_json)
            case "account_id":
                return self._accounts.fields
            case "signer_account_id":
                return self._signers.fields
            case _:
                return self._addresses.fields


def _decode(ledger: Gathered, data: bytes) -> parts.Part:
    try:
        return parts.decode(data)
    except parts.PartError as error:
        raise IntegrityError(
            f"ledger {ledger.sequence}: {error}", hint="upgrade the sink, or make the part again: lumenstream replay --ledger"
        ) from error


def _gather(decoded: Iterable[parts.Part]) -> dict[str, list[parts.Row]]:
    """Rows by family. A family that several processors fill is joined in a new list: parts stay as they are."""
    rows: dict[str, list[parts.Row]] = {}
    for part in decoded:
        for name, batch in part.rows.items():
            rows[name] = rows[name] + batch if name in rows else batch
    return rows


def _header(ledger: Gathered, rows: Sequence[parts.Row]) -> LedgerRow:
    if len(rows) != 1:
        raise IntegrityError(f"ledger {ledger.sequence}: its parts hold {len(rows)} ledger rows, expected one")
    header = LedgerRow(*rows[0])
    if header.sequence != ledger.sequence or header.hash.hex() != ledger.ledger_hash:
        raise IntegrityError(
            f"ledger {ledger.sequence}, hash {ledger.ledger_hash}: its ledger row says {header.sequence}, {header.hash.hex()}",
            hint="the headers and the content of a part contradict each other",
        )
    return header


def _nullable(encode: Callable[[Any], Field]) -> Encoder:
    return lambda column: [NULL if value is None else encode(value) for value in column]


def _json(value: dict[str, Any]) -> Field:
    return binary.jsonb(orjson.dumps(value))


def account_key(address: bytes) -> bytes:
    """The 33 bytes by which balance tables know an account."""
    return address if len(address) == STORED_BYTES else strkey.storage_form(address).account_id
