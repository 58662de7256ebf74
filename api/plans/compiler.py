"""From a valid operation to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import isfunction
from operator import attrgetter
from typing import Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLEnumType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.execution.values import VariableValues
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from api.plans.arguments import arguments
from api.plans.collect import Collector
from api.plans.errors import NotPlanned
from api.plans.nodes import (
    AbstractOf,
    AttributeField,
    ConstantField,
    Field,
    Leaf,
    ListOf,
    Node,
    ObjectOf,
    Place,
    ResolvedField,
    Resolver,
)
from api.schema import strawberry_schema

DEFINITION: Final = "strawberry-definition"  # where Strawberry keeps its own definition of a type or field
TYPENAME: Final = "__typename"
MAX_FIELDS: Final = 5_000  # of a plan: a document may ask for many combinations of fragments with few words


class Compiler:
    """Compiles one operation, with the values of the variables that decide about @skip and @include."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._converter = strawberry_schema().schema_converter
        self._collector = Collector(schema, fragments, variables)
        self._objects: dict[tuple[str, bool, tuple[int, ...]], ObjectOf] = {}
        self._left = MAX_FIELDS

    def roots(self) -> list[Field]:
        """The fields of the operation. NotPlanned when there are any that plans leave to graphql-core."""
        root = self._schema.get_root_type(self._operation.operation)
        if root is None or root is not self._schema.query_type:
            raise NotPlanned("not a query")
        found = self._collector.fields([self._operation.selection_set], root)
        return [self._field(key, nodes, root, at_root=True) for key, nodes in found.items()]

    def _field(self, key: str, nodes: list[FieldNode], parent: GraphQLObjectType, at_root: bool = False) -> Field:
        self._left -= 1
        if self._left < 0:
            raise NotPlanned(f"more than {MAX_FIELDS} fields")
        name = nodes[0].name.value
        if name == TYPENAME:
            return ConstantField(key, parent.name)
        definition = self._schema.get_field(parent, name)
        known = None if definition is None else definition.extensions.get(DEFINITION)
        if definition is None or not isinstance(known, StrawberryField):
            raise NotPlanned(f"{parent.name}.{name} is not of our schema")
        node = self._node(definition.type, nodes)
        if known.is_basic_field:
            return AttributeField(key, attrgetter(known.python_name), node)
        place = Place(key, nodes, definition, parent)
        given = arguments(self._converter, definition, known, nodes[0])
        return ResolvedField(place, _resolver(known), node, given, at_root)

    def _node(self, kind: GraphQLOutputType, nodes: list[FieldNode]) -> Node:
        nullable = not isinstance(kind, GraphQLNonNull)
        inner = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        match inner:
            case GraphQLScalarType() | GraphQLEnumType():
                return Leaf(inner, nullable)
            case GraphQLList():
                return ListOf(self._node(inner.of_type, nodes), nullable)
            case GraphQLObjectType():
                return self._object(inner, nodes, nullable)
            case GraphQLInterfaceType():
                return self._interface(inner, nodes, nullable)
            case _:
                raise NotPlanned(f"a field of type {inner}")

    def _object(self, kind: GraphQLObjectType, nodes: Sequence[FieldNode], nullable: bool) -> ObjectOf:
        """Fields of one interface lead to the same nodes below, so an object that was compiled is used again."""
        key = (kind.name, nullable, tuple(map(id, nodes)))
        if key not in self._objects:
            chosen = [node.selection_set for node in nodes if node.selection_set is not None]
            found = self._collector.fields(chosen, kind)
            self._objects[key] = ObjectOf([self._field(*item, kind) for item in found.items()], nullable)
        return self._objects[key]

    def _interface(self, kind: GraphQLInterfaceType, nodes: list[FieldNode], nullable: bool) -> AbstractOf:
        kinds: dict[type, ObjectOf] = {}
        for possible in self._schema.get_possible_types(kind):
            known = possible.extensions.get(DEFINITION)
            if not isinstance(known, StrawberryObjectDefinition) or known.origin in kinds:
                raise NotPlanned(f"objects of {possible.name} are not known by their class")
            kinds[known.origin] = self._object(possible, nodes, nullable)
        return AbstractOf(kinds, nullable)


def _resolver(known: StrawberryField) -> Resolver:
    """The function itself, without what Strawberry puts around it at every call."""
    resolver = known.base_resolver
    function = None if resolver is None else resolver.wrapped_func
    if resolver is None or known.extensions or resolver.root_parameter or resolver.parent_parameter or not isfunction(function):
        raise NotPlanned(f"{known.name} is not resolved by a plain method")
    info = resolver.info_parameter
    return Resolver(known, function, resolver.self_parameter is not None, None if info is None else info.name)
