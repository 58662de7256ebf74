"""What both clients share of HTTP and WebSocket: requests to bytes, answers to data or errors, the messages of a subscription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from lumenstream.client.calls import Call
from lumenstream.client.errors import ApiError, ApiUnavailableError, NotAuthorizedError, api_error
from lumenstream.client.signing import Signer

PATH: Final = "/graphql/query"
PROTOCOL: Final = "graphql-transport-ws"
TIMEOUT_SECONDS: Final = 30.0
PATIENCE_SECONDS: Final = 120.0
MAX_MESSAGE_BYTES: Final = 16 << 20
RECONNECT_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
SUBSCRIPTION_ID: Final = "1"
_JSON: Final = "application/json"
_UNAUTHORIZED: Final = 401
_BUSY: Final = frozenset({429, 502, 503, 504})
CLOSED_UNAUTHORIZED: Final = 4401

NEXT: Final = "next"
COMPLETE: Final = "complete"
PING: Final = "ping"
INIT: Final = '{"type":"connection_init"}'
PONG: Final = '{"type":"pong"}'


class Endpoint:
    """Where the API is, and who asks."""

    def __init__(self, url: str, signer: Signer | None) -> None:
        self.url = url.rstrip("/").removesuffix(PATH)
        self._signer = signer
        self._target = urlsplit(self.url).path + PATH

    @property
    def graphql(self) -> str:
        return self.url + PATH

    @property
    def websocket(self) -> str:
        return "ws" + self.graphql.removeprefix("http")

    def post(self, call: Call[Any]) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a POST."""
        body = orjson.dumps({"query": call.document, "variables": call.variables})
        return body, {"Content-Type": _JSON, "Accept": _JSON, **self.signed("POST", self._target, body)}

    def signed(self, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        return {} if self._signer is None else self._signer.headers(method, target, body)

    def handshake(self) -> dict[str, str]:
        """Headers of a WebSocket handshake."""
        return self.signed("GET", self._target)

    def unreachable(self, error: Exception) -> ApiUnavailableError:
        parts = urlsplit(self.url)
        return ApiUnavailableError(f"the API at {parts.hostname}:{parts.port} does not answer: {error}", hint="is it running?")


def data_of(response: httpx.Response) -> dict[str, Any]:
    """The data of an answer. ApiError, NotAuthorizedError or ApiUnavailableError when there is none, or only a part."""
    status = response.status_code
    body = _json(response)
    if isinstance(body, dict) and body.get("errors"):
        raise api_error(body["errors"])
    if status == httpx.codes.OK and isinstance(body, dict) and isinstance(body.get("data"), dict):
        data: dict[str, Any] = body["data"]
        return data
    said = str(body.get("error", "")) if isinstance(body, dict) else ""
    if status == _UNAUTHORIZED:
        raise NotAuthorizedError("the API wants a signed request of a key that it knows", hint="give the client a signer")
    if status in _BUSY:
        raise ApiUnavailableError(
            f"status {status}: {said}", hint="ask again later", retry_after_seconds=_retry(response.headers)
        )
    raise ApiError([{"message": f"status {status}: {said or 'the answer is not GraphQL'}"}])


def _json(response: httpx.Response) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _retry(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def subscribe(call: Call[Any], cursor: str | None, after_ledger: int | None) -> str:
    """The message that begins a subscription behind a cursor, else behind a ledger, else behind the newest."""
    start = {"after": cursor} if cursor is not None else {"afterLedger": after_ledger} if after_ledger is not None else {}
    payload = {"query": call.document, "variables": {**call.variables, **start}}
    return orjson.dumps({"type": "subscribe", "id": SUBSCRIPTION_ID, "payload": payload}).decode()


def acknowledged(text: str | bytes) -> int | None:
    """The newest ledger that `connection_ack` tells of."""
    message = orjson.loads(text)
    if message.get("type") != "connection_ack":
        raise ApiError([{"message": f"the server began with {message.get('type')!r}"}])
    newest = (message.get("payload") or {}).get("latestLedger")
    return newest if isinstance(newest, int) else None


def message_of(text: str | bytes) -> tuple[str, Any]:
    """Type and payload of a message. ApiError for errors, those of the subscription and those of one event."""
    message = orjson.loads(text)
    kind, payload = str(message.get("type")), message.get("payload")
    if kind == "error":
        raise api_error(payload)
    if kind == NEXT and payload.get("errors"):
        raise api_error(payload["errors"])
    return kind, payload
