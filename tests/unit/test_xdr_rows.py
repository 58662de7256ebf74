"""Rows: both decoders give the same ones for every real ledger, and each field holds what `rows.py` says."""

from __future__ import annotations

import gc
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from lumenstream.xdr import Decoder, LedgerContentError, native_decoder, rows
from tests.unit.xdr_support import RealLedger, decoders, network_id, real_ledgers

BOTH = len(decoders()) == 2
pytestmark = pytest.mark.timeout(300)
STRIDE = 5  # of the many small ledgers, the share whose every field is checked
# Made-up ledgers whose transaction meta is of version 0, which no decoder accepts (spec 1.1).
META_V0 = {f"unit/unit-{number}.xdr.gz[0]" for number in range(1033, 1037)}


@pytest.mark.skipif(not BOTH, reason="the native decoder is not built: nothing to compare the twin with")
def test_both_decoders_give_equal_rows_for_every_real_ledger(shared_ledgers: Path) -> None:
    native, python = decoders()
    seen = 0
    for ledger in real_ledgers(shared_ledgers):
        if ledger.name in META_V0:
            continue
        assert native.decode_ledger(*ledger[1:]) == python.decode_ledger(*ledger[1:]), ledger.name
        assert native.decode_details(*ledger[1:]) == python.decode_details(*ledger[1:]), ledger.name
        assert native.read_header(ledger.data) == python.read_header(ledger.data), ledger.name
        assert native.transaction_count(ledger.data) == python.transaction_count(ledger.data), ledger.name
        seen += 1
    assert seen > 7000


@pytest.mark.parametrize("decoder", decoders(), ids=lambda decoder: decoder.name)
def test_meta_of_version_0_is_a_content_error(shared_ledgers: Path, decoder: Decoder) -> None:
    refused = [ledger for ledger in real_ledgers(shared_ledgers, "unit") if ledger.name in META_V0]
    assert len(refused) == len(META_V0)
    for ledger in refused:
        with pytest.raises(LedgerContentError, match=r"transaction 1 \([0-9a-f]{64}\): transaction meta of version 0"):
            decoder.decode_ledger(*ledger[1:])
        with pytest.raises(LedgerContentError, match=r"transaction 1 \([0-9a-f]{64}\): transaction meta of version 0"):
            decoder.decode_details(*ledger[1:])


class Checker:
    """Compares values with the annotations of the row classes, and notes which classes were met."""

    def __init__(self) -> None:
        self.met: set[type] = set()
        self._hints: dict[type, dict[str, Any]] = {}

    def check(self, value: object, hint: Any, where: str) -> None:
        if hint is object:
            if isinstance(value, tuple) and hasattr(value, "_fields"):
                self._row(value, where)
            return
        origin = typing.get_origin(hint)
        if origin in (types.UnionType, typing.Union):
            matching = [option for option in typing.get_args(hint) if self._fits(value, option)]
            assert matching, f"{where}: {value!r} is none of {hint}"
            self.check(value, matching[0], where)
        elif origin is tuple:
            assert type(value) is tuple, f"{where}: {value!r} is not a tuple"
            options = typing.get_args(hint)
            items = [options[0]] * len(value) if options[-1] is Ellipsis else list(options)
            assert len(items) == len(value), where
            for item, option in zip(value, items, strict=True):
                self.check(item, option, where)
        else:
            assert type(value) is hint, f"{where}: {value!r} is not {hint}"
            if hasattr(hint, "_fields"):
                self._row(value, where)

    def _fits(self, value: object, option: Any) -> bool:
        origin = typing.get_origin(option)
        return type(value) is (types.NoneType if option is types.NoneType else origin or option)

    def _row(self, row: Any, where: str) -> None:
        kind = type(row)
        assert kind.__module__ == rows.__name__, f"{where}: {kind} is no row"
        assert len(row) == len(kind._fields), where
        self.met.add(kind)
        hints = self._hints.setdefault(kind, typing.get_type_hints(kind))
        for name, value in zip(kind._fields, row, strict=True):
            self.check(value, hints[name], f"{where}.{kind.__name__}.{name}")


def test_every_field_holds_what_its_annotation_says(shared_ledgers: Path) -> None:
    decoder = decoders()[0]
    checker = Checker()
    for number, ledger in enumerate(real_ledgers(shared_ledgers, "pubnet", "rebuilt", "unit", "stellar-core")):
        if ledger.name not in META_V0 and (number < 200 or number % STRIDE == 0):
            checker.check(decoder.decode_ledger(*ledger[1:]), rows.Ledger, ledger.name)
            checker.check(decoder.decode_details(*ledger[1:]), tuple[rows.TransactionDetails, ...], ledger.name)
    declared = {row for row in vars(rows).values() if isinstance(row, type) and hasattr(row, "_fields")}
    made_up_elsewhere = {rows.Inflation, rows.InflationPayout, rows.RevokeSponsorship}  # by test_xdr_made.py
    assert declared - checker.met == made_up_elsewhere, "classes that no real ledger shows"


def test_scval_values_by_type(shared_ledgers: Path) -> None:
    """The Python type of a value follows from its ScValType, as the docstring of ScVal says."""
    expected: dict[int, tuple[type, ...]] = {
        0: (bool,), 1: (types.NoneType,), 2: (tuple,), 13: (bytes,), 14: (str, bytes), 15: (str, bytes),
        16: (tuple, types.NoneType), 17: (tuple, types.NoneType), 18: (bytes,), 19: (rows.ContractInstance,),
        20: (types.NoneType,), 22: (str, bytes),
    }  # fmt: skip
    met: set[int] = set()

    def walk(value: object) -> None:
        if isinstance(value, rows.ScVal):
            met.add(value.type)
            assert type(value.value) in expected.get(value.type, (int,)), value
        if isinstance(value, tuple):
            for item in value:
                walk(item)

    for ledger in real_ledgers(shared_ledgers, "pubnet", "unit", "stellar-core"):
        if ledger.name not in META_V0:
            walk(decoders()[0].decode_ledger(*ledger[1:]))
            walk(decoders()[0].decode_details(*ledger[1:]))
    assert met >= {0, 1, 3, 4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21}


def _pubnet(shared_ledgers: Path) -> RealLedger:
    return next(real_ledgers(shared_ledgers, "pubnet"))


@pytest.mark.skipif(not BOTH, reason="the native decoder is not built")
def test_repeated_addresses_are_one_object(shared_ledgers: Path) -> None:
    """A ledger holds thousands of references to a few hundred addresses."""
    ledger = _pubnet(shared_ledgers)
    references = 0
    objects: dict[int, bytes] = {}

    def walk(value: object) -> None:
        nonlocal references
        if type(value) is bytes and len(value) == 33 and value[0] in (0x30, 0x10):
            references += 1
            objects[id(value)] = value
        elif isinstance(value, tuple):
            for item in value:
                walk(item)

    decoded = native_decoder().decode_ledger(*ledger[1:])
    walk(decoded)
    assert references > 5000
    assert len(objects) == len(set(objects.values())) < 1200


@pytest.mark.skipif(not BOTH, reason="the native decoder is not built")
def test_decoding_leaks_nothing_and_leaves_the_collector_as_it_was(shared_ledgers: Path) -> None:
    native = native_decoder()
    ledger = _pubnet(shared_ledgers)
    broken = ledger.data[:-1]

    def once() -> None:
        native.decode_ledger(*ledger[1:])
        with pytest.raises(ValueError):
            native.decode_ledger(broken, ledger.network_id)
        with pytest.raises(LedgerContentError):
            native.decode_ledger(ledger.data, bytes(32))

    for _ in range(3):
        once()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(10):
        once()
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert gc.isenabled()


MEMORY_TEST = """
import gzip, sys
import _testcapi
from lumenstream import _native

data, network_id = gzip.open(sys.argv[1]).read(), bytes.fromhex(sys.argv[2])
whole = _native.extract_ledger(data, network_id)
failures = 0
for start in (*range(1, 400), *range(400, 60_000, 997)):
    _testcapi.set_nomemory(start, start + 1)
    try:
        result = _native.extract_ledger(data, network_id)
    except MemoryError:
        failures += 1
    else:
        assert result == whole
    finally:
        _testcapi.remove_mem_hooks()
print(failures)
"""


@pytest.mark.skipif(not BOTH, reason="the native decoder is not built")
def test_a_failed_allocation_is_a_memory_error_and_nothing_worse(shared_ledgers: Path) -> None:
    pytest.importorskip("_testcapi", reason="this Python cannot simulate failing allocations")
    path = shared_ledgers / "rebuilt" / "etl-pubnet-30822018.xdr.gz"
    command = [sys.executable, "-c", MEMORY_TEST, str(path), network_id("rebuilt").hex()]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) > 300
