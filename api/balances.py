"""Balances of one or many addresses: checks, reads, and the order of what comes out (spec/api.md 2.1, 2.2)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from api.context import Context
from api.database import DATABASE_ERRORS
from api.errors import ClientError, Code
from api.queries import balances
from api.types.balance_types import AccountBalances, Balance, native_balance, sac_balance, trustline_balance
from lumenstream import logs
from lumenstream.database import error_class
from schemas import strkey

_SHOWN_CHARACTERS = 200
_FAILED = "failed to process account balances"
_log = logs.get_logger("api")


async def of_address(context: Context, address: str) -> list[Balance]:
    """Native first, then trustlines; SAC tokens for a contract. Empty for an address that holds nothing."""
    if not _valid(address):
        raise ClientError(Code.INVALID_ADDRESS, _text(), address=address[:_SHOWN_CHARACTERS])
    try:
        found = await _read(context, [address])
    except DATABASE_ERRORS as error:
        _report(context, error)
        raise ClientError(Code.INTERNAL_ERROR, _FAILED) from error
    return found[address]


async def of_addresses(context: Context, addresses: Sequence[str]) -> list[AccountBalances]:
    """In the order given, repeated addresses once: three statements, however many. A failed read is said in each `error`."""
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
        found = await _read(context, unique)
    except DATABASE_ERRORS as error:
        _report(context, error)
        return [AccountBalances(address=address, balances=[], error=_FAILED) for address in unique]
    return [AccountBalances(address=address, balances=found[address]) for address in unique]


async def _read(context: Context, addresses: Sequence[str]) -> dict[str, list[Balance]]:
    texts = {strkey.decode(address): address for address in addresses}
    accounts = [key for key in texts if key[0] == strkey.ACCOUNT]
    contracts = [key for key in texts if key[0] == strkey.CONTRACT]
    found: dict[str, list[Balance]] = defaultdict(list)
    if accounts:
        native, trustlines = await asyncio.gather(
            balances.native(context.database, accounts), balances.trustlines(context.database, accounts)
        )
        for row in native:
            found[texts[row.account_id]].append(native_balance(row, context.network_id))
        for line in trustlines:
            found[texts[line.account_id]].append(trustline_balance(line, context.network_id))
    if contracts:
        for holding in await balances.sac(context.database, contracts):
            found[texts[holding.account_id]].append(sac_balance(holding))
    return found


def _report(context: Context, error: Exception) -> None:
    reason = error_class(error)
    _log.error("balances could not be read", request_id=context.request_id, reason=reason, error=str(error))


def _valid(address: str) -> bool:
    return strkey.is_account(address) or strkey.is_contract(address)


def _text() -> str:
    return "invalid address: a G or C address is expected"
