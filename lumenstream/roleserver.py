"""The small HTTP server every long-running role has: /health, /ready and /metrics, in a daemon thread.

It listens on setting `http.host` (127.0.0.1 by default). Health is a function of the role's own state; it answers 200 or 503 with
a JSON object that says what is wrong.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from lumenstream.errors import ConfigurationError
from lumenstream.settings import HttpSettings

_STOP_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Health:
    """What a role says about itself. `ready`: it can do its work now; `ok`: nothing is wrong."""

    ok: bool
    ready: bool
    details: dict[str, Any] = field(default_factory=dict)


def cannot_listen(host: str, port: int, error: Exception, *, host_setting: str, port_setting: str) -> ConfigurationError:
    """Why an address cannot be listened on. It names the port's setting when that is taken or not allowed, else the host's."""
    wrong_port = isinstance(error, OverflowError) or getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
    setting = port_setting if wrong_port else host_setting
    reason = getattr(error, "strerror", None) or str(error)
    flag = " or --port" if wrong_port else ""
    return ConfigurationError(
        f"setting {setting}: the {port_setting.partition('.')[0]} cannot listen on {host}:{port}: {reason}",
        hint=f"set LUMENSTREAM_{setting.upper().replace('.', '__')}{flag}",
    )


class RoleServer:
    """Serves until `stop`. Port 0 takes a free one; `port` says which. ConfigurationError when the address cannot be had.

    `setting` names where the port comes from, for example `sink.http_port`.
    """

    def __init__(self, settings: HttpSettings, port: int, health: Callable[[], Health], *, setting: str) -> None:
        handler = type("Handler", (_Handler,), {"health": staticmethod(health)})
        try:
            self._server = ThreadingHTTPServer((settings.host, port), handler)
        except (OSError, OverflowError, UnicodeError) as error:
            raise cannot_listen(settings.host, port, error, host_setting="http.host", port_setting=setting) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_STOP_POLL_SECONDS,), name="role-server", daemon=True
        )

    def start(self) -> RoleServer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    health: Callable[[], Health]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
        elif path in ("/health", "/ready"):
            health = self.health()
            good = health.ok if path == "/health" else health.ready
            body = {"status": "ok" if good else "error", **health.details}
            self._answer(200 if good else 503, "application/json", orjson.dumps(body))
        else:
            self._answer(404, "application/json", b'{"error":"no such page; there are /health, /ready and /metrics"}')

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the log is for what the role does."""
