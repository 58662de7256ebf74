"""History as COPY streams: what Rust makes of a ledger's parts is what the twin makes of them, byte for byte or refusal for
refusal, whatever the parts hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumenstream import xdr
from lumenstream.errors import IntegrityError
from schemas import families, parts, strkey
from schemas.families import FAMILIES, Family, Kind
from schemas.parts import OpenPart, Part
from schemas.state_changes import BalanceChange, Reason
from sinks.timescale import layouts
from sinks.timescale.layouts import Form
from sinks.timescale.reorder import Gathered
from sinks.timescale.streams import HistoryStreams, PythonStreams, Streams, history_streams
from sinks.timescale.tables import LedgerEncoder, LedgerRows

CLOSE_TIME, LEDGER = b"\0\0\0\10close at", b"\0\0\0\4at 7"
SEQUENCE, ZEROS = 7, bytes(32)

pytestmark = pytest.mark.skipif(xdr.DECODER != "native", reason="the native module is not built: the twin is all there is")

_KEYS: Final = st.sampled_from([bytes(32), bytes(range(32)), b"\xff" * 32])
_ADDRESSES: Final = st.one_of(
    st.builds(lambda kind, key: bytes((kind,)) + key, st.sampled_from([strkey.ACCOUNT, strkey.CONTRACT]), _KEYS),
    st.builds(lambda key, muxed: bytes((strkey.MUXED,)) + key + muxed, _KEYS, st.binary(min_size=8, max_size=8)),
    st.builds(lambda key: bytes((strkey.CLAIMABLE_BALANCE, 0)) + key, _KEYS),
    st.builds(
        lambda key, text: (
            bytes((strkey.SIGNED_PAYLOAD,)) + key + len(text).to_bytes(4, "big") + text.ljust(-(-len(text) // 4) * 4, b"\0")
        ),
        _KEYS,
        st.binary(min_size=1, max_size=64),
    ),
)
_IDS: Final = st.sampled_from([0, 1, 7 << 32, -1, (1 << 63) - 1, -(1 << 63)])
_JSON: Final = st.dictionaries(
    st.text(max_size=5), st.none() | st.text(max_size=5) | st.integers(-(1 << 63), (1 << 64) - 1) | st.booleans(), max_size=3
)
_VALUES: Final[dict[Form, st.SearchStrategy[Any]]] = {
    Form.INT64: _IDS,
    Form.BOOL: st.booleans(),
    Form.HASH: st.binary(min_size=32, max_size=32),
    Form.ADDRESS: st.none() | _ADDRESSES,
    Form.ACCOUNT: _ADDRESSES,
    Form.SIGNER: st.none() | _ADDRESSES,
    Form.WORD: st.none() | st.text(max_size=8),
    Form.DIGITS: st.none() | st.integers(-(1 << 127), (1 << 127) - 1) | _IDS,
    Form.BIGINT: st.none() | _IDS,
    Form.SMALLINT: st.none() | st.integers(-(1 << 15), (1 << 15) - 1),
    Form.TEXT: st.none() | st.text(max_size=8),
    Form.BYTES: st.none() | st.binary(max_size=40),
    Form.BYTES_OR_NULL: st.none() | st.binary(max_size=8),
    Form.JSON: st.none() | _JSON,
}
_FORMS: Final = {
    batch.family: {place: form for form, place in batch.steps if form is not Form.NULLS}
    for batches in layouts.BATCHES.values()
    for batch in batches
}


def rows_of(family: Family) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    forms = _FORMS.get(family.name, {0: Form.INT64, 1: Form.ACCOUNT})  # else a link table
    return st.lists(st.tuples(*[_VALUES[forms[place]] for place in range(len(family.columns))]), max_size=6)


@st.composite
def history_parts(draw: st.DrawFn) -> list[Part]:
    """The parts of a ledger: any families of history, some in several parts, some empty."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        part = Part()
        for name in draw(st.lists(st.sampled_from(sorted(layouts.FAMILIES)), unique=True, max_size=5)):
            part.add(FAMILIES[name], draw(rows_of(FAMILIES[name])))
        found.append(part)
    return found


def opened(found: list[Part]) -> list[OpenPart]:
    return [parts.open_part(parts.encode(part)) for part in found]


def streams(implementation: Callable[[], HistoryStreams], found: list[OpenPart]) -> Streams:
    return implementation().encode(found, CLOSE_TIME, LEDGER, True)


def outcome(implementation: Callable[[], HistoryStreams], found: list[OpenPart]) -> object:
    try:
        return streams(implementation, found)
    except ValueError:
        return "refused"


@given(history_parts())
@settings(max_examples=100, deadline=None)
def test_any_history_is_copied_alike(found: list[Part]) -> None:
    assert streams(history_streams, opened(found)) == streams(PythonStreams, opened(found))


def test_every_form_and_every_family_is_among_them() -> None:
    assert {form for forms in _FORMS.values() for form in forms.values()} == set(Form) - {Form.NULLS}
    assert {*_FORMS, *layouts.LINKS} == layouts.FAMILIES
    assert all(len(_FORMS[name]) == len(FAMILIES[name].columns) for name in _FORMS)


def test_dictionaries_of_more_than_16_bits() -> None:
    part = Part()
    accounts = [bytes((strkey.ACCOUNT,)) + number.to_bytes(32, "big") for number in range(70_000)]
    part.add(families.TRANSACTIONS_ACCOUNTS, [(number % 500, account) for number, account in enumerate(accounts)])
    part.add_state_changes([BalanceChange(1, 2, 3, Reason.DEBIT, accounts[-1], accounts[0], 5)])
    found = opened([part])
    made = streams(history_streams, found)
    assert made == streams(PythonStreams, found)
    assert made[0]["transactions_accounts"][1] == 70_001
    assert made[2][1] == [(2, accounts[-1])]


def test_participants_are_told_only_when_asked() -> None:
    part = Part()
    part.add(families.OPERATIONS_ACCOUNTS, [(1, bytes((strkey.ACCOUNT,)) + ZEROS)])
    for implementation in (history_streams, PythonStreams):
        history, _, participants = implementation().encode(opened([part]), CLOSE_TIME, LEDGER, False)
        assert (history["operations_accounts"][1], participants) == (1, [[], []])


# What no processor would say, column by column: a value that the column's form has no field for.
WRONG: Final[dict[Form, list[Any]]] = {
    Form.ADDRESS: [b"", b"\x30" * 32, bytes((strkey.MUXED,)) + bytes(39), bytes((strkey.CLAIMABLE_BALANCE,)) + bytes(40)],
    Form.ACCOUNT: [None, b"", b"\x30" * 34],
    Form.SIGNER: [b"", b"\x30" * 40],
    Form.BIGINT: [1 << 63, -(1 << 64), 1 << 200],
    Form.SMALLINT: [1 << 15, -(1 << 15) - 1, 1 << 63, "1", b"1", True, 1.0, {}],
    Form.TEXT: [b"bytes", 1, ["text"]],
    Form.BYTES: ["text", 0, [1]],
    Form.BYTES_OR_NULL: ["", 0, False, {}],
    Form.JSON: [b"bytes", {"a": {"b": b"bytes"}}],
}


@pytest.mark.parametrize("name", sorted(_FORMS))
def test_values_without_a_field_are_refused_alike(name: str) -> None:
    good = {place: _example(form) for place, form in _FORMS[name].items()}
    checked = 0
    for place, form in _FORMS[name].items():
        for value in WRONG.get(form, []):
            part = Part()
            part.add(FAMILIES[name], [tuple((good | {place: value})[at] for at in range(len(good)))])
            assert outcome(history_streams, opened([part])) == outcome(PythonStreams, opened([part])) == "refused", (place, value)
            checked += 1
    assert checked


def _example(form: Form) -> Any:
    return {
        Form.INT64: 1,
        Form.BOOL: True,
        Form.HASH: ZEROS,
        Form.ACCOUNT: bytes((strkey.ACCOUNT,)) + ZEROS,
        Form.ADDRESS: bytes((strkey.CONTRACT,)) + ZEROS,
    }.get(form)


@pytest.mark.parametrize("text", ["007", "+5", " 5", "1_000", "-0", "", "-", "1.0", "٣", "x", "9" * 4301])
def test_texts_that_are_no_integers_are_refused_alike(text: str) -> None:
    part = Part()
    account = bytes((strkey.ACCOUNT,)) + ZEROS
    part.add_state_changes([BalanceChange(1, 2, 3, Reason.DEBIT, account, account, 1 << 70)])
    raw = ormsgpack.unpackb(parts.encode(part))
    raw["f"]["state_changes.balance"][1 + 6] = [text]
    found = [parts.open_part(ormsgpack.packb(raw))]
    assert outcome(history_streams, found) == outcome(PythonStreams, found) == "refused"


def ledger_part() -> Part:
    """A row of each family that is history, in one part with its ledger."""
    part = Part()
    part.add(families.LEDGERS, [families.LedgerRow(SEQUENCE, ZEROS, ZEROS, 23, 1, 1, 1)])
    for name, forms in _FORMS.items():
        part.add(FAMILIES[name], [tuple(_example(forms[place]) for place in range(len(forms)))] * 2)
    for name in layouts.LINKS:
        part.add(FAMILIES[name], [(1, _example(Form.ACCOUNT))])
    return part


def encoded(data: bytes, history: HistoryStreams) -> object:
    """What the sink makes of a ledger of this one part."""
    encoder = LedgerEncoder()
    encoder._history = history
    gathered = Gathered(SEQUENCE, None, 1_700_000_000, ZEROS.hex(), 0.0)
    try:
        return encoder.encode(gathered, [data])
    except IntegrityError:
        return "refused"


def both(data: bytes) -> object:
    native = encoded(data, history_streams())
    assert native == encoded(data, PythonStreams())
    return native


def test_a_part_cut_off_anywhere_is_refused() -> None:
    data = parts.encode(ledger_part())
    assert isinstance(both(data), LedgerRows)
    for end in range(0, len(data), 7):
        assert both(data[:end]) == "refused"


_NONSENSE: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(),
    st.binary(max_size=80),
    st.text(max_size=5),
    st.lists(st.none() | st.integers(-5, 5) | st.binary(max_size=40), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=2),
)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_spoiled_parts_are_refused_alike(data: st.DataObject) -> None:
    """Dictionaries, counts, columns and single values, each replaced by something else."""
    raw = ormsgpack.unpackb(parts.encode(ledger_part()))
    for _ in range(data.draw(st.integers(1, 2))):
        at: Any = raw
        while True:
            keys = sorted(at) if isinstance(at, dict) else range(len(at))
            key = data.draw(st.sampled_from(list(keys)))
            inner = at[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 4)) == 0:
                break
            at = inner
        at[key] = data.draw(
            _NONSENSE | st.binary(min_size=len(inner), max_size=len(inner)) if isinstance(inner, bytes) else _NONSENSE
        )
    both(ormsgpack.packb(raw))


def test_spoiled_parts_are_sometimes_whole_and_sometimes_not() -> None:
    """The test above compares more than refusals: bytes that change a value leave a part."""
    raw = ormsgpack.unpackb(parts.encode(ledger_part()))
    changed = copy.deepcopy(raw)
    changed["f"]["operations"][1] = (1 << 40).to_bytes(8, "little") * 2
    assert isinstance(both(ormsgpack.packb(changed)), LedgerRows)
    changed["f"]["operations"][2] = b"\x63\0" * 2
    assert both(ormsgpack.packb(changed)) == "refused"


@given(st.lists(_NONSENSE, min_size=4, max_size=4), st.sampled_from(sorted(layouts.FAMILIES)), st.data())
@settings(max_examples=100, deadline=None)
def test_what_is_no_open_part_is_an_error_and_nothing_worse(entries: list[Any], name: str, data: st.DataObject) -> None:
    """Past every check of `open_part`, straight to Rust."""
    columns = len(FAMILIES[name].columns)
    packed = [data.draw(st.integers(0, 3) | _NONSENSE), *data.draw(st.lists(_NONSENSE, max_size=columns + 1))]
    spoiled: Any = (*entries[:3], {name: packed} if data.draw(st.booleans()) else entries[3])
    with pytest.raises((ValueError, TypeError, OverflowError, IndexError)):
        history_streams().encode([spoiled, spoiled[:2]], CLOSE_TIME, LEDGER, True)


def test_every_kind_of_column_has_a_form() -> None:
    kinds = {kind for name in layouts.FAMILIES for _, kind in FAMILIES[name].columns}
    assert kinds == set(Kind) - {Kind.KEY}
