"""Which fields a selection asks of an object type: fragments opened, @skip and @include decided, equal response keys merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
)
from graphql.execution.values import VariableValues, get_directive_values
from graphql.language import NamedTypeNode

Fields = dict[str, list[FieldNode]]  # response key: the nodes that ask for it, in the order of the document

_NAMES: Final = frozenset({"skip", "include"})


class Collector:
    """For one operation with its variables."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], variables: VariableValues) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables

    def fields(self, selections: Iterable[SelectionSetNode], kind: GraphQLObjectType) -> Fields:
        """The fields that objects of this type show, in the order of the answer."""
        found: Fields = {}
        seen: set[str] = set()
        for selection_set in selections:
            self._visit(selection_set, kind, found, seen)
        return found

    def _visit(self, chosen: SelectionSetNode, kind: GraphQLObjectType, found: Fields, seen: set[str]) -> None:
        for selection in chosen.selections:
            if not self._wanted(selection):
                continue
            if isinstance(selection, FieldNode):
                key = selection.alias.value if selection.alias else selection.name.value
                found.setdefault(key, []).append(selection)
            elif isinstance(selection, InlineFragmentNode):
                if self._applies(selection.type_condition, kind):
                    self._visit(selection.selection_set, kind, found, seen)
            elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in seen:
                seen.add(selection.name.value)
                fragment = self._fragments[selection.name.value]
                if self._applies(fragment.type_condition, kind):
                    self._visit(fragment.selection_set, kind, found, seen)

    def _wanted(self, node: SelectionNode) -> bool:
        if not node.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        if skip is not None and skip["if"]:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return include is None or bool(include["if"])

    def _applies(self, condition: NamedTypeNode | None, kind: GraphQLObjectType) -> bool:
        if condition is None or condition.name.value == kind.name:
            return True
        named = self._schema.get_type(condition.name.value)
        return isinstance(named, GraphQLInterfaceType) and self._schema.is_sub_type(named, kind)
