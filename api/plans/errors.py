"""How a plan says that a request is not for it."""

from __future__ import annotations


class NotPlanned(Exception):
    """graphql-core must answer this: the operation, a value or an error is of a kind that plans leave to it."""
