"""Which rows of the history tables a processor owns: what a replay of that processor alone deletes and writes again.

Rows of `state_changes` belong to the processor in whose stream their id lies (spec/processors.md 10.3). Other history tables have
one owner, except the two link tables: they are a union over processors (`schemas.participation`) and are worked out anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.processors import PROCESSORS
from schemas.state_changes import IdBase

PARTICIPANTS: Final = "participants"
LINK_TABLES: Final = ("transactions_accounts", "operations_accounts")
STATE_CHANGES: Final = "state_changes"

_STREAM: Final = 1 << 28
_WIDE_STREAM: Final = 1 << 40

# First and last state_change_id of each stream of a processor.
STREAMS: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "token_transfers": ((IdBase.TOKEN_TRANSFERS + 1, IdBase.EFFECTS),),
    "effects": ((IdBase.EFFECTS + 1, IdBase.CONTRACT_DEPLOYS), (IdBase.RESERVES + 1, IdBase.RESERVES + _STREAM)),
    "contract_deploys": ((IdBase.CONTRACT_DEPLOYS + 1, IdBase.SAC_EVENTS),),
    "sac_events": ((IdBase.SAC_EVENTS + 1, IdBase.RESERVES),),
    "sep41": ((IdBase.SEP41 + 1, IdBase.SEP41 + _WIDE_STREAM),),
}

# Families that only the live sink applies, in the order of the chain; the parts of a backfill do not have them.
CURRENT_STATE: Final = frozenset(
    {
        "trustline_changes",
        "account_changes",
        "liquidity_pool_changes",
        "liquidity_pool_share_changes",
        "claimable_balance_changes",
        "claimable_balance_claimants",
        "offer_changes",
    }
)


def history_processors(names: Iterable[str] = PROCESSORS) -> tuple[str, ...]:
    """Those that write history, or what history refers to (assets, contracts), in the order of the registry."""
    wanted = set(names)
    return tuple(spec.name for spec in PROCESSORS.values() if spec.name in wanted and not CURRENT_STATE.issuperset(spec.families))


def tables_of(processors: Iterable[str], tables: Iterable[str]) -> tuple[str, ...]:
    """Of these history tables, those whose rows all belong to one of the processors: their family has the table's name."""
    owned = {family for name in processors for family in PROCESSORS[name].families}
    return tuple(table for table in tables if table in owned and table not in LINK_TABLES)


def streams_of(processors: Iterable[str]) -> list[tuple[int, int]]:
    """The ranges of state_change_id that belong to the processors."""
    return [stream for name in processors for stream in STREAMS.get(name, ())]
