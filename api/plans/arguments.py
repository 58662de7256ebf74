"""What a resolver is given, as Python's names and values.

All that the document says is worked out once; a variable of a scalar type is handed on as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLNonNull,
    GraphQLScalarType,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
)
from graphql.execution.values import VariableValues, get_argument_values
from graphql.language import ListValueNode, ObjectValueNode
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from api.plans.errors import NotPlanned

Values = dict[str, Any]
Arguments = Callable[[VariableValues], Values]


class _Passed(NamedTuple):
    """An argument that is a variable of a scalar type, or a list of one: it is handed on as it is."""

    python_name: str
    variable: str
    default: Any
    nullable: bool


def arguments(converter: GraphQLCoreConverter, definition: GraphQLField, known: StrawberryField, node: FieldNode) -> Arguments:
    """The keyword arguments of a resolver, by the variables of a request."""
    given = {argument.name.value: argument for argument in node.arguments or ()}
    names = {converter.config.name_converter.from_argument(argument): argument.python_name for argument in known.arguments}
    declared = definition.args
    passed = {name: _passed(names[name], declared[name], argument.value) for name, argument in given.items()}
    handed_on = [one for one in passed.values() if one is not None]
    rest = tuple(argument for name, argument in given.items() if passed.get(name) is None)
    others = {name: argument for name, argument in declared.items() if passed.get(name) is None}
    definition = GraphQLField(definition.type, args=others)
    node = FieldNode(name=node.name, arguments=rest)

    def convert(values: Values) -> Values:
        return convert_arguments(values, known.arguments, converter.scalar_registry, converter.config)

    if any(_has_variable(argument.value) for argument in rest):
        return lambda variables: {
            **convert(get_argument_values(definition, node, variables)),
            **_hand_on(handed_on, variables.coerced),
        }
    fixed = convert(get_argument_values(definition, node))
    return (lambda variables: {**fixed, **_hand_on(handed_on, variables.coerced)}) if handed_on else lambda _: fixed


def _passed(python_name: str, declared: GraphQLArgument, value: ValueNode) -> _Passed | None:
    nullable = not isinstance(declared.type, GraphQLNonNull)
    if not isinstance(value, VariableNode) or not isinstance(get_named_type(declared.type), GraphQLScalarType):
        return None
    return _Passed(python_name, value.name.value, declared.default_value, nullable)


def _hand_on(passed: list[_Passed], coerced: Mapping[str, Any]) -> Values:
    values = {}
    for python_name, variable, default, nullable in passed:
        value = coerced.get(variable, default)
        if value is Undefined and nullable:
            continue
        if value in (None, Undefined) and not nullable:
            raise NotPlanned(f"a null for the argument {python_name}")
        values[python_name] = value
    return values


def _has_variable(value: ValueNode) -> bool:
    match value:
        case VariableNode():
            return True
        case ListValueNode():
            return any(map(_has_variable, value.values))
        case ObjectValueNode():
            return any(_has_variable(field.value) for field in value.fields)
        case _:
            return False
