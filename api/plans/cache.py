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
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    get_operation_ast,
    visit,
)
from graphql.execution.values import VariableValues

from api import limits
from api.errors import ClientError
from api.plans.compiler import Compiler
from api.plans.errors import NotPlanned
from api.plans.running import Plan
from api.plans.variables import Variables
from api.selection import Selections
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
        uses = _uses(document)
        self._deciding = tuple(sorted(uses.deciding))
        self._nested = uses.nested
        self._variables = Variables(schema, found)
        self._shapes: OrderedDict[tuple[Any, ...], Plan | None] = OrderedDict()

    def prepared(self, given: Mapping[str, Any]) -> Prepared:
        variables = self._variables.whole(given) if self._nested else self._variables.coerced(given)
        key = tuple(variables.coerced.get(name) for name in self._deciding)
        if key in self._shapes:
            plan = self._shapes[key]
        else:
            plan = self._shapes[key] = self._compiled(given)
            if len(self._shapes) > MAX_SHAPES:
                self._shapes.popitem(last=False)
        if plan is None:
            raise NotPlanned("not for plans")
        return Prepared(plan, variables)

    def _compiled(self, given: Mapping[str, Any]) -> Plan | None:
        try:
            limits.check(self._schema, self._operation, self._fragments, given, self._settings)
            roots = Compiler(self._schema, self._operation, self._fragments, self._variables.whole(given)).roots()
        except (NotPlanned, ClientError):
            return None
        return Plan(self._schema, self._operation, self._fragments, roots, Selections())


class _Uses(Visitor):
    """What a document does with variables: those that decide which fields there are and how many rows, and whether any stands
    inside a list or an object."""

    def __init__(self) -> None:
        super().__init__()
        self.deciding: set[str] = set()
        self.nested = False

    def enter_argument(self, node: ArgumentNode, _key: object, _parent: object, _path: object, ancestors: list[Any]) -> None:
        inside = next((above for above in reversed(ancestors) if isinstance(above, FieldNode | DirectiveNode)), None)
        if isinstance(node.value, VariableNode) and (isinstance(inside, DirectiveNode) or node.name.value in _ROWS):
            self.deciding.add(node.value.name.value)

    def enter_variable(self, _node: VariableNode, _key: object, parent: object, *_: object) -> None:
        self.nested = self.nested or not isinstance(parent, ArgumentNode | VariableDefinitionNode)


def _uses(document: DocumentNode) -> _Uses:
    found = _Uses()
    visit(document, found)
    return found
