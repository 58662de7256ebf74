"""The twin's extraction, middle: operation bodies and operation results. See `_values` for the shape of its input."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from lumenstream.xdr import rows
from lumenstream.xdr._values import (
    ACCOUNT,
    CONTRACT,
    Union,
    Wire,
    account,
    asset,
    balance_id,
    claimants,
    code_text,
    executable,
    ledger_key,
    muxed,
    offer,
    optional_account,
    pool_parameters,
    price,
    sc_address,
    scval,
    signer,
    signer_key,
    text,
)

_ENVELOPE_TYPE_CONTRACT_ID: Final = (8).to_bytes(4, "big")


def operation_body(body: Union, network_id: bytes) -> rows.OperationBody:
    kind, value = body
    return _invoke_host_function(value, network_id) if kind == 24 else _BODIES[kind](value)


def _path_receive(op: Wire) -> rows.PathPaymentStrictReceive:
    path = tuple(map(asset, op["path"]))
    send, destination, received = asset(op["sendAsset"]), muxed(op["destination"]), asset(op["destAsset"])
    return rows.PathPaymentStrictReceive(send, op["sendMax"], destination, received, op["destAmount"], path)


def _path_send(op: Wire) -> rows.PathPaymentStrictSend:
    path = tuple(map(asset, op["path"]))
    send, destination, received = asset(op["sendAsset"]), muxed(op["destination"]), asset(op["destAsset"])
    return rows.PathPaymentStrictSend(send, op["sendAmount"], destination, received, op["destMin"], path)


def _sell_offer(op: Wire) -> rows.ManageSellOffer:
    selling, buying = asset(op["selling"]), asset(op["buying"])
    return rows.ManageSellOffer(selling, buying, op["amount"], price(op["price"]), op["offerID"])


def _buy_offer(op: Wire) -> rows.ManageBuyOffer:
    selling, buying = asset(op["selling"]), asset(op["buying"])
    return rows.ManageBuyOffer(selling, buying, op["buyAmount"], price(op["price"]), op["offerID"])


def _passive_offer(op: Wire) -> rows.CreatePassiveSellOffer:
    return rows.CreatePassiveSellOffer(asset(op["selling"]), asset(op["buying"]), op["amount"], price(op["price"]))


def _set_options(op: Wire) -> rows.SetOptions:
    return rows.SetOptions(
        inflation_dest=optional_account(op["inflationDest"]),
        clear_flags=op["clearFlags"],
        set_flags=op["setFlags"],
        master_weight=op["masterWeight"],
        low_threshold=op["lowThreshold"],
        med_threshold=op["medThreshold"],
        high_threshold=op["highThreshold"],
        home_domain=None if op["homeDomain"] is None else text(op["homeDomain"]),
        signer=None if op["signer"] is None else signer(op["signer"], None),
    )


def _change_trust(op: Wire) -> rows.ChangeTrust:
    kind, body = op["line"]
    return rows.ChangeTrust(pool_parameters(body[1]) if kind == 3 else asset(op["line"]), op["limit"])


def _allow_trust(op: Wire) -> rows.AllowTrust:
    kind, code = op["asset"]
    return rows.AllowTrust(account(op["trustor"]), code_text(code), kind, op["authorize"])


def _revoke_sponsorship(op: Union) -> rows.RevokeSponsorship:
    kind, value = op
    if kind == 0:
        return rows.RevokeSponsorship(ledger_key(value), None, None)
    return rows.RevokeSponsorship(None, account(value["accountID"]), signer_key(value["signerKey"]))


def _set_trustline_flags(op: Wire) -> rows.SetTrustLineFlags:
    return rows.SetTrustLineFlags(account(op["trustor"]), asset(op["asset"]), op["clearFlags"], op["setFlags"])


def _pool_deposit(op: Wire) -> rows.LiquidityPoolDeposit:
    least, most = price(op["minPrice"]), price(op["maxPrice"])
    return rows.LiquidityPoolDeposit(op["liquidityPoolID"], op["maxAmountA"], op["maxAmountB"], least, most)


def _pool_withdraw(op: Wire) -> rows.LiquidityPoolWithdraw:
    return rows.LiquidityPoolWithdraw(op["liquidityPoolID"], op["amount"], op["minAmountA"], op["minAmountB"])


def _unreachable(_: Wire) -> rows.OperationBody:
    raise AssertionError("invoke_host_function is handled by its caller")


_BODIES: Final[tuple[Callable[[Any], rows.OperationBody], ...]] = (
    lambda op: rows.CreateAccount(account(op["destination"]), op["startingBalance"]),
    lambda op: rows.Payment(muxed(op["destination"]), asset(op["asset"]), op["amount"]),
    _path_receive,
    _sell_offer,
    _passive_offer,
    _set_options,
    _change_trust,
    _allow_trust,
    lambda op: rows.AccountMerge(muxed(op)),
    lambda op: rows.Inflation(),
    lambda op: rows.ManageData(text(op["dataName"]), op["dataValue"]),
    lambda op: rows.BumpSequence(op["bumpTo"]),
    _buy_offer,
    _path_send,
    lambda op: rows.CreateClaimableBalance(asset(op["asset"]), op["amount"], claimants(op["claimants"])),
    lambda op: rows.ClaimClaimableBalance(balance_id(op["balanceID"])),
    lambda op: rows.BeginSponsoringFutureReserves(account(op["sponsoredID"])),
    lambda op: rows.EndSponsoringFutureReserves(),
    _revoke_sponsorship,
    lambda op: rows.Clawback(asset(op["asset"]), muxed(op["from"]), op["amount"]),
    lambda op: rows.ClawbackClaimableBalance(balance_id(op["balanceID"])),
    _set_trustline_flags,
    _pool_deposit,
    _pool_withdraw,
    _unreachable,
    lambda op: rows.ExtendFootprintTtl(op["extendTo"]),
    lambda op: rows.RestoreFootprint(),
)

# --- host functions ---------------------------------------------------------------------------------------------------


def _invoke_host_function(op: Wire, network_id: bytes) -> rows.InvokeHostFunction:
    kind, value = op["hostFunction"]
    function: rows.InvokeContract | rows.CreateContract | bytes
    if kind == 0:
        function = _invoke_contract(value)
    elif kind == 2:
        function = value
    else:
        function = _create_contract(value, network_id)
    return rows.InvokeHostFunction(kind, function, tuple(_auth_entry(entry, network_id) for entry in op["auth"]))


def _invoke_contract(call: Wire) -> rows.InvokeContract:
    arguments = tuple(map(scval, call["args"]))
    return rows.InvokeContract(sc_address(call["contractAddress"]), text(call["functionName"]), arguments)


def _create_contract(create: Wire, network_id: bytes) -> rows.CreateContract:
    """Either form: only the newer one has constructor arguments."""
    (kind, value), xdr = create["contractIDPreimage"]
    contract_id = CONTRACT + sha256(_ENVELOPE_TYPE_CONTRACT_ID + network_id + xdr).digest()
    if kind == 0:
        preimage = rows.ContractIdPreimage(kind, sc_address(value["address"]), value["salt"], None, contract_id)
    else:
        preimage = rows.ContractIdPreimage(kind, None, None, asset(value), contract_id)
    wasm_hash, external_ref = executable(create["executable"])
    arguments = tuple(map(scval, create.get("constructorArgs", ())))
    return rows.CreateContract(preimage, wasm_hash, arguments, external_ref)


def _auth_entry(entry: Wire, network_id: bytes) -> rows.AuthEntry:
    kind, credentials = entry["credentials"]
    if kind == 3:
        credentials = credentials["addressCredentials"]
    address = None if credentials is None else sc_address(credentials["address"])
    return rows.AuthEntry(kind, address, _auth_invocation(entry["rootInvocation"], network_id))


def _auth_invocation(invocation: Wire, network_id: bytes) -> rows.AuthInvocation:
    kind, value = invocation["function"]
    function = _invoke_contract(value) if kind == 0 else _create_contract(value, network_id)
    inner = tuple(_auth_invocation(sub, network_id) for sub in invocation["subInvocations"])
    return rows.AuthInvocation(kind, function, inner)


# --- results ----------------------------------------------------------------------------------------------------------


def operation_result(result: Union) -> rows.OperationResult:
    code, inner = result
    if inner is None:
        return rows.OperationResult(code, None, None, None)
    kind, (inner_code, value) = inner
    if value is None:
        return rows.OperationResult(code, kind, inner_code, None)
    return rows.OperationResult(code, kind, inner_code, _result_value(kind, inner_code, value))


def _result_value(kind: int, code: int, value: Wire) -> object:
    """What success carries, or the asset of a path payment that found no issuer."""
    match kind:
        case 2 | 13:
            return asset(value) if code else _path_result(value)
        case 3 | 4 | 12:
            effect, made = value["offer"]
            return rows.OfferResult(_claim_atoms(value["offersClaimed"]), effect, None if made is None else offer(made))
        case 9:
            return tuple(rows.InflationPayout(account(payout["destination"]), payout["amount"]) for payout in value)
        case 14:
            return balance_id(value)
        case _:
            return value  # balance of a merged account, hash of a host function's result


def _path_result(value: Wire) -> rows.PathPaymentResult:
    last = value["last"]
    destination = account(last["destination"])
    return rows.PathPaymentResult(_claim_atoms(value["offers"]), destination, asset(last["asset"]), last["amount"])


def _claim_atoms(atoms: list[Union]) -> tuple[rows.ClaimAtom, ...]:
    return tuple(map(_claim_atom, atoms))


def _claim_atom(atom: Union) -> rows.ClaimAtom:
    kind, value = atom
    pool = value["liquidityPoolID"] if kind == 2 else None
    seller = None if kind == 2 else account(value["sellerID"]) if kind == 1 else ACCOUNT + value["sellerEd25519"]
    offer_id = 0 if kind == 2 else value["offerID"]
    sold, bought = asset(value["assetSold"]), asset(value["assetBought"])
    return rows.ClaimAtom(kind, seller, pool, offer_id, sold, value["amountSold"], bought, value["amountBought"])
