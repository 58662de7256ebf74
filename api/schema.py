"""The GraphQL schema, and its text: `python -m api.schema` prints what schemas/graphql/schema.graphql must hold."""

from __future__ import annotations

from functools import cache

import strawberry
from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from api.root import Query
from api.scalars import SCALARS
from api.types import balance_types, change_types


@cache
def strawberry_schema() -> strawberry.Schema:
    """The schema as Strawberry knows it; the types that only an interface leads to are named here."""
    return strawberry.Schema(
        query=Query,
        types=[*change_types.IMPLEMENTATIONS, *balance_types.IMPLEMENTATIONS],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


def graphql_schema() -> GraphQLSchema:
    """The schema that graphql-core executes."""
    return strawberry_schema()._schema


def sdl() -> str:
    return strawberry_schema().as_str() + "\n"


if __name__ == "__main__":
    print(sdl(), end="")
