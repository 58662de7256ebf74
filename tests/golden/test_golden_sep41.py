"""Code, contracts and events of contracts against what the newest reference found, on every real ledger there is.

The reference has no rows of custom tokens here (its processor for them did not run), so these are what can be compared: which
code and which contracts a ledger shows, and how many events of successful contract calls there are to choose from. What the
ledgers hold of tokens is pinned besides: one pubnet contract describes itself, nobody uploads a token's code, and every event
called transfer, mint or burn is an asset contract's or of another shape.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from lumenstream.xdr import decode_ledger
from lumenstream.xdr.rows import Ledger
from processors import view
from processors.sep41 import Sep41
from schemas.assets import network_id
from tests.golden.test_golden import _PASSPHRASES, _ledgers
from tests.plugins.golden import Report

pytestmark = pytest.mark.golden

# Equal rows and events; then what our part says beyond the reference.
FOUND: Final[dict[str, dict[str, int]]] = {
    "pubnet": {"ledgers": 5, "protocol_contracts": 6, "events": 41, "operations with events": 16, "contracts described": 1},
    "rebuilt": {"ledgers": 6},
    "loadtest": {"ledgers": 30, "events": 37_200, "operations with events": 7_440},
    "stellar-core": {
        "ledgers": 7_159,
        "protocol_wasms": 1_367,
        "protocol_contracts": 1_401,
        "events": 41,
        "operations with events": 31,
    },
    "unit": {
        "ledgers": 111,
        "protocol_wasms": 1,
        "protocol_contracts": 2,
        "events": 35,
        "operations with events": 35,
    },
}


@pytest.mark.parametrize("name", sorted(_PASSPHRASES))
def test_code_contracts_and_events_equal_the_reference(
    name: str, shared_ledgers: Path, shared_golden: Path, report: Report
) -> None:
    network = network_id(_PASSPHRASES[name])
    processor = Sep41(network)
    found: Counter[str] = Counter()
    for golden, data in _ledgers(shared_golden / "head" / f"{name}.jsonl.gz", shared_ledgers):
        if "error" in golden:
            continue
        ledger = decode_ledger(data, network)
        rows = processor.process(ledger).rows
        place = golden["file"], golden["index"]
        wasms = Counter((row[0].hex(), row[2]) for row in rows.get("protocol_wasms", []))
        contracts = Counter((row[0][1:].hex(), row[1].hex()) for row in rows.get("protocol_contracts", []))
        assert wasms == _reference(golden, "protocol_wasms", "wasm_hash", "bytecode_len"), place
        assert contracts == _reference(golden, "protocol_contracts", "contract_id", "wasm_hash"), place
        operations, events = _events(ledger)
        assert golden["contract_event_groups"] == {"events": events, "ops_with_events": operations}, place
        found += Counter(
            {
                "ledgers": 1,
                "protocol_wasms": wasms.total(),
                "protocol_contracts": contracts.total(),
                "events": events,
                "operations with events": operations,
                "tokens' code": sum(row[1] is not None for row in rows.get("protocol_wasms", [])),
                "contracts described": sum(row[2] is not None for row in rows.get("protocol_contracts", [])),
                "candidate events": len(rows.get("sep41_candidate_events", [])),
            }
        )
    report.rows.update({(name, kind): number for kind, number in found.items()})
    assert found == FOUND[name]


def _reference(golden: dict[str, Any], family: str, *columns: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[column] for column in columns) for row in golden[family] or [])


def _events(ledger: Ledger) -> tuple[int, int]:
    """Successful contract calls that emitted events, and those events."""
    calls = [
        op.events
        for tx in ledger.transactions
        if view.successful(tx)
        for op in tx.operations
        if op.type == view.INVOKE_HOST_FUNCTION and op.events
    ]
    return len(calls), sum(map(len, calls))
