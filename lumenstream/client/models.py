"""What the API answers, as frozen pydantic models. Ids and amounts are exact: Python's integers have no limit.

Amounts with seven decimals stay text, as the API writes them. `StateChange` has what every kind has; what only some have is None
for the others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Item = TypeVar("Item")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Transaction(_Model):
    hash: str
    inner_hash: str | None
    ledger_number: int
    ledger_created_at: datetime
    fee_charged: int  # stroops
    result_code: str
    is_fee_bump: bool
    envelope_xdr: str | None
    meta_xdr: str | None


class Operation(_Model):
    id: int
    operation_type: str
    operation_xdr: str
    result_code: str
    successful: bool
    ledger_number: int
    ledger_created_at: datetime
    transaction_hash: str = Field(validation_alias=AliasPath("transaction", "hash"))


class StateChange(_Model):
    """`kind` is the GraphQL type's name; (type, reason) is the taxonomy's pair, for example (BALANCE, CREDIT)."""

    kind: str = Field(validation_alias="__typename")
    id: str = Field(validation_alias="idString")
    type: str
    reason: str
    ledger_number: int
    ledger_created_at: datetime
    account: str = Field(validation_alias=AliasPath("account", "address"))
    transaction_hash: str = Field(validation_alias=AliasPath("transaction", "hash"))
    token_id: str | None = Field(None, validation_alias=AliasChoices("tokenId", "maybeTokenId"))
    amount: str | None = Field(None, validation_alias=AliasChoices("amount", "allowance"))
    to_muxed_id: str | None = None
    creator_address: str | None = None
    destination_address: str | None = None
    signer_address: str | None = None
    old_weight: int | None = None
    new_weight: int | None = None
    old_threshold: int | None = None
    new_threshold: int | None = None
    name: str | None = None
    old_value: str | None = None
    new_value: str | None = None
    flags: tuple[str, ...] | None = None
    liquidity_pool_id: str | None = None
    old_limit: str | None = None
    new_limit: str | None = None
    sponsored_address: str | None = None
    sponsor_address: str | None = None
    claimable_balance_id: str | None = None
    sponsored_data: str | None = None
    spender: str | None = None
    expiration_ledger: int | None = None


class Balance(_Model):
    """What an account holds of one token. `kind` is the GraphQL type's name."""

    kind: str = Field(validation_alias="__typename")
    balance: str
    raw_balance: str
    token_id: str
    token_type: str
    code: str | None = Field(None, validation_alias=AliasChoices("code", "maybeCode"))
    issuer: str | None = Field(None, validation_alias=AliasChoices("issuer", "maybeIssuer"))
    name: str | None = None
    symbol: str | None = None
    decimals: int | None = None
    limit: str | None = None
    minimum_balance: str | None = None
    buying_liabilities: str | None = None
    selling_liabilities: str | None = None
    is_authorized: bool | None = None
    is_authorized_to_maintain_liabilities: bool | None = None


class AccountBalances(_Model):
    """One account's balances out of several; `error` says why they could not be had."""

    address: str
    error: str | None
    balances: tuple[Balance, ...]


class Ledger(_Model):
    sequence: int
    hash: str
    previous_hash: str
    closed_at: datetime
    protocol_version: int
    transaction_count: int
    successful_transaction_count: int
    operation_count: int
    state_change_count: int


class Page(NamedTuple, Generic[Item]):
    """One page of a list in ascending order. `end_cursor` as `after` gives the next page, `start_cursor` as `before` the last."""

    items: tuple[Item, ...]
    start_cursor: str | None
    end_cursor: str | None
    has_next: bool
    has_previous: bool


class Event(NamedTuple, Generic[Item]):
    """One event of a subscription. Whoever keeps the cursor goes on behind it."""

    item: Item
    cursor: str
