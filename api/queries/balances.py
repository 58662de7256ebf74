"""Reads of the current-state tables: what accounts and contracts hold now, and what others may spend of it.

Each kind of balance is a `Kind`: a row type, what to select, and the column its rows are ordered by within an account. Of many
accounts it is read whole, of one account page by page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from api.database import Reader
from api.paging import KeyPage
from api.queries.parts import Listing, direction, order, where
from lumenstream.database import Cursor


class NativeRow(NamedTuple):
    account_id: bytes
    balance: int
    minimum_balance: int
    buying_liabilities: int
    selling_liabilities: int
    num_subentries: int
    last_modified_ledger: int

    @property
    def key(self) -> str:
        return "native"


class TrustlineRow(NamedTuple):
    account_id: bytes
    asset_id: UUID
    code: str
    issuer: str
    balance: int
    limit: int
    buying_liabilities: int
    selling_liabilities: int
    flags: int
    last_modified_ledger: int

    @property
    def key(self) -> str:
        return str(self.asset_id)


class SacRow(NamedTuple):
    account_id: bytes
    token: UUID
    contract_id: str
    code: str | None
    issuer: str | None
    decimals: int
    balance: Decimal
    is_authorized: bool
    is_clawback_enabled: bool
    last_modified_ledger: int

    @property
    def key(self) -> str:
        return str(self.token)


class Sep41Row(NamedTuple):
    account_id: bytes
    token: UUID
    contract_id: str
    name: str | None
    symbol: str | None
    decimals: int
    balance: Decimal
    last_modified_ledger: int

    @property
    def key(self) -> str:
        return str(self.token)


class PoolShareRow(NamedTuple):
    account_id: bytes
    pool_id: str
    shares: int
    last_modified_ledger: int

    @property
    def key(self) -> str:
        return self.pool_id


class AllowanceRow(NamedTuple):
    owner_id: bytes
    spender_id: bytes
    token: UUID
    contract_id: str
    amount: Decimal
    expiration_ledger: int
    last_modified_ledger: int


class _Row(Protocol):
    @property
    def account_id(self) -> bytes: ...

    @property
    def key(self) -> str: ...


Row = TypeVar("Row", bound=_Row)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Row]):
    """One kind of balance. `source`: what follows FROM, with the balance as `b`; `order`: the key's column and SQL type."""

    name: str
    make: Callable[[Sequence[Any]], Row]
    columns: str
    source: str
    order: tuple[str, str]

    async def of_many(self, database: Reader, accounts: Sequence[bytes]) -> list[Row]:
        """All balances of these accounts, ordered by account and key."""
        one = len(accounts) == 1  # its plan need not be made anew for every length of the list
        condition = "b.account_id = %(account)s" if one else "b.account_id = ANY(%(accounts)s::bytea[])"
        values = {"account": accounts[0]} if one else {"accounts": list(accounts)}
        statement = f"SELECT {self.columns} FROM {self.source} WHERE {condition} ORDER BY b.account_id, {self.order[0]}"
        return await database.fetch(self.name, statement, values, self.make)

    def fits(self, key: str) -> bool:
        """Whether a key that a client sent back can be one of these."""
        return _KEYS[self.order[1]].fullmatch(key) is not None

    def listing(self, account: bytes) -> Listing:
        return Listing(self.name, self.source, ["b.account_id = %(account)s"], {"account": account})

    async def page(self, database: Reader, account: bytes, page: KeyPage) -> list[Row]:
        """Up to `page.limit` balances of one account in the order of the scan. `page.cursor`: the key they lie behind."""
        column, kind = self.order
        values: dict[str, Any] = {"account": account, "limit": page.limit}
        conditions = ["b.account_id = %(account)s"]
        if page.cursor is not None:
            values["key"] = page.cursor[0]
            conditions.append(f"{column} {'>' if page.forward else '<'} %(key)s::{kind}")
        statement = (
            f"SELECT {self.columns} FROM {self.source} {where(conditions)} ORDER BY {column} {direction(page)} LIMIT %(limit)s"
        )
        return await database.fetch(f"{self.name}_page", statement, values, self.make)


_KEYS: Final = {
    "bytea": re.compile("native"),
    "uuid": re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "text": re.compile("[0-9a-f]{64}"),
}


def _columns(row: type[tuple[Any, ...]], **elsewhere: str) -> str:
    names: tuple[str, ...] = getattr(row, "_fields")  # noqa: B009 (tuple does not say that it is a named one)
    return ", ".join(elsewhere.get(name, f"b.{name}") for name in names)


NATIVE: Final = Kind("native_balances", NativeRow._make, _columns(NativeRow), "native_balances b", ("b.account_id", "bytea"))
TRUSTLINES: Final = Kind(
    "trustline_balances",
    TrustlineRow._make,
    _columns(TrustlineRow, code="a.code", issuer="a.issuer", limit="b.trust_limit"),
    "trustline_balances b JOIN trustline_assets a ON a.id = b.asset_id",
    ("b.asset_id", "uuid"),
)
SAC: Final = Kind(
    "sac_balances",
    SacRow._make,
    _columns(SacRow, token="c.id", contract_id="c.contract_id", code="c.code", issuer="c.issuer", decimals="c.decimals"),
    "sac_balances b JOIN contract_tokens c ON c.id = b.contract_id",
    ("b.contract_id", "uuid"),
)
SEP41: Final = Kind(
    "sep41_balances",
    Sep41Row._make,
    _columns(Sep41Row, token="c.id", contract_id="c.contract_id", name="c.name", symbol="c.symbol", decimals="c.decimals"),
    "sep41_balances b JOIN contract_tokens c ON c.id = b.contract_id",
    ("b.contract_id", "uuid"),
)
POOL_SHARES: Final = Kind(
    "liquidity_pool_balances", PoolShareRow._make, _columns(PoolShareRow), "liquidity_pool_balances b", ("b.pool_id", "text")
)

_ALLOWANCE: Final = (
    "b.owner_id, b.spender_id, b.contract_id, c.contract_id, b.amount, b.expiration_ledger, b.last_modified_ledger"
)
_ALLOWANCES: Final = "sep41_allowances b JOIN contract_tokens c ON c.id = b.contract_id"
ALLOWANCE_KEY: Final = ("b.spender_id", "b.contract_id")


def allowances(owner: bytes) -> Listing:
    """What others may spend of the owner's custom tokens at the newest ledger."""
    latest = "(SELECT value::bigint FROM ingest_store WHERE key = %(latest)s)"
    conditions = ["b.owner_id = %(account)s", f"b.expiration_ledger >= coalesce({latest}, 0)"]
    return Listing("sep41_allowances", _ALLOWANCES, conditions, {"account": owner, "latest": Cursor.LATEST.value})


async def page_of_allowances(
    database: Reader, listing: Listing, page: KeyPage, after: tuple[bytes, str] | None
) -> list[AllowanceRow]:
    """A page of `allowances`, behind the spender and contract of `after`."""
    values = {**listing.values, "fetch": page.fetch}
    conditions = list(listing.conditions)
    if after is not None:
        values |= {"spender": after[0], "contract": after[1]}
        sign = ">" if page.forward else "<"
        conditions.append(f"({', '.join(ALLOWANCE_KEY)}) {sign} (%(spender)s, %(contract)s::uuid)")
    statement = f"SELECT {_ALLOWANCE} FROM {listing.source} {where(conditions)} {order(ALLOWANCE_KEY, page)} LIMIT %(fetch)s"
    return await database.fetch(listing.name, statement, values, AllowanceRow._make)
