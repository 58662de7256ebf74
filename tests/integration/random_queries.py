"""Random valid queries over the schema: any fields, with aliases, fragments, directives, variables, and arguments that mostly
find something in the world of `test_api_world` and sometimes are wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from hypothesis import strategies as st

from api.paging import encode_cursor, nanoseconds
from schemas import strkey, toid
from tests.integration.test_api_world import (
    ALICE,
    BOB,
    CAROL,
    FIRST_LEDGER,
    LEDGERS,
    MUXED_ID,
    TOKEN,
    VAULT,
    closed_at,
    text,
    transaction_hash,
)

MAX_DEPTH = 7
MAX_FIELDS = 3
LAST_TRANSACTION = toid.transaction_id(FIRST_LEDGER + LEDGERS - 1, 1)
IDS = [LAST_TRANSACTION + 1, toid.transaction_id(FIRST_LEDGER, 3) + 2, toid.transaction_id(FIRST_LEDGER + 2, 4) + 4]
ADDRESSES = [
    text(ALICE),
    text(BOB),
    text(CAROL),
    text(VAULT),
    strkey.encode(bytes((strkey.MUXED,)) + ALICE[1:] + MUXED_ID.to_bytes(8, "big")),
]
HASHES = [transaction_hash(LAST_TRANSACTION).hex(), transaction_hash(LAST_TRANSACTION, inner=True).hex(), "no hash", "00" * 32]
MIDDLE = nanoseconds(closed_at(FIRST_LEDGER + 2))
CURSORS = [
    encode_cursor(MIDDLE, toid.transaction_id(FIRST_LEDGER + 2, 2)),
    encode_cursor(MIDDLE, toid.transaction_id(FIRST_LEDGER + 2, 2), 0, 0),
    encode_cursor(LAST_TRANSACTION, LAST_TRANSACTION + 1, 3),
    encode_cursor(LAST_TRANSACTION),
    "rubbish",
]
TIMES = [closed_at(FIRST_LEDGER + number).isoformat() for number in (1, 3, 5)]


class Query(NamedTuple):
    """A document with variables. Arguments stand in the document or in variables, as it falls."""

    text: str
    variables: dict[str, Any]


def queries(schema: GraphQLSchema) -> st.SearchStrategy[Query]:
    """One seed a query: hundreds of draws for each would take most of the time."""
    return st.integers(0, 1 << 32).map(lambda seed: _Builder(schema, random.Random(seed)).query())


class _Builder:
    def __init__(self, schema: GraphQLSchema, chance: random.Random) -> None:
        self._schema = schema
        self._chance = chance
        self._aliases = count()
        self._variables: dict[str, tuple[str, Any]] = {}
        self._fragments: dict[str, str] = {}

    def query(self) -> Query:
        root = self._schema.query_type
        assert root is not None
        fields = self._object(root, 0)
        declared = ", ".join(f"${name}: {kind}" for name, (kind, _) in self._variables.items())
        head = f"query Random({declared})" if declared else "query Random"
        text = " ".join([f"{head} {{ {fields} }}", *self._fragments.values()])
        return Query(text, {name: value for name, (_, value) in self._variables.items()})

    def _object(self, kind: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        chosen = self._chance.choices(sorted(kind.fields), k=self._chance.randint(1, MAX_FIELDS))
        parts = [self._field(name, kind.fields[name], kind, depth) for name in chosen]
        if self._one_in(4):
            parts.append("__typename")
        if isinstance(kind, GraphQLInterfaceType):
            possible = sorted(self._schema.get_possible_types(kind), key=lambda found: found.name)
            parts += [self._on(concrete, depth) for concrete in self._chance.sample(possible, self._chance.randint(0, 3))]
        elif self._one_in(6):
            parts.append(self._on(kind, depth))
        return " ".join(part for part in parts if part) or "__typename"

    def _on(self, kind: GraphQLObjectType, depth: int) -> str:
        """An inline fragment, or the spread of a named one."""
        fields = self._object(kind, depth)
        if self._one_in(2):
            return f"... on {kind.name}{self._directive()} {{ {fields} }}"
        name = f"F{len(self._fragments)}"
        self._fragments[name] = f"fragment {name} on {kind.name} {{ {fields} }}"
        return f"...{name}{self._directive()}"

    def _field(self, name: str, field: GraphQLField, parent: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        kind = get_named_type(field.type)
        below = ""
        if not is_leaf_type(kind):
            if depth >= MAX_DEPTH:
                return ""
            assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
            below = f" {{ {self._object(kind, depth + 1)} }}"
        arguments = self._arguments(field)
        alias = ""  # the same key must mean the same field with the same arguments and type
        if arguments or below:
            alias = f"a{next(self._aliases)}: "
        elif isinstance(parent, GraphQLObjectType) and parent.interfaces:
            alias = f"{parent.name}_{name}: "
        return f"{alias}{name}{arguments}{self._directive()}{below}"

    def _directive(self) -> str:
        if not self._one_in(8):
            return ""
        name = self._chance.choice(["skip", "include"])
        return f" @{name}(if: {self._value('Boolean!', self._one_in(2))})"

    def _one_in(self, times: int) -> bool:
        return self._chance.randrange(times) == 0

    def _arguments(self, field: GraphQLField) -> str:
        given = []
        paged = self._chance.choice(["first", "last", ""])
        for name, argument in field.args.items():
            if name in ("first", "last"):
                wanted = name == paged
            elif name in ("after", "before"):
                wanted = name == {"first": "after", "last": "before"}.get(paged) and self._one_in(4)
            else:
                wanted = is_required_argument(argument) or self._one_in(6)
            if wanted:
                given.append(f"{name}: {self._argument(name, argument)}")
        return f"({', '.join(given)})" if given else ""

    def _argument(self, name: str, argument: GraphQLArgument) -> str:
        make = _VALUES.get(name)
        if make is None:
            raise LookupError(f"no values for the argument {name}: add some to _VALUES")
        return self._value(str(argument.type), make(self._chance))

    def _value(self, kind: str, value: Any) -> str:
        if self._one_in(2):
            name = f"v{len(self._variables)}"
            self._variables[name] = (kind, value)
            return f"${name}"
        return _literal(value)


def _literal(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case dict():
            return "{" + ", ".join(f"{name}: {_literal(inner)}" for name, inner in value.items()) + "}"
        case _:
            return str(value)


def _one_of(*values: Any) -> Callable[[random.Random], Any]:
    return lambda chance: chance.choice(values)


def _filter(chance: random.Random) -> dict[str, Any]:
    possible = {
        "category": ("BALANCE", "SIGNER", "none such"),
        "reason": ("CREDIT", "ADD"),
        "operationId": tuple(map(str, IDS)),
        "transactionHash": HASHES,
        "tokenId": (text(TOKEN), "no token"),
    }
    return {name: chance.choice(values) for name, values in possible.items() if chance.randrange(3) == 0}


_VALUES: dict[str, Callable[[random.Random], Any]] = {
    "first": _one_of(1, 2, 3, 5, 0, 1000),
    "last": _one_of(1, 2, 4, 7),
    "after": _one_of(*CURSORS),
    "before": _one_of(*CURSORS),
    "hash": _one_of(*HASHES),
    "address": _one_of(*ADDRESSES, "nobody"),
    "addresses": lambda chance: chance.choices(ADDRESSES, k=chance.randint(0, 3)),
    "counterparty": _one_of(*ADDRESSES),
    "sequence": _one_of(FIRST_LEDGER, FIRST_LEDGER + LEDGERS - 1),
    "id": _one_of(*map(str, IDS)),
    "since": _one_of(*TIMES),
    "until": _one_of(*TIMES),
    "fromLedger": _one_of(FIRST_LEDGER, FIRST_LEDGER + 2),
    "toLedger": _one_of(FIRST_LEDGER + 2, FIRST_LEDGER + 5),
    "asset": _one_of("native", f"USDC:{text(CAROL)}", "bad asset"),
    "poolShares": _one_of(True, False),
    "filter": _filter,
}
