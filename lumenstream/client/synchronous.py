"""The client for programs without an event loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from lumenstream.client import calls, wire
from lumenstream.client.calls import Call, Range, StateChangeFilter
from lumenstream.client.errors import NotAuthorizedError
from lumenstream.client.models import AccountBalances, Balance, Event, Ledger, Operation, Page, StateChange, Transaction
from lumenstream.client.signing import Signer

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class Client:
    """Use as a context manager. Safe to share between threads.

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
        self._http = httpx.Client(timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def query(self, document: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data of any GraphQL document."""
        return self.run(Call(document, variables or {}, lambda data: data))

    def run(self, call: Call[Answer]) -> Answer:
        body, headers = self._endpoint.post(call)
        try:
            response = self._http.post(self._endpoint.graphql, content=body, headers=headers)
        except httpx.TransportError as error:
            raise self._endpoint.unreachable(error) from error
        return call.read(wire.data_of(response))

    def transaction_by_hash(self, digest: str) -> Transaction:
        """By its hash in hex, or that of its inner transaction. NotFoundError."""
        return self.run(calls.transaction_by_hash(digest))

    def operation_by_id(self, identity: int) -> Operation:
        """NotFoundError."""
        return self.run(calls.operation_by_id(identity))

    def ledger(self, sequence: int) -> Ledger | None:
        return self.run(calls.ledger(sequence))

    def ledgers(self, within: Range = Range()) -> Page[Ledger]:
        return self.run(calls.ledgers(within))

    def transactions(self, within: Range = Range()) -> Page[Transaction]:
        return self.run(calls.transactions(within))

    def operations(self, within: Range = Range()) -> Page[Operation]:
        return self.run(calls.operations(within))

    def state_changes(self, within: Range = Range()) -> Page[StateChange]:
        return self.run(calls.state_changes(within))

    def account_transactions(self, address: str, within: Range = Range()) -> Page[Transaction]:
        return self.run(calls.account_transactions(address, within))

    def account_operations(self, address: str, within: Range = Range()) -> Page[Operation]:
        return self.run(calls.account_operations(address, within))

    def account_state_changes(
        self,
        address: str,
        within: Range = Range(),
        chosen: StateChangeFilter | None = None,
    ) -> Page[StateChange]:
        return self.run(calls.account_state_changes(address, within, chosen))

    def transaction_operations(self, digest: str, within: Range = Range()) -> Page[Operation]:
        return self.run(calls.transaction_operations(digest, within))

    def transaction_state_changes(self, digest: str, within: Range = Range()) -> Page[StateChange]:
        return self.run(calls.transaction_state_changes(digest, within))

    def operation_state_changes(self, identity: int, within: Range = Range()) -> Page[StateChange]:
        return self.run(calls.operation_state_changes(identity, within))

    def balances(self, address: str) -> tuple[Balance, ...]:
        """What an account or contract holds now."""
        return self.run(calls.balances(address))

    def balances_of(self, addresses: Sequence[str]) -> tuple[AccountBalances, ...]:
        """Of up to 20 addresses, in their order."""
        return self.run(calls.balances_of(addresses))

    def iterate(
        self, listing: Callable[..., Page[Item]], *arguments: Any, within: Range | None = None, **named: Any
    ) -> Iterator[Item]:
        """Every item of a list, page after page: `client.iterate(client.account_transactions, "G...")`."""
        wanted = within or Range(first=100)
        while True:
            page = listing(*arguments, within=wanted, **named)
            yield from page.items
            if not page.has_next:
                return
            wanted = replace(wanted, after=page.end_cursor)

    def follow_state_changes(
        self, address: str, chosen: StateChangeFilter | None = None, *, after: str | None = None, after_ledger: int | None = None
    ) -> Iterator[Event[StateChange]]:
        """What happens to an account, for ever: behind a cursor, a ledger, or the newest. Comes back by itself when cut off."""
        return self._follow(calls.follow_state_changes(address, chosen), after, after_ledger)

    def follow_transactions(
        self, address: str | None = None, *, after: str | None = None, after_ledger: int | None = None
    ) -> Iterator[Event[Transaction]]:
        """All transactions, or an account's."""
        return self._follow(calls.follow_transactions(address), after, after_ledger)

    def follow_ledgers(self, *, after: str | None = None, after_ledger: int | None = None) -> Iterator[Event[Ledger]]:
        return self._follow(calls.follow_ledgers(), after, after_ledger)

    def stream(self, document: str, variables: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The data of each event of any subscription. ApiUnavailableError when it is cut off: its cursors say where to go on."""
        call = Call(document, variables or {}, lambda data: data)
        try:
            yield from self._events(call, None, None)
        except (ConnectionClosed, OSError, InvalidHandshake) as error:
            raise self._endpoint.unreachable(error) from error

    def _follow(self, call: Call[Event[Item]], cursor: str | None, after_ledger: int | None) -> Iterator[Event[Item]]:
        """Comes back behind the last cursor; ApiUnavailableError when the API stays away."""
        failures, away_since = 0, math.inf
        while True:
            try:
                if cursor is None and after_ledger is None:
                    after_ledger = self._newest()
                for event in self._events(call, cursor, after_ledger):
                    failures, away_since, cursor = 0, math.inf, event.cursor
                    yield event
                return
            except (ConnectionClosed, OSError, InvalidHandshake) as error:
                away_since = min(away_since, time.monotonic())
                if time.monotonic() - away_since > self._patience_seconds:
                    raise self._endpoint.unreachable(error) from error
            time.sleep(wire.RECONNECT_SECONDS[min(failures, len(wire.RECONNECT_SECONDS) - 1)])
            failures += 1

    def _newest(self) -> int | None:
        """The newest ledger: a subscription that is cut off before its first event begins there again."""
        with self._connection() as socket:
            return self._begun(socket)

    def _events(self, call: Call[Answer], cursor: str | None, after_ledger: int | None) -> Iterator[Answer]:
        with self._connection() as socket:
            self._begun(socket)
            socket.send(wire.subscribe(call, cursor, after_ledger))
            for text in socket:
                kind, payload = wire.message_of(text)
                if kind == wire.COMPLETE:
                    return
                if kind == wire.NEXT:
                    yield call.read(payload["data"])
                elif kind == wire.PING:
                    socket.send(wire.PONG)
            raise ConnectionClosedOK(None, None)  # an orderly end of the connection, not of the subscription

    def _begun(self, socket: ClientConnection) -> int | None:
        socket.send(wire.INIT)
        try:
            return wire.acknowledged(socket.recv(self._timeout_seconds))
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == wire.CLOSED_UNAUTHORIZED:
                raise NotAuthorizedError("the API wants a signed request of a key that it knows") from closed
            raise

    def _connection(self) -> ClientConnection:
        return connect(
            self._endpoint.websocket,
            subprotocols=[Subprotocol(wire.PROTOCOL)],
            additional_headers=self._endpoint.handshake(),
            open_timeout=self._timeout_seconds,
            max_size=wire.MAX_MESSAGE_BYTES,
        )
