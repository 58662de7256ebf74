"""The Subscription type: an account's state changes, transactions, ledgers, each as soon as it is committed.

Every event is an edge with the cursor that the same row has in the lists of the Query type. `after` goes on behind it, so a
client that lost its connection misses nothing and sees nothing twice; `afterLedger` begins behind a ledger; neither, behind the
newest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import strawberry

from api.context import Info, selected
from api.live.following import follow
from api.paging import ID, TIMED_CHANGE, TIMED_ID
from api.queries import ledgers, state_changes, transactions
from api.queries.parts import Window
from api.scalars import UInt32
from api.types import account_type, change_types, connections, ledger_type, paged, transaction_type
from api.types.described import followed

NODE = ("node",)


@strawberry.type
class Subscription:
    @followed("What happens to the account with a G, C or M address.")
    async def account_state_changes(
        self,
        info: Info,
        address: str,
        filter: account_type.AccountStateChangeFilterInput | None = None,
        after: str | None = None,
        after_ledger: UInt32 | None = None,
    ) -> AsyncIterator[connections.StateChangeEdge]:
        key = account_type.account_at(address).key
        chosen, fields = account_type.chosen(info.context, filter), selected(info, NODE)

        async def read(window: Window) -> Sequence[connections.StateChangeEdge]:
            listing = state_changes.of_account(key, window, chosen)
            rows = await state_changes.page_of_account(info.context.streaming().source, listing, window.page, fields)
            return change_types.connection(window.page, rows, paged.uncounted, timed=True).edges or ()

        return follow(info.context, read, TIMED_CHANGE, after, after_ledger, key.account_id)

    @followed("Every transaction, or those that an account takes part in.")
    async def transactions(
        self, info: Info, address: str | None = None, after: str | None = None, after_ledger: UInt32 | None = None
    ) -> AsyncIterator[connections.TransactionEdge]:
        key = None if address is None else account_type.account_at(address).key
        fields = selected(info, NODE)

        async def read(window: Window) -> Sequence[connections.TransactionEdge]:
            if key is None:
                rows = await transactions.listed(info.context.streaming().source, window, fields)
            else:
                listing = transactions.of_account(key, window)
                rows = await transactions.page_of_account(info.context.streaming().source, listing, window.page, fields)
            return transaction_type.connection(window.page, rows, paged.uncounted, account=key).edges or ()

        return follow(info.context, read, TIMED_ID, after, after_ledger, None if key is None else key.account_id)

    @followed("Every ledger.")
    async def ledgers(
        self, info: Info, after: str | None = None, after_ledger: UInt32 | None = None
    ) -> AsyncIterator[paged.Edge[ledger_type.Ledger]]:
        async def read(window: Window) -> Sequence[paged.Edge[ledger_type.Ledger]]:
            rows = await ledgers.listed(info.context.streaming().source, ledgers.whole(window), window.page)
            return paged.connection(window.page, rows, ledger_type.cursor, ledger_type.ledger, paged.uncounted).edges

        return follow(info.context, read, ID, after, after_ledger)
