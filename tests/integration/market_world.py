"""Pools, claimable balances, offers and trades of the made-up chain of `sink_world`: parts from a seed."""

from __future__ import annotations

import hashlib
import random

from schemas import families, strkey, toid
from schemas.market_rows import (
    ClaimableBalanceChange,
    ClaimableBalanceClaimantRow,
    ClaimableBalanceEvent,
    LiquidityPoolChange,
    LiquidityPoolShareChange,
    OfferChange,
    TradeRow,
)
from schemas.parts import Part

KINDS = ("ADD", "UPDATE", "REMOVE")
BIGGEST = (1 << 63) - 1


def account(number: int) -> bytes:
    return bytes((strkey.ACCOUNT,)) + hashlib.sha256(b"account %d" % number).digest()


def asset(number: int) -> str:
    return "native" if number == 0 else f"TOKEN{number}:{strkey.encode(account(number))}"


def pool_id(number: int) -> str:
    return hashlib.sha256(b"pool %d" % number).hexdigest()


def balance_id(sequence: int, number: int) -> str:
    return "00000000" + hashlib.sha256(b"balance %d %d" % (sequence, number)).hexdigest()


def add_market(rng: random.Random, parts: dict[str, Part], sequence: int) -> None:
    to_id = toid.transaction_id(sequence, 1)
    operation = toid.operation_id(to_id, 0)
    _add_pools(rng, parts["liquidity_pools"], operation)
    _add_claimable_balances(rng, parts["claimable_balances"], sequence, to_id, operation)
    _add_trades(rng, parts["trades"], to_id, operation)


def _add_pools(rng: random.Random, part: Part, operation: int) -> None:
    for number in sorted(rng.sample(range(6), 3)):
        pool = (pool_id(number), rng.choice(KINDS), operation)
        reserves = (rng.randrange(BIGGEST), rng.randrange(9), 30, rng.randrange(BIGGEST), 2)
        part.add(families.LIQUIDITY_POOL_CHANGES, [LiquidityPoolChange(*pool, asset(0), asset(number + 1), *reserves)])
        share = LiquidityPoolShareChange(
            account(rng.randrange(4)), pool_id(number), rng.choice(KINDS), operation, rng.randrange(99)
        )
        part.add(families.LIQUIDITY_POOL_SHARE_CHANGES, [share])


def _add_claimable_balances(rng: random.Random, part: Part, sequence: int, to_id: int, operation: int) -> None:
    """Two come, one of the ledger before gets another sponsor, one of two ledgers before goes."""
    creator, other, claimants = (
        account(rng.randrange(9)),
        account(rng.randrange(9)),
        [account(n) for n in rng.sample(range(9), 2)],
    )
    new, known, old = balance_id(sequence, 0), balance_id(sequence - 1, 0), balance_id(sequence - 2, 0)
    lasting = balance_id(sequence, 1)
    part.add(
        families.CLAIMABLE_BALANCE_CHANGES,
        [
            ClaimableBalanceChange(new, "ADD", operation, asset(1), BIGGEST, 1, creator, creator),
            ClaimableBalanceChange(lasting, "ADD", operation, asset(0), 1, 0, None, creator),
            ClaimableBalanceChange(known, "UPDATE", operation, asset(1), BIGGEST, 1, other, None),
            ClaimableBalanceChange(old, "REMOVE", operation, asset(1), BIGGEST, 1, creator, None),
        ],
    )
    part.add(
        families.CLAIMABLE_BALANCE_CLAIMANTS,
        [
            ClaimableBalanceClaimantRow(new, claimants[0], {"and": [{"not_before": 5}, {"before": BIGGEST}]}),
            ClaimableBalanceClaimantRow(lasting, claimants[0], {"unconditional": True}),
            ClaimableBalanceClaimantRow(lasting, claimants[1], {"not": {"unconditional": True}}),
            ClaimableBalanceClaimantRow(known, account(sequence % 9), {"before": 7}),
        ],
    )
    part.add(
        families.CLAIMABLE_BALANCE_EVENTS,
        [
            ClaimableBalanceEvent(to_id, operation, 1, new, "CREATED", creator, asset(1), BIGGEST),
            ClaimableBalanceEvent(to_id, operation, 2, lasting, "CREATED", creator, asset(0), 1),
            ClaimableBalanceEvent(to_id, operation, 3, old, rng.choice(["CLAIMED", "CLAWED_BACK"]), other, asset(1), BIGGEST),
        ],
    )


def _add_trades(rng: random.Random, part: Part, to_id: int, operation: int) -> None:
    for number in sorted(rng.sample(range(8), 3)):
        price = (rng.randrange(1, 1 << 31), rng.randrange(1, 1 << 31))
        sponsor = account(1) if rng.random() < 0.3 else None
        offer = (number, rng.choice(KINDS), operation, account(number), asset(0), asset(2), rng.randrange(BIGGEST))
        part.add(families.OFFER_CHANGES, [OfferChange(*offer, *price, number % 2, sponsor)])
    taker, maker = account(rng.randrange(9)), account(10 + rng.randrange(9))
    part.add(
        families.TRADES,
        [
            TradeRow(to_id, operation, 1, "ORDERBOOK", taker, maker, None, 7, asset(2), 6, asset(0), BIGGEST, BIGGEST, 6),
            TradeRow(to_id, operation, 2, "LIQUIDITY_POOL", taker, None, pool_id(1), None, asset(1), 3, asset(2), 6, 2, 1),
        ],
    )
