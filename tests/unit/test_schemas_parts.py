"""The encoding of parts: whatever rows a processor emits come back as they were, and the same rows give the same bytes."""

from __future__ import annotations

from typing import Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import parts
from schemas.families import (
    FAMILIES,
    LEDGERS,
    OPERATIONS_ACCOUNTS,
    SAC_BALANCE_CHANGES,
    STATE_CHANGES,
    TRANSACTIONS,
    TRANSACTIONS_ACCOUNTS,
    Family,
    Kind,
    TransactionRow,
)
from schemas.parts import Part, PartError
from schemas.state_changes import CATEGORY_OF, ROW_TYPES, BalanceChange, Category, MetadataChange, Reason

BIG = 1 << 126

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.I64: st.integers(-(1 << 63), (1 << 63) - 1),
    Kind.BOOL: st.booleans(),
    Kind.HASH: st.binary(min_size=32, max_size=32),
    Kind.ADDRESS: st.none() | st.binary(min_size=33, max_size=41),
    Kind.WORD: st.none() | st.text(max_size=8),
    Kind.KEY: st.none() | st.binary(min_size=16, max_size=16),
    Kind.BIG: st.none() | st.integers(-BIG, BIG),
    Kind.ANY: st.none() | st.binary(max_size=8) | _JSON,
}


def rows_of(family: Family) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.tuples(*[_VALUES[kind] for _, kind in family.columns]), min_size=1, max_size=5)


@st.composite
def some_parts(draw: st.DrawFn) -> Part:
    part = Part()
    for name in draw(st.lists(st.sampled_from(sorted(FAMILIES)), unique=True, max_size=4)):
        part.add(FAMILIES[name], draw(rows_of(FAMILIES[name])))
    return part


@given(some_parts())
@settings(max_examples=200, deadline=None)
def test_round_trip(part: Part) -> None:
    data = parts.encode(part)
    assert parts.decode(data) == part
    assert parts.encode(parts.decode(data)) == data


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_family_has_a_named_row_with_its_columns(family: Family) -> None:
    assert getattr(family.row, "_fields", None) == tuple(column for column, _ in family.columns)


def test_the_order_in_which_families_are_added_does_not_show() -> None:
    one, other = Part(), Part()
    one.add(TRANSACTIONS_ACCOUNTS, [(1, b"a" * 33)])
    one.add(OPERATIONS_ACCOUNTS, [(2, b"b" * 33)])
    other.add(OPERATIONS_ACCOUNTS, [(2, b"b" * 33)])
    other.add(TRANSACTIONS_ACCOUNTS, [(1, b"a" * 33)])
    assert parts.encode(one) == parts.encode(other)


def test_an_empty_part_is_a_part() -> None:
    part = Part()
    part.add(LEDGERS, [])
    assert part.rows == {}
    assert parts.decode(parts.encode(part)) == part


def test_state_changes_go_to_the_family_of_their_category() -> None:
    part = Part()
    part.add_state_changes(
        [
            BalanceChange(1, 2, 1, Reason.DEBIT, b"a" * 33, b"t" * 33, BIG),
            MetadataChange(1, 2, 2, Reason.HOME_DOMAIN, b"a" * 33, {"home_domain": {"new": "x"}}),
        ]
    )
    assert part.rows.keys() == {"state_changes.balance", "state_changes.metadata"}
    assert parts.decode(parts.encode(part)) == part


def test_every_category_has_its_row_and_its_family() -> None:
    assert ROW_TYPES.keys() == set(Category) == STATE_CHANGES.keys()
    assert {CATEGORY_OF[row] for row in ROW_TYPES.values()} == set(Category)
    for row in ROW_TYPES.values():
        assert row._fields[:5] == ("to_id", "operation_id", "state_change_id", "state_change_reason", "account_id")


def test_amounts_beyond_64_bits_survive() -> None:
    part = Part()
    part.add(
        SAC_BALANCE_CHANGES,
        [(b"a" * 33, b"c" * 33, b"u" * 16, "ADD", 1, amount, True, False) for amount in (0, -1, BIG, 1 << 63)],
    )
    assert parts.decode(parts.encode(part)) == part


def test_dictionaries_grow_past_16_bits() -> None:
    part = Part()
    part.add(TRANSACTIONS_ACCOUNTS, [(1, number.to_bytes(33, "big")) for number in range(70_000)])
    data = parts.encode(part)
    assert parts.decode(data) == part


def test_addresses_stand_once_in_a_part() -> None:
    part = Part()
    part.add(TRANSACTIONS_ACCOUNTS, [(number, b"a" * 33) for number in range(100)])
    assert parts.encode(part).count(b"a" * 33) == 1


def transaction(**fields: Any) -> TransactionRow:
    return TransactionRow(1, bytes(32), None, 100, "TransactionResultCodeTxSuccess", False, None, None)._replace(**fields)


def encoded() -> dict[str, Any]:
    part = Part()
    part.add(TRANSACTIONS, [transaction(), transaction(to_id=2)])
    content: dict[str, Any] = ormsgpack.unpackb(parts.encode(part))
    return content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.pop("f"),
        lambda raw: raw.pop("w"),
        lambda raw: raw["f"].update(unknown=[1, b""]),
        lambda raw: raw["f"]["transactions"].pop(),
        lambda raw: raw["f"]["transactions"].append(b""),
        lambda raw: raw["f"]["transactions"].__setitem__(0, 3),
        lambda raw: raw["f"]["transactions"].__setitem__(1, b"odd"),
        lambda raw: raw["w"].clear(),
        lambda raw: raw["f"].update(transactions=7),
    ],
)
def test_bytes_that_are_no_part_are_refused(spoil: Any) -> None:
    raw = encoded()
    spoil(raw)
    with pytest.raises(PartError):
        parts.decode(ormsgpack.packb(raw))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01", ormsgpack.packb([1]), ormsgpack.packb({})])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PartError):
        parts.decode(data)


def test_unknown_families_cannot_be_encoded() -> None:
    part = Part()
    part.rows["surprise"] = [(1,)]
    with pytest.raises(PartError, match="surprise"):
        parts.encode(part)


def test_a_part_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_PART_BYTES", 3)
    with pytest.raises(PartError, match="over the limit"):
        parts.decode(parts.encode(Part()))
