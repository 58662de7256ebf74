"""Balances of one or many addresses: checks, reads, and the order of what comes out (spec/api.md 2.1, 2.2, 13.3).

The kinds of balances an address may have are its sources, in a fixed order. Many addresses are read with one statement for each
kind; the pages of one address walk through its sources.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic

from api.context import Context
from api.database import DATABASE_ERRORS
from api.errors import ClientError, Code, bad_input
from api.paging import KeyPage, encode_key
from api.queries import balances, counts
from api.queries.balances import Kind, Row
from api.types import balance_types, paged
from api.types.balance_types import AccountBalances, Balance
from lumenstream import logs
from lumenstream.database import error_class
from schemas import strkey


@dataclass(frozen=True, slots=True)
class Source(Generic[Row]):
    """A kind of balances, under the name it has in cursors, and how a row is shown."""

    name: str
    kind: Kind[Row]
    show: Callable[[Row, Context], Balance]


POOL_SHARES: Final = Source("lp", balances.POOL_SHARES, balance_types.pool_balance)
_SEP41: Final = Source("sep41", balances.SEP41, balance_types.sep41_balance)
SOURCES: Final[dict[int, tuple[Source[Any], ...]]] = {
    strkey.ACCOUNT: (
        Source("native", balances.NATIVE, balance_types.native_balance),
        Source("classic", balances.TRUSTLINES, balance_types.trustline_balance),
        _SEP41,
        POOL_SHARES,
    ),
    strkey.CONTRACT: (Source("sac", balances.SAC, balance_types.sac_balance), _SEP41),
}

_ORDER: Final = [source for sources in SOURCES.values() for source in sources]
_SHOWN_CHARACTERS = 200
_FAILED = "failed to process account balances"
_log = logs.get_logger("api")


async def of_address(context: Context, address: str, pool_shares: bool) -> list[Balance]:
    """In the order of the sources. Empty for an address that holds nothing."""
    if not _valid(address):
        raise ClientError(Code.INVALID_ADDRESS, _text(), address=address[:_SHOWN_CHARACTERS])
    try:
        found = await _read(context, [address], pool_shares)
    except DATABASE_ERRORS as error:
        _report(context, error)
        raise ClientError(Code.INTERNAL_ERROR, _FAILED) from error
    return found[address]


async def of_addresses(context: Context, addresses: Sequence[str], pool_shares: bool) -> list[AccountBalances]:
    """In the order given, repeated addresses once: a statement for each kind. A failed read is said in each `error`."""
    limit = context.settings.max_balance_accounts
    if not addresses:
        raise ClientError(Code.EMPTY_ADDRESSES, "addresses must not be empty")
    if len(addresses) > limit:
        message = f"at most {limit} addresses, {len(addresses)} were given"
        raise ClientError(Code.TOO_MANY_ADDRESSES, message, limit=limit, provided=len(addresses))
    unique = list(dict.fromkeys(addresses))
    for index, address in enumerate(unique):
        if not _valid(address):
            raise ClientError(Code.INVALID_ADDRESS, _text(), index=index, address=address[:_SHOWN_CHARACTERS])
    try:
        found = await _read(context, unique, pool_shares)
    except DATABASE_ERRORS as error:
        _report(context, error)
        return [AccountBalances(address=address, balances=[], error=_FAILED) for address in unique]
    return [AccountBalances(address=address, balances=found[address]) for address in unique]


async def _read(context: Context, addresses: Sequence[str], pool_shares: bool) -> dict[str, list[Balance]]:
    texts = {strkey.decode(address): address for address in addresses}
    wanted: dict[Source[Any], list[bytes]] = defaultdict(list)
    for key in texts:
        for source in SOURCES[key[0]]:
            if pool_shares or source is not POOL_SHARES:
                wanted[source].append(key)
    in_order = sorted(wanted, key=_ORDER.index)
    rows = await asyncio.gather(*(source.kind.of_many(context.database, wanted[source]) for source in in_order))
    found: dict[str, list[Balance]] = defaultdict(list)
    for source, held in zip(in_order, rows, strict=True):
        for row in held:
            found[texts[row.account_id]].append(source.show(row, context))
    return found


async def page(context: Context, account: bytes, wanted: KeyPage) -> paged.Connection[Balance]:
    """A page over all sources of an account; `wanted.cursor` holds the name of a source and a key in it."""
    sources = SOURCES.get(account[0], ())
    ordered = sources if wanted.forward else sources[::-1]
    start, key = _position(ordered, wanted.cursor)
    rows: list[tuple[Source[Any], Any]] = []
    for source in ordered[start:]:
        part = KeyPage(wanted.fetch - len(rows), wanted.forward, key)
        rows += [(source, row) for row in await source.kind.page(context.database, account, part)]
        key = None
        if len(rows) == wanted.fetch:
            break
    return paged.connection(
        wanted,
        rows,
        lambda held: encode_key(held[0].name, held[1].key),
        lambda held: held[0].show(held[1], context),
        _counter(context, account, sources),
    )


def _position(ordered: Sequence[Source[Any]], cursor: tuple[str, ...] | None) -> tuple[int, tuple[str, ...] | None]:
    """Where a page begins: the index of a source, and the key in it that lies before the page."""
    if cursor is None:
        return 0, None
    name, key = cursor
    for index, source in enumerate(ordered):
        if source.name == name and source.kind.fits(key):
            return (index + 1, None) if source.kind is balances.NATIVE else (index, (key,))
    raise bad_input("invalid cursor")


def _counter(context: Context, account: bytes, sources: Sequence[Source[Any]]) -> paged.Counter:
    async def count() -> int:
        listings = (source.kind.listing(account) for source in sources)
        return sum(await asyncio.gather(*(counts.total(context.database, listing) for listing in listings)))

    return count


def _report(context: Context, error: Exception) -> None:
    reason = error_class(error)
    _log.error("balances could not be read", request_id=context.request_id, reason=reason, error=str(error))


def _valid(address: str) -> bool:
    return strkey.is_account(address) or strkey.is_contract(address)


def _text() -> str:
    return "invalid address: a G or C address is expected"
