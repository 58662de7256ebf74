"""A decoded ledger as JSON: for every real ledger, and readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lumenstream.xdr import LedgerContentError, decode_details, decode_ledger, rows
from lumenstream.xdr.show import address_text, asset_text, ledger_to_json, scval_to_json
from tests.unit.xdr_support import real_ledgers

ISSUER = b"\x30" + bytes(32)


def test_every_real_ledger_can_be_shown(shared_ledgers: Path) -> None:
    shown = 0
    for ledger in real_ledgers(shared_ledgers, "lake", "rebuilt", "stellar-core", "unit"):
        try:
            decoded = decode_ledger(*ledger[1:])
        except LedgerContentError:
            continue
        document = json.dumps(ledger_to_json(decoded, decode_details(*ledger[1:])), allow_nan=False)
        assert "_xdr" not in document
        shown += 1
    assert shown > 7000


def test_a_ledger_is_readable(shared_ledgers: Path) -> None:
    ledger = next(real_ledgers(shared_ledgers, "lake"))
    decoded = decode_ledger(*ledger[1:])
    document: dict[str, Any] = ledger_to_json(decoded, decode_details(*ledger[1:]), include_xdr=True)
    assert document["header"]["hash"] == decoded.header.hash.hex()
    for tx, row in zip(document["transactions"], decoded.transactions, strict=True):
        assert tx["source"][0] in "GM"
        assert tx["hash"] == row.hash.hex()
        assert tx["result_code"].startswith("tx")
        assert isinstance(tx["envelope_xdr"], str)
        assert tx["changes_before"]
        for op in tx["operations"]:
            assert op["type"].isupper()
            for found in op["changes"]:
                assert found["kind"].startswith("LEDGER_ENTRY_")
                assert found["type"].isupper()
    payments = [op["body"] for tx in document["transactions"] for op in tx["operations"] if op["type"] == "PAYMENT"]
    assert payments
    assert all(body["asset"] == "native" or ":G" in body["asset"] for body in payments)


def test_assets_addresses_and_values() -> None:
    issuer = address_text(ISSUER)
    assert issuer == "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
    assert asset_text(rows.Asset(0, "native", None)) == "native"
    assert asset_text(rows.Asset(1, "USD", ISSUER)) == f"USD:{issuer}"
    assert asset_text(rows.Asset(3, "ab" * 32, None)) == "pool:" + "ab" * 32
    assert address_text(b"\xb0" + bytes(40)).startswith("WAAAA")  # a muxed contract
    amount = rows.ScVal(10, 2**100)
    entry = (rows.ScVal(15, "amount"), amount)
    assert scval_to_json(rows.ScVal(17, (entry,))) == {"map": [[{"symbol": "amount"}, {"i128": str(2**100)}]]}
    assert scval_to_json(rows.ScVal(18, ISSUER)) == {"address": issuer}
    assert scval_to_json(rows.ScVal(2, (9, 1))) == {"error": ["SCE_AUTH", "SCEC_INDEX_BOUNDS"]}
    assert scval_to_json(rows.ScVal(2, (0, 1))) == {"error": ["SCE_CONTRACT", 1]}
    assert scval_to_json(rows.ScVal(0, True)) == {"bool": True}
    instance = rows.ContractInstance(None, None, None)
    assert scval_to_json(rows.ScVal(19, instance)) == {
        "contract_instance": {"wasm_hash": None, "storage": None, "external_ref": None}
    }
