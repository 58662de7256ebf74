"""The values of a request's variables, as graphql-core coerces them: text, numbers and truth values by a look at the type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from graphql import GraphQLSchema, NamedTypeNode, NonNullTypeNode, OperationDefinitionNode, VariableDefinitionNode
from graphql.execution.values import VariableValues, get_variable_values

from api.plans.errors import NotPlanned

_INT32: Final = 1 << 31
_KINDS: Final[Mapping[str, type]] = {"String": str, "Boolean": bool, "Int": int}
_ABSENT: Final = object()


class _Simple(NamedTuple):
    name: str
    kind: type
    nullable: bool


class Variables:
    """Of one operation."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions: Sequence[VariableDefinitionNode] = operation.variable_definitions or ()
        simple = [_simple(definition) for definition in self._definitions]
        self._simple = [one for one in simple if one is not None]
        self._all_simple = len(self._simple) == len(simple)

    def coerced(self, given: Mapping[str, Any]) -> VariableValues:
        """Without sources when a look at the types was enough. NotPlanned for values that do not fit."""
        return self._looked_at(given) or self.whole(given)

    def whole(self, given: Mapping[str, Any]) -> VariableValues:
        """With everything that graphql-core itself works with."""
        found = get_variable_values(self._schema, self._definitions, dict(given))
        if isinstance(found, list):
            raise NotPlanned("the variables do not fit")
        return found

    def _looked_at(self, given: Mapping[str, Any]) -> VariableValues | None:
        if not self._all_simple:
            return None
        values: dict[str, Any] = {}
        for name, kind, nullable in self._simple:
            value: Any = given.get(name, _ABSENT)
            if type(value) is kind and (type(value) is not int or -_INT32 <= value < _INT32):
                values[name] = value
            elif value is None and nullable:
                values[name] = None
            elif value is not _ABSENT or not nullable:
                return None
        return VariableValues({}, values)


def _simple(definition: VariableDefinitionNode) -> _Simple | None:
    """A variable without a default, of a type that is known by a look."""
    kind = definition.type
    nullable = not isinstance(kind, NonNullTypeNode)
    named = kind.type if isinstance(kind, NonNullTypeNode) else kind
    if definition.default_value is not None or not isinstance(named, NamedTypeNode) or named.name.value not in _KINDS:
        return None
    return _Simple(definition.variable.name.value, _KINDS[named.name.value], nullable)
