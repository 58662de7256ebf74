"""An HTTP server of the test's own that keeps what it is sent: stands where a collector of traces or reports would."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest


class Received(NamedTuple):
    path: str
    body: bytes  # unpacked


class Receiver:
    """`url` is where it listens."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._received: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver.keep(
                    Received(self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                )
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Tests say what went wrong themselves."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def keep(self, received: Received) -> None:
        with self._arrived:
            self._received.append(received)
            self._arrived.notify_all()

    def wait(self, number: int, timeout_seconds: float = 30.0) -> list[Received]:
        """What arrived, once it is so many. AssertionError when it does not become so many."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self._received) >= number, timeout_seconds), self._received
            return [*self._received]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of the test's own."""
    made = Receiver()
    yield made
    made.close()
