"""Which assets have a contract: the instances of Stellar asset contracts (SAC) that a ledger touched.

The instance of an asset's contract says which asset it stands for. Any contract may claim that, so the claim counts only when the
network derives this very contract from that asset. Lumens are left out. Spec/processors.md 2.9; table `contract_tokens`.
"""

from __future__ import annotations

from typing import Final, cast

from lumenstream.xdr.rows import Address, Asset, ContractDataEntry, ContractInstance, Ledger, ScVal
from processors import view
from processors.sac_balances import CONTRACT_DATA, PERSISTENT
from schemas import assets, strkey
from schemas.families import SAC_CONTRACTS, SacContractRow
from schemas.parts import Part

# ScValType
_BYTES: Final = 13
_STRING: Final = 14
_SYMBOL: Final = 15
_VEC: Final = 16
_MAP: Final = 17
_CONTRACT_INSTANCE: Final = 19
_KEY_CONTRACT_INSTANCE: Final = 20

_ASSET_INFO: Final = ScVal(_VEC, (ScVal(_SYMBOL, "AssetInfo"),))
_TYPES: Final = {ScVal(_SYMBOL, "AlphaNum4"): assets.ALPHANUM4, ScVal(_SYMBOL, "AlphaNum12"): assets.ALPHANUM12}
_CODE: Final = ScVal(_SYMBOL, "asset_code")
_ISSUER: Final = ScVal(_SYMBOL, "issuer")
_ISSUER_BYTES: Final = 32
_LONG_CODE: Final = 12


class SacInstances:
    """Family `sac_contracts`: each asset contract once per ledger, at its first sighting."""

    name: Final = "sac_instances"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id

    def process(self, ledger: Ledger) -> Part:
        seen: dict[Address, SacContractRow] = {}
        entry: ContractDataEntry
        for _, _, _, change, entry in view.changes_of(ledger, CONTRACT_DATA):
            if change.post is None or entry.key.type != _KEY_CONTRACT_INSTANCE or entry.contract in seen:
                continue
            asset = _asset_claimed(entry)
            if asset is not None and entry.contract == assets.contract_address(self._network_id, *asset):
                issuer = cast(Address, asset.issuer)
                seen[entry.contract] = SacContractRow(assets.contract_uuid(entry.contract), entry.contract, asset.code, issuer)
        part = Part()
        part.add(SAC_CONTRACTS, seen.values())
        return part


def _asset_claimed(entry: ContractDataEntry) -> Asset | None:
    """The issued asset that a contract's instance says it stands for."""
    if entry.durability != PERSISTENT or entry.value.type != _CONTRACT_INSTANCE:
        return None
    for key, value in cast(ContractInstance, entry.value.value).storage or ():
        if key == _ASSET_INFO:
            return _asset(value)
    return None


def _asset(info: ScVal) -> Asset | None:
    """An asset from the form that asset contracts store: [type, {asset_code, issuer}], the code padded with zeros."""
    parts = cast(tuple[ScVal, ...], info.value or ()) if info.type == _VEC else ()
    asset_type = _TYPES.get(parts[0]) if len(parts) == 2 else None
    if asset_type is None or parts[1].type != _MAP:
        return None
    fields = cast(tuple[tuple[ScVal, ScVal], ...], parts[1].value or ())
    if len(fields) != 2 or fields[0][0] != _CODE or fields[1][0] != _ISSUER:
        return None
    (_, padded), (_, issuer) = fields
    if padded.type != _STRING or issuer.type != _BYTES or not isinstance(padded.value, str):
        return None
    code, key = padded.value.rstrip("\0"), cast(bytes, issuer.value)
    if not (1 <= len(code) <= _LONG_CODE and code.isascii() and code.isalnum()) or len(key) != _ISSUER_BYTES:
        return None
    return Asset(asset_type, code, bytes((strkey.ACCOUNT,)) + key)
