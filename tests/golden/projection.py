"""The one list of differences that are allowed between our rows and the reference's, each with its reason.

Both sides are brought to one form: family -> multiset of rows, a row being its non-NULL columns as canonical JSON. The reference
is its newest version (golden/head); two ledgers on which that one crashed are compared with the older one (golden/base). The
reasons come from design/decisions.md and the entries Qn of spec/processors.md 12.

    row form         `_` in front of a golden key marks what is no column there: `_sort_key` is our `sort_key`, others go.
    inner hash       the reference repeats the hash in `inner_transaction_hash` when there is no fee bump; ours is NULL
                     (decision "transaction hashes").
    other streams    state changes of processors that are not finished yet (`state_change_id` from 2^28 on) are left out. The
                     accounts they add to a transaction or operation are in the golden sets all the same: our sets are united
                     with them, so that the comparison stays an equality.
    cancelled rows   an entry that a ledger creates, changes and removes leaves no row here; the reference emits a delete for a
                     row that nobody has (Q15). Every such row is listed in `CANCELLED`.
    older version    golden/base numbers state changes otherwise and has no fee phases of accounts: both are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

Row = dict[str, Any]
Multisets = dict[str, Counter[bytes]]

FAMILIES: Final = (
    "ledger",
    "transactions",
    "operations",
    "transactions_accounts",
    "operations_accounts",
    "state_changes",
    "trustline_assets",
    "trustline_changes",
    "account_changes",
)
OTHER_STREAMS_FROM: Final = 1 << 28

# (file, position) -> family -> the rows in question, named by the columns that tell them.
CANCELLED: Final[dict[tuple[str, int], dict[str, list[Row]]]] = {
    # Transaction 98 opens this trustline, claims a balance into it, pays all of it on, and closes it again.
    ("lake/FCD285FF--53312000.xdr.zst", 0): {
        "trustline_changes": [
            {
                "account_id": "GBWZ5XFQU2YCRIZDJQYFHASWITWMCCT3TIESI2OBDSSPT44WWTBGMCPF",
                "asset": "yXRP:GC2Z7TNT7PYAHHSHLBSO4XAIVYZGWKFBJ2ETYJBEIPM3ATYCSAR3YXRP",
                "operation": "REMOVE",
            }
        ]
    },
}

_ACCOUNTS: Final = {"transactions_accounts": ("tx_to_id", "to_id"), "operations_accounts": ("operation_id", "operation_id")}
_NOT_IN_OLDER: Final = frozenset({"account_changes"})
_OTHERWISE_IN_OLDER: Final = frozenset({"state_change_id", "state_change_order"})
_LEDGER_COLUMNS: Final = frozenset(
    {"base_reserve", "close_time", "closed_at", "hash", "lcm_v", "protocol_version", "sequence", "tx_count"}
)


def ours(rows: Iterable[Row], golden: Mapping[str, Any], *, older: bool = False) -> Multisets:
    """Our rows, as `processors.derive` gives them, in the form to compare."""
    sets = {family: Counter[bytes]() for family in FAMILIES}
    for row in rows:
        family = row["family"]
        columns = {name: value for name, value in row.items() if name != "family"}
        if family == "ledger":
            columns = {name: value for name, value in columns.items() if name in _LEDGER_COLUMNS}
        elif family == "transactions":
            columns["inner_transaction_hash"] = columns["inner_transaction_hash"] or columns["hash"]
        _count(sets, family, columns, older)
    for family, (column, source) in _ACCOUNTS.items():
        for change in golden.get("state_changes", ()):
            if change.get("state_change_id", 0) >= OTHER_STREAMS_FROM:
                sets[family][_key({column: change[source], "account_id": change["account_id"]})] = 1
    return sets


def reference(golden: Mapping[str, Any], *, older: bool = False) -> Multisets:
    """The reference's rows in the form to compare."""
    cancelled = CANCELLED.get((golden["file"], golden["index"]), {})
    sets = {family: Counter[bytes]() for family in FAMILIES}
    ledger = golden["ledger"]
    _count(sets, "ledger", {name: ledger[name] for name in _LEDGER_COLUMNS}, older)
    for family in FAMILIES:
        expected = list(cancelled.get(family, ()))
        for row in [] if family == "ledger" else golden.get(family, ()):
            if family == "state_changes" and row.get("state_change_id", 0) >= OTHER_STREAMS_FROM:
                continue
            match = next((facts for facts in expected if facts.items() <= row.items()), None)
            if match is not None:
                expected.remove(match)
                continue
            columns = {name: value for name, value in row.items() if not name.startswith("_")}
            if "_sort_key" in row:
                columns["sort_key"] = row["_sort_key"]
            _count(sets, family, columns, older)
        assert not expected, f"{golden['file']}: rows listed as cancelled are not in the golden file: {expected}"
    return sets


def _count(sets: Multisets, family: str, columns: Row, older: bool) -> None:
    if older and family in _NOT_IN_OLDER:
        return
    dropped = _OTHERWISE_IN_OLDER if older else frozenset()
    sets[family][_key({name: value for name, value in columns.items() if name not in dropped})] += 1


def _key(columns: Row) -> bytes:
    return orjson.dumps({name: value for name, value in columns.items() if value is not None}, option=orjson.OPT_SORT_KEYS)
