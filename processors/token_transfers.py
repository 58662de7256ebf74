"""Whose balance moved and why: the state changes BALANCE and the account births and deaths that come with lumens.

For every transaction: one row for its fee, refunds deducted. For every operation of a successful transaction: the token events
(`processors.token_events`) turned into what each account sees of them. Pools and claimable balances are no accounts, so only
the other side of such a movement gets a row. Spec/processors.md 7.2 and 10.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

from lumenstream.xdr import fastest
from lumenstream.xdr.rows import Address, Asset, Ledger, Operation, Transaction
from processors import token_events, view
from processors.contract_events import NATIVE, EventKind, TokenEvent
from processors.token_events import Context
from processors.view import g_form
from schemas import assets, strkey, toid
from schemas.families import STATE_CHANGES
from schemas.parts import Part
from schemas.state_changes import AccountChange, BalanceChange, Category, IdBase, Reason

_FEE_OPERATION_ID: Final = 0
_FIRST_ID: Final = IdBase.TOKEN_TRANSFERS + 1
_NO_ACCOUNTS: Final = frozenset({strkey.LIQUIDITY_POOL, strkey.CLAIMABLE_BALANCE})

_INTO_ESCROW: Final = frozenset({view.CREATE_CLAIMABLE_BALANCE, view.LIQUIDITY_POOL_DEPOSIT})
_OUT_OF_ESCROW: Final = frozenset({view.CLAIM_CLAIMABLE_BALANCE, view.LIQUIDITY_POOL_WITHDRAW})
_BETWEEN_ESCROWS: Final = frozenset({view.ALLOW_TRUST, view.SET_TRUST_LINE_FLAGS})
_ISSUER_TAKES: Final = {
    EventKind.BURN: _OUT_OF_ESCROW,
    EventKind.CLAWBACK: frozenset({view.CLAWBACK_CLAIMABLE_BALANCE}),
}

_CREATE: Final = Reason.CREATE
_MERGE: Final = Reason.MERGE
_DEBIT: Final = Reason.DEBIT
_CREDIT: Final = Reason.CREDIT
_MINT: Final = Reason.MINT
_BURN: Final = Reason.BURN

# What happened to an account: (reason, account, amount or the other account).
_Fact = tuple[Reason, Address, int | Address]


class TokenTransfers:
    """Families `state_changes.balance` and `state_changes.account`; ids count from IdBase.TOKEN_TRANSFERS."""

    name: Final = "token_transfers"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id
        self._native_token = assets.contract_address(network_id, *NATIVE)
        asked = _Asked(self._native_token, self._fee, self._operation, self._token_of)
        self._tell: Final = fastest("movement_rows", self._movements, asked)

    def process(self, ledger: Ledger) -> Part:
        balances: list[BalanceChange] = []
        accounts: list[AccountChange] = []
        self._tell(ledger, balances, accounts)
        part = Part()
        part.add(STATE_CHANGES[Category.BALANCE], balances)
        part.add(STATE_CHANGES[Category.ACCOUNT], accounts)
        return part

    def _movements(self, ledger: Ledger, balances: list[BalanceChange], accounts: list[AccountChange]) -> None:
        """Appends the rows of the whole ledger, transaction by transaction: first the fee, then the operations in their order."""
        protocol_version = ledger.header.protocol_version
        for tx in ledger.transactions:
            to_id = toid.transaction_id(ledger.header.sequence, tx.order)
            fee = self._fee(tx, to_id)
            if fee is not None:
                balances.append(fee)
            if view.successful(tx):
                for operation_id, op in view.with_ids(to_id, tx):
                    self._operation(tx, op, to_id, operation_id, protocol_version, balances, accounts)

    def _fee(self, tx: Transaction, to_id: int) -> BalanceChange | None:
        """What the transaction cost whoever paid for it; failed ones cost too. No row when it cost nothing."""
        fee = view.fee_taken(tx) - view.fee_refund(tx) if tx.is_soroban else tx.fee_charged
        reason = _DEBIT if fee > 0 else _CREDIT  # Q22: a net refund keeps its sign
        payer = view.fee_account(tx)
        return BalanceChange(to_id, _FEE_OPERATION_ID, _FIRST_ID, reason, payer, self._native_token, fee) if fee else None

    def _operation(
        self,
        tx: Transaction,
        op: Operation,
        to_id: int,
        operation_id: int,
        protocol_version: int,
        balances: list[BalanceChange],
        accounts: list[AccountChange],
    ) -> None:
        """What one operation of a successful transaction moved, and whom it brought to life or merged."""
        if not token_events.may_move(op, protocol_version):
            return
        source = g_form(op.source or tx.source)
        state_change_id: int = IdBase.TOKEN_TRANSFERS
        context = Context(self._network_id, protocol_version, tx, operation_id - to_id - 1, op, source)
        for event in token_events.events_of(context):
            for reason, account, value in _facts(event, op.type, source):
                state_change_id += 1
                if isinstance(value, int):
                    balances.append(BalanceChange(to_id, operation_id, state_change_id, reason, account, event.token, value))
                elif reason is _CREATE:
                    accounts.append(AccountChange(to_id, operation_id, state_change_id, reason, account, value, None))
                else:
                    accounts.append(AccountChange(to_id, operation_id, state_change_id, reason, account, None, value))

    def _token_of(self, asset: Asset) -> Address:
        return assets.contract_address(self._network_id, *asset)


class _Asked(NamedTuple):
    """What native/src/token_transfers.rs leaves to Python: fees of contract calls, and operations of rare kinds."""

    native_token: Address
    fee: Callable[[Transaction, int], BalanceChange | None]
    operation: Callable[[Transaction, Operation, int, int, int, list[BalanceChange], list[AccountChange]], None]
    token_of: Callable[[Asset], Address]
    balance_row: type[BalanceChange] = BalanceChange
    debit: Reason = _DEBIT
    credit: Reason = _CREDIT
    mint: Reason = _MINT
    burn: Reason = _BURN


def _facts(event: TokenEvent, op_type: int, op_source: Address) -> Sequence[_Fact]:
    """What each account sees of a token event, in normative order."""
    kind, _, asset, source, destination, amount = event
    if source is None:
        return _minted(asset.issuer, cast(Address, destination), amount)
    if destination is None:
        return _taken(kind, asset.issuer, op_type, op_source, source, amount)
    return _transferred(op_type, source, destination, amount)


def _transferred(op_type: int, source: Address, destination: Address, amount: int) -> Sequence[_Fact]:
    if op_type in _BETWEEN_ESCROWS:
        return ()
    if op_type in _INTO_ESCROW:
        return ((_DEBIT, source, amount),)
    if op_type in _OUT_OF_ESCROW:
        return ((_CREDIT, destination, amount),)
    if strkey.CLAIMABLE_BALANCE in (source[0], destination[0]):
        return ()
    if source[0] == strkey.LIQUIDITY_POOL:
        return ((_CREDIT, destination, amount),)
    if destination[0] == strkey.LIQUIDITY_POOL:
        return ((_DEBIT, source, amount),)
    if op_type == view.CREATE_ACCOUNT:
        return (_CREATE, destination, source), (_DEBIT, source, amount), (_CREDIT, destination, amount)
    if op_type == view.ACCOUNT_MERGE:
        return (_MERGE, source, destination), (_DEBIT, source, amount), (_CREDIT, destination, amount)
    return (_DEBIT, source, amount), (_CREDIT, destination, amount)


def _minted(issuer: Address | None, destination: Address, amount: int) -> Sequence[_Fact]:
    """The issuer brings it into being, the receiver gets it. Lumens of inflation come from nobody."""
    facts: list[_Fact] = [] if issuer is None else [(_MINT, issuer, amount)]
    if destination[0] not in _NO_ACCOUNTS:
        facts.append((_CREDIT, destination, amount))
    return facts


def _taken(
    kind: EventKind, issuer: Address | None, op_type: int, op_source: Address, source: Address, amount: int
) -> Sequence[_Fact]:
    """The issuer lets it vanish, the holder loses it. Out of a pool or a claimable balance only the issuer itself can take."""
    if op_type in _ISSUER_TAKES[kind]:
        return ((_BURN, op_source, amount),)
    facts: list[_Fact] = [] if issuer is None else [(_BURN, issuer, amount)]
    if source[0] not in _NO_ACCOUNTS:
        facts.append((_DEBIT, source, amount))
    return facts
