"""A Stellar RPC server of a few ledgers over HTTP, with a retention window, contracts, failures and delays to order."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol, Self

MAX_PAGE = 200
_INVALID_PARAMS = -32602


class Ledger(Protocol):
    @property
    def sequence(self) -> int: ...
    @property
    def meta(self) -> bytes: ...


Failure = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class RpcStub:
    """`simulate` answers simulateTransaction, given the envelope; `failures` are taken one by one before anything is answered.

    `lake_from`: getLedgers gives older ledgers than getHealth tells of, from this one on, as servers with a data lake do.
    """

    ledgers: Sequence[Ledger]
    passphrase: str
    oldest: int = 0
    latest: int = 0
    lake_from: int | None = None
    simulate: Callable[[str], dict[str, Any]] | None = None
    failures: list[Failure] = field(default_factory=list)
    delay_seconds: float = 0.0
    calls: list[str] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)  # the parameters of getLedgers
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.oldest = self.oldest or (self.ledgers[0].sequence if self.ledgers else 1)
        self.latest = self.latest or (self.ledgers[-1].sequence if self.ledgers else 1)
        self._lock, self._at_once = threading.Lock(), 0

    def __enter__(self) -> Self:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stub._serve(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _serve(self, handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        with self._lock:
            self.calls.append(request["method"])
            failure = self.failures.pop(0) if self.failures else None
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.delay_seconds)
        if failure is not None:
            failure(handler)
        else:
            send(handler, 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], **self._answer(request)}))
        with self._lock:
            self._at_once -= 1

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        window = {"latestLedger": self.latest, "oldestLedger": self.oldest}
        match request["method"]:
            case "getNetwork":
                return {"result": {"passphrase": self.passphrase}}
            case "getHealth":
                return {"result": {"status": "healthy", **window}}
            case "getLedgers":
                return self._page(request["params"], window)
            case "simulateTransaction" if self.simulate is not None:
                return {"result": {"latestLedger": self.latest, **self.simulate(request["params"]["transaction"])}}
        return {"error": {"code": -32601, "message": "method not found"}}

    def _page(self, params: dict[str, Any], window: dict[str, int]) -> dict[str, Any]:
        self.pages.append(params)
        pagination = params["pagination"]
        if "cursor" in pagination and "startLedger" in params:
            return _refused("startLedger and cursor cannot both be set")
        start = int(pagination["cursor"]) + 1 if "cursor" in pagination else params["startLedger"]
        if not 1 <= pagination["limit"] <= MAX_PAGE:
            return _refused("limit must not exceed 200")
        if not (self.lake_from or self.oldest) <= start <= self.latest:
            bounds = f"the oldest ledger: {self.oldest} and the latest ledger: {self.latest}"
            return _refused(f"start ledger ({start}) must be between {bounds} for this rpc instance")
        page = [ledger for ledger in self.ledgers if start <= ledger.sequence <= self.latest][: pagination["limit"]]
        entries = [{"sequence": ledger.sequence, "metadataXdr": base64.b64encode(ledger.meta).decode()} for ledger in page]
        return {"result": {"ledgers": entries, "cursor": str(page[-1].sequence) if page else "", **window}}


def _refused(message: str) -> dict[str, Any]:
    return {"error": {"code": _INVALID_PARAMS, "message": message}}


def send(handler: BaseHTTPRequestHandler, status: int, body: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body.encode())
