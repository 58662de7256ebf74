"""Which rows of contract_tokens lack metadata, and writing what was found, or why not, each in a transaction of its own.

Only what is missing is filled, by the row's state at that moment: the sink may have learned it meanwhile.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

from lumenstream.database import Connection
from sinks.timescale.enrich.calls import Metadata

# Tokens without metadata: custom ones that do not describe themselves, and asset contracts that balances alone have shown.
_LACKING: Final[LiteralString] = (
    "((t.type = 'SEP41' and (t.name is null or t.symbol is null)) or (t.type = 'SAC' and t.code is null))"
)
_WANTED: Final[LiteralString] = (
    "select t.id, t.contract_id, t.type = 'SAC' from contract_tokens t left join token_enrichments e on e.contract_id = t.id "
    f"where {_LACKING} and (e.tried_at is null or e.tried_at < %s) order by e.tried_at nulls first, t.id limit %s"
)
_FILL_TOKEN: Final[LiteralString] = (
    "update contract_tokens t set name = %(name)s, symbol = %(symbol)s, decimals = %(decimals)s "
    f"where t.id = %(id)s and {_LACKING} and t.type = 'SEP41'"
)
_FILL_ASSET: Final[LiteralString] = (
    "update contract_tokens t set name = %(name)s, symbol = %(symbol)s, decimals = %(decimals)s, code = %(code)s, "
    f"issuer = %(issuer)s where t.id = %(id)s and {_LACKING} and t.type = 'SAC'"
)
_FORGET: Final[LiteralString] = "delete from token_enrichments where contract_id = %s"
_REMEMBER: Final[LiteralString] = (
    "insert into token_enrichments as e (contract_id, tries, tried_at, error) values (%s, 1, now(), %s) "
    "on conflict (contract_id) do update set tries = e.tries + 1, tried_at = excluded.tried_at, error = excluded.error"
)


class Wanted(NamedTuple):
    id: UUID
    contract: str  # C address
    is_asset: bool


def now(connection: Connection) -> datetime:
    """The database's clock, against which tries are dated."""
    ((found,),) = connection.execute("select now()").fetchall()
    return datetime.fromtimestamp(found.timestamp(), UTC)


def lacking(connection: Connection) -> int:
    """How many tokens have no metadata, tried or not."""
    ((count,),) = connection.execute(f"select count(*) from contract_tokens t where {_LACKING}").fetchall()
    return int(count)


def wanted(connection: Connection, before: datetime, limit: int) -> list[Wanted]:
    """Tokens to ask for: never tried, then those whose last try was before this time, oldest first."""
    return [Wanted(*row) for row in connection.execute(_WANTED, (before, limit)).fetchall()]


def fill(connection: Connection, token: Wanted, found: Metadata) -> bool:
    """Write metadata down. False: it had come from elsewhere already, or the contract is no such token any more."""
    with connection.transaction():
        statement = _FILL_ASSET if token.is_asset else _FILL_TOKEN
        filled = connection.execute(statement, {"id": token.id, **found._asdict()}).rowcount == 1
        connection.execute(_FORGET, (token.id,))
    return filled


def remember(connection: Connection, token: Wanted, error: str) -> None:
    """Write down that a token could not be filled now, and why."""
    connection.execute(_REMEMBER, (token.id, error))
