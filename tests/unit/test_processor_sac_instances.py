"""Asset contracts sighted: the instance must name an asset, and the network must derive this very contract from it."""

from __future__ import annotations

import pytest

from lumenstream.xdr.rows import Asset, Change, ContractDataEntry, ContractInstance, ScVal
from processors.sac_instances import SacInstances
from schemas import assets
from schemas.families import SacContractRow
from tests.unit.effects_builder import change, vector
from tests.unit.ledger_builder import (
    ALICE,
    NETWORK,
    USDC,
    USDC_ISSUER,
    XLM,
    contract,
    invoke,
    issued,
    ledger,
    mapping,
    op,
    string,
    symbol,
    token_of,
    tx,
)

LONG = issued("LONGCODE", USDC_ISSUER)
ISSUER = ScVal(13, USDC_ISSUER[1:])


def info(asset: Asset) -> ScVal:
    """As asset contracts store it: the code padded to its width."""
    width = 4 if asset.type == assets.ALPHANUM4 else 12
    details = mapping(asset_code=string(asset.code.ljust(width, "\0")), issuer=ScVal(13, (asset.issuer or b"")[1:]))
    return vector(symbol(f"AlphaNum{width}"), details)


def instance(address: bytes, asset_info: ScVal, *, durability: int = 1) -> ContractDataEntry:
    storage = ((symbol("METADATA"), mapping()), (vector(symbol("AssetInfo")), asset_info))
    return ContractDataEntry(address, ScVal(20, None), durability, ScVal(19, ContractInstance(None, storage, None)))


def sighted(*changes: Change) -> list[SacContractRow]:
    part = SacInstances(NETWORK).process(ledger(tx(op(invoke(contract("any")), *changes), is_soroban=True)))
    return [SacContractRow(*row) for row in part.rows.get("sac_contracts", [])]


def row(asset: Asset) -> SacContractRow:
    token = token_of(asset)
    return SacContractRow(assets.contract_uuid(token), token, asset.code, asset.issuer or b"")


@pytest.mark.parametrize("asset", [USDC, LONG, issued("IDR", ALICE)], ids=lambda asset: asset.code)
def test_an_asset_contract_is_sighted_when_created_or_touched(asset: Asset) -> None:
    entry = instance(token_of(asset), info(asset))
    assert sighted(change(None, entry)) == [row(asset)]
    assert sighted(change(entry, entry)) == [row(asset)]


def test_each_contract_is_told_once_in_order_of_sighting() -> None:
    first, second = instance(token_of(LONG), info(LONG)), instance(token_of(USDC), info(USDC))
    assert sighted(change(None, first), change(None, second), change(first, first)) == [row(LONG), row(USDC)]


def test_a_removed_instance_is_no_sighting() -> None:
    assert sighted(change(instance(token_of(USDC), info(USDC)), None)) == []


def named(kind: ScVal, **details: ScVal) -> ContractDataEntry:
    return instance(token_of(USDC), vector(kind, mapping(**details)))


@pytest.mark.parametrize(
    "entry",
    [
        instance(contract("imposter"), info(USDC)),
        instance(token_of(USDC), info(LONG)),
        instance(token_of(XLM), vector(symbol("Native"))),
        instance(token_of(USDC), info(USDC), durability=0),
        instance(token_of(USDC), info(USDC))._replace(key=symbol("instance")),
        instance(token_of(USDC), info(USDC))._replace(value=symbol("instance")),
        instance(token_of(USDC), info(USDC))._replace(value=ScVal(19, ContractInstance(None, None, None))),
        instance(token_of(USDC), ScVal(16, None)),
        instance(token_of(USDC), symbol("USDC")),
        instance(token_of(USDC), vector(symbol("AlphaNum4"), symbol("USDC"))),
        named(symbol("AlphaNum5"), asset_code=string("USDC"), issuer=ISSUER),
        named(symbol("AlphaNum4"), issuer=ISSUER, asset_code=string("USDC")),
        named(symbol("AlphaNum4"), asset_code=string("USDC")),
        named(symbol("AlphaNum4"), asset_code=string(""), issuer=ISSUER),
        named(symbol("AlphaNum4"), asset_code=symbol("USDC"), issuer=ISSUER),
        named(symbol("AlphaNum4"), asset_code=ScVal(14, b"\xff"), issuer=ISSUER),
        named(symbol("AlphaNum4"), asset_code=string("USDC"), issuer=ScVal(13, b"short")),
        named(symbol("AlphaNum4"), asset_code=string("USDC"), issuer=string("issuer")),
    ],
)
def test_what_is_not_the_contract_of_an_issued_asset_is_passed_over(entry: ContractDataEntry) -> None:
    assert sighted(change(None, entry)) == []
