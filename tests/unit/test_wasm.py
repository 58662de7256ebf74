"""Code and its description: the token's functions exactly, whatever else is there; broken code is refused, never believed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from processors import wasm
from processors.wasm import Function, WasmError
from tests.unit.wasm_builder import (
    SEP41,
    TRANSFER,
    TRANSFER_MUXED,
    custom,
    function,
    leb128,
    module,
    others,
    section,
    spec,
    token_functions,
    token_wasm,
)


def is_token(code: bytes) -> bool:
    return wasm.is_sep41(wasm.functions(code))


def described(*entries: bytes) -> bytes:
    return module(custom("contractspecv0", b"".join(entries)))


def test_functions_are_read_as_they_were_written() -> None:
    code = described(spec([function("transfer", TRANSFER, (), doc="Moves tokens."), function("name", (), ("String",))]))
    assert wasm.functions(code) == [Function("transfer", TRANSFER, ()), Function("name", (), ("String",))]


@pytest.mark.parametrize("transfer", [TRANSFER, TRANSFER_MUXED], ids=["plain", "muxed"])
def test_both_forms_of_transfer_make_a_token(transfer: Any) -> None:
    assert is_token(token_wasm(transfer=(transfer, ())))


def test_other_functions_types_and_sections_do_not_matter() -> None:
    entries = [*others(), function("mint", (("to", "Address"), ("amount", "i128")), ()), *reversed(token_functions())]
    code = module(
        section(3, b"12"), custom("producers", b"rust"), custom("contractspecv0", spec(entries)), section(10, bytes(300))
    )
    assert is_token(code)
    assert len(wasm.functions(code)) == 11


def test_the_first_description_counts() -> None:
    first, second = custom("contractspecv0", spec([])), custom("contractspecv0", spec(token_functions()))
    assert is_token(module(second, first))
    assert not is_token(module(first, second))


@pytest.mark.parametrize("name", sorted(SEP41))
def test_no_function_may_be_missing(name: str) -> None:
    assert not is_token(token_wasm(**{name: None}))


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("transfer", ((TRANSFER[1], TRANSFER[0], TRANSFER[2]), ())),
        ("allowance", ((("spender", "Address"), ("from", "Address")), ("i128",))),
        ("transfer", (TRANSFER, ("i128",))),
        ("transfer", ((("from", "Address"), ("to", "MuxedAddress"), ("amount", "i128")), ())),
        ("transfer", ((("from", "Address"), ("to_muxed", "Address"), ("amount", "i128")), ())),
        ("transfer", ((*TRANSFER, ("memo", "String")), ())),
        ("balance", ((("id", "Address"),), ())),
        ("balance", ((("id", "Address"),), ("u128",))),
        ("balance", ((("account", "Address"),), ("i128",))),
        ("decimals", ((("id", "Address"),), ("u32",))),
        ("symbol", ((), ("Symbol",))),
        ("burn", ((("from", "Address"), ("amount", "u128")), ())),
        ("approve", ((("from", "Address"), ("spender", "Address"), ("amount", "i128"), ("live_until", "u32")), ())),
    ],
)
def test_names_types_order_and_outputs_are_exact(name: str, signature: Any) -> None:
    assert not is_token(token_wasm(**{name: signature}))


GOOD = spec([function("name", (), ("String",))])
DEEP = (1002).to_bytes(4, "big") * 100 + (4).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"", "no wasm"),
        (b"\0asm\x02\0\0\0", "no wasm"),
        (module(), "no section contractspecv0"),
        (module(custom("contractspec", GOOD)), "no section contractspecv0"),
        (module(section(3, b"") + b"\x00\xff\xff\xff\xff\x0f"), "reaches beyond the end"),
        (module(b"\x00" + leb128(9) + b"\x08abc"), "reaches beyond the end"),
        (module(b"\x00\xff\xff\xff\xff\xff\x01"), "more than 32 bits"),
        (module(b"\x00\xff\xff\xff\xff\x1f"), "more than 32 bits"),
        (module(b"\x00\x80"), "cut off"),
        (module(b"\x00"), "cut off"),
        (module(section(0, b"\x7fabc")), "the name of a custom section"),
        (described(GOOD[:-1]), "beyond the end"),
        (described(GOOD, b"\0"), "beyond the end"),
        (described((6).to_bytes(4, "big")), "unknown kind of entry 6"),
        (described(bytes(8), (33).to_bytes(4, "big"), bytes(36)), "over its limit of 32"),
        (described(bytes(8), (1).to_bytes(4, "big"), b"a\1\0\0"), "padding"),
        (described(bytes(12), b"\xff\xff\xff\xff"), "reaches beyond the end"),
        (described(bytes(16), (2).to_bytes(4, "big"), bytes(8)), "over its limit of 1"),
        (described(bytes(16), (1).to_bytes(4, "big"), (15).to_bytes(4, "big")), "unknown type 15"),
        (described(bytes(16), (1).to_bytes(4, "big"), DEEP), "nested deeper"),
        (b"\0asm\x01\0\0\0" + bytes(wasm.MAX_WASM_BYTES), "over the limit"),
        (described(GOOD * (wasm.MAX_SPEC_ENTRIES + 1)), "more than 10000 entries"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(code: bytes, reason: str) -> None:
    with pytest.raises(WasmError, match=reason):
        wasm.functions(code)


def test_broken_code_never_does_worse_than_being_refused() -> None:
    rng, good = random.Random(41), module(custom("contractspecv0", spec([*others(), *token_functions()])))
    for _ in range(2000):
        code = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            code[rng.randrange(len(code))] = rng.randrange(256)
        try:
            wasm.functions(bytes(code[: rng.randrange(len(code) + 1)]))
        except WasmError:
            continue
