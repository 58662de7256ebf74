"""A field, or a subscription, with a description, in a form that keeps the resolver's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry
from strawberry.types.field import StrawberryField


def described(text: str) -> Callable[[Callable[..., Any]], StrawberryField]:
    def field(resolver: Callable[..., Any]) -> StrawberryField:
        return strawberry.field(resolver, description=text)

    return field


def followed(text: str) -> Callable[[Callable[..., Any]], StrawberryField]:
    def field(resolver: Callable[..., Any]) -> StrawberryField:
        return strawberry.field(resolver, description=text, is_subscription=True)

    return field
