"""Every question the client can ask: a document, its variables, and how the answer becomes models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from lumenstream.client.models import AccountBalances, Balance, Event, Ledger, Operation, Page, StateChange, Transaction

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)
Data = dict[str, Any]

TRANSACTION: Final = "hash innerHash ledgerNumber ledgerCreatedAt feeCharged resultCode isFeeBump envelopeXdr metaXdr"
OPERATION: Final = "id operationType operationXdr resultCode successful ledgerNumber ledgerCreatedAt transaction { hash }"
STATE_CHANGE: Final = """__typename idString type reason ledgerNumber ledgerCreatedAt account { address } transaction { hash }
... on StandardBalanceChange { tokenId amount toMuxedId }
... on AccountChange { creatorAddress destinationAddress }
... on SignerChange { signerAddress oldWeight newWeight }
... on SignerThresholdsChange { oldThreshold newThreshold }
... on MetadataChange { name oldValue newValue }
... on FlagsChange { flags }
... on TrustlineChange { maybeTokenId: tokenId liquidityPoolId oldLimit newLimit }
... on ReservesChange { sponsoredAddress sponsorAddress liquidityPoolId claimableBalanceId maybeTokenId: sponsoredTrustline
  sponsoredData signerAddress }
... on BalanceAuthorizationChange { maybeTokenId: tokenId liquidityPoolId flags }
... on AllowanceChange { tokenId spender allowance: amount expirationLedger }"""
BALANCE: Final = """__typename balance rawBalance tokenId tokenType
... on NativeBalance { minimumBalance buyingLiabilities sellingLiabilities }
... on TrustlineBalance { code issuer limit buyingLiabilities sellingLiabilities isAuthorized isAuthorizedToMaintainLiabilities }
... on SACBalance { maybeCode: code maybeIssuer: issuer decimals isAuthorized }
... on SEP41Balance { name symbol decimals }"""
LEDGER: Final = (
    "sequence hash previousHash closedAt protocolVersion transactionCount successfulTransactionCount operationCount "
    "stateChangeCount"
)
_PAGE_VARIABLES: Final = "$first: Int, $after: String, $last: Int, $before: String"
_PAGE_ARGUMENTS: Final = "first: $first, after: $after, last: $last, before: $before"
_RANGE_VARIABLES: Final = "$since: Time, $until: Time, $fromLedger: UInt32, $toLedger: UInt32"
_RANGE_ARGUMENTS: Final = "since: $since, until: $until, fromLedger: $fromLedger, toLedger: $toLedger"
_PAGE_INFO: Final = "pageInfo { startCursor endCursor hasNextPage hasPreviousPage }"


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request. `read` takes the answer's data."""

    document: str
    variables: Data
    read: Callable[[Data], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A page, and the bounds of a list of history, which are inclusive. Without anything: the first page of 50."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    from_ledger: int | None = None
    to_ledger: int | None = None

    def variables(self) -> Data:
        given = {to_camel(name): value for name, value in asdict(self).items() if value is not None}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChangeFilter:
    """What an account's state changes are narrowed to; all of it must hold."""

    transaction_hash: str | None = None
    operation_id: int | None = None
    category: str | None = None
    reason: str | None = None
    token_id: str | None = None
    asset: str | None = None
    counterparty: str | None = None

    def variables(self) -> Data:
        return {to_camel(name): value for name, value in asdict(self).items() if value is not None}


def transaction_by_hash(digest: str) -> Call[Transaction]:
    return _one("transactionByHash", "hash: String!", {"hash": digest}, TRANSACTION, Transaction)


def operation_by_id(identity: int) -> Call[Operation]:
    return _one("operationById", "id: Int64!", {"id": str(identity)}, OPERATION, Operation)


def ledger(sequence: int) -> Call[Ledger | None]:
    document = f"query($sequence: UInt32!) {{ ledger(sequence: $sequence) {{ {LEDGER} }} }}"
    return Call(document, {"sequence": sequence}, lambda data: data["ledger"] and Ledger.model_validate(data["ledger"]))


def ledgers(within: Range) -> Call[Page[Ledger]]:
    return _listed("ledgers", within, LEDGER, Ledger)


def transactions(within: Range) -> Call[Page[Transaction]]:
    return _listed("transactions", within, TRANSACTION, Transaction)


def operations(within: Range) -> Call[Page[Operation]]:
    return _listed("operations", within, OPERATION, Operation)


def state_changes(within: Range) -> Call[Page[StateChange]]:
    return _listed("stateChanges", within, STATE_CHANGE, StateChange)


def account_transactions(address: str, within: Range) -> Call[Page[Transaction]]:
    return _of_account("transactions", address, within, TRANSACTION, Transaction)


def account_operations(address: str, within: Range) -> Call[Page[Operation]]:
    return _of_account("operations", address, within, OPERATION, Operation)


def account_state_changes(address: str, within: Range, chosen: StateChangeFilter | None = None) -> Call[Page[StateChange]]:
    document = (
        f"query($address: String!, $filter: AccountStateChangeFilterInput, {_PAGE_VARIABLES}, {_RANGE_VARIABLES}) "
        f"{{ accountByAddress(address: $address) {{ stateChanges(filter: $filter, {_PAGE_ARGUMENTS}, {_RANGE_ARGUMENTS}) "
        f"{{ edges {{ node {{ {STATE_CHANGE} }} }} {_PAGE_INFO} }} }} }}"
    )
    variables = {"address": address, "filter": (chosen or StateChangeFilter()).variables(), **within.variables()}
    return Call(document, variables, lambda data: _page(data["accountByAddress"]["stateChanges"], StateChange))


def transaction_operations(digest: str, within: Range) -> Call[Page[Operation]]:
    return _of_parent("transactionByHash", "hash", "String!", digest, "operations", within, OPERATION, Operation)


def transaction_state_changes(digest: str, within: Range) -> Call[Page[StateChange]]:
    return _of_parent("transactionByHash", "hash", "String!", digest, "stateChanges", within, STATE_CHANGE, StateChange)


def operation_state_changes(identity: int, within: Range) -> Call[Page[StateChange]]:
    return _of_parent("operationById", "id", "Int64!", str(identity), "stateChanges", within, STATE_CHANGE, StateChange)


def balances(address: str) -> Call[tuple[Balance, ...]]:
    document = f"query($address: String!) {{ balancesByAccountAddress(address: $address, poolShares: true) {{ {BALANCE} }} }}"
    return Call(document, {"address": address}, lambda data: tuple(map(Balance.model_validate, data["balancesByAccountAddress"])))


def balances_of(addresses: Sequence[str]) -> Call[tuple[AccountBalances, ...]]:
    document = (
        "query($addresses: [String!]!) { balancesByAccountAddresses(addresses: $addresses, poolShares: true) "
        f"{{ address error balances {{ {BALANCE} }} }} }}"
    )
    return Call(
        document,
        {"addresses": [*addresses]},
        lambda data: tuple(map(AccountBalances.model_validate, data["balancesByAccountAddresses"])),
    )


def follow_state_changes(address: str, chosen: StateChangeFilter | None = None) -> Call[Event[StateChange]]:
    document = (
        "subscription($address: String!, $filter: AccountStateChangeFilterInput, $after: String, $afterLedger: UInt32) "
        "{ accountStateChanges(address: $address, filter: $filter, after: $after, afterLedger: $afterLedger) "
        f"{{ cursor node {{ {STATE_CHANGE} }} }} }}"
    )
    variables = {"address": address, "filter": (chosen or StateChangeFilter()).variables()}
    return Call(document, variables, lambda data: _event(data["accountStateChanges"], StateChange))


def follow_transactions(address: str | None = None) -> Call[Event[Transaction]]:
    document = (
        "subscription($address: String, $after: String, $afterLedger: UInt32) "
        f"{{ transactions(address: $address, after: $after, afterLedger: $afterLedger) {{ cursor node {{ {TRANSACTION} }} }} }}"
    )
    return Call(document, {"address": address}, lambda data: _event(data["transactions"], Transaction))


def follow_ledgers() -> Call[Event[Ledger]]:
    document = (
        "subscription($after: String, $afterLedger: UInt32) "
        f"{{ ledgers(after: $after, afterLedger: $afterLedger) {{ cursor node {{ {LEDGER} }} }} }}"
    )
    return Call(document, {}, lambda data: _event(data["ledgers"], Ledger))


def _one(field: str, declared: str, variables: Data, fields: str, model: type[Model]) -> Call[Model]:
    (name,) = variables
    document = f"query(${declared}) {{ {field}({name}: ${name}) {{ {fields} }} }}"
    return Call(document, variables, lambda data: model.model_validate(data[field]))


def _listed(field: str, within: Range, fields: str, model: type[Model]) -> Call[Page[Model]]:
    document = (
        f"query({_PAGE_VARIABLES}, {_RANGE_VARIABLES}) {{ {field}({_PAGE_ARGUMENTS}, {_RANGE_ARGUMENTS}) "
        f"{{ edges {{ node {{ {fields} }} }} {_PAGE_INFO} }} }}"
    )
    return Call(document, within.variables(), lambda data: _page(data[field], model))


def _of_account(field: str, address: str, within: Range, fields: str, model: type[Model]) -> Call[Page[Model]]:
    document = (
        f"query($address: String!, {_PAGE_VARIABLES}, {_RANGE_VARIABLES}) {{ accountByAddress(address: $address) "
        f"{{ {field}({_PAGE_ARGUMENTS}, {_RANGE_ARGUMENTS}) {{ edges {{ node {{ {fields} }} }} {_PAGE_INFO} }} }} }}"
    )
    return Call(document, {"address": address, **within.variables()}, lambda data: _page(data["accountByAddress"][field], model))


def _of_parent(
    parent: str, key: str, kind: str, value: str, field: str, within: Range, fields: str, model: type[Model]
) -> Call[Page[Model]]:
    document = (
        f"query(${key}: {kind}, {_PAGE_VARIABLES}) {{ {parent}({key}: ${key}) "
        f"{{ {field}({_PAGE_ARGUMENTS}) {{ edges {{ node {{ {fields} }} }} {_PAGE_INFO} }} }} }}"
    )
    return Call(document, {key: value, **within.variables()}, lambda data: _page(data[parent][field], model))


def _page(found: Data, model: type[Model]) -> Page[Model]:
    info = found["pageInfo"]
    return Page(
        tuple(model.model_validate(edge["node"]) for edge in found["edges"]),
        info["startCursor"],
        info["endCursor"],
        info["hasNextPage"],
        info["hasPreviousPage"],
    )


def _event(edge: Data, model: type[Model]) -> Event[Model]:
    return Event(model.model_validate(edge["node"]), edge["cursor"])
