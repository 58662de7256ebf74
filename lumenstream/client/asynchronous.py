"""The client for asyncio; the same methods as the other one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidHandshake
from websockets.typing import Subprotocol

from lumenstream.client import calls, wire
from lumenstream.client.calls import Call, Range, StateChangeFilter
from lumenstream.client.errors import NotAuthorizedError
from lumenstream.client.models import AccountBalances, Balance, Event, Ledger, Operation, Page, StateChange, Transaction
from lumenstream.client.signing import Signer

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class AsyncClient:
    """Use as an asynchronous context manager.

    ApiError for what the API refuses, NotAuthorizedError without the right signer, ApiUnavailableError when it does not answer.
    """

    def __init__(
        self,
        url: str,
        signer: Signer | None = None,
        timeout_seconds: float = wire.TIMEOUT_SECONDS,
        patience_seconds: float = wire.PATIENCE_SECONDS,
    ) -> None:
        self._endpoint = wire.Endpoint(url, signer)
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds  # how long a subscription tries to come back
        self._http = httpx.AsyncClient(timeout=timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def query(self, document: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data of any GraphQL document."""
        return await self.run(Call(document, variables or {}, lambda data: data))

    async def run(self, call: Call[Answer]) -> Answer:
        body, headers = self._endpoint.post(call)
        try:
            response = await self._http.post(self._endpoint.graphql, content=body, headers=headers)
        except httpx.TransportError as error:
            raise self._endpoint.unreachable(error) from error
        return call.read(wire.data_of(response))

    async def transaction_by_hash(self, digest: str) -> Transaction:
        """By its hash in hex, or that of its inner transaction. NotFoundError."""
        return await self.run(calls.transaction_by_hash(digest))

    async def operation_by_id(self, identity: int) -> Operation:
        """NotFoundError."""
        return await self.run(calls.operation_by_id(identity))

    async def ledger(self, sequence: int) -> Ledger | None:
        return await self.run(calls.ledger(sequence))

    async def ledgers(self, within: Range = Range()) -> Page[Ledger]:
        return await self.run(calls.ledgers(within))

    async def transactions(self, within: Range = Range()) -> Page[Transaction]:
        return await self.run(calls.transactions(within))

    async def operations(self, within: Range = Range()) -> Page[Operation]:
        return await self.run(calls.operations(within))

    async def state_changes(self, within: Range = Range()) -> Page[StateChange]:
        return await self.run(calls.state_changes(within))

    async def account_transactions(self, address: str, within: Range = Range()) -> Page[Transaction]:
        return await self.run(calls.account_transactions(address, within))

    async def account_operations(self, address: str, within: Range = Range()) -> Page[Operation]:
        return await self.run(calls.account_operations(address, within))

    async def account_state_changes(
        self,
        address: str,
        within: Range = Range(),
        chosen: StateChangeFilter | None = None,
    ) -> Page[StateChange]:
        return await self.run(calls.account_state_changes(address, within, chosen))

    async def transaction_operations(self, digest: str, within: Range = Range()) -> Page[Operation]:
        return await self.run(calls.transaction_operations(digest, within))

    async def transaction_state_changes(self, digest: str, within: Range = Range()) -> Page[StateChange]:
        return await self.run(calls.transaction_state_changes(digest, within))

    async def operation_state_changes(self, identity: int, within: Range = Range()) -> Page[StateChange]:
        return await self.run(calls.operation_state_changes(identity, within))

    async def balances(self, address: str) -> tuple[Balance, ...]:
        """What an account or contract holds now."""
        return await self.run(calls.balances(address))

    async def balances_of(self, addresses: Sequence[str]) -> tuple[AccountBalances, ...]:
        """Of up to 20 addresses, in their order."""
        return await self.run(calls.balances_of(addresses))

    async def iterate(
        self, listing: Callable[..., Awaitable[Page[Item]]], *arguments: Any, within: Range | None = None, **named: Any
    ) -> AsyncGenerator[Item]:
        """Every item of a list, page after page: `async for item in client.iterate(client.account_transactions, "G...")`."""
        wanted = within or Range(first=100)
        while True:
            page = await listing(*arguments, within=wanted, **named)
            for item in page.items:
                yield item
            if not page.has_next:
                return
            wanted = replace(wanted, after=page.end_cursor)

    def follow_state_changes(
        self, address: str, chosen: StateChangeFilter | None = None, *, after: str | None = None, after_ledger: int | None = None
    ) -> AsyncGenerator[Event[StateChange]]:
        """What happens to an account, for ever: behind a cursor, a ledger, or the newest. Comes back by itself when cut off."""
        return self._follow(calls.follow_state_changes(address, chosen), after, after_ledger)

    def follow_transactions(
        self, address: str | None = None, *, after: str | None = None, after_ledger: int | None = None
    ) -> AsyncGenerator[Event[Transaction]]:
        """All transactions, or an account's."""
        return self._follow(calls.follow_transactions(address), after, after_ledger)

    def follow_ledgers(self, *, after: str | None = None, after_ledger: int | None = None) -> AsyncGenerator[Event[Ledger]]:
        return self._follow(calls.follow_ledgers(), after, after_ledger)

    async def stream(self, document: str, variables: dict[str, Any] | None = None) -> AsyncGenerator[dict[str, Any]]:
        """The data of each event of any subscription. ApiUnavailableError when it is cut off: its cursors say where to go on."""
        call = Call(document, variables or {}, lambda data: data)
        try:
            async for data in self._events(call, None, None):
                yield data
        except (ConnectionClosed, OSError, InvalidHandshake) as error:
            raise self._endpoint.unreachable(error) from error

    async def _follow(self, call: Call[Event[Item]], cursor: str | None, after_ledger: int | None) -> AsyncGenerator[Event[Item]]:
        """Comes back behind the last cursor; ApiUnavailableError when the API stays away."""
        failures, away_since = 0, math.inf
        while True:
            try:
                if cursor is None and after_ledger is None:
                    after_ledger = await self._newest()
                async for event in self._events(call, cursor, after_ledger):
                    failures, away_since, cursor = 0, math.inf, event.cursor
                    yield event
                return
            except (ConnectionClosed, OSError, InvalidHandshake) as error:
                away_since = min(away_since, time.monotonic())
                if time.monotonic() - away_since > self._patience_seconds:
                    raise self._endpoint.unreachable(error) from error
            await asyncio.sleep(wire.RECONNECT_SECONDS[min(failures, len(wire.RECONNECT_SECONDS) - 1)])
            failures += 1

    async def _newest(self) -> int | None:
        """The newest ledger: a subscription that is cut off before its first event begins there again."""
        async with self._connection() as socket:
            return await self._begun(socket)

    async def _events(self, call: Call[Answer], cursor: str | None, after_ledger: int | None) -> AsyncGenerator[Answer]:
        async with self._connection() as socket:
            await self._begun(socket)
            await socket.send(wire.subscribe(call, cursor, after_ledger))
            async for text in socket:
                kind, payload = wire.message_of(text)
                if kind == wire.COMPLETE:
                    return
                if kind == wire.NEXT:
                    yield call.read(payload["data"])
                elif kind == wire.PING:
                    await socket.send(wire.PONG)
            raise ConnectionClosedOK(None, None)  # an orderly end of the connection, not of the subscription

    async def _begun(self, socket: ClientConnection) -> int | None:
        await socket.send(wire.INIT)
        try:
            return wire.acknowledged(await asyncio.wait_for(socket.recv(), self._timeout_seconds))
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == wire.CLOSED_UNAUTHORIZED:
                raise NotAuthorizedError("the API wants a signed request of a key that it knows") from closed
            raise

    def _connection(self) -> connect:
        return connect(
            self._endpoint.websocket,
            subprotocols=[Subprotocol(wire.PROTOCOL)],
            additional_headers=self._endpoint.handshake(),
            open_timeout=self._timeout_seconds,
            max_size=wire.MAX_MESSAGE_BYTES,
        )
