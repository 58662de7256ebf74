"""A client of the API for Python programs: typed answers, pages, subscriptions that resume, signed requests.

    from lumenstream.client import Client

    with Client("http://127.0.0.1:8001") as client:
        for change in client.iterate(client.account_state_changes, "G..."):
            print(change.ledger_number, change.type, change.reason)

`AsyncClient` has the same methods for asyncio. docs/api.md shows both.
"""

from __future__ import annotations

from lumenstream.client.asynchronous import AsyncClient
from lumenstream.client.calls import Range, StateChangeFilter
from lumenstream.client.errors import ApiError, ApiUnavailableError, NotAuthorizedError, NotFoundError
from lumenstream.client.models import AccountBalances, Balance, Event, Ledger, Operation, Page, StateChange, Transaction
from lumenstream.client.signing import Signer
from lumenstream.client.synchronous import Client

__all__ = [
    "AccountBalances",
    "ApiError",
    "ApiUnavailableError",
    "AsyncClient",
    "Balance",
    "Client",
    "Event",
    "Ledger",
    "NotAuthorizedError",
    "NotFoundError",
    "Operation",
    "Page",
    "Range",
    "Signer",
    "StateChange",
    "StateChangeFilter",
    "Transaction",
]
