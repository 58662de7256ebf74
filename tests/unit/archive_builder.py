"""Made-up ledger entries of every kind, by ledger key, put together with stellar_sdk; and archives of them."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from stellar_sdk import Asset, Keypair
from stellar_sdk import xdr as sdk

from lumenstream.settings import PASSPHRASES, ArchiveSettings, NetworkSettings, Settings
from sandbox import archive

State = dict[bytes, bytes]
PROTOCOL = 23
LEDGER = 127
_ISSUER = Keypair.from_raw_ed25519_seed(bytes(32)).public_key
_OPEN = sdk.ExtensionPoint(0)


def settings_for(root: Path | str) -> Settings:
    return Settings(network=NetworkSettings(name="sandbox"), archive=ArchiveSettings(url=str(root)))


def entry(kind: int, number: int, rng: random.Random) -> sdk.LedgerEntry:
    """An entry of a LedgerEntryType; the same number gives the same key."""
    identity = number.to_bytes(32, "big")
    account = sdk.AccountID(sdk.PublicKey(sdk.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, sdk.Uint256(identity)))
    contract = sdk.SCAddress(sdk.SCAddressType.SC_ADDRESS_TYPE_CONTRACT, contract_id=sdk.ContractID(sdk.Hash(identity)))
    amount = sdk.Int64(rng.randrange(1 << 40))
    data = sdk.LedgerEntryData(sdk.LedgerEntryType(kind))
    if kind == 0:
        data.account = sdk.AccountEntry(
            account, amount, sdk.SequenceNumber(sdk.Int64(number)), sdk.Uint32(0), None, sdk.Uint32(0),
            sdk.String32(b"home"), sdk.Thresholds(bytes(4)), [], sdk.AccountEntryExt(0),
        )  # fmt: skip
    elif kind == 1:
        line = Asset("COIN", _ISSUER).to_trust_line_asset_xdr_object()
        data.trust_line = sdk.TrustLineEntry(account, line, amount, sdk.Int64(1 << 50), sdk.Uint32(1), sdk.TrustLineEntryExt(0))
    elif kind == 2:
        native, coin = Asset.native().to_xdr_object(), Asset("COIN", _ISSUER).to_xdr_object()
        price = sdk.Price(sdk.Int32(1), sdk.Int32(2))
        data.offer = sdk.OfferEntry(account, sdk.Int64(number), native, coin, amount, price, sdk.Uint32(0), sdk.OfferEntryExt(0))
    elif kind == 3:
        data.data = sdk.DataEntry(account, sdk.String64(b"name"), sdk.DataValue(b"value"), sdk.DataEntryExt(0))
    elif kind == 4:
        claimant = sdk.ClaimantV0(account, sdk.ClaimPredicate(sdk.ClaimPredicateType.CLAIM_PREDICATE_UNCONDITIONAL))
        data.claimable_balance = sdk.ClaimableBalanceEntry(
            sdk.ClaimableBalanceID(sdk.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0, sdk.Hash(identity)),
            [sdk.Claimant(sdk.ClaimantType.CLAIMANT_TYPE_V0, claimant)],
            Asset.native().to_xdr_object(), amount, sdk.ClaimableBalanceEntryExt(0),
        )  # fmt: skip
    elif kind == 5:
        native, coin = Asset.native().to_xdr_object(), Asset("COIN", _ISSUER).to_xdr_object()
        parameters = sdk.LiquidityPoolConstantProductParameters(native, coin, sdk.Int32(30))
        pool = sdk.LiquidityPoolEntryConstantProduct(parameters, amount, amount, amount, sdk.Int64(1))
        body = sdk.LiquidityPoolEntryBody(sdk.LiquidityPoolType.LIQUIDITY_POOL_CONSTANT_PRODUCT, pool)
        data.liquidity_pool = sdk.LiquidityPoolEntry(sdk.PoolID(sdk.Hash(identity)), body)
    elif kind == 6:
        data.contract_data = sdk.ContractDataEntry(
            _OPEN, contract, _balance_key(contract), sdk.ContractDataDurability.PERSISTENT, _balance(rng.randrange(1 << 100))
        )
    elif kind == 7:
        code = sdk.ContractCodeEntryExt(0)
        data.contract_code = sdk.ContractCodeEntry(code, sdk.Hash(identity), rng.randbytes(20))
    else:
        data.ttl = sdk.TTLEntry(sdk.Hash(identity), sdk.Uint32(number))
    return sdk.LedgerEntry(sdk.Uint32(rng.randrange(1, LEDGER)), data, sdk.LedgerEntryExt(0))


def ledger_key(data: sdk.LedgerEntryData) -> sdk.LedgerKey:
    """The key of an entry, put together with the SDK."""
    key = sdk.LedgerKey(data.type)
    if data.account is not None:
        key.account = sdk.LedgerKeyAccount(data.account.account_id)
    elif data.trust_line is not None:
        key.trust_line = sdk.LedgerKeyTrustLine(data.trust_line.account_id, data.trust_line.asset)
    elif data.offer is not None:
        key.offer = sdk.LedgerKeyOffer(data.offer.seller_id, data.offer.offer_id)
    elif data.data is not None:
        key.data = sdk.LedgerKeyData(data.data.account_id, data.data.data_name)
    elif data.claimable_balance is not None:
        key.claimable_balance = sdk.LedgerKeyClaimableBalance(data.claimable_balance.balance_id)
    elif data.liquidity_pool is not None:
        key.liquidity_pool = sdk.LedgerKeyLiquidityPool(data.liquidity_pool.liquidity_pool_id)
    elif data.contract_data is not None:
        entry = data.contract_data
        key.contract_data = sdk.LedgerKeyContractData(entry.contract, entry.key, entry.durability)
    elif data.contract_code is not None:
        key.contract_code = sdk.LedgerKeyContractCode(data.contract_code.hash)
    elif data.config_setting is not None:
        key.config_setting = sdk.LedgerKeyConfigSetting(data.config_setting.config_setting_id)
    elif data.ttl is not None:
        key.ttl = sdk.LedgerKeyTtl(data.ttl.key_hash)
    return key


KINDS = (0, 1, 2, 3, 4, 5, 6, 7, 9)
TOLD = (0, 1, 2, 4, 5, 6, 7)  # of which tables are made


@cache
def layers(seed: int, count: int = 5, keys: int = 40) -> list[State]:
    """States that follow one another: in each some entries are new, some differ, some are gone, some come again."""
    rng = random.Random(seed)
    state: State = {}
    found: list[State] = []
    for _ in range(count):
        for _ in range(keys):
            made = entry(rng.choice(KINDS), rng.randrange(keys), rng)
            key = ledger_key(made.data).to_xdr_bytes()
            if key in state and rng.random() < 0.4:
                del state[key]
            else:
                state[key] = made.to_xdr_bytes()
        found.append(dict(state))
    return found


def write(root: Path, states: list[State], archived: State | None = None) -> None:
    archive.write(root, LEDGER, PASSPHRASES["sandbox"], archive.bucket_list(PROTOCOL, states, archived))


def _symbol(text: str) -> sdk.SCVal:
    return sdk.SCVal(sdk.SCValType.SCV_SYMBOL, sym=sdk.SCSymbol(text.encode()))


def _balance_key(holder: sdk.SCAddress) -> sdk.SCVal:
    address = sdk.SCVal(sdk.SCValType.SCV_ADDRESS, address=holder)
    return sdk.SCVal(sdk.SCValType.SCV_VEC, vec=sdk.SCVec([_symbol("Balance"), address]))


def _balance(amount: int) -> sdk.SCVal:
    parts = sdk.Int128Parts(sdk.Int64(amount >> 64), sdk.Uint64(amount & (1 << 64) - 1))
    true = sdk.SCVal(sdk.SCValType.SCV_BOOL, b=True)
    fields = {"amount": sdk.SCVal(sdk.SCValType.SCV_I128, i128=parts), "authorized": true, "clawback": true}
    return sdk.SCVal(
        sdk.SCValType.SCV_MAP, map=sdk.SCMap([sdk.SCMapEntry(_symbol(name), value) for name, value in fields.items()])
    )
