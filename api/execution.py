"""From a GraphQL request to the bytes of its answer: parse, validate, weigh, execute, format.

Documents that were valid once are remembered with their text, so a client's few queries are parsed and validated once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from inspect import isawaitable
from typing import Any, Final, NamedTuple

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    execute,
    get_operation_ast,
    parse,
    specified_rules,
    subscribe,
    validate,
)
from graphql.execution.values import get_variable_values
from graphql.validation import ASTValidationRule, MaxIntrospectionDepthRule

from api import limits
from api.context import Context, Live
from api.database import Allowance, Database
from api.errors import Code, public, with_code
from api.live.feed import Feed
from api.live.sharing import SharedReads
from api.loaders import Loaders
from api.plans.cache import Plans
from api.plans.errors import NotPlanned
from api.plans.running import Running, is_awaitable
from lumenstream import metrics
from lumenstream.settings import Settings

DOCUMENTS: Final = 1_000
MAX_VALIDATION_ERRORS: Final = 20
LONG_QUERY: Final = 4_000  # characters
# Comparing fields that overlap costs the square of their number, so that rule runs last, on what is not too complex.
LINEAR_RULES: Final = tuple(rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule)
OK: Final = 200
UNPROCESSABLE: Final = 422
METHOD_NOT_ALLOWED: Final = 405


class Request(NamedTuple):
    """What the transport took from the wire."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None
    read_only: bool  # a GET


_PLANNED: Final = metrics.API_EXECUTIONS.labels("planned")
_WALKED: Final = metrics.API_EXECUTIONS.labels("walked")

Body = dict[str, Any]  # data, and errors when there are some


class Answer(NamedTuple):
    status: int
    body: bytes


class _Refused(Exception):
    """The request ends before execution."""

    def __init__(self, status: int, code: Code, errors: list[GraphQLError]) -> None:
        super().__init__(code.value)
        self.status = status
        self.code = code
        self.errors = errors


class StreamRefused(Exception):
    """A subscription that does not begin; `errors` in their JSON form."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


class Executor:
    """Executes requests on one schema. One per process; holds no state of a request."""

    def __init__(self, schema: GraphQLSchema, settings: Settings, database: Database, feed: Feed) -> None:
        self._schema = schema
        self._settings = settings.api
        self._network_id = settings.network.network_id()
        self._database = database
        self._feed = feed
        self._shared = SharedReads(database)
        self._documents: OrderedDict[str, DocumentNode] = OrderedDict()
        self._plans = Plans(schema, settings.api) if settings.api.plans else None
        introspection_rules = () if settings.api.introspection else (NoSchemaIntrospectionCustomRule,)
        self._rules = (*LINEAR_RULES, MaxIntrospectionDepthRule, *introspection_rules)

    async def answer(self, request: Request, request_id: str) -> Answer:
        return await self.planned(request, request_id) or await self.walked(request, request_id)

    async def planned(self, request: Request, request_id: str) -> Answer | None:
        """The answer of a compiled plan, for a document that was valid before. None: it is graphql-core's to give."""
        document = self._known(request.query)
        if document is None or self._plans is None:
            return None
        try:
            plan, variables = self._plans.find(request.query, document, request.operation_name, request.variables)
            result = await Running(plan, self._context(request_id), variables).result()
        except NotPlanned:
            _WALKED.inc()
            return None
        _PLANNED.inc()
        return Answer(OK, orjson.dumps(_body(result, request_id)))

    async def walked(self, request: Request, request_id: str) -> Answer:
        """The answer of graphql-core, which walks the document."""
        try:
            result = await self._execute(request, request_id)
        except _Refused as refused:
            errors = [with_code(error, refused.code) for error in refused.errors]
            return Answer(refused.status, orjson.dumps({"errors": errors, "data": None}))
        except GraphQLError as error:
            return Answer(OK, orjson.dumps({"errors": [public(error, request_id)], "data": None}))
        return Answer(OK, orjson.dumps(_body(result, request_id)))

    async def stream(self, request: Request, request_id: str) -> AsyncGenerator[Body]:
        """The answers of a subscription, or the one of another operation. StreamRefused when there are only errors."""
        try:
            document, operation = await self._prepared(request)
        except _Refused as refused:
            raise StreamRefused([with_code(error, refused.code) for error in refused.errors]) from refused
        except GraphQLError as error:
            raise StreamRefused([public(error, request_id)]) from error
        if operation.operation is not OperationType.SUBSCRIPTION:
            return _once(_body(await self._run(document, request, request_id), request_id))
        begun = subscribe(
            self._schema,
            document,
            context_value=self._context(request_id, Live(self._shared, self._feed)),
            variable_values=request.variables,
            operation_name=request.operation_name,
        )
        events = await begun if isawaitable(begun) else begun
        if isinstance(events, ExecutionResult):
            raise StreamRefused([public(error, request_id) for error in events.errors or ()])
        return _bodies(events, request_id)

    async def _execute(self, request: Request, request_id: str) -> ExecutionResult:
        document, operation = await self._prepared(request)
        if operation.operation is OperationType.SUBSCRIPTION:
            error = GraphQLError("subscriptions go over WebSocket or to clients that accept text/event-stream")
            raise _Refused(UNPROCESSABLE, Code.GRAPHQL_VALIDATION_FAILED, [error])
        return await self._run(document, request, request_id)

    async def _prepared(self, request: Request) -> tuple[DocumentNode, OperationDefinitionNode]:
        """The valid document and the operation asked for, within the limits."""
        known = self._known(request.query)
        document = known or self._parsed(request.query)
        operation = get_operation_ast(document, request.operation_name)
        if operation is None:
            message = "operationName must name one of the operations" if request.operation_name else "operationName is required"
            raise _Refused(UNPROCESSABLE, Code.GRAPHQL_VALIDATION_FAILED, [GraphQLError(message)])
        if request.read_only and operation.operation is OperationType.MUTATION:
            error = GraphQLError("GET is for queries: use POST")
            raise _Refused(METHOD_NOT_ALLOWED, Code.GRAPHQL_VALIDATION_FAILED, [error])
        if known is None:
            await self._validate(request.query, document, self._rules)
        self._check_variables(operation, request.variables)
        limits.check(self._schema, operation, _fragments(document), request.variables, self._settings)
        if known is None:
            await self._validate(request.query, document, (OverlappingFieldsCanBeMergedRule,))
            self._remember(request.query, document)
        return document, operation

    def _context(self, request_id: str, live: Live | None = None) -> Context:
        reader = Allowance(self._database)
        return Context(reader, self._settings, self._network_id, Loaders(reader), request_id, live)

    async def _run(self, document: DocumentNode, request: Request, request_id: str) -> ExecutionResult:
        result = execute(
            self._schema,
            document,
            context_value=self._context(request_id),
            variable_values=request.variables,
            operation_name=request.operation_name,
            is_awaitable=is_awaitable,
        )
        return await result if isawaitable(result) else result

    def _known(self, text: str) -> DocumentNode | None:
        """The document of a query text that was valid before."""
        known = self._documents.get(text)
        if known is not None:
            self._documents.move_to_end(text)
        return known

    def _parsed(self, text: str) -> DocumentNode:
        try:
            return parse(text, max_tokens=self._settings.max_tokens)
        except GraphQLSyntaxError as error:
            raise _Refused(UNPROCESSABLE, Code.GRAPHQL_PARSE_FAILED, [error]) from error

    async def _validate(self, text: str, document: DocumentNode, rules: Sequence[type[ASTValidationRule]]) -> None:
        """A long document is validated beside the loop: other requests go on meanwhile."""
        if len(text) > LONG_QUERY:
            errors = await asyncio.to_thread(validate, self._schema, document, rules, MAX_VALIDATION_ERRORS)
        else:
            errors = validate(self._schema, document, rules, MAX_VALIDATION_ERRORS)
        if errors:
            raise _Refused(UNPROCESSABLE, Code.GRAPHQL_VALIDATION_FAILED, errors)

    def _remember(self, text: str, document: DocumentNode) -> None:
        self._documents[text] = document
        if len(self._documents) > DOCUMENTS:
            self._documents.popitem(last=False)

    def _check_variables(self, operation: OperationDefinitionNode, variables: dict[str, Any]) -> None:
        found = get_variable_values(self._schema, operation.variable_definitions or (), variables)
        if isinstance(found, list):
            raise _Refused(UNPROCESSABLE, Code.GRAPHQL_VALIDATION_FAILED, found)


def _fragments(document: DocumentNode) -> Mapping[str, FragmentDefinitionNode]:
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


def _body(result: ExecutionResult, request_id: str) -> Body:
    if not result.errors:
        return {"data": result.data}
    return {"errors": [public(error, request_id) for error in result.errors], "data": result.data}


async def _once(body: Body) -> AsyncGenerator[Body]:
    yield body


async def _bodies(events: AsyncIterator[ExecutionResult], request_id: str) -> AsyncGenerator[Body]:
    try:
        async for result in events:
            yield _body(result, request_id)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
