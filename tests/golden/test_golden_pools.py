"""Liquidity pools and pool shares against what the newest reference produced, on every real ledger there is.

As `test_golden`, with two more families. The reference tells neither fee, shares nor trustlines of a pool: `UNTOLD` lists the
columns that are ours alone, and `test_market_state` holds them against the ledger entries.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from lumenstream.xdr import decode_ledger
from processors import registry
from processors.derive import derive_rows
from schemas.assets import network_id
from tests.golden.test_golden import _PASSPHRASES, CRASHED, REFUSED, _ledgers, _place
from tests.plugins.golden import Report

pytestmark = pytest.mark.golden

FAMILIES: Final = ("liquidity_pool_changes", "liquidity_pool_share_changes")
UNTOLD: Final = frozenset({"family", "fee_bp", "total_shares", "trustline_count"})

# How many rows are equal, by golden set, family and operation: exactly, so that none can be lost.
EQUAL_ROWS: Final[dict[str, dict[tuple[str, str], int]]] = {
    "pubnet": {("liquidity_pool_changes", "UPDATE"): 123},
    "rebuilt": {},
    "loadtest": {},
    "stellar-core": {
        ("liquidity_pool_changes", "ADD"): 2,
        ("liquidity_pool_changes", "UPDATE"): 2,
        ("liquidity_pool_share_changes", "ADD"): 2,
        ("liquidity_pool_share_changes", "UPDATE"): 2,
    },
    "unit": {
        ("liquidity_pool_changes", "ADD"): 2,
        ("liquidity_pool_changes", "UPDATE"): 1,
        ("liquidity_pool_changes", "REMOVE"): 8,
        ("liquidity_pool_share_changes", "ADD"): 2,
        ("liquidity_pool_share_changes", "UPDATE"): 1,
        ("liquidity_pool_share_changes", "REMOVE"): 1,
    },
}


@pytest.mark.parametrize("name", sorted(_PASSPHRASES))
def test_rows_equal_the_reference(name: str, shared_ledgers: Path, shared_golden: Path, report: Report) -> None:
    network = network_id(_PASSPHRASES[name])
    processors = registry.create(["liquidity_pools"], network)
    equal: Counter[tuple[str, str]] = Counter()
    differences: list[str] = []
    for golden, data in _ledgers(shared_golden / "head" / f"{name}.jsonl.gz", shared_ledgers):
        place = _place(golden)
        if place in REFUSED:
            continue
        rows = [row for row in derive_rows(decode_ledger(data, network), processors) if row["family"] in FAMILIES]
        assert place not in CRASHED or not rows, f"{place}: rows that no reference tells"
        for family in FAMILIES:
            found = Counter(_key(row) for row in rows if row["family"] == family)
            expected = Counter(map(_key, golden.get(family) or ()))
            equal.update((family, orjson.loads(row)["operation"]) for row in (found & expected).elements())
            differences += [f"{place} {family}: too many {row.decode()}" for row in found - expected]
            differences += [f"{place} {family}: missing {row.decode()}" for row in expected - found]
    report.rows.update({(name, f"{family} {operation}"): number for (family, operation), number in equal.items()})
    assert not differences, f"{len(differences)} rows differ:\n" + "\n".join(differences[:40])
    assert equal == EQUAL_ROWS[name]


def _key(row: dict[str, Any]) -> bytes:
    columns = {name: value for name, value in row.items() if value is not None and name not in UNTOLD}
    return orjson.dumps(columns, option=orjson.OPT_SORT_KEYS)
