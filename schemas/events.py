"""State-change events: the JSON on topic `state-changes`, and the JSON Schema of every topic.

One event per committed state change. `id` is the same however often the event is sent, so a consumer that remembers it sees
each change once. Integers that can pass 2^53 are strings. Addresses are StrKey text, complete (M, P and B included).
`python -m schemas.events` writes the schemas to `schemas/topics/`; a test fails when they differ from the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import orjson

from schemas import families, strkey
from schemas.messages import FailedHeader, LedgerHeaders, PartHeaders, PartKind, Topic
from schemas.state_changes import ROW_TYPES, Category, Reason

EVENT_VERSION: Final = 1
FOLDER: Final = Path(__file__).parent / "topics"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_COMMON: Final = ("to_id", "operation_id", "state_change_id", "state_change_reason", "account_id")
_ADDRESSES: Final = frozenset(
    {
        "account_id",
        "token_id",
        "signer_account_id",
        "spender_account_id",
        "sponsor_account_id",
        "sponsored_account_id",
        "creator_account_id",
        "destination_account_id",
    }
)
_BIG_INTEGERS: Final = frozenset(
    {"to_id", "operation_id", "state_change_id", "amount", "trustline_limit_old", "trustline_limit_new"}
)


def own_columns(category: Category) -> tuple[str, ...]:
    """The columns a category has beyond those of every state change."""
    row_type: Any = ROW_TYPES[category]
    return tuple(name for name in row_type._fields if name not in _COMMON)


def event_id(to_id: int, operation_id: int, state_change_id: int) -> str:
    """The id of a state change: equal on every machine and in every replay."""
    return f"{to_id}-{operation_id}-{state_change_id}"


def event_of(row: Mapping[str, Any], transaction_hash: bytes) -> dict[str, Any]:
    """The event of one row of table `state_changes` (by column name), with the hash of its transaction."""
    category = Category(row["state_change_category"])
    created: datetime = row["ledger_created_at"]
    operation = row["operation_id"]
    event: dict[str, Any] = {
        "version": EVENT_VERSION,
        "id": event_id(row["to_id"], operation, row["state_change_id"]),
        "category": category.value,
        "reason": row["state_change_reason"],
        "account_id": strkey.from_storage(row["account_id"], _unsigned(row["account_muxed_id"])),
        "ledger_number": row["ledger_number"],
        "ledger_created_at": created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "transaction_hash": transaction_hash.hex(),
        "to_id": str(row["to_id"]),
        "operation_id": str(operation) if operation else None,
        "state_change_id": str(row["state_change_id"]),
    }
    for name in own_columns(category):
        event[name] = _value(name, row)
    return event


def encode_event(event: dict[str, Any]) -> bytes:
    """The bytes of an event on the topic."""
    return orjson.dumps(event)


def _value(name: str, row: Mapping[str, Any]) -> Any:
    value = row[name]
    if value is None:
        return None
    if name in _ADDRESSES:
        return strkey.from_storage(value, None, row["signer_payload"] if name == "signer_account_id" else None)
    if name in _BIG_INTEGERS:
        return str(value)
    return value


def _unsigned(value: int | None) -> int | None:
    return None if value is None else value & ((1 << 64) - 1)


# --- JSON Schemas -----------------------------------------------------------------------------------------------------

_INTEGER_TEXT: Final = {"type": "string", "pattern": "^-?[0-9]+$"}
_ADDRESS_TEXT: Final = {"type": "string", "pattern": "^[GCMTXPLB][A-Z2-7]{55,}$"}
_HASH_TEXT: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SEQUENCE: Final = {"type": "integer", "minimum": 1}


def state_change_schema() -> dict[str, Any]:
    """The schema of a value on `state-changes` and `state-changes.replay`."""
    common = {
        "version": {"const": EVENT_VERSION},
        "id": {"type": "string", "description": "deterministic: drop an event whose id was seen"},
        "reason": {"enum": [reason.value for reason in Reason]},
        "account_id": _ADDRESS_TEXT,
        "ledger_number": _SEQUENCE,
        "ledger_created_at": {"type": "string", "format": "date-time"},
        "transaction_hash": _HASH_TEXT,
        "to_id": _INTEGER_TEXT,
        "operation_id": {"anyOf": [_INTEGER_TEXT, {"type": "null"}], "description": "null on the fee row of a transaction"},
        "state_change_id": _INTEGER_TEXT,
    }
    variants = []
    for category, row_type in ROW_TYPES.items():
        hints = get_type_hints(row_type)
        properties = {"category": {"const": category.value}, **common}
        properties |= {name: _schema_of(name, hints[name]) for name in own_columns(category)}
        variants.append(
            {
                "title": row_type.__name__,
                "type": "object",
                "properties": properties,
                "required": sorted(properties),
                "additionalProperties": False,
            }
        )
    return {"$schema": _DIALECT, "title": "State change", "description": "Key: the account. Value: one of", "oneOf": variants}


def _schema_of(name: str, hint: Any) -> dict[str, Any]:
    nullable = type(None) in get_args(hint)
    if name in _ADDRESSES:
        schema: dict[str, Any] = dict(_ADDRESS_TEXT)
    elif name in _BIG_INTEGERS:
        schema = dict(_INTEGER_TEXT)
    elif name == "key_value":
        schema = {"type": "object"}
    elif name == "liquidity_pool_id":
        schema = dict(_HASH_TEXT)
    elif str in (hint, *get_args(hint)):
        schema = {"type": "string"}
    else:
        schema = {"type": "integer"}
    return {"anyOf": [schema, {"type": "null"}]} if nullable else schema


def _headers_schema(
    title: str, description: str, example: list[tuple[str, bytes]], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    names = [name for name, _ in example]
    return {
        "$schema": _DIALECT,
        "title": title,
        "description": description,
        "type": "object",
        "properties": {name: _HEADER_SCHEMAS.get(name, {"type": "string"}) for name in names},
        "required": sorted(name for name in names if name not in optional),
    }


_NUMBER_TEXT: Final = {"type": "string", "pattern": "^[0-9]+$"}
_HEADER_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "sequence": _NUMBER_TEXT,
    "previous-sequence": {
        "type": "string",
        "pattern": "^([0-9]+|none)$",
        "description": "the ledger before in this stream; none at its start",
    },
    "close-time": {**_NUMBER_TEXT, "description": "Unix seconds"},
    "ledger-hash": _HASH_TEXT,
    "network-id": _HASH_TEXT,
    "protocol-version": _NUMBER_TEXT,
    "job": {"type": "string"},
    "processors": {"type": "string", "description": "comma separated; absent: all"},
    "kind": {"enum": [kind.value for kind in PartKind]},
    "version": _NUMBER_TEXT,
    "schema": _NUMBER_TEXT,
    "source-partition": _NUMBER_TEXT,
    "source-offset": _NUMBER_TEXT,
    FailedHeader.PARTITION: _NUMBER_TEXT,
    FailedHeader.OFFSET: _NUMBER_TEXT,
    FailedHeader.VERSION: _NUMBER_TEXT,
}


INDEX: Final = "index.json"
SCHEMA_FILES: Final[dict[Topic, str]] = {
    Topic.LEDGERS: "ledgers.headers.json",
    Topic.LEDGERS_RETRY: "ledgers.headers.json",
    Topic.LEDGERS_BACKFILL: "ledgers.headers.json",
    Topic.LEDGERS_FAILED: "ledgers.failed.headers.json",
    Topic.LEDGER_CHANGES: "ledger-changes.headers.json",
    Topic.LEDGER_CHANGES_BACKFILL: "ledger-changes.headers.json",
    Topic.STATE_CHANGES: "state-changes.json",
    Topic.STATE_CHANGES_REPLAY: "state-changes.json",
}


def topic_schemas() -> dict[str, dict[str, Any]]:
    """File name to schema: of the value where it is JSON, else of the headers. The index says which file is of which topic."""
    digest = "0" * 64
    ledger = LedgerHeaders(2, 1, 0, digest, 23, digest, processors=("effects",)).to_kafka()
    part = PartHeaders(PartKind.PART, "effects", 1, 1, 2, 1, 0, digest, digest, "live", "ledgers", 0, 0).to_kafka()
    ledgers = _headers_schema(
        "Headers of a ledger",
        "Value: LedgerCloseMeta XDR, untouched. Key: first sequence of the ledger's range.",
        ledger,
        ("processors",),
    )
    failed = _headers_schema(
        "Headers of a ledger that a processor could not process",
        "Value and key: those of the message that failed. Its own headers may be wrong or missing, as they may be what failed.",
        [*ledger, *((header.value, b"") for header in FailedHeader)],
        tuple(name for name, _ in ledger),
    )
    parts = _headers_schema(
        "Headers of a part", "Key: the sequence. Value: MessagePack, columns by family as listed (schemas/parts.py).", part
    )
    parts["families"] = {
        name: [[column, kind.value] for column, kind in family.columns] for name, family in families.FAMILIES.items()
    }
    return {
        INDEX: {topic.value: name for topic, name in SCHEMA_FILES.items()},
        SCHEMA_FILES[Topic.LEDGERS]: ledgers,
        SCHEMA_FILES[Topic.LEDGERS_FAILED]: failed,
        SCHEMA_FILES[Topic.LEDGER_CHANGES]: parts,
        SCHEMA_FILES[Topic.STATE_CHANGES]: state_change_schema(),
    }


def render(schema: dict[str, Any]) -> bytes:
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_schemas(folder: Path = FOLDER) -> list[Path]:
    """Write every schema; returns the files."""
    folder.mkdir(exist_ok=True)
    files = []
    for name, schema in topic_schemas().items():
        path = folder / name
        path.write_bytes(render(schema))
        files.append(path)
    return files


if __name__ == "__main__":
    for written in write_schemas():
        print(written.name)
