"""State-change events and the topic schemas that are exported from code."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from schemas import events, strkey
from schemas.families import STATE_CHANGES
from schemas.messages import FailedHeader, Topic
from schemas.state_changes import ROW_TYPES, Category, Reason

G = bytes((strkey.ACCOUNT,)) + bytes(range(32))
C = bytes((strkey.CONTRACT,)) + bytes(range(32))
ADDRESS_COLUMNS = {name for family in STATE_CHANGES.values() for name, kind in family.columns if kind == "address"}


def table_row(category: Category, **values: Any) -> dict[str, Any]:
    """A row of table `state_changes` with every column, NULL where not given."""
    names = {name for row_type in ROW_TYPES.values() for name in getattr(row_type, "_fields", ())}
    row: dict[str, Any] = dict.fromkeys(names | {"account_muxed_id", "signer_payload"})
    row |= {
        "to_id": 12 << 32 | 1 << 12,
        "operation_id": 0,
        "state_change_id": 1,
        "state_change_category": category.value,
        "state_change_reason": Reason.DEBIT.value,
        "account_id": G,
        "ledger_number": 12,
        "ledger_created_at": datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC),
    }
    return row | values


def test_the_schemas_on_disk_are_those_of_the_code() -> None:
    on_disk = {path.name: path.read_bytes() for path in events.FOLDER.glob("*.json")}
    in_code = {name: events.render(schema) for name, schema in events.topic_schemas().items()}
    assert on_disk == in_code, "run python -m schemas.events"


def test_every_topic_has_a_schema() -> None:
    index = orjson.loads((events.FOLDER / events.INDEX).read_bytes())
    assert index.keys() == {topic.value for topic in Topic}
    assert set(index.values()) == events.topic_schemas().keys() - {events.INDEX}


def test_headers_of_a_failed_ledger_are_those_of_its_schema() -> None:
    schema = events.topic_schemas()[events.SCHEMA_FILES[Topic.LEDGERS_FAILED]]
    assert schema["required"] == sorted(FailedHeader)
    assert schema["properties"].keys() >= {"sequence", "previous-sequence", "ledger-hash", *FailedHeader}


def test_a_fee_row_has_no_operation() -> None:
    event = events.event_of(table_row(Category.BALANCE, token_id=C, amount="100"), b"\xab" * 32)
    assert event["operation_id"] is None
    assert event["id"] == f"{12 << 32 | 1 << 12}-0-1"
    assert event["amount"] == "100"
    assert event["ledger_created_at"] == "2026-11-21T12:00:05Z"
    assert event["account_id"] == strkey.encode(G)


def test_addresses_come_complete() -> None:
    muxed = bytes((strkey.MUXED,)) + G[1:]
    payload = (5).to_bytes(4, "big") + b"hello" + bytes(3)
    signed = bytes((strkey.SIGNED_PAYLOAD,)) + G[1:]
    row = table_row(
        Category.SIGNER,
        state_change_reason="ADD",
        account_id=muxed,
        account_muxed_id=-1,  # the id 2^64 - 1 as the column keeps it
        signer_account_id=signed,
        signer_payload=payload,
        signer_weight_new=3,
    )
    event = events.event_of(row, bytes(32))
    assert strkey.muxed_id(strkey.decode(event["account_id"])) == (1 << 64) - 1
    assert strkey.decode(event["signer_account_id"]) == signed + payload


def test_the_same_row_gives_the_same_bytes() -> None:
    row = table_row(Category.METADATA, state_change_reason="HOME_DOMAIN", key_value={"home_domain": {"new": "x"}})
    assert events.encode_event(events.event_of(row, bytes(32))) == events.encode_event(events.event_of(dict(row), bytes(32)))


@pytest.mark.parametrize("category", list(Category))
def test_events_follow_their_schema(category: Category) -> None:
    samples: dict[str, Any] = {name: C if name == "token_id" else G for name in ADDRESS_COLUMNS}
    samples |= {"amount": "7", "trustline_limit_old": 1, "trustline_limit_new": 2, "key_value": {"a": {"new": "b"}}, "flags": 1}
    samples |= {"liquidity_pool_id": "ab" * 32, "signer_weight_new": 1, "threshold_old": 0, "threshold_new": 1}
    event = events.event_of(table_row(category, **samples), b"\x01" * 32)
    variants = events.state_change_schema()["oneOf"]
    matching = [variant for variant in variants if variant["properties"]["category"]["const"] == event["category"]]
    assert len(matching) == 1
    assert sorted(event) == matching[0]["required"]
    wire = orjson.loads(events.encode_event(event))
    for name, schema in matching[0]["properties"].items():
        assert fits(wire[name], schema), (name, wire[name], schema)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """The part of JSON Schema that our schemas use."""
    if "anyOf" in schema:
        return any(fits(value, choice) for choice in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds: dict[str, type] = {"string": str, "integer": int, "object": dict, "null": type(None)}
    if not isinstance(value, kinds[schema["type"]]):
        return False
    return "pattern" not in schema or re.search(schema["pattern"], str(value)) is not None
