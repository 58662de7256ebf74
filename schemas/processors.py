"""The processors the pipeline knows: names, versions, and the families each one owns.

The sink commits a ledger when it holds the parts of every processor that table `processors` requires from that ledger on;
migrations and `lumenstream migrate` register these names there.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas import families
from schemas.state_changes import Category


class ProcessorSpec(NamedTuple):
    name: str
    version: int
    families: tuple[str, ...]


PROCESSORS: Final[dict[str, ProcessorSpec]] = {
    spec.name: spec
    for spec in (
        ProcessorSpec(
            "participants",
            1,
            (
                families.LEDGERS.name,
                families.TRANSACTIONS.name,
                families.OPERATIONS.name,
                families.TRANSACTIONS_ACCOUNTS.name,
                families.OPERATIONS_ACCOUNTS.name,
            ),
        ),
        ProcessorSpec(
            "token_transfers",
            1,
            (families.STATE_CHANGES[Category.BALANCE].name, families.STATE_CHANGES[Category.ACCOUNT].name),
        ),
        ProcessorSpec(
            "effects",
            1,
            tuple(
                families.STATE_CHANGES[category].name
                for category in (
                    Category.SIGNER,
                    Category.SIGNATURE_THRESHOLD,
                    Category.METADATA,
                    Category.FLAGS,
                    Category.TRUSTLINE,
                    Category.RESERVES,
                    Category.BALANCE_AUTHORIZATION,
                )
            ),
        ),
        ProcessorSpec("contract_deploys", 1, (families.STATE_CHANGES[Category.ACCOUNT].name,)),
        ProcessorSpec("sac_events", 1, (families.STATE_CHANGES[Category.BALANCE_AUTHORIZATION].name,)),
        ProcessorSpec("trustlines", 1, (families.TRUSTLINE_ASSETS.name, families.TRUSTLINE_CHANGES.name)),
        ProcessorSpec("accounts", 1, (families.ACCOUNT_CHANGES.name,)),
        ProcessorSpec("sac_balances", 1, (families.SAC_BALANCE_CHANGES.name,)),
        ProcessorSpec("sac_instances", 1, (families.SAC_CONTRACTS.name,)),
        ProcessorSpec("liquidity_pools", 1, (families.LIQUIDITY_POOL_CHANGES.name, families.LIQUIDITY_POOL_SHARE_CHANGES.name)),
        ProcessorSpec(
            "claimable_balances",
            1,
            (
                families.CLAIMABLE_BALANCE_CHANGES.name,
                families.CLAIMABLE_BALANCE_CLAIMANTS.name,
                families.CLAIMABLE_BALANCE_EVENTS.name,
            ),
        ),
        ProcessorSpec("trades", 1, (families.OFFER_CHANGES.name, families.TRADES.name)),
        ProcessorSpec(
            "sep41",
            1,
            (families.PROTOCOL_WASMS.name, families.PROTOCOL_CONTRACTS.name, families.SEP41_CANDIDATE_EVENTS.name),
        ),
    )
}
