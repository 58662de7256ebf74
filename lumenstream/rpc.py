"""A client of Stellar RPC: JSON-RPC 2.0 over HTTP, one call at a time or from many threads.

Of the URL, which may hold a key anywhere, messages show scheme, host and port.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import httpx

from lumenstream import masking
from lumenstream.errors import ConfigurationError
from lumenstream.retry import Failure

_TIMEOUT_SECONDS: Final = 30.0
_CONNECT_TIMEOUT_SECONDS: Final = 5.0


class RpcClient:
    """`server` is what may be shown of the URL. ConfigurationError when it is none. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self.server = checked_server(url)
        self._url = url
        self._client = httpx.Client(timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS))

    def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result object. Failure of kind `transport`, `http`, `answer` (no JSON-RPC) or `rpc` (the server's own error)."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, **({"params": params} if params else {})}
        try:
            response = self._client.post(self._url, json=request)
            answer = response.json() if response.status_code == httpx.codes.OK else None
        except httpx.HTTPError as error:
            raise Failure("transport", f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise Failure("answer", f"not JSON: {error}") from error
        if answer is None:
            raise Failure("http", f"HTTP {response.status_code}")
        if not isinstance(answer, dict):
            raise Failure("answer", "not a JSON-RPC answer")
        if answer.get("error"):
            error_object = answer["error"]
            text = error_object.get("message") if isinstance(error_object, dict) else error_object
            raise Failure("rpc", str(text))
        result = answer.get("result")
        if not isinstance(result, dict):
            raise Failure("answer", "an answer without a result")
        return result

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def checked_server(url: str) -> str:
    """The part of an RPC server's URL that may be shown. ConfigurationError, which never repeats it, for what is no URL."""
    hint = "set --rpc-url or LUMENSTREAM_PRODUCER__RPC_URL"
    if not url:
        raise ConfigurationError("a Stellar RPC server needs a URL", hint=hint)
    server = masking.server_of(url)
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        server = ""
    if not server:
        raise ConfigurationError("the URL of the RPC server is not of the form https://host/path", hint=hint)
    return server
