"""The names of result codes as tables store them (spec/processors.md 1.7).

A code that is not listed belongs to a protocol this version does not know: guessing a name would store a falsehood, so the
callers in `processors.view` fail the ledger instead.
"""

from __future__ import annotations

from typing import Final

SUCCESS: Final = "op_success"
UNKNOWN: Final = "op_unknown"  # the transaction's result holds none for this operation

_PREFIX: Final = "TransactionResultCode"

# From 1 (a fee bump whose inner transaction succeeded) down to -17.
_TRANSACTION_NAMES: Final = (
    "TxFeeBumpInnerSuccess",
    "TxSuccess",
    "TxFailed",
    "TxTooEarly",
    "TxTooLate",
    "TxMissingOperation",
    "TxBadSeq",
    "TxBadAuth",
    "TxInsufficientBalance",
    "TxNoAccount",
    "TxInsufficientFee",
    "TxBadAuthExtra",
    "TxInternalError",
    "TxNotSupported",
    "TxFeeBumpInnerFailed",
    "TxBadSponsorship",
    "TxBadMinSeqAgeOrGap",
    "TxMalformed",
    "TxSorobanInvalid",
)
TRANSACTION: Final[dict[int, str]] = {1 - at: _PREFIX + name for at, name in enumerate(_TRANSACTION_NAMES)}

# OperationResultCode, where the operation was not even tried.
OUTER: Final[dict[int, str]] = {
    -1: "op_bad_auth",
    -2: "op_no_source_account",
    -3: "op_not_supported",
    -4: "op_too_many_subentries",
    -5: "op_exceeded_work_limit",
    -6: "op_too_many_sponsoring",
}

OPERATION_TYPES: Final = (
    "CREATE_ACCOUNT",
    "PAYMENT",
    "PATH_PAYMENT_STRICT_RECEIVE",
    "MANAGE_SELL_OFFER",
    "CREATE_PASSIVE_SELL_OFFER",
    "SET_OPTIONS",
    "CHANGE_TRUST",
    "ALLOW_TRUST",
    "ACCOUNT_MERGE",
    "INFLATION",
    "MANAGE_DATA",
    "BUMP_SEQUENCE",
    "MANAGE_BUY_OFFER",
    "PATH_PAYMENT_STRICT_SEND",
    "CREATE_CLAIMABLE_BALANCE",
    "CLAIM_CLAIMABLE_BALANCE",
    "BEGIN_SPONSORING_FUTURE_RESERVES",
    "END_SPONSORING_FUTURE_RESERVES",
    "REVOKE_SPONSORSHIP",
    "CLAWBACK",
    "CLAWBACK_CLAIMABLE_BALANCE",
    "SET_TRUST_LINE_FLAGS",
    "LIQUIDITY_POOL_DEPOSIT",
    "LIQUIDITY_POOL_WITHDRAW",
    "INVOKE_HOST_FUNCTION",
    "EXTEND_FOOTPRINT_TTL",
    "RESTORE_FOOTPRINT",
)

_PAYMENT: Final = (
    "op_malformed op_underfunded op_src_no_trust op_src_not_authorized op_no_destination op_no_trust op_not_authorized"
    " op_line_full op_no_issuer"
)
_OFFER: Final = (
    "op_malformed op_sell_no_trust op_buy_no_trust op_sell_not_authorized op_buy_not_authorized op_line_full op_underfunded"
    " op_cross_self op_sell_no_issuer op_buy_no_issuer op_offer_not_found op_low_reserve"
)

# What can go wrong with each operation, in the order of its XDR codes -1, -2, ...
_FAILURES: Final[dict[str, str]] = {
    "CREATE_ACCOUNT": "op_malformed op_underfunded op_low_reserve op_already_exists",
    "PAYMENT": _PAYMENT,
    "PATH_PAYMENT_STRICT_RECEIVE": f"{_PAYMENT} op_too_few_offers op_cross_self op_over_source_max",
    "PATH_PAYMENT_STRICT_SEND": f"{_PAYMENT} op_too_few_offers op_cross_self op_under_dest_min",
    "MANAGE_SELL_OFFER": _OFFER,
    "MANAGE_BUY_OFFER": _OFFER,
    "CREATE_PASSIVE_SELL_OFFER": _OFFER,
    "SET_OPTIONS": (
        "op_low_reserve op_too_many_signers op_bad_flags op_invalid_inflation op_cant_change op_unknown_flag"
        " op_threshold_out_of_range op_bad_signer op_invalid_home_domain op_auth_revocable_required"
    ),
    "CHANGE_TRUST": (
        "op_malformed op_no_issuer op_invalid_limit op_low_reserve op_self_not_allowed op_trust_line_missing op_cannot_delete"
        " op_not_auth_maintain_liabilities"
    ),
    "ALLOW_TRUST": "op_malformed op_no_trust op_not_required op_cant_revoke op_self_not_allowed op_low_reserve",
    "ACCOUNT_MERGE": (
        "op_malformed op_no_account op_immutable_set op_has_sub_entries op_seq_num_too_far op_dest_full op_is_sponsor"
    ),
    "INFLATION": "op_not_time",
    "BUMP_SEQUENCE": "op_bad_seq",
    "MANAGE_DATA": "op_not_supported_yet op_data_name_not_found op_low_reserve op_data_invalid_name",
    "CREATE_CLAIMABLE_BALANCE": "op_malformed op_low_reserve op_no_trust op_not_authorized op_underfunded",
    "CLAIM_CLAIMABLE_BALANCE": "op_does_not_exist op_cannot_claim op_line_full op_no_trust op_not_authorized",
    "BEGIN_SPONSORING_FUTURE_RESERVES": "op_malformed op_already_sponsored op_recursive",
    "END_SPONSORING_FUTURE_RESERVES": "op_not_sponsored",
    "REVOKE_SPONSORSHIP": "op_does_not_exist op_not_sponsor op_low_reserve op_only_transferable op_malformed",
    "CLAWBACK": "op_malformed op_not_clawback_enabled op_no_trust op_underfunded",
    "CLAWBACK_CLAIMABLE_BALANCE": "op_does_not_exist op_no_issuer op_not_clawback_enabled",
    "SET_TRUST_LINE_FLAGS": "op_malformed op_no_trust op_cant_revoke op_invalid_state op_low_reserve",
    "LIQUIDITY_POOL_DEPOSIT": (
        "op_malformed op_no_trust op_not_authorized op_underfunded op_line_full op_bad_price op_pool_full"
    ),
    "LIQUIDITY_POOL_WITHDRAW": "op_malformed op_no_trust op_underfunded op_line_full op_under_minimum",
    "INVOKE_HOST_FUNCTION": ("op_malformed function_trapped resource_limit_exceeded entry_archived insufficient_refundable_fee"),
    "EXTEND_FOOTPRINT_TTL": "op_malformed resource_limit_exceeded insufficient_refundable_fee",
    "RESTORE_FOOTPRINT": "op_malformed resource_limit_exceeded insufficient_refundable_fee",
}

# (operation type, inner code) -> name; code 0 is success for every type.
INNER: Final[dict[tuple[int | None, int | None], str]] = {
    (number, -at): name
    for number, operation in enumerate(OPERATION_TYPES)
    for at, name in enumerate((SUCCESS, *_FAILURES[operation].split()))
}
