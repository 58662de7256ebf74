"""What a plan is made of. A node turns what a resolver gave into what JSON holds; a field puts it into its object.

Where nobody needs to be asked, `plain` does the work as a function of the value alone. The others get the run, to note what it
has to wait for, and the path, to say where an error happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from graphql import FieldNode, GraphQLEnumType, GraphQLField, GraphQLNonNull, GraphQLObjectType, GraphQLScalarType
from graphql.pyutils import Path
from strawberry.types.field import StrawberryField

from api.plans.arguments import Arguments
from api.plans.errors import NotPlanned
from api.plans.leaves import reader

Json = Any
Plain = Callable[[Any], Json]
Out = dict[str, Json]


class Resolver(NamedTuple):
    """A method of a GraphQL type, and what it wants besides its arguments."""

    field: StrawberryField
    function: Callable[..., Any]
    wants_source: bool
    info_name: str | None


class Place(NamedTuple):
    """A field of the schema as an operation asks for it."""

    key: str
    nodes: list[FieldNode]
    definition: GraphQLField
    parent: GraphQLObjectType


class Run(Protocol):
    """One request on its way through a plan."""

    def resolve(self, field: ResolvedField, source: Any, path: Path, out: Out) -> None:
        """Ask the field's resolver, now or together with others, and put what it gives into `out`."""


class Node(Protocol):
    """`plain` is None when somebody has to be asked."""

    plain: Plain | None

    def complete(self, run: Run, value: Any, path: Path) -> Json: ...


class Field(Protocol):
    key: str
    plain: Plain | None

    def put(self, run: Run, source: Any, path: Path | None, out: Out) -> None: ...


class Leaf:
    """A scalar or enum."""

    def __init__(self, kind: GraphQLScalarType | GraphQLEnumType, nullable: bool) -> None:
        self._kind = kind
        self._nullable = nullable
        self._write = self.behind(_itself)
        self.plain: Plain | None = self._write

    def behind(self, read: Callable[[Any], Any]) -> Plain:
        """As `plain`, of what `read` finds in an object."""
        return reader(self._kind, self._nullable, read)

    def complete(self, run: Run, value: Any, path: Path) -> Json:
        return self._write(value)


class ListOf:
    def __init__(self, item: Node, nullable: bool) -> None:
        self._item = item
        self._nullable = nullable
        self.plain = None if item.plain is None else self._plain_list(item.plain)

    def complete(self, run: Run, value: Any, path: Path) -> Json:
        if type(value) is not list:
            return _no(value, self._nullable)
        complete = self._item.complete
        return [complete(run, item, Path(path, index, None)) for index, item in enumerate(value)]

    def _plain_list(self, write: Plain) -> Plain:
        nullable = self._nullable
        return lambda value: [write(item) for item in value] if type(value) is list else _no(value, nullable)


class ObjectOf:
    """An object of one type."""

    def __init__(self, fields: Sequence[Field], nullable: bool) -> None:
        self._fields = tuple(fields)
        self._nullable = nullable
        plain = [(field.key, field.plain) for field in fields if field.plain is not None]
        self.plain = self._plain_object(plain) if len(plain) == len(fields) else None

    def complete(self, run: Run, value: Any, path: Path | None) -> Json:
        if value is None:
            return _no(value, self._nullable)
        out: Out = {}
        for field in self._fields:
            field.put(run, value, path, out)
        return out

    def _plain_object(self, fields: list[tuple[str, Plain]]) -> Plain:
        nullable = self._nullable

        def plain(value: Any) -> Json:
            return _no(value, nullable) if value is None else {key: write(value) for key, write in fields}

        return plain


class AbstractOf:
    """An object of one of the types of an interface, known by its class."""

    def __init__(self, kinds: Mapping[type, ObjectOf], nullable: bool) -> None:
        self._kinds = dict(kinds)
        self._nullable = nullable
        plain = {kind: node.plain for kind, node in kinds.items() if node.plain is not None}
        self.plain = self._plain_object(plain) if len(plain) == len(kinds) else None

    def complete(self, run: Run, value: Any, path: Path) -> Json:
        node = self._kinds.get(type(value))
        return _no(value, self._nullable) if node is None else node.complete(run, value, path)

    def _plain_object(self, kinds: dict[type, Plain]) -> Plain:
        nullable = self._nullable

        def plain(value: Any) -> Json:
            write = kinds.get(type(value))
            return _no(value, nullable) if write is None else write(value)

        return plain


class AttributeField:
    """A field that shows an attribute."""

    def __init__(self, key: str, read: Callable[[Any], Any], node: Node) -> None:
        self.key = key
        self._read = read
        self._node = node
        self.plain = node.behind(read) if isinstance(node, Leaf) else _both(read, node.plain)

    def put(self, run: Run, source: Any, path: Path | None, out: Out) -> None:
        if self.plain is not None:
            out[self.key] = self.plain(source)
        else:
            out[self.key] = self._node.complete(run, self._read(source), Path(path, self.key, None))


class ConstantField:
    """__typename."""

    def __init__(self, key: str, value: str) -> None:
        self.key = key
        self.plain: Plain | None = lambda _: value
        self._value = value

    def put(self, run: Run, source: Any, path: Path | None, out: Out) -> None:
        out[self.key] = self._value


class ResolvedField:
    """A field with a resolver. `arguments` gives what the operation hands to it, by the names of the schema."""

    def __init__(self, place: Place, resolver: Resolver, node: Node, arguments: Arguments, at_root: bool) -> None:
        self.key = place.key
        self.plain: Plain | None = None
        self.place = place
        self.resolver = resolver
        self.node = node
        self.arguments = arguments
        self.at_root = at_root
        self.nullable = not isinstance(place.definition.type, GraphQLNonNull)

    def put(self, run: Run, source: Any, path: Path | None, out: Out) -> None:
        out[self.key] = None
        run.resolve(self, source, Path(path, self.key, None), out)


def _both(read: Callable[[Any], Any], write: Plain | None) -> Plain | None:
    return None if write is None else lambda source: write(read(source))


def _itself(value: Any) -> Any:
    return value


def _no(value: object, nullable: bool) -> None:
    """A null where the type allows it. Anything else is not what a resolver of ours gives here."""
    if value is not None or not nullable:
        raise NotPlanned(f"{type(value).__name__} is not what the schema says")
