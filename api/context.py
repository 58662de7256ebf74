"""What a request carries through its resolvers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import strawberry
from graphql import IntValueNode, StringValueNode, ValueNode, VariableNode

from api.database import Allowance, Reader
from api.errors import ClientError
from api.live.feed import Feed
from api.loaders import ChildShape, Loaders
from api.paging import KeyPage, Page, PageArguments, key_page_of, page_of
from api.selection import NODE, Selections
from lumenstream.settings import ApiSettings


class Live(NamedTuple):
    """What a subscription reads on with: rows without the limit of one request, and a bell for each ledger."""

    source: Reader
    feed: Feed


@dataclass(slots=True)
class Context:
    """One per request. `network_id` is SHA-256 of the network passphrase: token ids are derived from it."""

    database: Reader
    settings: ApiSettings
    network_id: bytes
    loaders: Loaders
    request_id: str
    live: Live | None = None  # of a subscription
    selections: Selections = field(default_factory=Selections)

    def streaming(self) -> Live:
        """LookupError outside a subscription."""
        if self.live is None:
            raise LookupError("this request is no subscription")
        return self.live

    def renew(self) -> None:
        """For the next event of a subscription: nothing remembered, a whole allowance of reads."""
        self.database = Allowance(self.streaming().source)
        self.loaders = Loaders(self.database)

    def page(self, given: PageArguments, width: int) -> Page:
        """The page asked for, within this server's limits."""
        return page_of(given, width, self.settings.page_default, self.settings.page_max)

    def key_page(self, given: PageArguments, width: int) -> KeyPage:
        return key_page_of(given, width, self.settings.page_default, self.settings.page_max)


Info = strawberry.Info[Context, None]


def ahead(info: Info, name: str, width: int) -> ChildShape | None:
    """What the field `name` below the one being resolved will ask of its loader, so that it can be read together with its parent.

    None where that cannot be told: no such field, several of them, or arguments that its own resolver will refuse.
    """
    nodes = info.context.selections.only_child(info._raw_info, name)
    if not nodes:
        return None
    coerced = info._raw_info.variable_values.coerced
    given = {argument.name.value: _value(argument.value, coerced) for argument in nodes[0].arguments or ()}
    try:
        page = info.context.page(PageArguments(**given), width)
    except ClientError:
        return None
    return ChildShape(page, info.context.selections.below_nodes(nodes, info._raw_info.fragments, NODE))


def _value(node: ValueNode, coerced: Mapping[str, Any]) -> Any:
    """Of an argument of a page, which is a valid number or text."""
    match node:
        case VariableNode():
            return coerced.get(node.name.value)
        case IntValueNode():
            return int(node.value)
        case StringValueNode():
            return node.value
        case _:
            return None


def selected(info: Info, path: tuple[str, ...] = NODE) -> frozenset[str]:
    """Names of the fields selected at `path` below the field being resolved."""
    return info.context.selections.below(info._raw_info, path)
