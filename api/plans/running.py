"""A request on its way through a plan.

What has to wait is gathered: all resolvers of a wave are awaited together, so the loaders see the parents of one level at once.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from types import CoroutineType
from typing import Any, Final, NamedTuple, NoReturn, TypeGuard

from graphql import (
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.error import located_error
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from graphql.type import GraphQLResolveInfoHelpers
from strawberry import Info

from api.context import Context
from api.plans.errors import NotPlanned
from api.plans.nodes import Field, Out, ResolvedField
from api.selection import Selections

_AWAITABLES: Final = (CoroutineType, Future)


def is_awaitable(value: object) -> TypeGuard[Awaitable[Any]]:
    """Resolvers give coroutines and futures, no other awaitables: this is asked for every value of every row."""
    return isinstance(value, _AWAITABLES)


class Plan(NamedTuple):
    """A compiled operation."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    roots: Sequence[Field]
    selections: Selections  # what resolvers ask of the document is the same for every request


class _Waiting(NamedTuple):
    field: ResolvedField
    value: Any
    path: Path
    out: Out


class Running:
    """One execution."""

    def __init__(self, plan: Plan, context: Context, variables: VariableValues) -> None:
        self._plan = plan
        context.selections = plan.selections
        self._context = context
        self._variables = variables
        self._asked: dict[ResolvedField, tuple[Callable[..., Any], bool, dict[str, Any]]] = {}
        self._waiting: list[_Waiting] = []
        self._errors: list[GraphQLError] = []
        self._voided = False

    async def result(self) -> ExecutionResult:
        """Data and errors as graphql-core gives them. NotPlanned for what only it can say."""
        data: Out = {}
        try:
            for field in self._plan.roots:
                field.put(self, None, None, data)
            while self._waiting:
                wave, self._waiting = self._waiting, []
                await self._settle(wave)
        except (GraphQLError, AttributeError, TypeError, ValueError) as error:
            raise NotPlanned(str(error)) from error
        finally:
            for waiting in self._waiting:
                waiting.value.close()
        if len(self._errors) > 1:
            raise NotPlanned("the order of several errors is graphql-core's")
        return ExecutionResult(None if self._voided else data, self._errors or None)

    def resolve(self, field: ResolvedField, source: Any, path: Path, out: Out) -> None:
        function, wants_source, arguments = self._asked.get(field) or self._ask(field, path)
        try:
            value = function(source, **arguments) if wants_source else function(**arguments)
        except Exception as error:  # noqa: BLE001 (an error of a field, as in graphql-core)
            self._fail(field, error, path)
            return
        if is_awaitable(value):
            self._waiting.append(_Waiting(field, value, path, out))
        else:
            out[field.key] = field.node.complete(self, value, path)

    async def _settle(self, wave: list[_Waiting]) -> None:
        values: Sequence[Any]
        if len(wave) == 1:
            try:
                values = [await wave[0].value]
            except Exception as error:  # noqa: BLE001 (an error of a field, as in graphql-core)
                values = [error]
        else:
            values = await asyncio.gather(*(waiting.value for waiting in wave), return_exceptions=True)
        for (field, _, path, out), value in zip(wave, values, strict=True):
            if isinstance(value, Exception):
                self._fail(field, value, path)
            elif isinstance(value, BaseException):
                raise value
            else:
                out[field.key] = field.node.complete(self, value, path)

    def _fail(self, field: ResolvedField, error: Exception, path: Path) -> None:
        """A null takes the place of a field that failed, or of all data when a root field may not be null."""
        if isinstance(error, NotPlanned) or not (field.nullable or field.at_root):
            raise NotPlanned("the null of a field that may not be null goes up") from error
        self._voided = self._voided or not field.nullable
        self._errors.append(located_error(error, field.place.nodes, path.as_list()))

    def _ask(self, field: ResolvedField, path: Path) -> tuple[Callable[..., Any], bool, dict[str, Any]]:
        """How a field is asked: the same for all its parents."""
        resolver = field.resolver
        arguments = field.arguments(self._variables)
        if resolver.info_name is not None:
            arguments = {**arguments, resolver.info_name: Info(_raw_info=self._info(field, path), _field=resolver.field)}
        asked = self._asked[field] = resolver.function, resolver.wants_source, arguments
        return asked

    def _info(self, field: ResolvedField, path: Path) -> GraphQLResolveInfo[Context]:
        """No resolver of ours looks at the path, which is the first parent's."""
        place, plan = field.place, self._plan
        return GraphQLResolveInfo(
            field_name=place.nodes[0].name.value,
            field_nodes=place.nodes,
            return_type=place.definition.type,
            parent_type=place.parent,
            path=path,
            schema=plan.schema,
            fragments=plan.fragments,
            root_value=None,
            operation=plan.operation,
            variable_values=self._variables,
            context=self._context,
            is_awaitable=is_awaitable,
            abort_signal=None,
            async_helpers=_HELPERS,
        )


def _not_here(_: object) -> NoReturn:
    raise NotPlanned("a resolver wants help that plans do not give")


_HELPERS: Final = GraphQLResolveInfoHelpers(_not_here, _not_here)
