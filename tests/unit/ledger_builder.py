"""Decoded ledgers built by hand, for tests of processors: everything a test does not name has a harmless default."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from lumenstream.xdr import rows
from lumenstream.xdr.rows import (
    AccountEntry,
    Address,
    Asset,
    Change,
    ClaimableBalanceEntry,
    ContractEvent,
    Entry,
    Ledger,
    LedgerHeader,
    LiquidityPoolEntry,
    LiquidityPoolParameters,
    Memo,
    Operation,
    OperationResult,
    ScVal,
    Signer,
    Transaction,
    TrustLineEntry,
)
from schemas import assets, strkey

NETWORK: Final = assets.network_id("Test SDF Network ; September 2015")
SEQUENCE: Final = 12345
CLOSE_TIME: Final = 1_700_000_000
TO_ID: Final = SEQUENCE << 32 | 1 << 12
OPERATION: Final = TO_ID | 1
UNIT: Final = 10_000_000  # stroops


def key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def account(name: str) -> Address:
    return bytes((strkey.ACCOUNT,)) + key(name)


def muxed(name: str, number: int) -> Address:
    return bytes((strkey.MUXED,)) + key(name) + number.to_bytes(8, "big")


def contract(name: str) -> Address:
    return bytes((strkey.CONTRACT,)) + key(name)


def balance_id(name: str) -> str:
    return "00000000" + key(name).hex()


def issued(code: str, issuer: Address) -> Asset:
    return Asset(assets.ALPHANUM4 if len(code) <= 4 else assets.ALPHANUM12, code, issuer)


def token_of(asset: Asset) -> Address:
    return assets.contract_address(NETWORK, asset.type, asset.code, asset.issuer)


ALICE: Final = account("alice")
BOB: Final = account("bob")
CAROL: Final = account("carol")
USDC_ISSUER: Final = account("usdc issuer")
BTC_ISSUER: Final = account("btc issuer")
ETH_ISSUER: Final = account("eth issuer")
XLM: Final = Asset(assets.NATIVE, "native", None)
USDC: Final = issued("USDC", USDC_ISSUER)
BTC: Final = issued("BTC", BTC_ISSUER)
ETH: Final = issued("ETH", ETH_ISSUER)


# --- ledger entries ---------------------------------------------------------------------------------------------------


def account_entry(
    account_id: Address = ALICE, balance: int = 0, *, touched: int = SEQUENCE, sponsor: Address | None = None, **fields: Any
) -> Entry:
    defaults: dict[str, Any] = {
        "account_id": account_id,
        "balance": balance,
        "seq_num": 1,
        "num_sub_entries": 0,
        "inflation_dest": None,
        "flags": 0,
        "home_domain": "",
        "thresholds": bytes((1, 0, 0, 0)),
        "signers": (),
        "buying_liabilities": 0,
        "selling_liabilities": 0,
        "num_sponsored": 0,
        "num_sponsoring": 0,
        "seq_ledger": 0,
        "seq_time": 0,
        "extension": 0,
    }
    return Entry(0, touched, sponsor, AccountEntry(**{**defaults, **fields}))


def trustline_entry(
    account_id: Address = ALICE, asset: Asset = USDC, balance: int = 0, *, sponsor: Address | None = None
) -> Entry:
    line = TrustLineEntry(account_id, asset, balance, 1000 * UNIT, 1, 0, 0, 0, 0)
    return Entry(1, SEQUENCE, sponsor, line)


def claimable_entry(name: str, asset: Asset, amount: int) -> Entry:
    return Entry(4, SEQUENCE, ALICE, ClaimableBalanceEntry(balance_id(name), (), asset, amount, 0))


def pool_entry(name: str, asset_a: Asset, asset_b: Asset, reserve_a: int, reserve_b: int) -> Entry:
    params = LiquidityPoolParameters(3, asset_a, asset_b, 30)
    return Entry(5, SEQUENCE, None, LiquidityPoolEntry(key(name), params, reserve_a, reserve_b, 1, 1))


def created(entry: Entry) -> Change:
    return Change(0, entry.type, None, entry, None)


def updated(pre: Entry, post: Entry) -> Change:
    return Change(1, pre.type, pre, post, None)


def removed(pre: Entry) -> Change:
    return Change(2, pre.type, pre, None, None)


def restored(entry: Entry) -> Change:
    return Change(4, entry.type, None, entry, None)


def signer(name: str, weight: int = 1, sponsor: Address | None = None) -> Signer:
    return Signer(account(name), weight, sponsor)


# --- Soroban ----------------------------------------------------------------------------------------------------------


def symbol(text: str) -> ScVal:
    return ScVal(15, text)


def string(text: str) -> ScVal:
    return ScVal(14, text)


def address(value: Address) -> ScVal:
    return ScVal(18, value)


def i128(value: int) -> ScVal:
    return ScVal(10, value)


def mapping(**entries: ScVal) -> ScVal:
    return ScVal(17, tuple((symbol(name), value) for name, value in entries.items()))


def event(contract_id: Address | None, *topics: ScVal, data: ScVal, kind: int = 1) -> ContractEvent:
    return ContractEvent(kind, contract_id, topics, data)


def invoke(contract_id: Address, *auth: rows.AuthEntry, args: tuple[ScVal, ...] = ()) -> rows.InvokeHostFunction:
    return rows.InvokeHostFunction(0, rows.InvokeContract(contract_id, "call", args), auth)


def from_address(name: str, deployer: Address, *args: ScVal) -> rows.CreateContract:
    preimage = rows.ContractIdPreimage(0, deployer, bytes(32), None, contract(name))
    return rows.CreateContract(preimage, key("wasm"), args, None)


def from_asset(asset: Asset) -> rows.CreateContract:
    preimage = rows.ContractIdPreimage(1, None, None, asset, token_of(asset))
    return rows.CreateContract(preimage, None, (), None)


# --- operations, transactions, ledgers --------------------------------------------------------------------------------

_TYPES: Final[dict[type[Any], int]] = {
    rows.CreateAccount: 0,
    rows.Payment: 1,
    rows.PathPaymentStrictReceive: 2,
    rows.ManageSellOffer: 3,
    rows.CreatePassiveSellOffer: 4,
    rows.SetOptions: 5,
    rows.ChangeTrust: 6,
    rows.AllowTrust: 7,
    rows.AccountMerge: 8,
    rows.Inflation: 9,
    rows.ManageData: 10,
    rows.BumpSequence: 11,
    rows.ManageBuyOffer: 12,
    rows.PathPaymentStrictSend: 13,
    rows.CreateClaimableBalance: 14,
    rows.ClaimClaimableBalance: 15,
    rows.BeginSponsoringFutureReserves: 16,
    rows.EndSponsoringFutureReserves: 17,
    rows.RevokeSponsorship: 18,
    rows.Clawback: 19,
    rows.ClawbackClaimableBalance: 20,
    rows.SetTrustLineFlags: 21,
    rows.LiquidityPoolDeposit: 22,
    rows.LiquidityPoolWithdraw: 23,
    rows.InvokeHostFunction: 24,
    rows.ExtendFootprintTtl: 25,
    rows.RestoreFootprint: 26,
}


def op(
    body: Any,
    *changes: Change,
    source: Address | None = None,
    value: object = None,
    events: tuple[ContractEvent, ...] = (),
    code: int = 0,
) -> Operation:
    """An operation that succeeded with `value`, or failed with the inner `code`."""
    kind = _TYPES[type(body)]
    return Operation(kind, source, body, b"xdr", OperationResult(0, kind, code, value), changes, events)


def tx(*operations: Operation, **fields: Any) -> Transaction:
    """A successful transaction of Alice for 100 stroops."""
    defaults: dict[str, Any] = {
        "order": 1,
        "hash": key("hash"),
        "inner_hash": None,
        "envelope_type": 2,
        "source": ALICE,
        "fee_source": None,
        "seq_num": 7,
        "fee": 100,
        "memo": Memo(0, None),
        "is_soroban": False,
        "resource_fee": 0,
        "result_code": 0,
        "fee_charged": 100,
        "inner_result_code": None,
        "meta_version": 4,
        "operations": operations,
        "fee_changes": (),
        "changes_after": (),
        "post_fee_changes": (),
    }
    return Transaction(**{**defaults, **fields})


def ledger(*transactions: Transaction, protocol_version: int = 23) -> Ledger:
    """A ledger of these transactions, numbered from 1 in their order."""
    header = LedgerHeader(
        SEQUENCE, key("ledger"), key("previous"), CLOSE_TIME, protocol_version, 100, 5_000_000, 0, 0, 100, bytes(32), bytes(32)
    )
    numbered = tuple(one._replace(order=at) for at, one in enumerate(transactions, 1))
    return Ledger(2, header, numbered, (), (), 0)
