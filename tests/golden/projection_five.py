"""The differences that are allowed between our effects, contract deploys, SAC rows and the reference's, each with its reason.

The reference's rows are brought to the form in which `processors.derive` shows ours. Effects, deploys and SAC families are
compared with its newest version (golden/head); RESERVES, which that one no longer tells, with the older one (golden/base). The
reasons come from design/decisions.md and the entries Qn of spec/processors.md 12.

    METADATA         the newest version calls it HOME_DOMAIN and DATA_ENTRY, with the kind of change as reason. Ours keep the
                     older names, and the object is keyed by what changed.
    thresholds       the newest version has one reason UPDATE and a column for the level; ours have a reason per level.
    limits           stroops instead of text with seven decimals (Q5).
    authorization    of a new trustline: without the trustline's limit (Q6).
    failed deploys   a failed transaction deploys nothing (Q2).
    SAC balances     raw integers instead of text with seven decimals. An asset contract's name, symbol, decimals and type follow
                     from its code and issuer, so the row has none of them.
    RESERVES         the older version numbers rows of all processors together; ours count in a stream of their own.
    participants     accounts of state changes take part. So ours are the newest version's, with the accounts of RESERVES rows,
                     without the contracts that a failed transaction did not deploy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

Row = dict[str, Any]

STATE_CHANGES: Final = "state_changes"
SAC_FAMILIES: Final = ("sac_balance_changes", "sac_contracts")
RESERVES: Final = "RESERVES"

STREAM: Final = 1 << 28  # ids of effects, deploys and SAC events begin at multiples of it
_DEPLOYS: Final = 2
_AFTER_STREAMS: Final = 4
_SUCCEEDED: Final = frozenset({"TransactionResultCodeTxSuccess", "TransactionResultCodeTxFeeBumpInnerSuccess"})
_PARTICIPANTS: Final = {"transactions_accounts": "tx_to_id", "operations_accounts": "operation_id"}
_DECIMALS: Final = 7
_FOLLOWS_FROM_ASSET: Final = frozenset({"decimals", "name", "symbol", "type"})
_NUMBERING: Final = frozenset({"state_change_id", "state_change_order", "_contract_type"})


def newest(golden: Mapping[str, Any]) -> Counter[bytes]:
    """The newest reference's rows of the families compared here."""
    succeeded = _succeeded(golden)
    changes = (
        {"family": STATE_CHANGES, **_state_change(row)}
        for row in golden[STATE_CHANGES]
        if 0 < row["state_change_id"] // STREAM < _AFTER_STREAMS and row["to_id"] in succeeded
    )
    return Counter(map(canonical, [*changes, *_sac_rows(golden)]))


def older(golden: Mapping[str, Any]) -> Counter[bytes]:
    """The older reference's RESERVES rows."""
    rows = [row for row in golden[STATE_CHANGES] if row["state_change_category"] == RESERVES]
    return Counter(canonical({"family": STATE_CHANGES, **row}, _NUMBERING) for row in rows)


def ours(rows: Iterable[Row]) -> tuple[Counter[bytes], Counter[bytes]]:
    """Our rows: those to compare with the newest reference, those to compare with the older one."""
    main: Counter[bytes] = Counter()
    reserves: Counter[bytes] = Counter()
    for row in rows:
        if row.get("state_change_category") == RESERVES:
            reserves[canonical(row, _NUMBERING)] += 1
        elif row["family"] in SAC_FAMILIES or (row["family"] == STATE_CHANGES and row["state_change_id"] > STREAM):
            main[canonical({**row, "balance": str(row["balance"])} if "balance" in row else row)] += 1
    return main, reserves


def participants(newest_golden: Mapping[str, Any], reserves: Iterable[bytes]) -> Counter[bytes]:
    """Who takes part in transactions and operations, by the newest reference and these RESERVES rows."""
    accounts = {
        family: {(row[column], row["account_id"]) for row in newest_golden[family]} for family, column in _PARTICIPANTS.items()
    }
    succeeded = _succeeded(newest_golden)
    undone = (
        row
        for row in newest_golden[STATE_CHANGES]
        if row["state_change_id"] // STREAM == _DEPLOYS and row["to_id"] not in succeeded
    )
    for row in undone:
        accounts["transactions_accounts"].discard((row["to_id"], row["account_id"]))
        accounts["operations_accounts"].discard((row["operation_id"], row["account_id"]))
    for row in map(orjson.loads, reserves):
        accounts["transactions_accounts"].add((row["to_id"], row["account_id"]))
        accounts["operations_accounts"].add((row["operation_id"], row["account_id"]))
    return Counter(
        canonical({"family": family, column: number, "account_id": account})
        for family, column in _PARTICIPANTS.items()
        for number, account in accounts[family]
    )


def our_participants(rows: Iterable[Row]) -> Counter[bytes]:
    return Counter(canonical(row) for row in rows if row["family"] in _PARTICIPANTS)


def kind(row: bytes) -> str:
    """What a canonical row is, for the report: category and reason of a state change, else family and operation."""
    columns = orjson.loads(row)
    if columns["family"] == STATE_CHANGES:
        return f"{columns['state_change_category']}/{columns['state_change_reason']}"
    if columns["family"] in _PARTICIPANTS:
        return f"{columns['family']} of all nine"
    return " ".join([columns["family"], *([columns["operation"]] if "operation" in columns else [])])


def canonical(row: Mapping[str, Any], without: frozenset[str] = frozenset()) -> bytes:
    """The columns that are not NULL, as JSON with sorted keys."""
    columns = {name: value for name, value in row.items() if value is not None and name not in without}
    return orjson.dumps(columns, option=orjson.OPT_SORT_KEYS)


def _succeeded(golden: Mapping[str, Any]) -> set[int]:
    return {row["to_id"] for row in golden["transactions"] if row["result_code"] in _SUCCEEDED}


def _state_change(row: Row) -> Row:
    match row["state_change_category"]:
        case "HOME_DOMAIN":
            named = {"home_domain": row["key_value"]}
            return {**row, "state_change_category": "METADATA", "state_change_reason": "HOME_DOMAIN", "key_value": named}
        case "DATA_ENTRY":
            named = {row["data_entry_name"]: row["key_value"]}
            return {**row, "state_change_category": "METADATA", "state_change_reason": "DATA_ENTRY", "key_value": named}
        case "SIGNATURE_THRESHOLD":
            return {**row, "state_change_reason": row["threshold"], "threshold": None}
        case "TRUSTLINE" if row["trustline_limit_new"] is not None:
            return {**row, "trustline_limit_new": str(_raw(row["trustline_limit_new"]))}
        case "BALANCE_AUTHORIZATION":
            return {**row, "trustline_limit_new": None}
        case _:
            return row


def _sac_rows(golden: Mapping[str, Any]) -> Iterator[Row]:
    for row in golden["sac_balance_changes"]:
        yield {"family": "sac_balance_changes", **row, "balance": str(_raw(row["balance"]))}
    for row in golden["sac_contracts"]:
        facts = {name: value for name, value in row.items() if name not in _FOLLOWS_FROM_ASSET}
        yield {"family": "sac_contracts", **facts}


def _raw(text: str) -> int:
    """The integer behind text with seven decimals; `0` has none."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(_DECIMALS, "0"))
