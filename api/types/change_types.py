"""BaseStateChange and its implementations, one per category, and how a row becomes one (spec/api.md 1.2).

The names are the reference's; fields it lacks say so in their description or by their absence there. `keyValue`, `limit`,
`thresholds` and `signerWeights` are JSON text, the fields beside them say the same in plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import strawberry

from api import rendering
from api.context import Info
from api.paging import Page, encode_cursor, nanoseconds
from api.queries.accounts import AccountKey
from api.queries.parts import Parent
from api.queries.state_changes import StateChangeRow
from api.scalars import Time, UInt32
from api.types import account_type, connections, operation_type, paged
from api.types.described import described
from api.types.enums import Category, Reason
from api.types.later import LaterAccount, LaterOperation, LaterTransaction
from schemas import strkey
from schemas.state_changes import flag_names


@strawberry.interface(description="Something that happened to an account.")
class BaseStateChange:
    to_id: strawberry.Private[int]
    operation_id: strawberry.Private[int]
    account_key: strawberry.Private[AccountKey]
    type: Category
    reason: Reason
    id_string: str = strawberry.field(description="to_id-operation_id-state_change_id in decimal: unique, and the same for ever.")
    ingested_at: Time
    ledger_created_at: Time
    ledger_number: UInt32

    @strawberry.field
    def account(self) -> LaterAccount:
        return account_type.account(self.account_key)

    @described("Null on the fee of a transaction.")
    async def operation(self, info: Info) -> LaterOperation | None:
        if self.operation_id == 0:
            return None
        return await operation_type.load_operation(info, Parent(self.operation_id, self.ledger_created_at))

    @strawberry.field
    async def transaction(self, info: Info) -> LaterTransaction:
        return await operation_type.load_transaction(info, Parent(self.to_id, self.ledger_created_at))


@strawberry.type(description="DEBIT, CREDIT, MINT, BURN of a token.")
class StandardBalanceChange(BaseStateChange):
    token_id: str
    amount: str = strawberry.field(description="A whole number of the token's smallest unit.")
    to_muxed_id: str | None = strawberry.field(description="Id of the muxed destination, or the memo id of a custom token.")


@strawberry.type(description="CREATE or MERGE of an account; CREATE of a contract.")
class AccountChange(BaseStateChange):
    funder_address: str | None = strawberry.field(description="Who funded the new account.")
    creator_address: str | None = strawberry.field(description="Funder of an account, deployer of a contract.")
    destination_address: str | None = strawberry.field(description="Where a merged account's balance went.")


@strawberry.type
class SignerChange(BaseStateChange):
    signer_address: str | None
    signer_weights: str | None
    old_weight: int | None
    new_weight: int | None


@strawberry.type
class SignerThresholdsChange(BaseStateChange):
    thresholds: str
    old_threshold: int | None
    new_threshold: int | None


@strawberry.type(description="HOME_DOMAIN or DATA_ENTRY.")
class MetadataChange(BaseStateChange):
    key_value: str
    name: str | None = strawberry.field(description="Name of the data entry.")
    old_value: str | None = strawberry.field(description="Null when it did not exist; base64 for a data entry.")
    new_value: str | None = strawberry.field(description="Null when it no longer exists; base64 for a data entry.")


@strawberry.type
class FlagsChange(BaseStateChange):
    flags: list[str]


@strawberry.type
class TrustlineChange(BaseStateChange):
    token_id: str | None
    limit: str | None
    liquidity_pool_id: str | None
    old_limit: str | None = strawberry.field(description="With seven decimals.")
    new_limit: str | None = strawberry.field(description="With seven decimals.")


@strawberry.type(description="SPONSOR or UNSPONSOR of a ledger entry's reserve.")
class ReservesChange(BaseStateChange):
    sponsored_address: str | None
    sponsor_address: str | None
    liquidity_pool_id: str | None
    claimable_balance_id: str | None
    sponsored_trustline: str | None
    sponsored_data: str | None
    signer_address: str | None


@strawberry.type
class BalanceAuthorizationChange(BaseStateChange):
    token_id: str | None
    liquidity_pool_id: str | None
    flags: list[str]


@strawberry.type(description="An allowance of a custom token was set.")
class AllowanceChange(BaseStateChange):
    token_id: str
    spender: str
    amount: str
    expiration_ledger: UInt32


IMPLEMENTATIONS = (
    StandardBalanceChange,
    AccountChange,
    SignerChange,
    SignerThresholdsChange,
    MetadataChange,
    FlagsChange,
    TrustlineChange,
    ReservesChange,
    BalanceAuthorizationChange,
    AllowanceChange,
)


class Common(TypedDict):
    to_id: int
    operation_id: int
    account_key: AccountKey
    type: Category
    reason: Reason
    id_string: str
    ingested_at: Time
    ledger_created_at: Time
    ledger_number: UInt32


def state_change(row: StateChangeRow) -> BaseStateChange:
    """The node of a row. A column that was not selected is NULL and so is its field, which nobody asked for."""
    category = Category(row.state_change_category)
    muxed = row.account_muxed_id if row.account_id[0] in strkey.WITH_ID else None
    common = Common(
        to_id=row.to_id,
        operation_id=row.operation_id,
        account_key=AccountKey(row.account_id, muxed),
        type=category,
        reason=Reason(row.state_change_reason),
        id_string=f"{row.to_id}-{row.operation_id}-{row.state_change_id}",
        ingested_at=Time(row.ingested_at),
        ledger_created_at=Time(row.ledger_created_at),
        ledger_number=UInt32(row.ledger_number),
    )
    return _MAKE[category](common, row)


def connection(
    page: Page, rows: Sequence[StateChangeRow], counter: paged.Counter, timed: bool
) -> connections.StateChangeConnection:
    """The page's connection. `timed`: the list's cursors begin with the close time."""
    kept, cursors, info = paged.cut(page, rows, _timed_cursor if timed else _cursor)
    nodes = zip(kept, cursors, strict=True)
    edges = [connections.StateChangeEdge(node=state_change(row), cursor=cursor) for row, cursor in nodes]
    return connections.StateChangeConnection(edges=edges, page_info=info, counter=counter)


def _cursor(row: StateChangeRow) -> str:
    return encode_cursor(*row[:3])


def _timed_cursor(row: StateChangeRow) -> str:
    return encode_cursor(nanoseconds(row.ledger_created_at), *row[:3])


def _balance(common: Common, row: StateChangeRow) -> BaseStateChange:
    token = rendering.address_or_none(row.token_id)
    return StandardBalanceChange(**common, token_id=token or "", amount=row.amount or "", to_muxed_id=row.to_muxed_id)


def _account(common: Common, row: StateChangeRow) -> BaseStateChange:
    creator = rendering.address_or_none(row.creator_account_id)
    return AccountChange(
        **common,
        funder_address=creator if row.account_id[0] == strkey.ACCOUNT else None,
        creator_address=creator,
        destination_address=rendering.address_or_none(row.destination_account_id),
    )


def _signer(common: Common, row: StateChangeRow) -> BaseStateChange:
    return SignerChange(
        **common,
        signer_address=rendering.signer_or_none(row.signer_account_id, row.signer_payload),
        signer_weights=rendering.weights(row.signer_weight_old, row.signer_weight_new),
        old_weight=row.signer_weight_old,
        new_weight=row.signer_weight_new,
    )


def _thresholds(common: Common, row: StateChangeRow) -> BaseStateChange:
    text = rendering.thresholds(row.threshold_old, row.threshold_new)
    return SignerThresholdsChange(**common, thresholds=text, old_threshold=row.threshold_old, new_threshold=row.threshold_new)


def _metadata(common: Common, row: StateChangeRow) -> BaseStateChange:
    stored: dict[str, Any] = row.key_value or {}
    sides: dict[str, str] = next(iter(stored.values()), {})
    home_domain = row.state_change_reason == Reason.HOME_DOMAIN
    shown = {name: sides.get("new", "") for name in stored} if home_domain else stored
    return MetadataChange(
        **common,
        key_value=rendering.json_text(shown),
        name=row.data_entry_name,
        old_value=sides.get("old"),
        new_value=sides.get("new"),
    )


def _flags(common: Common, row: StateChangeRow) -> BaseStateChange:
    return FlagsChange(**common, flags=flag_names(row.flags))


def _trustline(common: Common, row: StateChangeRow) -> BaseStateChange:
    return TrustlineChange(
        **common,
        token_id=rendering.address_or_none(row.token_id),
        limit=rendering.limits(row.trustline_limit_old, row.trustline_limit_new),
        liquidity_pool_id=row.liquidity_pool_id,
        old_limit=rendering.decimal7_or_none(row.trustline_limit_old),
        new_limit=rendering.decimal7_or_none(row.trustline_limit_new),
    )


def _reserves(common: Common, row: StateChangeRow) -> BaseStateChange:
    return ReservesChange(
        **common,
        sponsored_address=rendering.address_or_none(row.sponsored_account_id),
        sponsor_address=rendering.address_or_none(row.sponsor_account_id),
        liquidity_pool_id=row.liquidity_pool_id,
        claimable_balance_id=row.claimable_balance_id,
        sponsored_trustline=rendering.address_or_none(row.token_id),
        sponsored_data=row.sponsored_data,
        signer_address=rendering.signer_or_none(row.signer_account_id, row.signer_payload),
    )


def _authorization(common: Common, row: StateChangeRow) -> BaseStateChange:
    return BalanceAuthorizationChange(
        **common,
        token_id=rendering.address_or_none(row.token_id),
        liquidity_pool_id=row.liquidity_pool_id,
        flags=flag_names(row.flags),
    )


def _allowance(common: Common, row: StateChangeRow) -> BaseStateChange:
    return AllowanceChange(
        **common,
        token_id=rendering.address_or_none(row.token_id) or "",
        spender=rendering.address_or_none(row.spender_account_id) or "",
        amount=row.amount or "",
        expiration_ledger=UInt32((row.key_value or {}).get("live_until_ledger", 0)),
    )


_MAKE: dict[Category, Callable[[Common, StateChangeRow], BaseStateChange]] = {
    Category.BALANCE: _balance,
    Category.ACCOUNT: _account,
    Category.SIGNER: _signer,
    Category.SIGNATURE_THRESHOLD: _thresholds,
    Category.METADATA: _metadata,
    Category.FLAGS: _flags,
    Category.TRUSTLINE: _trustline,
    Category.RESERVES: _reserves,
    Category.BALANCE_AUTHORIZATION: _authorization,
    Category.ALLOWANCE: _allowance,
}
