"""The exported schema: it is the program's, it breaks no client of an earlier release, and none of the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import BreakingChangeType, GraphQLSchema, build_schema, find_breaking_changes, print_type

from api.schema import graphql_schema, sdl
from api.types.enums import OperationType
from schemas.state_changes import Category, Reason

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "graphql"


def schema_of(name: str) -> GraphQLSchema:
    return build_schema((FOLDER / name).read_text(encoding="utf-8"))


def test_the_exported_schema_is_the_program_s() -> None:
    exported = (FOLDER / "schema.graphql").read_text(encoding="utf-8")
    assert exported == sdl(), "run: python -m api.schema > schemas/graphql/schema.graphql"


def test_the_text_builds_the_same_schema() -> None:
    built = build_schema(sdl())
    for name, kind in graphql_schema().type_map.items():
        assert print_type(built.type_map[name]) == print_type(kind), name


@pytest.mark.parametrize("before", ["released.graphql", "reference.graphql"])
def test_no_client_of_an_earlier_schema_breaks(before: str) -> None:
    """`released.graphql` is the schema of the last release: copy schema.graphql over it when one is made, never before."""
    breaking = find_breaking_changes(schema_of(before), build_schema(sdl()))
    assert [change.description for change in breaking] == []


def test_a_breaking_change_would_be_seen() -> None:
    for right, wrong, kind in (
        ("feeCharged: Int64!", "feeCharged: String!", BreakingChangeType.FIELD_CHANGED_KIND),
        ("operationById(id: Int64!): Operation", "operationByToid(id: Int64!): Operation", BreakingChangeType.FIELD_REMOVED),
        ("  BURN\n", "", BreakingChangeType.VALUE_REMOVED_FROM_ENUM),
        ("category: String = null", "category: StateChangeCategory = null", BreakingChangeType.FIELD_CHANGED_KIND),
        ("poolShares: Boolean! = false", "poolShares: Boolean!", BreakingChangeType.REQUIRED_ARG_ADDED),
        ("type FlagsChange implements BaseStateChange", "type FlagsChange", BreakingChangeType.IMPLEMENTED_INTERFACE_REMOVED),
    ):
        assert right in sdl()
        found = find_breaking_changes(schema_of("reference.graphql"), build_schema(sdl().replace(right, wrong)))
        assert kind in {change.type for change in found}, wrong


def test_the_enums_are_complete() -> None:
    assert len(OperationType) == 27
    text = sdl()
    for name in (*Category, *Reason, *(kind.value for kind in OperationType)):
        assert f"\n  {name}\n" in text
