"""The twin's extraction, lower half: addresses, assets, Soroban values, ledger entries, keys and changes.

Works on what `_wire` returns: structs are dicts with the schema's field names, unions (discriminant, value) pairs, values
whose bytes are needed (value, bytes) pairs. native/src/{addresses,scval,entries,changes}.rs is the same in Rust.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from lumenstream.xdr import rows
from lumenstream.xdr.errors import LedgerContentError

ACCOUNT: Final = b"\x30"  # version bytes of StrKey
CLAIMABLE_BALANCE: Final = b"\x08"
CONTRACT: Final = b"\x10"
HASH_X: Final = b"\xb8"
LIQUIDITY_POOL: Final = b"\x58"
MUXED_ACCOUNT: Final = b"\x60"
MUXED_CONTRACT: Final = b"\xb0"
PRE_AUTH_TX: Final = b"\x98"
SIGNED_PAYLOAD: Final = b"\x78"

_SIGNER_VERSIONS: Final = (ACCOUNT, PRE_AUTH_TX, HASH_X)
_NATIVE: Final = rows.Asset(0, "native", None)
_UPDATED, _REMOVED, _STATE, _RESTORED = range(1, 5)

Wire = Any
Union = tuple[int, Any]


def account(key: Union) -> bytes:
    return ACCOUNT + bytes(key[1])


def optional_account(key: Union | None) -> bytes | None:
    return None if key is None else ACCOUNT + bytes(key[1])


def muxed(source: Union) -> bytes:
    kind, value = source
    return ACCOUNT + bytes(value) if kind == 0 else _with_id(MUXED_ACCOUNT, value["ed25519"], value["id"])


def _with_id(version: bytes, key: bytes, number: int) -> bytes:
    return version + key + number.to_bytes(8, "big")


def sc_address(address: Union) -> bytes:
    kind, value = address
    match kind:
        case 0:
            return account(value)
        case 1:
            return CONTRACT + bytes(value)
        case 2:
            return _with_id(MUXED_ACCOUNT, value["ed25519"], value["id"])
        case 3:
            return CLAIMABLE_BALANCE + b"\0" + bytes(value[1])
        case 4:
            return LIQUIDITY_POOL + bytes(value)
        case _:
            return _with_id(MUXED_CONTRACT, value["contractId"], value["id"])


def signer_key(key: Union) -> bytes:
    kind, value = key
    if kind < len(_SIGNER_VERSIONS):
        return _SIGNER_VERSIONS[kind] + bytes(value)
    payload: bytes = value["payload"]
    padding = bytes(-len(payload) & 3)
    return SIGNED_PAYLOAD + bytes(value["ed25519"]) + len(payload).to_bytes(4, "big") + payload + padding


def balance_id(value: Union) -> str:
    return "00000000" + bytes(value[1]).hex()


def text(data: bytes) -> rows.Text:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def code_text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("utf-8", "backslashreplace")


def asset(value: Union) -> rows.Asset:
    """An Asset or TrustLineAsset."""
    kind, body = value
    if kind == 0:
        return _NATIVE
    if kind == 3:
        return rows.Asset(3, body.hex(), None)
    return rows.Asset(kind, code_text(body["assetCode"]), account(body["issuer"]))


def pool_parameters(value: Wire) -> rows.LiquidityPoolParameters:
    return rows.LiquidityPoolParameters(3, asset(value["assetA"]), asset(value["assetB"]), value["fee"])


def price(value: Wire) -> rows.Price:
    return rows.Price(value["n"], value["d"])


# --- Soroban values ---------------------------------------------------------------------------------------------------


def scval(value: Union) -> rows.ScVal:
    kind, body = value
    match kind:
        case 2:
            return rows.ScVal(kind, (body[0], body[1]))
        case 9 | 10:
            return rows.ScVal(kind, (body["hi"] << 64) | body["lo"])
        case 11 | 12:
            high = (body["hi_hi"] << 64) | body["hi_lo"]
            return rows.ScVal(kind, (high << 128) | (body["lo_hi"] << 64) | body["lo_lo"])
        case 14 | 15 | 22:
            return rows.ScVal(kind, text(body))
        case 16:
            return rows.ScVal(kind, None if body is None else tuple(map(scval, body)))
        case 17:
            return rows.ScVal(kind, None if body is None else _map(body))
        case 18:
            return rows.ScVal(kind, sc_address(body))
        case 19:
            storage = None if body["storage"] is None else _map(body["storage"])
            wasm_hash, external_ref = executable(body["executable"])
            return rows.ScVal(kind, rows.ContractInstance(wasm_hash, storage, external_ref))
        case 21:
            return rows.ScVal(kind, body["nonce"])
        case _:
            return rows.ScVal(kind, body)


def _map(entries: list[Wire]) -> tuple[tuple[rows.ScVal, rows.ScVal], ...]:
    return tuple((scval(entry["key"]), scval(entry["val"])) for entry in entries)


def executable(value: Union) -> tuple[bytes | None, tuple[bytes, rows.Text] | None]:
    kind, body = value
    if kind == 0:
        return body, None
    return None, None if kind == 1 else (sc_address(body["executable_owner"]), text(body["tag"]))


def contract_event(event: Wire) -> rows.ContractEvent:
    contract = event["contractID"]
    body = event["body"][1]
    address = None if contract is None else CONTRACT + contract
    return rows.ContractEvent(event["type"], address, tuple(map(scval, body["topics"])), scval(body["data"]))


# --- ledger entries ---------------------------------------------------------------------------------------------------


def entry(spanned: tuple[Wire, bytes]) -> rows.Entry:
    value = spanned[0]
    kind, body = value["data"]
    version, extension = value["ext"]
    sponsor = optional_account(extension["sponsoringID"]) if version == 1 else None
    return rows.Entry(kind, value["lastModifiedLedgerSeq"], sponsor, _ENTRY_DATA[kind](body))


def _account_entry(value: Wire) -> rows.AccountEntry:
    number, v1 = value["ext"]
    v2 = v3 = None
    if v1 is not None:
        following, v2 = v1["ext"]
        number = max(number, following)
    if v2 is not None:
        following, v3 = v2["ext"]
        number = max(number, following)
    sponsors = v2["signerSponsoringIDs"] if v2 else ()
    return rows.AccountEntry(
        account_id=account(value["accountID"]),
        balance=value["balance"],
        seq_num=value["seqNum"],
        num_sub_entries=value["numSubEntries"],
        inflation_dest=optional_account(value["inflationDest"]),
        flags=value["flags"],
        home_domain=text(value["homeDomain"]),
        thresholds=value["thresholds"],
        signers=signers(value["signers"], sponsors),
        buying_liabilities=v1["liabilities"]["buying"] if v1 else 0,
        selling_liabilities=v1["liabilities"]["selling"] if v1 else 0,
        num_sponsored=v2["numSponsored"] if v2 else 0,
        num_sponsoring=v2["numSponsoring"] if v2 else 0,
        seq_ledger=v3["seqLedger"] if v3 else 0,
        seq_time=v3["seqTime"] if v3 else 0,
        extension=number,
    )


def signers(values: list[Wire], sponsors: Sequence[Union | None]) -> tuple[rows.Signer, ...]:
    """Each signer with its sponsor: the two lists run in parallel, the second may be shorter."""
    padded = [*sponsors, *(None,) * len(values)]
    return tuple(signer(value, sponsor) for value, sponsor in zip(values, padded, strict=False))


def signer(value: Wire, sponsor: Union | None) -> rows.Signer:
    return rows.Signer(signer_key(value["key"]), value["weight"], optional_account(sponsor))


def _trustline_entry(value: Wire) -> rows.TrustLineEntry:
    number, v1 = value["ext"]
    v2 = None
    if v1 is not None:
        following, v2 = v1["ext"]
        number = max(number, following)
    return rows.TrustLineEntry(
        account_id=account(value["accountID"]),
        asset=asset(value["asset"][0]),
        balance=value["balance"],
        limit=value["limit"],
        flags=value["flags"],
        buying_liabilities=v1["liabilities"]["buying"] if v1 else 0,
        selling_liabilities=v1["liabilities"]["selling"] if v1 else 0,
        liquidity_pool_use_count=v2["liquidityPoolUseCount"] if v2 else 0,
        extension=number,
    )


def offer(value: Wire) -> rows.OfferEntry:
    return rows.OfferEntry(
        account(value["sellerID"]),
        value["offerID"],
        asset(value["selling"]),
        asset(value["buying"]),
        value["amount"],
        price(value["price"]),
        value["flags"],
    )


def _data_entry(value: Wire) -> rows.DataEntry:
    return rows.DataEntry(account(value["accountID"]), text(value["dataName"]), value["dataValue"])


def _claimable_balance_entry(value: Wire) -> rows.ClaimableBalanceEntry:
    extension = value["ext"][1]
    return rows.ClaimableBalanceEntry(
        balance_id(value["balanceID"]),
        claimants(value["claimants"]),
        asset(value["asset"]),
        value["amount"],
        extension["flags"] if extension else 0,
    )


def claimants(values: list[Union]) -> tuple[rows.Claimant, ...]:
    return tuple(rows.Claimant(account(v["destination"]), _predicate(v["predicate"])) for _, v in values)


def _predicate(value: Union) -> tuple[int, object]:
    kind, body = value
    if kind in (1, 2):
        return kind, tuple(map(_predicate, body))
    if kind == 3:
        return kind, None if body is None else _predicate(body)
    return kind, body


def _liquidity_pool_entry(value: Wire) -> rows.LiquidityPoolEntry:
    body = value["body"][1]
    return rows.LiquidityPoolEntry(
        value["liquidityPoolID"],
        pool_parameters(body["params"]),
        body["reserveA"],
        body["reserveB"],
        body["totalPoolShares"],
        body["poolSharesTrustLineCount"],
    )


def _contract_data_entry(value: Wire) -> rows.ContractDataEntry:
    contract, key = value["contract"][0], value["key"][0]
    return rows.ContractDataEntry(sc_address(contract), scval(key), value["durability"], scval(value["val"]))


def _config_setting_entry(spanned: tuple[Union, bytes]) -> rows.ConfigSettingEntry:
    return rows.ConfigSettingEntry(spanned[0][0], spanned[1])


_ENTRY_DATA: Final[tuple[Callable[[Wire], rows.EntryData], ...]] = (
    _account_entry,
    _trustline_entry,
    offer,
    _data_entry,
    _claimable_balance_entry,
    _liquidity_pool_entry,
    _contract_data_entry,
    lambda value: rows.ContractCodeEntry(value["hash"], value["code"]),
    _config_setting_entry,
    lambda value: rows.TtlEntry(value["keyHash"], value["liveUntilLedgerSeq"]),
)


def ledger_key(value: Union) -> rows.LedgerKey:
    kind, body = value
    return rows.LedgerKey(kind, _LEDGER_KEY[kind](body))


_LEDGER_KEY: Final[tuple[Callable[[Wire], tuple[object, ...]], ...]] = (
    lambda key: (account(key["accountID"]),),
    lambda key: (account(key["accountID"]), asset(key["asset"])),
    lambda key: (account(key["sellerID"]), key["offerID"]),
    lambda key: (account(key["accountID"]), text(key["dataName"])),
    lambda key: (balance_id(key["balanceID"]),),
    lambda key: (key["liquidityPoolID"],),
    lambda key: (sc_address(key["contract"]), scval(key["key"]), key["durability"]),
    lambda key: (key["hash"],),
    lambda key: (key["configSettingID"],),
    lambda key: (key["keyHash"],),
)

# --- changes ----------------------------------------------------------------------------------------------------------


def _key_bytes(value: Wire) -> bytes:
    """The ledger key of an entry as XDR, to order by; parts of fixed value (account key type, extension) are left out."""
    kind, body = value["data"]
    start = bytes((kind,))
    match kind:
        case 0:
            return start + bytes(body["accountID"][1])
        case 1:
            return start + bytes(body["accountID"][1] + body["asset"][1])
        case 2:
            return start + bytes(body["sellerID"][1]) + (int(body["offerID"]) & (2**64 - 1)).to_bytes(8, "big")
        case 3:
            name: bytes = body["dataName"]
            return start + bytes(body["accountID"][1]) + len(name).to_bytes(4, "big") + bytes(name)
        case 4:
            return start + bytes(body["balanceID"][1])
        case 5:
            return start + bytes(body["liquidityPoolID"])
        case 6:
            return start + bytes(body["contract"][1] + body["key"][1]) + bytes((body["durability"],))
        case 8:
            return start + int(body[0][0]).to_bytes(4, "big")
        case _:
            return start + bytes(body["hash"] if kind == 7 else body["keyHash"])


def changes(raw: list[Union], place: str, *, of_operation: bool = False) -> tuple[rows.Change, ...]:
    """Pairs of before and after. Of an operation: sorted by ledger key, lone states dropped, other lone records an error; else
    all records in stored order."""
    pairs: list[tuple[int, Wire, Wire, Union | None]] = []
    before: Wire = None  # the state or restored record just passed
    state: Wire = None  # a state record not yet used
    for kind, record in raw:
        if state is not None and not of_operation and kind not in (_UPDATED, _REMOVED):
            pairs.append((_STATE, state, None, None))
        state = None
        if kind == _STATE:
            before = state = record
            continue
        if kind in (_UPDATED, _REMOVED):
            if before is None and of_operation:
                what = "an update" if kind == _UPDATED else "a removal"
                raise LedgerContentError(f"{place}: {what} without the state before it")
            pairs.append((kind, before, record, None) if kind == _UPDATED else (kind, before, None, record))
            before = None
        else:
            pairs.append((kind, None, record, None))
            before = record if kind == _RESTORED else None
    if state is not None and not of_operation:
        pairs.append((_STATE, state, None, None))
    if of_operation and len(pairs) > 1:
        pairs.sort(key=lambda pair: _key_bytes((pair[1] or pair[2])[0]))
    return tuple(map(_change, pairs))


def _change(pair: tuple[int, Wire, Wire, Union | None]) -> rows.Change:
    kind, before, after, key = pair
    pre = None if before is None else entry(before)
    post = None if after is None else entry(after)
    removed = None if key is None else ledger_key(key)
    known = pre or post or removed
    return rows.Change(kind, known.type if known else 0, pre, post, removed)
