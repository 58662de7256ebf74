"""The inner loops of processors and sink in Rust against their twins: the same for every ledger, and safe without memory."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings

from lumenstream import xdr
from lumenstream.xdr import LedgerContentError, decode_ledger
from lumenstream.xdr.rows import Ledger
from processors import accounts, encoding, merge, participants, registry, view
from processors.token_transfers import TokenTransfers
from schemas import parts
from schemas.parts import Part
from sinks.timescale.streams import PythonStreams, history_streams
from tests.unit.ledger_builder import NETWORK
from tests.unit.test_schemas_parts import some_parts
from tests.unit.xdr_support import network_id, real_ledgers

ENTRY_TYPES: Final = range(10)
IN_RUST, TWIN = history_streams(), PythonStreams()

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(xdr.DECODER != "native", reason="the native decoder is not built: the twins are all there is"),
]


def outcome(loop: Callable[..., Any], *given: Any) -> object:
    try:
        return loop(*given)
    except LedgerContentError as error:
        return type(error), str(error)


def movements(loop: Callable[..., None], ledger: Ledger) -> Any:
    """The two lists that the loop fills, or how it refuses the ledger."""
    filled: tuple[list[Any], list[Any]] = ([], [])
    return outcome(loop, ledger, *filled) or filled


def check(ledger: Ledger, network: bytes, seen: Counter[str]) -> None:
    for entry_type in ENTRY_TYPES:
        changes = view.changes_of(ledger, entry_type)
        assert changes == view._changes_of(ledger, entry_type)
        # Any key that repeats will do: the kind of change, and the entry. Backwards, so that orders fall.
        keyed = [((change.kind, data), operation_id, change) for operation_id, _, _, change, data in changes]
        for order in (keyed, keyed[::-1]):
            assert merge.last_changes(order) == merge._last_changes(order)
        seen[f"changes of {entry_type}"] += len(changes)
    assert accounts._last_changes(ledger) == accounts._last_changes_of_accounts(ledger)
    assert outcome(participants._rows, ledger) == outcome(participants._rows_of, ledger)
    processor = TokenTransfers(network)
    told = movements(processor._tell, ledger)
    assert told == movements(processor._movements, ledger)
    seen["refused"] += told[0] is LedgerContentError
    encoded: list[bytes] = []
    for one in registry.create(None, network):
        part = outcome(one.process, ledger)
        if isinstance(part, Part):
            encoded.append(parts.encode(part))
            assert encoding.encode(part) == encoded[-1]
    opened = [parts.open_part(data) for data in encoded]
    assert IN_RUST.encode(opened, b"close time", b"ledger", True) == TWIN.encode(opened, b"close time", b"ledger", True)


def test_every_loop_equals_its_twin_on_every_ledger(shared_ledgers: Path) -> None:
    seen: Counter[str] = Counter()
    for name, data, network in real_ledgers(shared_ledgers):
        try:
            ledger = decode_ledger(data, network)
        except LedgerContentError:
            continue
        try:
            check(ledger, network, seen)
        except AssertionError as error:
            raise AssertionError(name) from error
        seen["ledgers"] += 1
    assert seen["ledgers"] > 7000
    assert all(seen[f"changes of {entry_type}"] for entry_type in ENTRY_TYPES if entry_type != 8), seen
    assert seen["refused"]


def test_rows_have_the_same_classes(shared_ledgers: Path) -> None:
    """Equality does not tell a row from a plain tuple."""

    def classes(rows: Any) -> list[type]:
        return [type(row) for row in rows]

    name, data, network = next(real_ledgers(shared_ledgers, "pubnet"))
    ledger, processor = decode_ledger(data, network), TokenTransfers(network)
    for made, twin in zip(participants._rows(ledger)[:4], participants._rows_of(ledger)[:4], strict=True):
        assert classes(made) == classes(twin), name
    made, twin = movements(processor._tell, ledger), movements(processor._movements, ledger)
    assert classes(made[0]) == classes(twin[0])


@given(some_parts())
@settings(max_examples=150, deadline=None)
def test_any_rows_are_packed_alike(part: Part) -> None:
    assert encoding.encode(part) == parts.encode(part)


@pytest.mark.parametrize(
    "rows", [[(1,)], [(1, b"a" * 33), (2,)], [(1 << 63, b"a" * 33)], [("1", b"a" * 33)], [(1, ["no address"])]], ids=str
)
def test_rows_that_do_not_fit_are_refused_alike(rows: list[Any]) -> None:
    part = Part()
    part.rows["transactions_accounts"] = rows
    with pytest.raises((ValueError, TypeError, OverflowError)) as twin:
        parts.encode(part)
    with pytest.raises(twin.type):
        encoding.encode(part)


def test_what_is_no_ledger_is_refused() -> None:
    nothing: Any = ()
    for loop in (participants._rows, accounts._last_changes, TokenTransfers(NETWORK).process):
        with pytest.raises((SystemError, IndexError)):
            loop(nothing)


# The loops alone, on what was made before: the interpreter itself does not survive every failed allocation.
MEMORY_TEST = """
import gzip, sys
import _testcapi
from lumenstream.xdr import decode_ledger
from processors import accounts, encoding, merge, participants, registry, view
from processors.token_transfers import TokenTransfers
from schemas.parts import encode, open_part, packable
from sinks.timescale.streams import history_streams

data, network_id = gzip.open(sys.argv[1]).read(), bytes.fromhex(sys.argv[2])
ledger = decode_ledger(data, network_id)
changes = [(data, at, change) for at, _, _, change, data in view.changes_of(ledger, 1)]
rows = [packable(one.process(ledger)) for one in registry.create(("participants", "token_transfers"), network_id)]
opened = [open_part(encode(one.process(ledger))) for one in registry.create(None, network_id)]
tell = TokenTransfers(network_id)._tell
loops = [
    (participants._rows, ledger),
    (accounts._last_changes, ledger),
    (view.changes_of, ledger, 2),
    (merge.last_changes, changes),
    *((encoding.pack, one) for one in rows),
    (tell, ledger, [], []),
    (history_streams().encode, opened, b"close time", b"ledger", True),
]
whole = [loop(*given) for loop, *given in loops]
failures = 0
for start in (*range(1, 400), *range(400, 30_000, 499)):
    for (loop, *given), expected in zip(loops, whole):
        _testcapi.set_nomemory(start, start + 1)
        try:
            result = loop(*given)
        except MemoryError:
            failures += 1
        else:
            assert result == expected
        finally:
            _testcapi.remove_mem_hooks()
print(failures)
"""


def test_a_failed_allocation_is_a_memory_error_and_nothing_worse(shared_ledgers: Path) -> None:
    pytest.importorskip("_testcapi", reason="this Python cannot simulate failing allocations")
    path = shared_ledgers / "rebuilt" / "etl-pubnet-30822018.xdr.gz"
    command = [sys.executable, "-c", MEMORY_TEST, str(path), network_id("rebuilt").hex()]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) > 400
