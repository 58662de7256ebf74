"""How value moved: the token events of each operation, derived from what it asked for, its result and its ledger changes.

Classic operations say little about balances, so each kind of operation has its own derivation here. Contract calls tell their
own story in events (`processors.contract_events`). Both give the vocabulary of CAP-67: a transfer between two holders; a mint
when the issuer sends its own asset; a burn when the asset comes back to its issuer; a clawback when the issuer takes it back.
Holders are accounts, contracts, liquidity pools (L) and claimable balances (B). Spec/processors.md 7.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, cast

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.rows import Address, Asset, Hash, Operation, Transaction
from processors import contract_events, view
from processors.contract_events import NATIVE, TokenEvent, burn, clawback, mint, moved
from schemas import assets, strkey

_RECONCILED_BELOW_PROTOCOL: Final = 8
_POOL_REVOKE_OP_ID: Final = (7).to_bytes(4, "big")
_ED25519_KEY: Final = bytes(4)
_V0: Final = "00000000"


class Context(NamedTuple):
    """One operation of a successful transaction, and where it stands."""

    network_id: bytes
    protocol_version: int
    tx: Transaction
    position: int  # in the transaction, from 0
    op: Operation
    source: Address  # G form


def may_move(op: Operation, protocol_version: int) -> bool:
    """False for operations that never move value."""
    return op.type in _DERIVATIONS or protocol_version < _RECONCILED_BELOW_PROTOCOL


def events_of(context: Context) -> Iterable[TokenEvent]:
    """All that moved in one operation, in normative order. LedgerContentError when meta or result contradict the operation."""
    derive = _DERIVATIONS.get(context.op.type)
    events = () if derive is None else derive(context)
    return events if context.protocol_version >= _RECONCILED_BELOW_PROTOCOL else _reconciled(context, list(events))


# --- accounts and payments --------------------------------------------------------------------------------------------


def _create_account(context: Context) -> Iterator[TokenEvent]:
    body = cast(rows.CreateAccount, context.op.body)
    yield moved(context.network_id, NATIVE, context.source, body.destination, body.starting_balance)


def _account_merge(context: Context) -> Iterator[TokenEvent]:
    """The merged account sends all it has; results of early protocols may not say how much that was (Q30)."""
    balance = _result(context)
    if balance is not None:
        body = cast(rows.AccountMerge, context.op.body)
        yield moved(context.network_id, NATIVE, context.source, body.destination, cast(int, balance))


def _payment(context: Context) -> Iterator[TokenEvent]:
    body = cast(rows.Payment, context.op.body)
    yield moved(context.network_id, body.asset, context.source, body.destination, body.amount)


def _inflation(context: Context) -> Iterator[TokenEvent]:
    for payout in cast(tuple[rows.InflationPayout, ...], _result(context) or ()):
        yield mint(context.network_id, NATIVE, payout.destination, payout.amount)


# --- trades -----------------------------------------------------------------------------------------------------------


def _trades(context: Context, atoms: Sequence[rows.ClaimAtom]) -> Iterator[TokenEvent]:
    """Each trade is two movements: what the seller gave, then what the seller got. The seller may be a pool."""
    for atom in atoms:
        seller = _pool(cast(Hash, atom.pool_id)) if atom.seller is None else atom.seller
        yield moved(context.network_id, atom.asset_sold, seller, context.source, atom.amount_sold)
        yield moved(context.network_id, atom.asset_bought, context.source, seller, atom.amount_bought)


def _offer(context: Context) -> Iterator[TokenEvent]:
    """All three kinds of offers. A passive one may report under the code of a selling one."""
    yield from _trades(context, cast(rows.OfferResult, _required_result(context)).offers_claimed)


def _path_payment_strict_send(context: Context) -> Iterator[TokenEvent]:
    body = cast(rows.PathPaymentStrictSend, context.op.body)
    result = cast(rows.PathPaymentResult, _required_result(context))
    yield from _trades(context, result.offers)
    yield moved(context.network_id, body.dest_asset, context.source, body.destination, result.last_amount)


def _path_payment_strict_receive(context: Context) -> Iterator[TokenEvent]:
    body = cast(rows.PathPaymentStrictReceive, context.op.body)
    result = cast(rows.PathPaymentResult, _required_result(context))
    yield from _trades(context, result.offers)
    yield moved(context.network_id, body.dest_asset, context.source, body.destination, body.dest_amount)


# --- claimable balances -----------------------------------------------------------------------------------------------


def _create_claimable_balance(context: Context) -> Iterator[TokenEvent]:
    body = cast(rows.CreateClaimableBalance, context.op.body)
    holder = _claimable_balance(cast(str, _required_result(context)))
    yield moved(context.network_id, body.asset, context.source, holder, body.amount)


def _claim_claimable_balance(context: Context) -> Iterator[TokenEvent]:
    balance = _removed_claimable_balance(context)
    holder = _claimable_balance(cast(rows.ClaimClaimableBalance, context.op.body).balance_id)
    yield moved(context.network_id, balance.asset, holder, context.source, balance.amount)


def _clawback(context: Context) -> Iterator[TokenEvent]:
    body = cast(rows.Clawback, context.op.body)
    yield clawback(context.network_id, body.asset, view.g_form(body.from_), body.amount)


def _clawback_claimable_balance(context: Context) -> Iterator[TokenEvent]:
    balance = _removed_claimable_balance(context)
    holder = _claimable_balance(cast(rows.ClawbackClaimableBalance, context.op.body).balance_id)
    yield clawback(context.network_id, balance.asset, holder, balance.amount)


def _removed_claimable_balance(context: Context) -> rows.ClaimableBalanceEntry:
    removed = [
        cast(rows.ClaimableBalanceEntry, change.pre.data)
        for change in context.op.changes
        if change.type == view.CLAIMABLE_BALANCE and change.pre is not None and change.post is None
    ]
    if len(removed) != 1:
        raise _contradiction(context, f"removes {len(removed)} claimable balances, expected 1")
    return removed[0]


# --- liquidity pools --------------------------------------------------------------------------------------------------


class _PoolChange(NamedTuple):
    """How much one pool's reserves changed; never negative: the operation tells the direction."""

    pool_id: Hash
    asset_a: Asset
    asset_b: Asset
    amount_a: int
    amount_b: int


def _liquidity_pool_deposit(context: Context) -> Iterator[TokenEvent]:
    pool = _only_pool(context)
    if not pool.amount_a or not pool.amount_b:
        raise _contradiction(context, f"deposits {pool.amount_a} and {pool.amount_b}: neither can be nothing")
    holder = _pool(pool.pool_id)
    yield moved(context.network_id, pool.asset_a, context.source, holder, pool.amount_a)
    yield moved(context.network_id, pool.asset_b, context.source, holder, pool.amount_b)


def _liquidity_pool_withdraw(context: Context) -> Iterator[TokenEvent]:
    """Rounding may leave nothing to withdraw of one asset; the event is there all the same."""
    pool = _only_pool(context)
    holder = _pool(pool.pool_id)
    yield moved(context.network_id, pool.asset_a, holder, context.source, pool.amount_a)
    yield moved(context.network_id, pool.asset_b, holder, context.source, pool.amount_b)


def _revoked_pool_shares(context: Context) -> Iterator[TokenEvent]:
    """An issuer that withdraws its authorization also dissolves the trustor's pool shares: the reserves go to claimable balances,
    but what would go to its own issuer is burned (CAP-38). The ids of these balances are computable, which tells their pool.
    """
    pools = _pool_changes(context)
    if not pools:
        return
    created = {
        balance.balance_id: balance
        for balance in (
            cast(rows.ClaimableBalanceEntry, change.post.data)
            for change in context.op.changes
            if change.type == view.CLAIMABLE_BALANCE and change.kind == view.CREATED and change.post is not None
        )
    }
    for pool in pools if created else ():
        holder = _pool(pool.pool_id)
        balance_a = created.get(_revocation_balance_id(context, pool.pool_id, pool.asset_a))
        balance_b = created.get(_revocation_balance_id(context, pool.pool_id, pool.asset_b))
        for balance in (balance_a, balance_b):
            if balance is not None:
                balance_holder = _claimable_balance(balance.balance_id)
                yield moved(context.network_id, balance.asset, holder, balance_holder, balance.amount)
        if balance_a is not None and balance_b is None:
            yield burn(context.network_id, pool.asset_b, holder, pool.amount_b)
        if balance_b is not None and balance_a is None:
            yield burn(context.network_id, pool.asset_a, holder, pool.amount_a)


def _only_pool(context: Context) -> _PoolChange:
    pools = _pool_changes(context)
    if len(pools) != 1:
        raise _contradiction(context, f"changes {len(pools)} liquidity pools, expected 1")
    return pools[0]


def _pool_changes(context: Context) -> list[_PoolChange]:
    found = []
    for change in context.op.changes:
        if change.type != view.LIQUIDITY_POOL:
            continue
        pre = None if change.pre is None else cast(rows.LiquidityPoolEntry, change.pre.data)
        post = None if change.post is None else cast(rows.LiquidityPoolEntry, change.post.data)
        pool = cast(rows.LiquidityPoolEntry, post or pre)
        amount_a = (post.reserve_a if post else 0) - (pre.reserve_a if pre else 0)
        amount_b = (post.reserve_b if post else 0) - (pre.reserve_b if pre else 0)
        found.append(_PoolChange(pool.pool_id, pool.params.asset_a, pool.params.asset_b, abs(amount_a), abs(amount_b)))
    return found


def _revocation_balance_id(context: Context, pool_id: Hash, asset: Asset) -> str:
    """SHA-256 of HashIDPreimage POOL_REVOKE_OP_ID: transaction source, sequence number, operation index, pool, asset."""
    preimage = b"".join(
        (
            _POOL_REVOKE_OP_ID,
            _ED25519_KEY,
            view.g_form(context.tx.source)[1:],
            context.tx.seq_num.to_bytes(8, "big"),
            context.position.to_bytes(4, "big"),
            pool_id,
            assets.asset_xdr(asset.type, asset.code, asset.issuer),
        )
    )
    return _V0 + hashlib.sha256(preimage).hexdigest()


# --- contract calls ---------------------------------------------------------------------------------------------------


def _invoke_host_function(context: Context) -> Iterator[TokenEvent]:
    for event in context.op.events:
        token_event = contract_events.parse(context.network_id, context.tx.meta_version, event)
        if token_event is not None:
            yield token_event


# --- protocols 1 to 7 -------------------------------------------------------------------------------------------------


def _reconciled(context: Context, events: list[TokenEvent]) -> list[TokenEvent]:
    """Early protocols had operations that moved lumens of their source without a trace in operation or result. What the ledger
    entries show beyond the events is minted first, or burned last (CAP-67, events for old ledgers)."""
    source = context.source
    difference = 0
    for change in context.op.changes:
        for entry, sign in ((change.pre, -1), (change.post, 1)):
            if entry is not None and entry.type == view.ACCOUNT:
                account = cast(rows.AccountEntry, entry.data)
                difference += sign * account.balance if account.account_id == source else 0
    for event in events:
        if event.asset == NATIVE:
            difference -= event.amount * ((event.destination == source) - (event.source == source))
    if difference > 0:
        return [mint(context.network_id, NATIVE, source, difference), *events]
    if difference < 0:
        return [*events, burn(context.network_id, NATIVE, source, -difference)]
    return events


# --- shared -----------------------------------------------------------------------------------------------------------

_DERIVATIONS: Final[dict[int, Callable[[Context], Iterator[TokenEvent]]]] = {
    view.CREATE_ACCOUNT: _create_account,
    view.PAYMENT: _payment,
    view.PATH_PAYMENT_STRICT_RECEIVE: _path_payment_strict_receive,
    view.PATH_PAYMENT_STRICT_SEND: _path_payment_strict_send,
    view.MANAGE_SELL_OFFER: _offer,
    view.MANAGE_BUY_OFFER: _offer,
    view.CREATE_PASSIVE_SELL_OFFER: _offer,
    view.ALLOW_TRUST: _revoked_pool_shares,
    view.SET_TRUST_LINE_FLAGS: _revoked_pool_shares,
    view.ACCOUNT_MERGE: _account_merge,
    view.INFLATION: _inflation,
    view.CREATE_CLAIMABLE_BALANCE: _create_claimable_balance,
    view.CLAIM_CLAIMABLE_BALANCE: _claim_claimable_balance,
    view.CLAWBACK: _clawback,
    view.CLAWBACK_CLAIMABLE_BALANCE: _clawback_claimable_balance,
    view.LIQUIDITY_POOL_DEPOSIT: _liquidity_pool_deposit,
    view.LIQUIDITY_POOL_WITHDRAW: _liquidity_pool_withdraw,
    view.INVOKE_HOST_FUNCTION: _invoke_host_function,
}


def _result(context: Context) -> object:
    result = context.op.result
    if result is None or result.code != 0 or result.inner_code != 0:
        raise _contradiction(context, f"stands in a successful transaction with result {result}")
    return result.value


def _required_result(context: Context) -> object:
    value = _result(context)
    if value is None:
        raise _contradiction(context, "has a result without its value")
    return value


def _contradiction(context: Context, message: str) -> LedgerContentError:
    return LedgerContentError(f"transaction {context.tx.hash.hex()}: operation {context.position} {message}")


def _pool(pool_id: Hash) -> Address:
    return bytes((strkey.LIQUIDITY_POOL,)) + pool_id


def _claimable_balance(balance_id: str) -> Address:
    """The B address: of the union's four type bytes it keeps the last one."""
    return bytes((strkey.CLAIMABLE_BALANCE,)) + bytes.fromhex(balance_id[6:])
