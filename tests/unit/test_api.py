"""The API's pure parts: cursors, page arguments, scalars, rendering, the weight of a query, the columns it needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from graphql import (
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLScalarType,
    IntValueNode,
    StringValueNode,
    get_operation_ast,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

from api import limits, rendering, scalars
from api.errors import ClientError, Code
from api.limits import Cost
from api.paging import Page, PageArguments, decode_cursor, encode_cursor, moment_of, nanoseconds, page_of, slice_of
from api.queries.accounts import account_key
from api.queries.parts import projection
from api.queries.state_changes import COLUMNS
from api.schema import graphql_schema
from api.types.account_type import account_at, transaction_hash
from lumenstream.settings import ApiSettings
from schemas import strkey

NUMBERS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4)
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


@given(NUMBERS)
def test_a_cursor_comes_back_as_it_was(numbers: list[int]) -> None:
    assert decode_cursor(encode_cursor(*numbers), len(numbers)) == tuple(numbers)


def test_a_cursor_is_the_reference_s_text() -> None:
    assert encode_cursor(12884905985) == "MTI4ODQ5MDU5ODU="
    assert encode_cursor(4096, 0, 1) == "NDA5NjowOjE="


@pytest.mark.parametrize(
    "text", ["", "?", "MQ", "MQ==", "LTE6MQ==", "MToy\n", "YTpi", "MTox" * 100, encode_cursor(1, 2**63), "8J+YgDox"]
)
def test_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(ClientError) as raised:
        decode_cursor(text, 2)
    assert raised.value.extensions == {"code": "BAD_USER_INPUT"}


@given(MOMENTS)
def test_close_times_pass_through_cursors(moment: datetime) -> None:
    assert moment_of(nanoseconds(moment)) == moment


def test_page_arguments() -> None:
    assert page_of(PageArguments(), 1, 50, 100) == Page(50)
    assert page_of(PageArguments(first=100), 1, 50, 100) == Page(100)
    assert page_of(PageArguments(after="MQ=="), 1, 50, 100) == Page(50, True, (1,))
    assert page_of(PageArguments(before="MQ=="), 1, 50, 100) == Page(50, False, (1,))
    assert page_of(PageArguments(last=3, before="MQ=="), 1, 50, 100) == Page(3, False, (1,))
    assert page_of(PageArguments(), 1, 50, 20) == Page(20)


def test_slices() -> None:
    assert slice_of(Page(2), [1, 2, 3]) == ([1, 2], True, False)
    assert slice_of(Page(2, True, (0,)), [1, 2]) == ([1, 2], False, True)
    assert slice_of(Page(2, False), [3, 2, 1]) == ([2, 3], False, True)
    assert slice_of(Page(2, False, (4,)), [3, 2]) == ([2, 3], True, False)
    assert slice_of(Page(2), []) == ([], False, False)


@pytest.mark.parametrize(
    ("stroops", "shown"),
    [
        (0, "0.0000000"),
        (1, "0.0000001"),
        (-15, "-0.0000015"),
        (2**63 - 1, "922337203685.4775807"),
        (-(10**30), f"-{10**23}.0000000"),
    ],
)
def test_seven_decimals(stroops: int, shown: str) -> None:
    assert rendering.decimal7(stroops) == shown


def test_pairs_as_json_text() -> None:
    assert rendering.weights(None, None) is None
    assert rendering.weights(1, None) == '{"old": 1, "new": null}'
    assert rendering.thresholds(None, None) == '{"old": null, "new": null}'
    assert rendering.thresholds(0, 2) == '{"old": "0", "new": "2"}'
    assert rendering.limits(None, None) is None
    assert rendering.limits(None, 10_000_000) == '{"old": null, "new": "1.0000000"}'


def test_time_is_rfc_3339_in_utc() -> None:
    assert scalars.time_text(datetime(2026, 3, 1, 12, tzinfo=UTC)) == "2026-03-01T12:00:00Z"
    assert (
        scalars.time_text(datetime(2026, 3, 1, 12, 0, 0, 120, tzinfo=timezone(timedelta(hours=2))))
        == "2026-03-01T10:00:00.00012Z"
    )


def scalar(name: str) -> GraphQLScalarType:
    found = graphql_schema().type_map[name]
    assert isinstance(found, GraphQLScalarType)
    return found


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("Int64", 5, 5),
        ("Int64", "-5", -5),
        ("Int64", str(2**63 - 1), 2**63 - 1),
        ("UInt32", 2**32 - 1, 2**32 - 1),
        ("Time", "2026-03-01T13:00:00.000000001+01:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("Time", "2026-03-01t12:00:00.5z", datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_scalars_in(name: str, value: object, parsed: object) -> None:
    assert scalar(name).parse_value(value) == parsed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Int64", 2**63),
        ("Int64", "1.5"),
        ("Int64", True),
        ("Int64", "٣"),
        ("Int64", "9" * 5000),
        ("UInt32", -1),
        ("UInt32", 2**32),
        ("UInt32", "1"),
        ("Time", "yesterday"),
        ("Time", "2026-03-01T13:00:00"),
        ("Time", "2026-W09-7T13:00:00Z"),
        ("Time", "20260301T130000Z"),
        ("Time", "2026-03-01T25:00:00Z"),
        ("Time", "2026-03-01T13:00:00.0000000001Z"),
        ("Time", "0001-01-01T00:00:00+14:00"),
        ("Time", 5),
    ],
)
def test_scalars_that_are_none(name: str, value: object) -> None:
    with pytest.raises(GraphQLError):
        scalar(name).parse_value(value)


def test_scalar_literals() -> None:
    assert scalar("Int64").parse_literal(IntValueNode(value="7")) == 7
    assert scalar("Int64").parse_literal(StringValueNode(value="7")) == 7
    assert scalar("UInt32").parse_literal(IntValueNode(value="7")) == 7
    for name, node in (
        ("UInt32", StringValueNode(value="7")),
        ("Int64", IntValueNode(value="9" * 5000)),
        ("Time", IntValueNode(value="7")),
    ):
        with pytest.raises(GraphQLError):
            scalar(name).parse_literal(node)


def cost(query: str, variables: dict[str, Any] | None = None) -> Cost:
    document = parse(query)
    operation = get_operation_ast(document)
    assert operation is not None
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    return limits.weigh(graphql_schema(), operation, fragments, variables or {}, ApiSettings.model_validate({}))


def test_the_worked_example_of_the_specification() -> None:
    query = """query($n: Int = 10) { transactions(first: $n) { edges { node { hash operations(first: 2) { edges { node { id
        stateChanges(first: 5) { edges { node { type reason } } } } } } } } } }"""
    assert cost(query) == Cost(490, 10)
    assert cost(query, {"n": 20}).complexity == 980
    plain = query.replace("(first: $n)", "").replace("(first: 2)", "").replace("(first: 5)", "").replace("($n: Int = 10)", "")
    assert cost(plain).complexity == 507_650


def test_fragments_are_summed_and_weighed_once() -> None:
    doubled = " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
    query = f"{{ ...f0 }} {doubled} fragment f40 on Query {{ __typename }}"
    assert cost(query) == Cost(2**40, 1)
    assert (
        cost(
            "{ stateChanges(last: 1) { edges { node { type ... on FlagsChange { flags } ...on BaseStateChange { reason } } } } }"
        ).complexity
        == 5
    )


def test_introspection_has_no_depth_of_its_own() -> None:
    assert cost("{ __schema { types { fields { type { ofType { ofType { name } } } } } } }") == Cost(7, 0)


def test_only_columns_that_a_selected_field_shows_are_read() -> None:
    everything = projection(COLUMNS, frozenset(COLUMNS.optional), "x")
    assert everything == ", ".join(f"x.{name}" for name in COLUMNS.names)
    few = projection(COLUMNS, frozenset({"amount", "type", "limit"}), "x").split(", ")
    read = {part.removeprefix("x.") for part in few if part != "NULL"}
    assert {"amount", "trustline_limit_old", "trustline_limit_new", "to_id", "account_id", "state_change_category"} <= read
    assert not {"key_value", "token_id", "flags"} & read
    assert len(few) == len(COLUMNS.names)


def test_every_optional_column_has_a_field_in_the_schema() -> None:
    fields = {name for kind in graphql_schema().type_map.values() for name in getattr(kind, "fields", {})}
    assert set(COLUMNS.optional) <= fields


def test_addresses_and_hashes() -> None:
    account = bytes((strkey.ACCOUNT,)) + bytes(32)
    muxed = bytes((strkey.MUXED,)) + bytes(32) + (2**64 - 1).to_bytes(8, "big")
    assert account_at(strkey.encode(account)).key == (account, None)
    assert account_at(strkey.encode(muxed)).key == (muxed[:33], -1)
    assert account_key(muxed).muxed_id == -1
    for wrong in ("", "G", strkey.encode(bytes((strkey.LIQUIDITY_POOL,)) + bytes(32)), "x" * 1000):
        with pytest.raises(ClientError) as raised:
            account_at(wrong)
        assert raised.value.extensions == {"code": Code.INVALID_ADDRESS, "address": wrong[:200]}
    assert transaction_hash("AB" * 32) == b"\xab" * 32
    for wrong in ("", "ab", "zz" * 32, "ab " * 21 + "a", "ab" * 33):
        with pytest.raises(ClientError):
            transaction_hash(wrong)
