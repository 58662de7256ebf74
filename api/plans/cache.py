"""The plans of a process, by document and operation name.

A document comes here when it was valid once and is asked again. What its variables decide - which fields are left out, how many
rows a page may have - is part of the key below it; the complexity is weighed once for each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    OperationDefinitionNode,
    VariableNode,
    Visitor,
    get_operation_ast,
    visit,
)
from graphql.execution.values import VariableValues, get_variable_values

from api import limits
from api.errors import ClientError
from api.plans.compiler import Compiler
from api.plans.errors import NotPlanned
from api.plans.running import Plan
from lumenstream.settings import ApiSettings

MAX_OPERATIONS: Final = 1_000
MAX_SHAPES: Final = 16  # of one operation
_ROWS: Final = frozenset({"first", "last"})


class Prepared(NamedTuple):
    """What a request runs."""

    plan: Plan
    variables: VariableValues


class Plans:
    def __init__(self, schema: GraphQLSchema, settings: ApiSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._operations: OrderedDict[tuple[str, str | None], _Operation] = OrderedDict()

    def find(self, text: str, document: DocumentNode, name: str | None, variables: Mapping[str, Any]) -> Prepared:
        """The plan of a valid document. NotPlanned when there is none, or the request is refused anyway."""
        known = self._operations.get((text, name))
        if known is None:
            known = self._operations[(text, name)] = _Operation(self._schema, self._settings, document, name)
            if len(self._operations) > MAX_OPERATIONS:
                self._operations.popitem(last=False)
        else:
            self._operations.move_to_end((text, name))
        return known.prepared(variables)


class _Operation:
    def __init__(self, schema: GraphQLSchema, settings: ApiSettings, document: DocumentNode, name: str | None) -> None:
        found = get_operation_ast(document, name)
        if found is None:
            raise NotPlanned("no such operation")
        self._schema = schema
        self._settings = settings
        self._operation: OperationDefinitionNode = found
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        self._deciding = _deciding(document)
        self._shapes: OrderedDict[tuple[Any, ...], Plan | None] = OrderedDict()

    def prepared(self, given: Mapping[str, Any]) -> Prepared:
        variables = get_variable_values(self._schema, self._operation.variable_definitions or (), dict(given))
        if isinstance(variables, list):
            raise NotPlanned("the variables do not fit")
        key = tuple(variables.coerced.get(name) for name in self._deciding)
        if key in self._shapes:
            plan = self._shapes[key]
        else:
            plan = self._shapes[key] = self._compiled(given, variables)
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.popitem(last=False)
        if plan is None:
            raise NotPlanned("not for plans")
        return Prepared(plan, variables)

    def _compiled(self, given: Mapping[str, Any], variables: VariableValues) -> Plan | None:
        try:
            limits.check(self._schema, self._operation, self._fragments, given, self._settings)
            roots = Compiler(self._schema, self._operation, self._fragments, variables).roots()
        except (NotPlanned, ClientError):
            return None
        return Plan(self._schema, self._operation, self._fragments, roots)


class _Variables(Visitor):
    """Names of the variables that decide which fields there are and how many rows."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_argument(self, node: ArgumentNode, _key: object, _parent: object, _path: object, ancestors: list[Any]) -> None:
        inside = next((above for above in reversed(ancestors) if isinstance(above, FieldNode | DirectiveNode)), None)
        if isinstance(node.value, VariableNode) and (isinstance(inside, DirectiveNode) or node.name.value in _ROWS):
            self.names.add(node.value.name.value)


def _deciding(document: DocumentNode) -> tuple[str, ...]:
    found = _Variables()
    visit(document, found)
    return tuple(sorted(found.names))
