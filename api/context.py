"""What a request carries through its resolvers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import strawberry

from api.database import Allowance, Reader
from api.live.feed import Feed
from api.loaders import Loaders
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


def selected(info: Info, path: tuple[str, ...] = NODE) -> frozenset[str]:
    """Names of the fields selected at `path` below the field being resolved."""
    return info.context.selections.below(info._raw_info, path)
