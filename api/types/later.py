"""Names for types that refer to each other in a circle: Strawberry looks them up when the schema is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

if TYPE_CHECKING:
    from api.types.account_type import Account
    from api.types.balance_types import Balance, Sep41Allowance
    from api.types.change_types import BaseStateChange
    from api.types.claimable_types import ClaimableBalance, ClaimableBalanceEvent
    from api.types.connections import OperationConnection, StateChangeConnection, TransactionConnection
    from api.types.market_types import Offer, Trade
    from api.types.operation_type import Operation
    from api.types.transaction_type import Transaction

LaterTransaction = Annotated["Transaction", strawberry.lazy("api.types.transaction_type")]
LaterOperation = Annotated["Operation", strawberry.lazy("api.types.operation_type")]
LaterAccount = Annotated["Account", strawberry.lazy("api.types.account_type")]
LaterStateChange = Annotated["BaseStateChange", strawberry.lazy("api.types.change_types")]
LaterTransactions = Annotated["TransactionConnection", strawberry.lazy("api.types.connections")]
LaterOperations = Annotated["OperationConnection", strawberry.lazy("api.types.connections")]
LaterStateChanges = Annotated["StateChangeConnection", strawberry.lazy("api.types.connections")]
LaterBalance = Annotated["Balance", strawberry.lazy("api.types.balance_types")]
LaterAllowance = Annotated["Sep41Allowance", strawberry.lazy("api.types.balance_types")]
LaterClaimableBalance = Annotated["ClaimableBalance", strawberry.lazy("api.types.claimable_types")]
LaterClaimableBalanceEvent = Annotated["ClaimableBalanceEvent", strawberry.lazy("api.types.claimable_types")]
LaterOffer = Annotated["Offer", strawberry.lazy("api.types.market_types")]
LaterTrade = Annotated["Trade", strawberry.lazy("api.types.market_types")]
