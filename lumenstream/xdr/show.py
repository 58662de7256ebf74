"""A decoded ledger as JSON for people: addresses as text, hashes in hex, names for numbers. For `lumenstream decode FILE`.

The field annotations of `rows` say what each bytes field is, so that a new field is shown rightly without a word here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from lumenstream.xdr import _names, rows
from schemas import strkey

Json: TypeAlias = Any

_SHOWN_BYTES: Final = 256  # longer opaque data is shown by its length
_XDR_FIELDS: Final = frozenset({"xdr", "envelope_xdr"})


def ledger_to_json(
    ledger: rows.Ledger, details: Sequence[rows.TransactionDetails], *, include_xdr: bool = False
) -> dict[str, Json]:
    """What `json.dumps` takes; each transaction with its details. `include_xdr` adds the raw XDR of envelopes and operations in
    base64."""
    shown = _fields(ledger, include_xdr)
    for transaction, more in zip(shown["transactions"], details, strict=True):
        transaction.update(_fields(more, include_xdr))
    return shown


def address_text(address: bytes) -> str:
    """StrKey text."""
    return strkey.encode(address)


def asset_text(asset: rows.Asset) -> str:
    """native, CODE:ISSUER or pool:ID."""
    if asset.issuer is not None:
        return f"{asset.code}:{address_text(asset.issuer)}"
    return f"pool:{asset.code}" if asset.type == 3 else asset.code


def _fields(row: Any, include_xdr: bool) -> dict[str, Json]:
    annotations = type(row).__annotations__
    return {
        name.rstrip("_"): _named(row, name, value, str(annotations[name]), include_xdr)
        for name, value in zip(row._fields, row, strict=True)
        if include_xdr or name not in _XDR_FIELDS
    }


def _named(row: Any, name: str, value: object, annotation: str, include_xdr: bool) -> Json:
    """One field: by its number's meaning, by its annotation, or by its value."""
    number = _NUMBERS.get((type(row), name))
    if number is not None and isinstance(value, int):
        return number(row, value)
    if isinstance(row, rows.LedgerKey) and name == "fields":
        return [_key_field(row.type, field) for field in row.fields]
    if isinstance(row, rows.ClaimableBalanceEntry | rows.CreateClaimableBalance) and name == "claimants":
        return [{"destination": address_text(c.destination), "predicate": _predicate(c.predicate)} for c in row.claimants]
    if name in _XDR_FIELDS and isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, bytes) and "Address" in annotation:
        return address_text(value)
    if isinstance(value, tuple) and annotation.startswith("tuple[Address, Text]"):
        return {"owner": address_text(value[0]), "tag": _shown(value[1], include_xdr)}
    return _shown(value, include_xdr)


def _shown(value: object, include_xdr: bool) -> Json:
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.hex() if len(value) <= _SHOWN_BYTES else f"<{len(value)} bytes>"
        case rows.Asset():
            return asset_text(value)
        case rows.Price():
            return f"{value.n}/{value.d}"
        case rows.ScVal():
            return scval_to_json(value)
        case tuple() if hasattr(value, "_fields"):
            return _fields(value, include_xdr)
        case tuple():
            return [_shown(item, include_xdr) for item in value]
        case _:
            raise TypeError(f"no JSON form for {type(value).__name__}")


def scval_to_json(value: rows.ScVal) -> Json:
    """{type name: value}; maps as lists of pairs, since their keys can be anything. Numbers of more than 32 bits are text."""
    name = _names.SCVAL_TYPE.get(value.type, str(value.type)).removeprefix("SCV_").lower()
    content = value.value
    match content:
        case bytes() if name == "address":
            return {name: address_text(content)}
        case int() if not isinstance(content, bool) and name not in ("u32", "i32"):
            return {name: str(content)}
        case tuple() if name == "error":
            kind, code = content
            table = {} if kind == 0 else _names.SCERROR_CODE
            return {name: [_names.SCERROR_TYPE.get(kind, str(kind)), table.get(code, code)]}
        case tuple() if name == "vec":
            return {name: [scval_to_json(item) for item in content]}
        case tuple() if name == "map":
            return {name: _pairs(content)}
        case rows.ContractInstance():
            owner = content.external_ref
            return {
                name: {
                    "wasm_hash": content.wasm_hash.hex() if content.wasm_hash else None,
                    "storage": None if content.storage is None else _pairs(content.storage),
                    "external_ref": None if owner is None else [address_text(owner[0]), _shown(owner[1], False)],
                }
            }
        case _:
            return {name: _shown(content, include_xdr=False)}


def _pairs(entries: Any) -> list[Json]:
    return [[scval_to_json(key), scval_to_json(item)] for key, item in entries]


def _key_field(entry_type: int, field: object) -> Json:
    """A field of a ledger key: bytes are addresses in the keys of accounts, trustlines, offers, data and contract data."""
    if isinstance(field, bytes) and entry_type in (0, 1, 2, 3, 6):
        try:
            return strkey.encode(field)
        except strkey.StrKeyError:
            return field.hex()
    return _shown(field, include_xdr=False)


def _predicate(predicate: Any) -> Json:
    kind, content = predicate
    match kind:
        case 0:
            return "unconditional"
        case 1 | 2:
            return {"and" if kind == 1 else "or": [_predicate(part) for part in content]}
        case 3:
            return {"not": None if content is None else _predicate(content)}
        case _:
            return {"before_absolute_time" if kind == 4 else "before_relative_time": content}


def _table(table: dict[int, str]) -> Callable[[Any, int], str]:
    return lambda _, number: table.get(number, str(number))


def _inner_code(result: rows.OperationResult, code: int) -> str:
    return _names.OPERATION_CODES.get(-1 if result.type is None else result.type, {}).get(code, str(code))


_NUMBERS: Final[dict[tuple[type, str], Callable[[Any, int], str]]] = {
    (rows.Operation, "type"): _table(_names.OPERATION_TYPE),
    (rows.OperationResult, "type"): _table(_names.OPERATION_TYPE),
    (rows.OperationResult, "code"): _table(_names.OPERATION_RESULT_CODE),
    (rows.OperationResult, "inner_code"): _inner_code,
    (rows.Transaction, "result_code"): _table(_names.TRANSACTION_RESULT_CODE),
    (rows.Transaction, "inner_result_code"): _table(_names.TRANSACTION_RESULT_CODE),
    (rows.Entry, "type"): _table(_names.LEDGER_ENTRY_TYPE),
    (rows.LedgerKey, "type"): _table(_names.LEDGER_ENTRY_TYPE),
    (rows.Change, "type"): _table(_names.LEDGER_ENTRY_TYPE),
    (rows.Change, "kind"): _table(_names.LEDGER_ENTRY_CHANGE_TYPE),
    (rows.Memo, "type"): _table(_names.MEMO_TYPE),
    (rows.Upgrade, "type"): _table(_names.LEDGER_UPGRADE_TYPE),
}
