"""Effects, contract deploys and asset contracts against what the reference produced, on every real ledger there is.

As `test_golden`, with other families and another projection (`projection_five`): the newest reference for all that it tells, the
older one for RESERVES. With these five, the nine processors are complete, so the sets of participants are compared once more, now
without help from the golden side.
"""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from lumenstream.xdr import decode_ledger
from lumenstream.xdr.files import read_ledgers
from processors import registry
from processors.derive import derive_rows
from schemas.assets import network_id
from tests.golden import projection_five
from tests.golden.test_golden import CRASHED, REFUSED
from tests.plugins.golden import Report

pytestmark = pytest.mark.golden

Golden = dict[str, Any]
Place = tuple[str, int]

_PASSPHRASES: Final = {
    "pubnet": "Public Global Stellar Network ; September 2015",
    "rebuilt": "Public Global Stellar Network ; September 2015",
    "loadtest": "load test network",
    "stellar-core": "(V) (;,,;) (V)",
    "unit": "Test SDF Network ; September 2015",
}

# RESERVES rows in ledgers that the older reference could not decode, so there is nothing to compare them with: a sponsored
# trustline that its owner closes, in a ledger of protocol 27, told to sponsor and owner.
NOT_COMPARED: Final = {"stellar-core": 2}

# How many rows are equal, by kind: exactly, so that a file that is cut or a kind that is lost cannot pass.
EQUAL_ROWS: Final[dict[str, dict[str, int]]] = {
    "pubnet": {
        "BALANCE_AUTHORIZATION/CLEAR": 1,
        "BALANCE_AUTHORIZATION/SET": 8,
        "FLAGS/CLEAR": 1,
        "FLAGS/SET": 1,
        "RESERVES/SPONSOR": 236,
        "RESERVES/UNSPONSOR": 4,
        "SIGNATURE_THRESHOLD/HIGH": 1,
        "SIGNATURE_THRESHOLD/LOW": 1,
        "SIGNATURE_THRESHOLD/MEDIUM": 1,
        "SIGNER/ADD": 8,
        "SIGNER/REMOVE": 4,
        "TRUSTLINE/ADD": 7,
        "TRUSTLINE/REMOVE": 12,
        "TRUSTLINE/UPDATE": 4,
        "operations_accounts of all nine": 4_116,
        "sac_balance_changes UPDATE": 6,
        "transactions_accounts of all nine": 2_835,
    },
    "rebuilt": {
        "BALANCE_AUTHORIZATION/SET": 16,
        "SIGNATURE_THRESHOLD/HIGH": 1,
        "SIGNATURE_THRESHOLD/LOW": 1,
        "SIGNATURE_THRESHOLD/MEDIUM": 1,
        "operations_accounts of all nine": 1_123,
        "transactions_accounts of all nine": 452,
    },
    "loadtest": {
        "operations_accounts of all nine": 22_920,
        "transactions_accounts of all nine": 22_920,
    },
    "stellar-core": {
        "ACCOUNT/CREATE": 979,
        "BALANCE_AUTHORIZATION/SET": 330,
        "FLAGS/CLEAR": 1,
        "FLAGS/SET": 1,
        "RESERVES/SPONSOR": 10,
        "SIGNATURE_THRESHOLD/HIGH": 33,
        "SIGNATURE_THRESHOLD/LOW": 33,
        "SIGNATURE_THRESHOLD/MEDIUM": 59,
        "SIGNER/ADD": 1_280,
        "SIGNER/REMOVE": 2,
        "SIGNER/UPDATE": 48,
        "TRUSTLINE/ADD": 330,
        "TRUSTLINE/REMOVE": 34,
        "operations_accounts of all nine": 9_752,
        "sac_balance_changes ADD": 3,
        "sac_balance_changes UPDATE": 4,
        "sac_contracts": 19,
        "transactions_accounts of all nine": 9_766,
    },
    "unit": {
        "ACCOUNT/CREATE": 1,
        "BALANCE_AUTHORIZATION/CLEAR": 2,
        "BALANCE_AUTHORIZATION/SET": 2,
        "FLAGS/CLEAR": 2,
        "FLAGS/SET": 2,
        "METADATA/DATA_ENTRY": 3,
        "METADATA/HOME_DOMAIN": 2,
        "RESERVES/SPONSOR": 4,
        "RESERVES/UNSPONSOR": 4,
        "SIGNATURE_THRESHOLD/HIGH": 2,
        "SIGNATURE_THRESHOLD/LOW": 2,
        "SIGNATURE_THRESHOLD/MEDIUM": 2,
        "SIGNER/ADD": 5,
        "SIGNER/UPDATE": 2,
        "TRUSTLINE/ADD": 1,
        "TRUSTLINE/REMOVE": 1,
        "TRUSTLINE/UPDATE": 1,
        "operations_accounts of all nine": 190,
        "sac_balance_changes ADD": 4,
        "sac_balance_changes REMOVE": 1,
        "sac_balance_changes UPDATE": 9,
        "transactions_accounts of all nine": 232,
    },
}


@pytest.mark.parametrize("name", sorted(_PASSPHRASES))
def test_rows_equal_the_reference(name: str, shared_ledgers: Path, shared_golden: Path, report: Report) -> None:
    network = network_id(_PASSPHRASES[name])
    processors = registry.create(None, network)
    older = {_place(golden): golden for golden in _lines(shared_golden / "base" / f"{name}.jsonl.gz") if "error" not in golden}
    equal: Counter[str] = Counter()
    differences: list[str] = []
    not_compared = 0
    for newest, data in _ledgers(shared_golden / "head" / f"{name}.jsonl.gz", shared_ledgers):
        place = _place(newest)
        if place in REFUSED:
            continue
        rows = list(derive_rows(decode_ledger(data, network), processors))
        found, reserves = projection_five.ours(rows)
        if place in older:
            _compare(place, reserves, projection_five.older(older[place]), equal, differences)
        else:
            not_compared += reserves.total()
        if place in CRASHED:
            assert not found, f"{place}: rows that no reference tells"
            continue
        _compare(place, found, projection_five.newest(newest), equal, differences)
        participants = projection_five.participants(
            newest, reserves if place not in older else projection_five.older(older[place])
        )
        _compare(place, projection_five.our_participants(rows), participants, equal, differences)
    report.rows.update({(name, kind): number for kind, number in equal.items()})
    assert not differences, f"{len(differences)} rows differ:\n" + "\n".join(differences[:40])
    assert equal == EQUAL_ROWS[name]
    assert not_compared == NOT_COMPARED.get(name, 0)


@pytest.mark.parametrize("name", ["pubnet", "stellar-core", "unit"])
def test_ids_of_each_stream_count_from_one_without_gaps(name: str, shared_ledgers: Path, shared_golden: Path) -> None:
    network = network_id(_PASSPHRASES[name])
    processors = registry.create(None, network)
    for golden, data in _ledgers(shared_golden / "head" / f"{name}.jsonl.gz", shared_ledgers):
        if _place(golden) in REFUSED:
            continue
        streams: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
        for row in derive_rows(decode_ledger(data, network), processors):
            if row["family"] == projection_five.STATE_CHANGES:
                stream, ordinal = divmod(row["state_change_id"], projection_five.STREAM)
                streams[row["to_id"], row["operation_id"], stream].append(ordinal)
        for place, ordinals in streams.items():
            assert sorted(ordinals) == list(range(1, len(ordinals) + 1)), place


def _compare(place: Place, found: Counter[bytes], expected: Counter[bytes], equal: Counter[str], differences: list[str]) -> None:
    equal.update(projection_five.kind(row) for row in (found & expected).elements())
    differences += [f"{place}: too many {row.decode()}" for row in found - expected]
    differences += [f"{place}: missing {row.decode()}" for row in expected - found]


def _place(golden: Golden) -> Place:
    return golden["file"], golden["index"]


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
