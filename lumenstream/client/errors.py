"""What can go wrong between a program and the API."""

from __future__ import annotations

from typing import Any, Final

from lumenstream.errors import LumenstreamError, UnreachableError

NOT_FOUND: Final = "NOT_FOUND"


class ApiError(LumenstreamError):
    """The API answered with errors; `errors` are GraphQL's, with `message`, `path` and `extensions`."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(str(error.get("message")) for error in errors))
        self.errors = errors

    @property
    def code(self) -> str:
        """The code of the first error, empty when it has none."""
        return str((self.errors[0].get("extensions") or {}).get("code", ""))


class NotFoundError(ApiError):
    """There is no such transaction or operation."""


class NotAuthorizedError(LumenstreamError):
    """The API asks for a signed request, or does not know the key that signed it."""


class ApiUnavailableError(UnreachableError):
    """The API does not answer, or answers that it cannot now. `retry_after_seconds` when it said so."""

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


def api_error(errors: list[dict[str, Any]]) -> ApiError:
    """The error of an answer's list of errors, which is not empty."""
    error = ApiError(errors)
    return NotFoundError(errors) if error.code == NOT_FOUND else error
