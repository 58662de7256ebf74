"""Wasms made for tests: nothing but sections, with descriptions of functions as the Soroban compiler writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from stellar_sdk import xdr

_TYPES: Final = {
    "u32": xdr.SCSpecType.SC_SPEC_TYPE_U32,
    "i128": xdr.SCSpecType.SC_SPEC_TYPE_I128,
    "u128": xdr.SCSpecType.SC_SPEC_TYPE_U128,
    "String": xdr.SCSpecType.SC_SPEC_TYPE_STRING,
    "Symbol": xdr.SCSpecType.SC_SPEC_TYPE_SYMBOL,
    "Address": xdr.SCSpecType.SC_SPEC_TYPE_ADDRESS,
    "MuxedAddress": xdr.SCSpecType.SC_SPEC_TYPE_MUXED_ADDRESS,
}
Inputs = Sequence[tuple[str, str]]

TRANSFER: Final = (("from", "Address"), ("to", "Address"), ("amount", "i128"))
TRANSFER_MUXED: Final = (("from", "Address"), ("to_muxed", "MuxedAddress"), ("amount", "i128"))
SEP41: Final[dict[str, tuple[Inputs, Sequence[str]]]] = {
    "balance": ((("id", "Address"),), ("i128",)),
    "allowance": ((("from", "Address"), ("spender", "Address")), ("i128",)),
    "decimals": ((), ("u32",)),
    "name": ((), ("String",)),
    "symbol": ((), ("String",)),
    "approve": ((("from", "Address"), ("spender", "Address"), ("amount", "i128"), ("expiration_ledger", "u32")), ()),
    "transfer": (TRANSFER, ()),
    "transfer_from": ((("spender", "Address"), ("from", "Address"), ("to", "Address"), ("amount", "i128")), ()),
    "burn": ((("from", "Address"), ("amount", "i128")), ()),
    "burn_from": ((("spender", "Address"), ("from", "Address"), ("amount", "i128")), ()),
}


def leb128(number: int) -> bytes:
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        if not number:
            return bytes([*out, byte])
        out.append(byte | 0x80)


def section(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + leb128(len(content)) + content


def custom(name: str, content: bytes) -> bytes:
    return section(0, leb128(len(name)) + name.encode() + content)


def module(*sections: bytes) -> bytes:
    return b"\0asm\x01\0\0\0" + b"".join(sections)


def spec_type(name: str) -> xdr.SCSpecTypeDef:
    return xdr.SCSpecTypeDef(_TYPES[name])


def function(name: str, inputs: Inputs, outputs: Sequence[str], doc: str = "") -> xdr.SCSpecEntry:
    return xdr.SCSpecEntry(
        xdr.SCSpecEntryKind.SC_SPEC_ENTRY_FUNCTION_V0,
        function_v0=xdr.SCSpecFunctionV0(
            doc=doc.encode(),
            name=xdr.SCSymbol(name.encode()),
            inputs=[xdr.SCSpecFunctionInputV0(b"", label.encode(), spec_type(kind)) for label, kind in inputs],
            outputs=[spec_type(kind) for kind in outputs],
        ),
    )


def others() -> list[xdr.SCSpecEntry]:
    """One entry of every other kind, with every kind of type that holds types."""
    kinds, types = xdr.SCSpecEntryKind, xdr.SCSpecType
    i128 = spec_type("i128")
    nested = [
        xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_OPTION, option=xdr.SCSpecTypeOption(i128)),
        xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_RESULT, result=xdr.SCSpecTypeResult(i128, i128)),
        xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_VEC, vec=xdr.SCSpecTypeVec(i128)),
        xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_MAP, map=xdr.SCSpecTypeMap(spec_type("Symbol"), i128)),
        xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_BYTES_N, bytes_n=xdr.SCSpecTypeBytesN(xdr.Uint32(32))),
        xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_UDT, udt=xdr.SCSpecTypeUDT(b"Config")),
    ]
    tuple_type = xdr.SCSpecTypeDef(types.SC_SPEC_TYPE_TUPLE, tuple=xdr.SCSpecTypeTuple(nested))
    void, tuples = xdr.SCSpecUDTUnionCaseV0Kind.SC_SPEC_UDT_UNION_CASE_VOID_V0, xdr.SCSpecUDTUnionCaseV0Kind
    return [
        xdr.SCSpecEntry(
            kinds.SC_SPEC_ENTRY_UDT_STRUCT_V0,
            udt_struct_v0=xdr.SCSpecUDTStructV0(
                b"doc", b"lib", b"Config", [xdr.SCSpecUDTStructFieldV0(b"", b"field", tuple_type)]
            ),
        ),
        xdr.SCSpecEntry(
            kinds.SC_SPEC_ENTRY_UDT_UNION_V0,
            udt_union_v0=xdr.SCSpecUDTUnionV0(
                b"",
                b"",
                b"Key",
                [
                    xdr.SCSpecUDTUnionCaseV0(void, void_case=xdr.SCSpecUDTUnionCaseVoidV0(b"", b"Admin")),
                    xdr.SCSpecUDTUnionCaseV0(
                        tuples.SC_SPEC_UDT_UNION_CASE_TUPLE_V0,
                        tuple_case=xdr.SCSpecUDTUnionCaseTupleV0(b"", b"Balance", [spec_type("Address"), tuple_type]),
                    ),
                ],
            ),
        ),
        xdr.SCSpecEntry(
            kinds.SC_SPEC_ENTRY_UDT_ENUM_V0,
            udt_enum_v0=xdr.SCSpecUDTEnumV0(b"", b"", b"Level", [xdr.SCSpecUDTEnumCaseV0(b"", b"Low", xdr.Uint32(1))]),
        ),
        xdr.SCSpecEntry(
            kinds.SC_SPEC_ENTRY_UDT_ERROR_ENUM_V0,
            udt_error_enum_v0=xdr.SCSpecUDTErrorEnumV0(
                b"", b"", b"Error", [xdr.SCSpecUDTErrorEnumCaseV0(b"", b"Bad", xdr.Uint32(1))]
            ),
        ),
        xdr.SCSpecEntry(
            kinds.SC_SPEC_ENTRY_EVENT_V0,
            event_v0=xdr.SCSpecEventV0(
                b"",
                b"",
                xdr.SCSymbol(b"Transfer"),
                [xdr.SCSymbol(b"transfer")],
                [
                    xdr.SCSpecEventParamV0(
                        b"", b"from", spec_type("Address"), xdr.SCSpecEventParamLocationV0.SC_SPEC_EVENT_PARAM_LOCATION_TOPIC_LIST
                    )
                ],
                xdr.SCSpecEventDataFormat.SC_SPEC_EVENT_DATA_FORMAT_MAP,
            ),
        ),
    ]


def spec(entries: Iterable[xdr.SCSpecEntry]) -> bytes:
    return b"".join(entry.to_xdr_bytes() for entry in entries)


def token_functions(**changed: tuple[Inputs, Sequence[str]] | None) -> list[xdr.SCSpecEntry]:
    """The functions of a token, some otherwise, or left out where None."""
    signatures = {**SEP41, **changed}
    return [function(name, *signature) for name, signature in signatures.items() if signature is not None]


def token_wasm(**changed: tuple[Inputs, Sequence[str]] | None) -> bytes:
    return module(section(1, bytes(200)), custom("contractspecv0", spec(token_functions(**changed))), custom("name", b"x"))
