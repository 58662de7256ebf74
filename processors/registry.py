"""The processors that exist, in the order in which they read best and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from lumenstream.errors import ConfigurationError
from processors.accounts import Accounts
from processors.claimable_balances import ClaimableBalances
from processors.contract_deploys import ContractDeploys
from processors.effects import Effects
from processors.liquidity_pools import LiquidityPools
from processors.participants import Participants
from processors.port import Processor
from processors.sac_balances import SacBalances
from processors.sac_events import SacEvents
from processors.sac_instances import SacInstances
from processors.sep41 import Sep41
from processors.token_transfers import TokenTransfers
from processors.trades import Trades
from processors.trustlines import Trustlines
from schemas import history

REGISTRY: Final[dict[str, Callable[[bytes], Processor]]] = {
    Participants.name: Participants,
    TokenTransfers.name: TokenTransfers,
    Effects.name: Effects,
    ContractDeploys.name: ContractDeploys,
    SacEvents.name: SacEvents,
    Trustlines.name: Trustlines,
    Accounts.name: Accounts,
    SacBalances.name: SacBalances,
    SacInstances.name: SacInstances,
    LiquidityPools.name: LiquidityPools,
    ClaimableBalances.name: ClaimableBalances,
    Trades.name: Trades,
    Sep41.name: Sep41,
}
# Those that write current state beside history, made so that they leave it out: a backfill has no use for it.
HISTORY_ONLY: Final[dict[str, Callable[[bytes], Processor]]] = {
    processor.name: partial(processor, history_only=True) for processor in (Trustlines, ClaimableBalances, Trades)
}


def create(names: Sequence[str] | None, network_id: bytes, *, history_only: bool = False) -> list[Processor]:
    """The named processors, or all of them, for the network with this id; always in the order of the registry.

    `history_only`: of them those that write history, whose parts lack the families of current state. ConfigurationError for a
    name that does not exist, or when none is left.
    """
    unknown = sorted(set(names or ()) - REGISTRY.keys())
    if unknown:
        raise ConfigurationError(f"unknown processors: {', '.join(unknown)}", hint=f"known ones are {', '.join(REGISTRY)}")
    builders = REGISTRY
    if history_only:
        builders = {name: HISTORY_ONLY.get(name, REGISTRY[name]) for name in history.history_processors()}
        if names is not None and builders.keys().isdisjoint(names):
            raise ConfigurationError(
                f"{', '.join(names)}: a backfill needs processors that write history", hint=f"these do: {', '.join(builders)}"
            )
    return [build(network_id) for name, build in builders.items() if names is None or name in names]
