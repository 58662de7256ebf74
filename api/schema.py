"""The GraphQL schema, and its text: `python -m api.schema` prints what schemas/graphql/schema.graphql must hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Final

import strawberry
from graphql import GraphQLObjectType, GraphQLSchema, is_introspection_type
from strawberry.schema.config import StrawberryConfig
from strawberry.types.field import StrawberryField

from api.root import Query
from api.scalars import SCALARS
from api.subscription import Subscription
from api.types import balance_types, change_types

DEFINITION: Final = "strawberry-definition"  # where Strawberry keeps its own definition on a field of graphql-core


@cache
def strawberry_schema() -> strawberry.Schema:
    """The schema as Strawberry knows it; the types that only an interface leads to are named here."""
    return strawberry.Schema(
        query=Query,
        subscription=Subscription,
        types=[*change_types.IMPLEMENTATIONS, *balance_types.IMPLEMENTATIONS],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


@cache
def graphql_schema() -> GraphQLSchema:
    """The schema that graphql-core executes. Fields without a resolver read their attribute, with nothing in between."""
    schema = strawberry_schema()._schema
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not is_introspection_type(kind):
            for field in kind.fields.values():
                definition = field.extensions.get(DEFINITION)
                if isinstance(definition, StrawberryField) and definition.is_basic_field:
                    field.resolve = _attribute(definition.python_name)
    return schema


def _attribute(name: str) -> Callable[..., object]:
    read = attrgetter(name)

    def resolve(source: object, _info: object) -> object:
        return read(source)

    return resolve


def sdl() -> str:
    return strawberry_schema().as_str() + "\n"


if __name__ == "__main__":
    print(sdl(), end="")
