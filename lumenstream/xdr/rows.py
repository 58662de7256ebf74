"""The decoded ledger: read-only rows that both decoders build from one LedgerCloseMeta.

Both decoders build instances of these very classes, so `isinstance` and class patterns work whichever is in use.

Conventions
    Address   bytes: StrKey version byte, then the payload (33 bytes for G, C, L, T, X; 41 for M and W: key or contract,
              then id; 34 for B; more for P). This is what the database stores; `schemas.strkey` turns it into text and back.
    Hash      bytes, 32 long.
    int       any XDR integer, enum values included; Int128 and Int256 parts are joined into one int. Amounts are stroops.
    text      XDR strings are bytes in the protocol: valid UTF-8 comes as str, anything else as bytes.
    ScVal     (type, value): see `ScVal`.
    optional  None when absent. Arrays are tuples.
Sources: the Stellar XDR schema (protocol 23 and the next one), CAP-67 for events, spec/processors.md 1.1 to 1.6.
"""

from __future__ import annotations

from typing import NamedTuple

Address = bytes
Hash = bytes
Text = str | bytes


class Asset(NamedTuple):
    """Any asset: type 0 native (code "native", no issuer), 1 alphanum4, 2 alphanum12 (code without its zero padding; bytes
    that are not UTF-8 are shown as \\xNN), 3 a pool share of a trustline (code = pool id as 64 hex digits, no issuer)."""

    type: int
    code: str
    issuer: Address | None


class Price(NamedTuple):
    n: int
    d: int


class LiquidityPoolParameters(NamedTuple):
    """The body of a pool share in change_trust (type 3 as in `Asset`). `fee` in basis points."""

    type: int
    asset_a: Asset
    asset_b: Asset
    fee: int


class ScVal(NamedTuple):
    """One Soroban value. `type` is the ScValType number; `value` by type:
    BOOL(0) bool; VOID(1) None; ERROR(2) (error type, code); U32(3) I32(4) U64(5) I64(6) TIMEPOINT(7) DURATION(8)
    U128(9) I128(10) U256(11) I256(12) int; BYTES(13) bytes; STRING(14) SYMBOL(15) Text; VEC(16) tuple[ScVal, ...] or None;
    MAP(17) tuple[(ScVal key, ScVal value), ...] or None; ADDRESS(18) Address; CONTRACT_INSTANCE(19) ContractInstance;
    LEDGER_KEY_CONTRACT_INSTANCE(20) None; LEDGER_KEY_NONCE(21) int; EXECUTABLE_TAG(22) Text (next protocol)."""

    type: int
    value: object


class ContractInstance(NamedTuple):
    wasm_hash: Hash | None  # None: the built-in Stellar asset contract, unless `external_ref` is set
    storage: tuple[tuple[ScVal, ScVal], ...] | None
    external_ref: tuple[Address, Text] | None  # next protocol: owner and tag of an executable kept elsewhere


# --- ledger entries and their changes ---------------------------------------------------------------------------------


class Signer(NamedTuple):
    key: Address  # G, T, X or P
    weight: int
    sponsor: Address | None


class AccountEntry(NamedTuple):
    account_id: Address
    balance: int
    seq_num: int
    num_sub_entries: int
    inflation_dest: Address | None
    flags: int
    home_domain: Text
    thresholds: bytes  # master weight, low, medium, high
    signers: tuple[Signer, ...]
    buying_liabilities: int
    selling_liabilities: int
    num_sponsored: int
    num_sponsoring: int
    seq_ledger: int  # 0 below extension V3
    seq_time: int
    extension: int  # 0 none, 1 V1, 2 V2, 3 V3


class TrustLineEntry(NamedTuple):
    account_id: Address
    asset: Asset
    balance: int
    limit: int
    flags: int
    buying_liabilities: int
    selling_liabilities: int
    liquidity_pool_use_count: int
    extension: int  # 0 none, 1 V1, 2 V2


class OfferEntry(NamedTuple):
    seller_id: Address
    offer_id: int
    selling: Asset
    buying: Asset
    amount: int
    price: Price
    flags: int


class DataEntry(NamedTuple):
    account_id: Address
    data_name: Text
    data_value: bytes


class Claimant(NamedTuple):
    destination: Address
    predicate: tuple[int, object]  # (type, None | tuple of predicates | predicate or None | int seconds)


class ClaimableBalanceEntry(NamedTuple):
    balance_id: str  # hex of the XDR union: 8 digits of type, 64 of hash
    claimants: tuple[Claimant, ...]
    asset: Asset
    amount: int
    flags: int


class LiquidityPoolEntry(NamedTuple):
    pool_id: Hash
    params: LiquidityPoolParameters
    reserve_a: int
    reserve_b: int
    total_pool_shares: int
    pool_shares_trust_line_count: int


class ContractDataEntry(NamedTuple):
    contract: Address
    key: ScVal
    durability: int  # 0 temporary, 1 persistent
    value: ScVal


class ContractCodeEntry(NamedTuple):
    hash: Hash
    code: bytes


class ConfigSettingEntry(NamedTuple):
    setting_id: int
    xdr: bytes  # the whole ConfigSettingEntry union as XDR bytes


class TtlEntry(NamedTuple):
    key_hash: Hash
    live_until_ledger_seq: int


EntryData = (
    AccountEntry
    | TrustLineEntry
    | OfferEntry
    | DataEntry
    | ClaimableBalanceEntry
    | LiquidityPoolEntry
    | ContractDataEntry
    | ContractCodeEntry
    | ConfigSettingEntry
    | TtlEntry
)


class Entry(NamedTuple):
    """A ledger entry. `type` is LedgerEntryType: 0 account, 1 trustline, 2 offer, 3 data, 4 claimable balance,
    5 liquidity pool, 6 contract data, 7 contract code, 8 config setting, 9 TTL."""

    type: int
    last_modified_ledger_seq: int
    sponsor: Address | None
    data: EntryData


class LedgerKey(NamedTuple):
    """`fields` by type: account (Address,), trustline (Address, Asset), offer (Address, offer id), data (Address, name),
    claimable balance (balance id hex,), pool (pool id Hash,), contract data (Address, ScVal key, durability),
    contract code (Hash,), config (id,), TTL (Hash,)."""

    type: int
    fields: tuple[object, ...]


class Change(NamedTuple):
    """One ledger entry before and after (spec/processors.md 1.6).

    `kind` is the LedgerEntryChangeType of the raw record: 0 created, 1 updated, 2 removed, 4 restored; 3 (state) only where
    a state record had no successor, and only outside operations. `type` is the LedgerEntryType. `pre` is the state before
    (None for created and restored), `post` the state after (None for removed and lone states). `key` is set for removals.
    Outside operations an update or removal whose state the ledger does not show has `pre` None; in one it is an error.
    Operation changes are stably sorted by the XDR bytes of their ledger key; all others keep the stored order."""

    kind: int
    type: int
    pre: Entry | None
    post: Entry | None
    key: LedgerKey | None


# --- events -----------------------------------------------------------------------------------------------------------


class ContractEvent(NamedTuple):
    type: int  # 0 system, 1 contract, 2 diagnostic
    contract_id: Address | None
    topics: tuple[ScVal, ...]
    data: ScVal


class TransactionEvent(NamedTuple):
    stage: int  # 0 before all transactions, 1 after the transaction, 2 after all transactions
    event: ContractEvent


# --- operations: bodies -----------------------------------------------------------------------------------------------


class CreateAccount(NamedTuple):
    destination: Address
    starting_balance: int


class Payment(NamedTuple):
    destination: Address  # G or M
    asset: Asset
    amount: int


class PathPaymentStrictReceive(NamedTuple):
    send_asset: Asset
    send_max: int
    destination: Address
    dest_asset: Asset
    dest_amount: int
    path: tuple[Asset, ...]


class PathPaymentStrictSend(NamedTuple):
    send_asset: Asset
    send_amount: int
    destination: Address
    dest_asset: Asset
    dest_min: int
    path: tuple[Asset, ...]


class ManageSellOffer(NamedTuple):
    selling: Asset
    buying: Asset
    amount: int
    price: Price
    offer_id: int


class ManageBuyOffer(NamedTuple):
    selling: Asset
    buying: Asset
    buy_amount: int
    price: Price
    offer_id: int


class CreatePassiveSellOffer(NamedTuple):
    selling: Asset
    buying: Asset
    amount: int
    price: Price


class SetOptions(NamedTuple):
    inflation_dest: Address | None
    clear_flags: int | None
    set_flags: int | None
    master_weight: int | None
    low_threshold: int | None
    med_threshold: int | None
    high_threshold: int | None
    home_domain: Text | None
    signer: Signer | None  # its sponsor is always None here


class ChangeTrust(NamedTuple):
    line: Asset | LiquidityPoolParameters
    limit: int


class AllowTrust(NamedTuple):
    trustor: Address
    asset_code: str  # without padding, as in `Asset`
    asset_type: int  # 1 or 2
    authorize: int


class AccountMerge(NamedTuple):
    destination: Address


class Inflation(NamedTuple):
    pass


class ManageData(NamedTuple):
    data_name: Text
    data_value: bytes | None


class BumpSequence(NamedTuple):
    bump_to: int


class CreateClaimableBalance(NamedTuple):
    asset: Asset
    amount: int
    claimants: tuple[Claimant, ...]


class ClaimClaimableBalance(NamedTuple):
    balance_id: str


class BeginSponsoringFutureReserves(NamedTuple):
    sponsored_id: Address


class EndSponsoringFutureReserves(NamedTuple):
    pass


class RevokeSponsorship(NamedTuple):
    """Exactly one of the two forms: `ledger_key`, or the account and signer key of a sponsored signer."""

    ledger_key: LedgerKey | None
    signer_account_id: Address | None
    signer_key: Address | None


class Clawback(NamedTuple):
    asset: Asset
    from_: Address  # G or M
    amount: int


class ClawbackClaimableBalance(NamedTuple):
    balance_id: str


class SetTrustLineFlags(NamedTuple):
    trustor: Address
    asset: Asset
    clear_flags: int
    set_flags: int


class LiquidityPoolDeposit(NamedTuple):
    pool_id: Hash
    max_amount_a: int
    max_amount_b: int
    min_price: Price
    max_price: Price


class LiquidityPoolWithdraw(NamedTuple):
    pool_id: Hash
    amount: int
    min_amount_a: int
    min_amount_b: int


class ContractIdPreimage(NamedTuple):
    """type 0: from an address and a salt; type 1: from an asset. `xdr` is the preimage's own XDR."""

    type: int
    address: Address | None
    salt: bytes | None
    asset: Asset | None
    contract_id: Address  # computed: SHA-256 of HashIDPreimage CONTRACT_ID over the network id


class CreateContract(NamedTuple):
    preimage: ContractIdPreimage
    wasm_hash: Hash | None  # None: the Stellar asset contract, unless `external_ref` is set
    constructor_args: tuple[ScVal, ...]  # empty for the V1 form
    external_ref: tuple[Address, Text] | None  # as in `ContractInstance`


class InvokeContract(NamedTuple):
    contract: Address
    function_name: Text
    args: tuple[ScVal, ...]


class AuthInvocation(NamedTuple):
    function_type: int  # 0 contract function, 1 create contract, 2 create contract V2
    function: InvokeContract | CreateContract
    sub_invocations: tuple[AuthInvocation, ...]


class AuthEntry(NamedTuple):
    credentials_type: int  # 0 source account, 1 address; later protocols may add more
    address: Address | None
    root_invocation: AuthInvocation


class InvokeHostFunction(NamedTuple):
    function_type: int  # 0 invoke contract, 1 create contract, 2 upload wasm, 3 create contract V2
    function: InvokeContract | CreateContract | bytes
    auth: tuple[AuthEntry, ...]


class ExtendFootprintTtl(NamedTuple):
    extend_to: int


class RestoreFootprint(NamedTuple):
    pass


OperationBody = (
    CreateAccount
    | Payment
    | PathPaymentStrictReceive
    | ManageSellOffer
    | CreatePassiveSellOffer
    | SetOptions
    | ChangeTrust
    | AllowTrust
    | AccountMerge
    | Inflation
    | ManageData
    | BumpSequence
    | ManageBuyOffer
    | PathPaymentStrictSend
    | CreateClaimableBalance
    | ClaimClaimableBalance
    | BeginSponsoringFutureReserves
    | EndSponsoringFutureReserves
    | RevokeSponsorship
    | Clawback
    | ClawbackClaimableBalance
    | SetTrustLineFlags
    | LiquidityPoolDeposit
    | LiquidityPoolWithdraw
    | InvokeHostFunction
    | ExtendFootprintTtl
    | RestoreFootprint
)

# --- operations: results ----------------------------------------------------------------------------------------------


class ClaimAtom(NamedTuple):
    """One trade. type 0: V0 (seller key shown as G), 1: order book, 2: liquidity pool (`seller` None, `pool_id` set)."""

    type: int
    seller: Address | None
    pool_id: Hash | None
    offer_id: int  # 0 for a pool
    asset_sold: Asset
    amount_sold: int
    asset_bought: Asset
    amount_bought: int


class OfferResult(NamedTuple):
    """Success of manage_sell_offer, manage_buy_offer and create_passive_sell_offer."""

    offers_claimed: tuple[ClaimAtom, ...]
    effect: int  # 0 created, 1 updated, 2 deleted
    offer: OfferEntry | None


class PathPaymentResult(NamedTuple):
    offers: tuple[ClaimAtom, ...]
    last_destination: Address
    last_asset: Asset
    last_amount: int


class InflationPayout(NamedTuple):
    destination: Address
    amount: int


class OperationResult(NamedTuple):
    """`code`: OperationResultCode (0 inner, -1 bad auth ...). For inner results `type` is the operation type, `inner_code` its
    own code (0 success) and `value` what success carries: OfferResult, PathPaymentResult, balance of a merged account (int),
    claimable balance id (hex), tuple[InflationPayout, ...], hash returned by invoke_host_function, Asset of a NO_ISSUER
    failure; else None."""

    code: int
    type: int | None
    inner_code: int | None
    value: object


class Operation(NamedTuple):
    type: int
    source: Address | None  # G or M as written; None: the transaction's source
    body: OperationBody
    xdr: bytes  # the Operation struct, exactly as it stood in the ledger
    result: OperationResult | None  # None when the transaction's result holds none for this index
    changes: tuple[Change, ...]  # sorted pairs; empty where the meta has none for this index
    events: tuple[ContractEvent, ...]  # V4: of this operation; V3: the Soroban events on every operation; else empty


# --- transactions and ledgers -----------------------------------------------------------------------------------------


class Memo(NamedTuple):
    type: int  # 0 none, 1 text, 2 id, 3 hash, 4 return
    value: object  # None, Text, int, Hash, Hash


class Transaction(NamedTuple):
    order: int  # 1-based position in apply order
    hash: Hash  # of the result pair: the outer one for a fee bump
    inner_hash: Hash | None  # fee bumps only: of the inner envelope
    envelope_type: int  # 0 V0, 2 V1, 5 fee bump
    source: Address  # of the inner transaction, as written (G or M)
    fee_source: Address | None  # fee bumps only, as written (G or M)
    seq_num: int
    fee: int  # bid of the outermost envelope
    memo: Memo
    is_soroban: bool  # the (inner) envelope carries Soroban data
    resource_fee: int  # 0 unless Soroban
    result_code: int  # of the outermost result
    fee_charged: int
    inner_result_code: int | None  # fee bumps whose result carries an inner one
    meta_version: int
    operations: tuple[Operation, ...]
    fee_changes: tuple[Change, ...]
    changes_after: tuple[Change, ...]
    post_fee_changes: tuple[Change, ...]  # LedgerCloseMeta V2 only


class TransactionDetails(NamedTuple):
    """What the ledger holds of a transaction beyond its `Transaction`. No processor reads it and it is a fifth of all rows, so it
    is made on demand only (`lumenstream.xdr.decode_details`)."""

    changes_before: tuple[Change, ...]  # sequence number and one-time signers
    events: tuple[TransactionEvent, ...]  # V4 only: the fee and its refund
    soroban_return_value: ScVal | None
    envelope_xdr: bytes


class LedgerHeader(NamedTuple):
    sequence: int
    hash: Hash
    previous_hash: Hash
    close_time: int  # Unix seconds
    protocol_version: int
    base_fee: int
    base_reserve: int
    total_coins: int
    fee_pool: int
    max_tx_set_size: int
    tx_set_result_hash: Hash
    bucket_list_hash: Hash


class Upgrade(NamedTuple):
    type: int  # LedgerUpgradeType
    xdr: bytes
    changes: tuple[Change, ...]


class Ledger(NamedTuple):
    version: int  # of LedgerCloseMeta: 0, 1, 2
    header: LedgerHeader
    transactions: tuple[Transaction, ...]
    upgrades: tuple[Upgrade, ...]
    evicted_keys: tuple[LedgerKey, ...]
    total_byte_size_of_live_soroban_state: int
