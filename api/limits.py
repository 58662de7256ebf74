"""What a query may cost: depth and complexity, computed on the document before anything is read (spec/api.md 5).

A field costs 1 and what is below it; all inline fragments count. A list costs what one row costs times the rows asked for: so
many aliases or nested pages cannot ask for more than a few thousand rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from api.errors import ClientError, Code
from lumenstream import metrics
from lumenstream.settings import ApiSettings

_UNPAGED: Final = frozenset({("Transaction", "accounts"), ("Operation", "accounts")})
_MANY_BALANCES: Final = ("Query", "balancesByAccountAddresses")
_UNPAGED_ROWS: Final = 50
_TOTAL: Final = "totalCount"
_TOTAL_COST: Final = 10  # for each row of the page: it may look at counts.MAX_COUNT entries of an index
_CONNECTION: Final = "Connection"  # how the name of every type of a paged list ends
_INTROSPECTION: Final = frozenset({"__schema", "__type"})

Composite = GraphQLObjectType | GraphQLInterfaceType


class Cost(NamedTuple):
    complexity: int
    depth: int


def check(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    settings: ApiSettings,
) -> None:
    """QUERY_TOO_DEEP or COMPLEXITY_LIMIT_EXCEEDED when the operation goes beyond. The document must be valid."""
    cost = weigh(schema, operation, fragments, variables, settings)
    metrics.API_COMPLEXITY.observe(cost.complexity)
    if cost.depth > settings.max_depth:
        raise ClientError(
            Code.QUERY_TOO_DEEP, f"operation has depth {cost.depth}, which exceeds the limit of {settings.max_depth}"
        )
    if cost.complexity > settings.max_complexity:
        message = f"operation has complexity {cost.complexity}, which exceeds the limit of {settings.max_complexity}"
        raise ClientError(Code.COMPLEXITY_LIMIT_EXCEEDED, message)


def weigh(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    settings: ApiSettings,
) -> Cost:
    """What the operation costs. The document must be valid: a spread that leads to itself would never end."""
    return _Weigher(schema, operation, fragments, variables, settings).total()


class _Weigher:
    def __init__(
        self,
        schema: GraphQLSchema,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        settings: ApiSettings,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._fragments = fragments
        self._variables = variables
        self._settings = settings
        self._weighed: dict[str, Cost] = {}

    def total(self) -> Cost:
        root = self._schema.get_root_type(self._operation.operation)
        return Cost(0, 0) if root is None else self._selections(self._operation.selection_set, root)

    def _selections(self, chosen: SelectionSetNode, parent: Composite) -> Cost:
        complexity = depth = 0
        for selection in chosen.selections:
            if isinstance(selection, FieldNode):
                cost = self._field(selection, parent)
            elif isinstance(selection, FragmentSpreadNode):
                cost = self._fragment(selection.name.value)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                cost = self._selections(selection.selection_set, self._composite(condition.name.value) if condition else parent)
            else:
                raise TypeError(f"a selection of an unknown kind: {selection.kind}")
            complexity += cost.complexity
            depth = max(depth, cost.depth)
        return Cost(complexity, depth)

    def _fragment(self, name: str) -> Cost:
        """Each fragment is weighed once: spreads within spreads cannot make this walk long."""
        if name not in self._weighed:
            definition = self._fragments[name]
            parent = self._composite(definition.type_condition.name.value)
            self._weighed[name] = self._selections(definition.selection_set, parent)
        return self._weighed[name]

    def _field(self, field: FieldNode, parent: Composite) -> Cost:
        name = field.name.value
        below = Cost(0, 0)
        paged = False
        if field.selection_set is not None:
            kind = self._result_type(name, parent)
            below = self._selections(field.selection_set, kind)
            paged = kind.name.endswith(_CONNECTION)
        place = (parent.name, name)
        if paged:
            complexity = below.complexity * self._rows(field)
        elif place in _UNPAGED:
            complexity = below.complexity * _UNPAGED_ROWS
        elif place == _MANY_BALANCES:
            complexity = 1 + below.complexity * self._settings.max_balance_accounts
        else:
            complexity = (_TOTAL_COST if name == _TOTAL else 1) + below.complexity
        return Cost(complexity, 0 if name in _INTROSPECTION else 1 + below.depth)

    def _rows(self, field: FieldNode) -> int:
        """Rows that a page may hold: first, else last, else the default page."""
        given = {argument.name.value: argument.value for argument in field.arguments or ()}
        for name in ("first", "last"):
            node = given.get(name)
            value = self._variable(node) if isinstance(node, VariableNode) else getattr(node, "value", None)
            if isinstance(value, str) and isinstance(node, IntValueNode | VariableNode):
                value = int(value) if len(value) <= 10 and value.isdigit() else None
            if isinstance(value, int | float) and value > 0:  # 5.0 in a variable is an Int, too
                return int(min(value, self._settings.page_max))  # a larger page is refused by the resolver
        return self._settings.page_default

    def _variable(self, node: VariableNode) -> Any:
        name = node.name.value
        if name in self._variables:
            return self._variables[name]
        for definition in self._operation.variable_definitions or ():
            if definition.variable.name.value == name and definition.default_value is not None:
                return getattr(definition.default_value, "value", None)
        return None

    def _result_type(self, field: str, parent: Composite) -> Composite:
        definition = self._schema.get_field(parent, field)
        if definition is None:
            raise LookupError(f"{parent.name} has no field {field}")
        return self._composite(get_named_type(definition.type).name)

    def _composite(self, name: str) -> Composite:
        found = self._schema.get_type(name)
        if not isinstance(found, GraphQLObjectType | GraphQLInterfaceType):
            raise TypeError(f"{name} has no fields")
        return found
