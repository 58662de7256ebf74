"""The state-change taxonomy: what happened to whom, one row type per category.

A processor emits these rows, a part carries them (one family per category), the sink lays them into the one table
`state_changes`, the publisher and the API read them back. Field names are column names. `account_id` is the account affected.
Amounts and limits are raw integers: stroops for native and issued assets, the contract's own unit for custom tokens.

`state_change_id` = emitter base + processor base + ordinal, the ordinal counting from 1 per (to_id, operation_id) within one
processor in emission order, so that no join across processors is needed (spec/processors.md 10.3).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

Address = bytes
JsonObject = dict[str, Any]


class Category(StrEnum):
    BALANCE = "BALANCE"
    ACCOUNT = "ACCOUNT"
    SIGNER = "SIGNER"
    SIGNATURE_THRESHOLD = "SIGNATURE_THRESHOLD"
    METADATA = "METADATA"
    FLAGS = "FLAGS"
    TRUSTLINE = "TRUSTLINE"
    RESERVES = "RESERVES"
    BALANCE_AUTHORIZATION = "BALANCE_AUTHORIZATION"
    ALLOWANCE = "ALLOWANCE"


class Reason(StrEnum):
    CREATE = "CREATE"
    MERGE = "MERGE"
    DEBIT = "DEBIT"
    CREDIT = "CREDIT"
    MINT = "MINT"
    BURN = "BURN"
    ADD = "ADD"
    REMOVE = "REMOVE"
    UPDATE = "UPDATE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    HOME_DOMAIN = "HOME_DOMAIN"
    SET = "SET"
    CLEAR = "CLEAR"
    DATA_ENTRY = "DATA_ENTRY"
    SPONSOR = "SPONSOR"
    UNSPONSOR = "UNSPONSOR"


REASONS: Final = {
    Category.BALANCE: (Reason.DEBIT, Reason.CREDIT, Reason.MINT, Reason.BURN),
    Category.ACCOUNT: (Reason.CREATE, Reason.MERGE),
    Category.SIGNER: (Reason.ADD, Reason.UPDATE, Reason.REMOVE),
    Category.SIGNATURE_THRESHOLD: (Reason.LOW, Reason.MEDIUM, Reason.HIGH),
    Category.METADATA: (Reason.HOME_DOMAIN, Reason.DATA_ENTRY),
    Category.FLAGS: (Reason.SET, Reason.CLEAR),
    Category.TRUSTLINE: (Reason.ADD, Reason.UPDATE, Reason.REMOVE),
    Category.RESERVES: (Reason.SPONSOR, Reason.UNSPONSOR),
    Category.BALANCE_AUTHORIZATION: (Reason.SET, Reason.CLEAR),
    Category.ALLOWANCE: (Reason.UPDATE,),
}


class IdBase:
    """First id of each processor's stream, less one."""

    TOKEN_TRANSFERS: Final = 0
    EFFECTS: Final = 1 << 28
    CONTRACT_DEPLOYS: Final = 2 << 28
    SAC_EVENTS: Final = 3 << 28
    RESERVES: Final = 4 << 28
    SEP41: Final = 1 << 40


class Flag:
    """Bits of the `flags` column; they differ from the XDR flag bits (spec/processors.md 3.2)."""

    AUTHORIZED: Final = 1
    AUTH_REQUIRED: Final = 2
    AUTH_REVOCABLE: Final = 4
    AUTH_IMMUTABLE: Final = 8
    AUTH_CLAWBACK_ENABLED: Final = 16
    CLAWBACK_ENABLED: Final = 32
    AUTHORIZED_TO_MAINTAIN_LIABILITIES: Final = 64


FLAG_NAMES: Final = (
    (Flag.AUTHORIZED, "authorized"),
    (Flag.AUTH_REQUIRED, "auth_required"),
    (Flag.AUTH_REVOCABLE, "auth_revocable"),
    (Flag.AUTH_IMMUTABLE, "auth_immutable"),
    (Flag.AUTH_CLAWBACK_ENABLED, "auth_clawback_enabled"),
    (Flag.CLAWBACK_ENABLED, "clawback_enabled"),
    (Flag.AUTHORIZED_TO_MAINTAIN_LIABILITIES, "authorized_to_maintain_liabilities"),
)


def flag_names(mask: int | None) -> list[str]:
    """The names of the bits set in a `flags` column, in bit order; none for NULL."""
    return [name for bit, name in FLAG_NAMES if mask is not None and mask & bit]


class BalanceChange(NamedTuple):
    """DEBIT, CREDIT, MINT, BURN. `token_id` is the token's contract address, native included; operation_id 0 on the fee row."""

    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    token_id: Address
    amount: int
    to_muxed_id: str | None = None


class AccountChange(NamedTuple):
    """CREATE: creator (funder of an account, deployer of a contract). MERGE: account is the merged one, with its destination."""

    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    creator_account_id: Address | None = None
    destination_account_id: Address | None = None


class SignerChange(NamedTuple):
    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    signer_account_id: Address
    signer_weight_old: int | None = None
    signer_weight_new: int | None = None


class ThresholdChange(NamedTuple):
    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    threshold_old: int | None
    threshold_new: int | None


class MetadataChange(NamedTuple):
    """HOME_DOMAIN: {"home_domain": {"old", "new"}}; DATA_ENTRY: {name: {"old", "new"}} in base64. Sides that do not exist
    are absent."""

    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    key_value: JsonObject
    data_entry_name: str | None = None


class FlagsChange(NamedTuple):
    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    flags: int


class TrustlineChange(NamedTuple):
    """Limits in stroops. Either `token_id` or `liquidity_pool_id` (64 hex digits)."""

    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    token_id: Address | None = None
    liquidity_pool_id: str | None = None
    trustline_limit_old: int | None = None
    trustline_limit_new: int | None = None


class ReservesChange(NamedTuple):
    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    sponsored_account_id: Address | None = None
    sponsor_account_id: Address | None = None
    token_id: Address | None = None
    liquidity_pool_id: str | None = None
    claimable_balance_id: str | None = None
    sponsored_data: str | None = None
    signer_account_id: Address | None = None


class BalanceAuthorizationChange(NamedTuple):
    """`flags` is None for contract holders and pool shares."""

    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    token_id: Address | None = None
    liquidity_pool_id: str | None = None
    flags: int | None = None


class AllowanceChange(NamedTuple):
    """`key_value` is {"live_until_ledger": n}."""

    to_id: int
    operation_id: int
    state_change_id: int
    state_change_reason: Reason
    account_id: Address
    token_id: Address
    spender_account_id: Address
    amount: int
    key_value: JsonObject


StateChange = (
    BalanceChange
    | AccountChange
    | SignerChange
    | ThresholdChange
    | MetadataChange
    | FlagsChange
    | TrustlineChange
    | ReservesChange
    | BalanceAuthorizationChange
    | AllowanceChange
)

ROW_TYPES: Final[dict[Category, type[StateChange]]] = {
    Category.BALANCE: BalanceChange,
    Category.ACCOUNT: AccountChange,
    Category.SIGNER: SignerChange,
    Category.SIGNATURE_THRESHOLD: ThresholdChange,
    Category.METADATA: MetadataChange,
    Category.FLAGS: FlagsChange,
    Category.TRUSTLINE: TrustlineChange,
    Category.RESERVES: ReservesChange,
    Category.BALANCE_AUTHORIZATION: BalanceAuthorizationChange,
    Category.ALLOWANCE: AllowanceChange,
}
CATEGORY_OF: Final[dict[type[StateChange], Category]] = {row: category for category, row in ROW_TYPES.items()}
