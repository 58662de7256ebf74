"""Pools, pool shares, claimable balances and offers against the ledger entries themselves; trades against what they moved.

Nothing here asks the reference. State: every file of stellar-core is a chain; all its changes, whatever phase made them, are
replayed one by one, and after each ledger our rows, applied as the sink applies them, must say the same. Trades: the amounts of
each operation's trades must be the claim atoms' and must be what pools and offers lost and won. The one exception: an offer that
meets a trade may lose more than it sold, because a rest that its owner cannot honour is cut or removed; `TRADES` counts these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lumenstream.xdr import decode_ledger
from lumenstream.xdr.files import read_ledgers
from lumenstream.xdr.rows import (
    Change,
    ClaimableBalanceEntry,
    ClaimAtom,
    Entry,
    Ledger,
    LiquidityPoolEntry,
    OfferEntry,
    OfferResult,
    Operation,
    PathPaymentResult,
    TrustLineEntry,
)
from processors import registry
from processors.claimable_balances import predicate
from schemas import assets, families
from schemas.assets import network_id
from schemas.market_rows import TradeRow

pytestmark = pytest.mark.golden

PROCESSORS: Final = ("liquidity_pools", "claimable_balances", "trades")
NETWORKS: Final = {
    "stellar-core": "(V) (;,,;) (V)",
    "pubnet": "Public Global Stellar Network ; September 2015",
    "lake": "Public Global Stellar Network ; September 2015",
    "rebuilt": "Public Global Stellar Network ; September 2015",
}

State = dict[tuple[str, Any], tuple[Any, ...]]
Rows = dict[str, list[Any]]

# Changed entries compared, by family and whether they still exist.
COMPARED: Final[dict[str, dict[str, int]]] = {
    "stellar-core": {
        "claimable_balance_changes kept": 1,
        "liquidity_pool_changes kept": 4,
        "liquidity_pool_share_changes kept": 4,
        "offer_changes gone": 57,
        "offer_changes kept": 183,
    },
    "pubnet": {
        "claimable_balance_changes gone": 1,
        "claimable_balance_changes kept": 171,
        "liquidity_pool_changes kept": 110,
        "offer_changes gone": 84,
        "offer_changes kept": 945,
    },
    "lake": {
        "claimable_balance_changes gone": 3,
        "claimable_balance_changes kept": 54,
        "liquidity_pool_changes kept": 13,
        "offer_changes gone": 5,
        "offer_changes kept": 85,
    },
    "rebuilt": {
        "offer_changes gone": 379,
        "offer_changes kept": 525,
    },
}

# Trades by kind, and offers that met one: left or gone, `rest cut` when they lost more than they sold.
TRADES: Final[dict[str, dict[str, int]]] = {
    "stellar-core": {
        "ORDERBOOK": 57,
        "offer gone": 8,
        "offer left": 46,
    },
    "pubnet": {
        "LIQUIDITY_POOL": 132,
        "ORDERBOOK": 209,
        "offer gone": 10,
        "offer left": 167,
        "offer left, rest cut": 32,
    },
    "lake": {
        "LIQUIDITY_POOL": 18,
        "ORDERBOOK": 11,
        "offer left": 9,
        "offer left, rest cut": 2,
    },
    "rebuilt": {},
}

_KEPT: Final = {
    families.LIQUIDITY_POOL_CHANGES.name: 1,
    families.LIQUIDITY_POOL_SHARE_CHANGES.name: 2,
    families.CLAIMABLE_BALANCE_CHANGES.name: 1,
    families.OFFER_CHANGES.name: 1,
}


def ledgers_of(path: Path, network: bytes) -> Iterator[Ledger]:
    for data in read_ledgers(path):
        yield decode_ledger(data, network)


def derived(ledger: Ledger, network: bytes) -> Rows:
    rows: Rows = {}
    for processor in registry.create(PROCESSORS, network):
        rows |= processor.process(ledger).rows
    return rows


def test_state_after_each_ledger_is_that_of_the_entries(shared_ledgers: Path) -> None:
    network = network_id(NETWORKS["stellar-core"])
    compared: Counter[str] = Counter()
    for path in sorted((shared_ledgers / "stellar-core").rglob("*.xdr.gz")):
        entries: State = {}
        ours: State = {}
        for ledger in ledgers_of(path, network):
            touched = replay(ledger, entries) | apply(derived(ledger, network), ours)
            assert ours == entries, f"{path}, ledger {ledger.header.sequence}"
            compared.update(f"{family} {'kept' if (family, key) in entries else 'gone'}" for family, key in touched)
    assert compared == COMPARED["stellar-core"]


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"stellar-core"}))
def test_state_after_a_single_ledger(shared_ledgers: Path, name: str) -> None:
    """Ledgers without their past: what a ledger changes is known from the states that it shows."""
    network = network_id(NETWORKS[name])
    compared: Counter[str] = Counter()
    for path in sorted((shared_ledgers / name).glob("*.xdr.*")):
        for ledger in ledgers_of(path, network):
            entries = states_before(ledger)
            ours = dict(entries)
            touched = replay(ledger, entries) | apply(derived(ledger, network), ours)
            assert ours == entries, path
            compared.update(f"{family} {'kept' if (family, key) in entries else 'gone'}" for family, key in touched)
    assert compared == COMPARED[name]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_trades_are_what_pools_and_offers_lost_and_won(shared_ledgers: Path, name: str) -> None:
    network = network_id(NETWORKS[name])
    counts: Counter[str] = Counter()
    for path in sorted((shared_ledgers / name).rglob("*.xdr.*")):
        for ledger in ledgers_of(path, network):
            trades: dict[int, list[TradeRow]] = {}
            for row in derived(ledger, network).get("trades", ()):
                trades.setdefault(row.operation_id, []).append(row)
            for operation_id, op in _effective_operations(ledger):
                check_operation(op, trades.pop(operation_id, []), counts)
            assert not trades, f"{path}: trades of operations that took no effect"
    assert counts == TRADES[name]


def check_operation(op: Operation, trades: list[TradeRow], counts: Counter[str]) -> None:
    atoms: tuple[ClaimAtom, ...] = ()
    match op.result.value if op.result else None:
        case OfferResult(claimed):
            atoms = claimed
        case PathPaymentResult(claimed):
            atoms = claimed
    assert [trade.trade_id for trade in trades] == list(range(1, len(atoms) + 1))
    assert [(row.sold_asset, row.sold_amount, row.bought_asset, row.bought_amount) for row in trades] == [
        (_text(atom.asset_sold), atom.amount_sold, _text(atom.asset_bought), atom.amount_bought) for atom in atoms
    ]
    assert all(row.price_n * row.sold_amount == row.price_d * row.bought_amount for row in trades)
    sold: Counter[int | str] = Counter()  # by offer; by pool and asset
    for row in trades:
        counts[row.kind] += 1
        if row.liquidity_pool_id is None:
            assert row.offer_id is not None
            sold[row.offer_id] += row.sold_amount
        else:
            sold[f"{row.liquidity_pool_id} {row.sold_asset}"] += row.sold_amount
            sold[f"{row.liquidity_pool_id} {row.bought_asset}"] -= row.bought_amount
    for change in op.changes:
        check_entry(change, sold, trades, counts)
    assert not +sold, "a trade with an offer or pool that did not change"
    assert not -sold, "a trade with an offer or pool that did not change"


def check_entry(change: Change, sold: Counter[int | str], trades: list[TradeRow], counts: Counter[str]) -> None:
    """Takes from `sold` what the changed pool or offer lost."""
    match change.pre and change.pre.data, change.post and change.post.data:
        case LiquidityPoolEntry() as pool, LiquidityPoolEntry() as after if trades:
            name = pool.pool_id.hex()
            sold[f"{name} {_text(pool.params.asset_a)}"] -= pool.reserve_a - after.reserve_a
            sold[f"{name} {_text(pool.params.asset_b)}"] -= pool.reserve_b - after.reserve_b
        case OfferEntry() as offer, after_offer if offer.offer_id in sold:
            left = after_offer.amount if isinstance(after_offer, OfferEntry) else 0
            lost = offer.amount - left
            assert lost >= sold[offer.offer_id], f"offer {offer.offer_id} sold more than it lost"
            cut = lost > sold.pop(offer.offer_id)
            counts[f"offer {'left' if left else 'gone'}{', rest cut' if cut else ''}"] += 1
            owners = {row.maker_account_id for row in trades if row.offer_id == offer.offer_id}
            assert owners == {offer.seller_id}


def _effective_operations(ledger: Ledger) -> Iterator[tuple[int, Operation]]:
    for tx in ledger.transactions:
        if tx.result_code in (0, 1):
            for place, op in enumerate(tx.operations, 1):
                yield ledger.header.sequence << 32 | tx.order << 12 | place, op


def states_before(ledger: Ledger) -> State:
    """The state of each entry of the market before the ledger, where it had one."""
    before: State = {}
    seen = set()
    for change in _all_changes(ledger):
        entry = change.post or change.pre
        found = None if entry is None else _facts(entry)
        if found is not None and found[0] not in seen:
            seen.add(found[0])
            if change.pre is not None and (old := _facts(change.pre)) is not None:
                before[found[0]] = old[1]
    return before


def replay(ledger: Ledger, state: State) -> set[tuple[str, Any]]:
    """Every change of the ledger in the order in which it was made. Returns the keys that changed."""
    touched = set()
    for change in _all_changes(ledger):
        entry = change.post or change.pre
        if entry is None or (found := _facts(entry)) is None or change.kind == 3:
            continue
        key, facts = found
        touched.add(key)
        if change.post is None:
            state.pop(key, None)
        else:
            state[key] = facts
    return touched


def _all_changes(ledger: Ledger) -> Iterator[Change]:
    """In the order in which they were made. Those before a transaction are left out: they touch accounts only."""
    for tx in ledger.transactions:
        yield from tx.fee_changes
    for tx in ledger.transactions:
        for op in tx.operations:
            yield from op.changes
        yield from tx.changes_after
    for tx in ledger.transactions:
        yield from tx.post_fee_changes
    for upgrade in ledger.upgrades:
        yield from upgrade.changes


def _facts(entry: Entry) -> tuple[tuple[str, Any], tuple[Any, ...]] | None:
    """Key and content of an entry that the market's tables show, None for others."""
    match entry.data:
        case LiquidityPoolEntry(pool, params, reserve_a, reserve_b, shares, trustlines):
            facts = (_text(params.asset_a), _text(params.asset_b), reserve_a, reserve_b, params.fee, shares, trustlines)
            return ("liquidity_pool_changes", (pool.hex(),)), facts
        case TrustLineEntry(account, asset, balance) if asset.type == 3:
            return ("liquidity_pool_share_changes", (account, asset.code)), (balance,)
        case ClaimableBalanceEntry(balance, claimants, asset, amount, flags):
            may = {claimant.destination: predicate(claimant.predicate) for claimant in claimants}
            return ("claimable_balance_changes", (balance,)), (_text(asset), amount, flags, entry.sponsor, may)
        case OfferEntry(seller, offer, selling, buying, amount, price, flags):
            content = (seller, _text(selling), _text(buying), amount, *price, flags, entry.sponsor)
            return ("offer_changes", (offer,)), content
        case _:
            return None


def apply(rows: Rows, state: State) -> set[tuple[str, Any]]:
    """Our rows, applied as the sink applies them: the last word on each key."""
    touched = set()
    claimants: dict[str, dict[bytes, Any]] = {}
    for balance, account, may in rows.get("claimable_balance_claimants", ()):
        claimants.setdefault(balance, {})[account] = may
    for family, width in _KEPT.items():
        names = [name for name, _ in families.FAMILIES[family].columns]
        for row in rows.get(family, ()):
            columns = dict(zip(names, row, strict=True))
            operation = columns.pop("operation")
            columns.pop("operation_id")
            columns.pop("creator_account_id", None)
            values = tuple(columns.values())
            key = (family, values[:width])
            touched.add(key)
            if operation == "REMOVE":
                assert key in state, f"{key}: a row is removed that nobody has"
                del state[key]
            else:
                extra = (claimants[values[0]],) if family == "claimable_balance_changes" else ()
                state[key] = (*values[width:], *extra)
    return touched


def _text(asset: Any) -> str:
    return assets.text(asset.code, asset.issuer)
