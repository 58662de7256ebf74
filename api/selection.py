"""Which fields a query selects below a field: the columns that need not be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode, GraphQLResolveInfo, InlineFragmentNode, SelectionNode

NODE: Final = ("edges", "node")


class Selections:
    """Remembers the answer for every field of a request: the same field is resolved for each of its parents."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], frozenset[str]] = {}
        self._children: dict[tuple[str | int, ...], list[FieldNode]] = {}

    def below(self, info: GraphQLResolveInfo[Any], path: tuple[str, ...] = NODE) -> frozenset[str]:
        """Names selected at `path` below the field, through fragments. A superset: @skip, @include and types are not weighed."""
        return self.below_nodes(info.field_nodes, info.fragments, path)

    def below_nodes(
        self, field_nodes: Sequence[FieldNode], fragments: dict[str, FragmentDefinitionNode], path: tuple[str, ...]
    ) -> frozenset[str]:
        key = tuple(map(id, field_nodes))
        found = self._known.get(key)
        if found is None:
            nodes = list(field_nodes)
            for step in path:
                nodes = [child for node in nodes for child in _children(node, fragments) if child.name.value == step]
            found = frozenset(child.name.value for node in nodes for child in _children(node, fragments))
            self._known[key] = found
        return found

    def only_child(self, info: GraphQLResolveInfo[Any], name: str) -> list[FieldNode]:
        """The nodes of a field below the one being resolved; none unless it is asked for under one key, without @skip and
        @include of its own."""
        key: tuple[str | int, ...] = (name, *(id(node) for node in info.field_nodes))
        found = self._children.get(key)
        if found is None:
            found = [child for node in info.field_nodes for child in _children(node, info.fragments) if child.name.value == name]
            keys = {child.alias.value if child.alias else name for child in found}
            if len(keys) != 1 or any(child.directives for child in found):
                found = []
            self._children[key] = found
        return found


def _children(node: FieldNode, fragments: dict[str, FragmentDefinitionNode]) -> Iterable[FieldNode]:
    if node.selection_set is not None:
        yield from _fields(node.selection_set.selections, fragments, set())


def _fields(
    selections: Iterable[SelectionNode], fragments: dict[str, FragmentDefinitionNode], seen: set[str]
) -> Iterable[FieldNode]:
    for selection in selections:
        if isinstance(selection, FieldNode):
            yield selection
        elif isinstance(selection, InlineFragmentNode):
            yield from _fields(selection.selection_set.selections, fragments, seen)
        elif isinstance(selection, FragmentSpreadNode) and selection.name.value not in seen:
            seen.add(selection.name.value)
            fragment = fragments.get(selection.name.value)
            if fragment is not None:
                yield from _fields(fragment.selection_set.selections, fragments, seen)
