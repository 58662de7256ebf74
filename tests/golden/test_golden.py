"""Our rows against what the reference produced, on every real ledger there is: some 7,300, all operation kinds but two.

Every golden line is one ledger. It is decoded, run through the finished processors, and compared family by family after the
documented projection. Whatever differs is a defect. Runs in seconds with the native decoder.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import pytest

from lumenstream.xdr import decode_ledger
from lumenstream.xdr.errors import LedgerContentError
from lumenstream.xdr.files import read_ledgers
from processors import registry
from processors.derive import derive_rows
from schemas import parts
from schemas.assets import network_id
from schemas.processors import PROCESSORS
from tests.golden import projection
from tests.plugins.golden import Report

pytestmark = pytest.mark.golden

Golden = dict[str, Any]

_PASSPHRASES: Final = {
    "pubnet": "Public Global Stellar Network ; September 2015",
    "rebuilt": "Public Global Stellar Network ; September 2015",
    "loadtest": "load test network",
    "stellar-core": "(V) (;,,;) (V)",
    "unit": "Test SDF Network ; September 2015",
}


# The streams that the projection knows; the processors of the others are compared apart.
_PROCESSORS: Final = ("participants", "token_transfers", "trustlines", "accounts")


class Refusal(NamedTuple):
    """A ledger that must not be processed: what our error says, and why that is right."""

    message: str
    reason: str


_OLD_META: Final = Refusal(
    "transaction meta of version 0", "made up; version 0 is not supported (spec 1.1); the reference refuses it too"
)

# Ledgers that we refuse, judged one by one. The reference fails on every one of them.
REFUSED: Final[dict[tuple[str, int], Refusal]] = {
    ("unit/unit-1033.xdr.gz", 0): _OLD_META,
    ("unit/unit-1034.xdr.gz", 0): _OLD_META,
    ("unit/unit-1035.xdr.gz", 0): _OLD_META,
    ("unit/unit-1036.xdr.gz", 0): _OLD_META,
    ("unit/unit-1111.xdr.gz", 0): Refusal("changes 0 liquidity pools", "made up: a deposit whose meta holds no pool"),
    ("stellar-core/FrozenLedgerKeysTests/3dd600739a73c9cd.xdr.gz", 16): Refusal(
        "unknown operation result 0, type 22, code -8", "next protocol: a deposit refused for a frozen trustline has no name yet"
    ),
    ("stellar-core/FrozenLedgerKeysTests/66bd677986a05b7d.xdr.gz", 15): Refusal(
        "unknown operation result 0, type 15, code -6", "next protocol: a claim refused for a frozen trustline has no name yet"
    ),
    ("stellar-core/FrozenLedgerKeysTests/7832644d33f07016.xdr.gz", 16): Refusal(
        "unknown operation result 0, type 23, code -6",
        "next protocol: a withdrawal refused for a frozen trustline has no name yet",
    ),
}

# Ledgers on which the newest reference crashed though they can be read; compared with the older one instead.
CRASHED: Final[dict[tuple[str, int], str]] = {
    ("unit/unit-1023.xdr.gz", 0): "made up: a fee bump with the result of a plain transaction; it asked for the inner result",
    ("unit/unit-1037.xdr.gz", 0): "made up: fee changes that remove an account without its state; it asked for the record before",
}

# How many rows are equal in each family: exactly, so that a file that is cut or a family that is lost cannot pass.
EQUAL_ROWS: Final[dict[str, dict[str, int]]] = {
    "pubnet": {
        "ledger": 5,
        "transactions": 1_432,
        "operations": 2_916,
        "transactions_accounts": 2_832,
        "operations_accounts": 4_113,
        "state_changes": 3_763,
        "trustline_assets": 840,
        "trustline_changes": 1_639,
        "account_changes": 1_491,
    },
    "rebuilt": {
        "ledger": 6,
        "transactions": 341,
        "operations": 1_077,
        "transactions_accounts": 452,
        "operations_accounts": 1_123,
        "state_changes": 349,
        "trustline_assets": 172,
        "trustline_changes": 283,
        "account_changes": 369,
    },
    "loadtest": {
        "ledger": 30,
        "transactions": 7_740,
        "operations": 7_740,
        "transactions_accounts": 22_920,
        "operations_accounts": 22_920,
        "state_changes": 8_340,
        "trustline_assets": 0,
        "trustline_changes": 0,
        "account_changes": 7_990,
    },
    "stellar-core": {
        "ledger": 7_159,
        "transactions": 5_853,
        "operations": 5_875,
        "transactions_accounts": 9_765,
        "operations_accounts": 9_751,
        "state_changes": 10_398,
        "trustline_assets": 834,
        "trustline_changes": 963,
        "account_changes": 7_321,
    },
    "unit": {
        "ledger": 113,
        "transactions": 113,
        "operations": 111,
        "transactions_accounts": 235,
        "operations_accounts": 192,
        "state_changes": 109,
        "trustline_assets": 21,
        "trustline_changes": 21,
        "account_changes": 28,
    },
}

# How often each kind of operation was compared. Inflation and revoke_sponsorship stand in no ledger here: unit tests have them.
OPERATION_KINDS: Final[dict[str, int]] = {
    "ACCOUNT_MERGE success": 24,
    "ALLOW_TRUST success": 20,
    "BEGIN_SPONSORING_FUTURE_RESERVES failure": 5,
    "BEGIN_SPONSORING_FUTURE_RESERVES success": 16,
    "BUMP_SEQUENCE success": 2,
    "CHANGE_TRUST success": 402,
    "CLAIM_CLAIMABLE_BALANCE failure": 3,
    "CLAIM_CLAIMABLE_BALANCE success": 9,
    "CLAWBACK failure": 1,
    "CLAWBACK success": 2,
    "CLAWBACK_CLAIMABLE_BALANCE success": 1,
    "CREATE_ACCOUNT failure": 5,
    "CREATE_ACCOUNT success": 1_229,
    "CREATE_CLAIMABLE_BALANCE failure": 84,
    "CREATE_CLAIMABLE_BALANCE success": 287,
    "CREATE_PASSIVE_SELL_OFFER success": 9,
    "END_SPONSORING_FUTURE_RESERVES failure": 3,
    "END_SPONSORING_FUTURE_RESERVES success": 14,
    "EXTEND_FOOTPRINT_TTL failure": 2,
    "EXTEND_FOOTPRINT_TTL success": 103,
    "INVOKE_HOST_FUNCTION failure": 293,
    "INVOKE_HOST_FUNCTION success": 10_894,
    "LIQUIDITY_POOL_DEPOSIT success": 6,
    "LIQUIDITY_POOL_WITHDRAW success": 2,
    "MANAGE_BUY_OFFER failure": 12,
    "MANAGE_BUY_OFFER success": 1_032,
    "MANAGE_DATA success": 3,
    "MANAGE_SELL_OFFER failure": 57,
    "MANAGE_SELL_OFFER success": 1_218,
    "PATH_PAYMENT_STRICT_RECEIVE failure": 370,
    "PATH_PAYMENT_STRICT_RECEIVE success": 31,
    "PATH_PAYMENT_STRICT_SEND failure": 298,
    "PATH_PAYMENT_STRICT_SEND success": 67,
    "PAYMENT failure": 85,
    "PAYMENT success": 991,
    "RESTORE_FOOTPRINT failure": 7,
    "RESTORE_FOOTPRINT success": 32,
    "SET_OPTIONS success": 98,
    "SET_TRUST_LINE_FLAGS success": 2,
}


@dataclass
class Comparison:
    """What one set of ledgers gave: equal rows by family, differences, kinds of operations, ledgers rightly refused."""

    equal: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


Compare = Callable[[str], Comparison]


@pytest.fixture(scope="module")
def compare(shared_ledgers: Path, shared_golden: Path, report: Report) -> Compare:
    """The comparison of a set by name, made once."""

    @cache
    def made(name: str) -> Comparison:
        comparison = _compared(name, shared_ledgers, shared_golden)
        report.rows.update({(name, family): number for family, number in comparison.equal.items()})
        report.kinds.update(comparison.kinds)
        report.refused += comparison.refused
        return comparison

    return made


def _compared(name: str, shared_ledgers: Path, shared_golden: Path) -> Comparison:
    found_here = Comparison()
    network = network_id(_PASSPHRASES[name])
    older = {
        _place(golden): golden for golden in _lines(shared_golden / "base" / f"{name}.jsonl.gz") if _place(golden) in CRASHED
    }
    for newest, data in _ledgers(shared_golden / "head" / f"{name}.jsonl.gz", shared_ledgers):
        place = _place(newest)
        if place in REFUSED:
            found_here.refused.append(_refused(newest, data, network))
            continue
        assert (place in CRASHED) == ("error" in newest), f"{place}: the reference says {newest.get('error')}"
        golden = older.get(place, newest)
        rows = _derived(data, network)
        found = projection.ours(rows, golden, older=place in older)
        expected = projection.reference(golden, older=place in older)
        for family in projection.FAMILIES:
            found_here.equal[family] += (found[family] & expected[family]).total()
            found_here.differences += [f"{place} {family}: too many {row.decode()}" for row in found[family] - expected[family]]
            found_here.differences += [f"{place} {family}: missing {row.decode()}" for row in expected[family] - found[family]]
        found_here.kinds.update(_kind(row) for row in rows if row["family"] == "operations")
    return found_here


@pytest.mark.parametrize("name", sorted(_PASSPHRASES))
def test_rows_equal_the_reference(name: str, compare: Compare) -> None:
    comparison = compare(name)
    assert not comparison.differences, f"{len(comparison.differences)} rows differ:\n" + "\n".join(comparison.differences[:40])
    assert comparison.equal == EQUAL_ROWS[name]


def test_every_operation_kind_was_compared(compare: Compare) -> None:
    kinds: Counter[str] = Counter()
    for name in _PASSPHRASES:
        kinds.update(compare(name).kinds)
    assert kinds == OPERATION_KINDS


def test_every_ledger_file_has_a_reference(shared_ledgers: Path, shared_golden: Path) -> None:
    named = {golden["file"] for name in _PASSPHRASES for golden in _lines(shared_golden / "head" / f"{name}.jsonl.gz")}
    present = {str(path.relative_to(shared_ledgers)) for path in shared_ledgers.rglob("*.xdr.*")}
    assert present == named


@pytest.mark.parametrize("name", ["pubnet", "rebuilt", "unit"])
def test_parts_are_the_same_bytes_every_time_and_hold_their_own_families(
    name: str, shared_ledgers: Path, shared_golden: Path
) -> None:
    network = network_id(_PASSPHRASES[name])
    for golden, data in _ledgers(shared_golden / "head" / f"{name}.jsonl.gz", shared_ledgers):
        if _place(golden) in REFUSED:
            continue
        for processor in registry.create(_PROCESSORS, network):
            part = processor.process(decode_ledger(data, network))
            encoded = parts.encode(part)
            assert encoded == parts.encode(processor.process(decode_ledger(data, network)))
            assert parts.decode(encoded) == part
            assert part.rows.keys() <= set(PROCESSORS[processor.name].families)


def _refused(golden: Golden, data: bytes, network: bytes) -> str:
    """Checks that we and the reference refuse the ledger; a line for the report."""
    file, index = _place(golden)
    refusal = REFUSED[file, index]
    assert "error" in golden, f"{file} {index}: the reference processes it"
    with pytest.raises(LedgerContentError, match=refusal.message):
        _derived(data, network)
    return f"{file} {index}: {refusal.reason}"


def _derived(data: bytes, network: bytes) -> list[dict[str, Any]]:
    return list(derive_rows(decode_ledger(data, network), registry.create(_PROCESSORS, network)))


def _place(golden: Golden) -> tuple[str, int]:
    return golden["file"], golden["index"]


def _kind(row: dict[str, Any]) -> str:
    return f"{row['operation_type']} {'success' if row['successful'] else 'failure'}"


def _lines(path: Path) -> Iterator[Golden]:
    with gzip.open(path, "rb") as lines:
        for line in lines:
            yield orjson.loads(line)


def _ledgers(golden_path: Path, shared_ledgers: Path) -> Iterator[tuple[Golden, bytes]]:
    """Every golden line with the ledger it speaks of. Lines of one file stand together, in file order."""
    for file, group in groupby(_lines(golden_path), key=lambda golden: str(golden["file"])):
        data = enumerate(read_ledgers(shared_ledgers / file))
        for golden in group:
            yield golden, next(ledger for index, ledger in data if index == golden["index"])
