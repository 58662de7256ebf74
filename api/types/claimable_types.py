"""Claimable balances: what there is to claim, who may and when, and what became of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import strawberry

from api import rendering
from api.context import Context, Info
from api.paging import encode_cursor, encode_key, nanoseconds
from api.queries.claimable_balances import ClaimableBalanceRow, ClaimantRow, EventRow
from api.queries.parts import Parent
from api.scalars import Time, UInt32
from api.types import operation_type
from api.types.asset_types import Asset, asset
from api.types.described import described
from api.types.enums import ClaimableBalanceEventKind
from api.types.later import LaterOperation, LaterTransaction

_CLAWBACK_ENABLED = 1  # bit of claimable_balances.flags


@strawberry.type(description="Who may claim a balance, and when.")
class Claimant:
    address: str
    predicate: str = strawberry.field(
        description="JSON text: unconditional, before and not_before (Unix seconds), not, and, or: as the ledger has it."
    )
    can_claim_now: bool = strawberry.field(description="Whether the predicate holds at this moment.")


@strawberry.type(description="An amount set aside for its claimants.")
class ClaimableBalance:
    id: str = strawberry.field(description="In hexadecimal, with the four bytes of its type.")
    asset: Asset
    amount: str
    raw_amount: str
    sponsor_address: str | None
    creator_address: str | None = strawberry.field(description="Null when the creation was not ingested.")
    created_ledger: UInt32 | None
    created_at: Time | None
    is_clawback_enabled: bool
    last_modified_ledger: UInt32

    @strawberry.field
    async def claimants(self, info: Info) -> list[Claimant]:
        now = datetime.now(UTC)
        return [claimant(row, now) for row in await info.context.loaders.claimants.load(self.id)]


@strawberry.type(description="A claimable balance was created, claimed, or taken back.")
class ClaimableBalanceEvent:
    parent: strawberry.Private[Parent]
    id_string: str = strawberry.field(description="to_id-operation_id-event_id in decimal: unique, and the same for ever.")
    kind: ClaimableBalanceEventKind
    balance_id: str
    address: str = strawberry.field(description="Who created or claimed it, or the issuer who took it back.")
    asset: Asset
    amount: str
    raw_amount: str
    ledger_number: UInt32
    ledger_created_at: Time
    ingested_at: Time

    @described("Null when there is nothing left to claim.")
    async def claimable_balance(self, info: Info) -> ClaimableBalance | None:
        row = await info.context.loaders.claimable_balance.load(self.balance_id)
        return None if row is None else claimable_balance(info.context, row)

    @strawberry.field
    async def operation(self, info: Info) -> LaterOperation | None:
        return await operation_type.load_operation(info, self.parent)

    @strawberry.field
    async def transaction(self, info: Info) -> LaterTransaction:
        return await operation_type.load_transaction(info, self.parent)


def claimable_balance(context: Context, row: ClaimableBalanceRow) -> ClaimableBalance:
    return ClaimableBalance(
        id=row.balance_id,
        asset=asset(context, row.asset),
        amount=rendering.decimal7(row.amount),
        raw_amount=str(row.amount),
        sponsor_address=rendering.address_or_none(row.sponsor_account_id),
        creator_address=rendering.address_or_none(row.creator_account_id),
        created_ledger=None if row.created_ledger is None else UInt32(row.created_ledger),
        created_at=None if row.created_at is None else Time(row.created_at),
        is_clawback_enabled=bool(row.flags & _CLAWBACK_ENABLED),
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def claimant(row: ClaimantRow, now: datetime) -> Claimant:
    return Claimant(
        address=rendering.address(row.account_id),
        predicate=rendering.json_text(row.predicate),
        can_claim_now=holds(row.predicate, int(now.timestamp())),
    )


def holds(predicate: dict[str, Any], now: int) -> bool:
    """Whether a predicate (schemas.market_rows.ClaimableBalanceClaimantRow) holds at a Unix second. ValueError for another."""
    ((kind, value),) = predicate.items()
    match kind:
        case "unconditional":
            return True
        case "before":
            return now < int(value)
        case "not_before":
            return now >= int(value)
        case "not":
            return not holds(value, now)
        case "and":
            return all(holds(one, now) for one in value)
        case "or":
            return any(holds(one, now) for one in value)
        case _:
            raise ValueError(f"unknown claim predicate {kind}")


def event(context: Context, row: EventRow) -> ClaimableBalanceEvent:
    return ClaimableBalanceEvent(
        parent=Parent(row.operation_id, row.ledger_created_at),
        id_string=f"{row.to_id}-{row.operation_id}-{row.event_id}",
        kind=ClaimableBalanceEventKind(row.kind),
        balance_id=row.balance_id,
        address=rendering.address(row.account_id),
        asset=asset(context, row.asset),
        amount=rendering.decimal7(row.amount),
        raw_amount=str(row.amount),
        ledger_number=UInt32(row.ledger_number),
        ledger_created_at=Time(row.ledger_created_at),
        ingested_at=Time(row.ingested_at),
    )


def balance_cursor(row: ClaimableBalanceRow) -> str:
    return encode_key(row.balance_id)


def event_cursor(row: EventRow) -> str:
    return encode_cursor(nanoseconds(row.ledger_created_at), row.to_id, row.operation_id, row.event_id)
