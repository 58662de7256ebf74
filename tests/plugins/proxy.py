"""A TCP proxy that a test can cut, restore and slow down while a client talks through it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import pytest

from lumenstream.embedded.processes import LOOPBACK, free_port

CHUNK_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 5.0
JOIN_TIMEOUT_S = 5.0
ACCEPT_POLL_S = 0.2


class TcpProxy:
    """Forwards a free loopback port to `target_port`.

    A Kafka client moves on to the address that the broker advertises: `KafkaServer(advertised_port=proxy.port)`.
    """

    def __init__(self, target_port: int, port: int | None = None) -> None:
        self.port = port or free_port()
        self.target_port = target_port
        self._delay_s = 0.0
        self._open = threading.Event()
        self._open.set()
        self._listener: socket.socket | None = None
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        """Accept connections."""
        listener = socket.create_server((LOOPBACK, self.port))
        listener.settimeout(ACCEPT_POLL_S)
        with self._lock:
            self._listener = listener
        self._spawn(self._accept, listener)
        return self

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._open.set()
        with self._lock:
            listener, self._listener = self._listener, None
            sockets = list(self._sockets)
        if listener is not None:
            self._reset(listener)
        for connection in sockets:
            self._reset(connection)
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
        self._threads.clear()

    def restore(self) -> None:
        """Accept connections again on the same port."""
        if self._listener is None:
            self.start()

    def hold(self) -> None:
        """Let nothing through until `delay` or `cut`; connections stay."""
        self._open.clear()

    def delay(self, seconds: float) -> None:
        """From now on hold every chunk, in both directions, for so long."""
        self._delay_s = seconds
        self._open.set()

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True, name=f"proxy-{self.port}")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # cut
            try:
                server = socket.create_connection((LOOPBACK, self.target_port), CONNECT_TIMEOUT_S)
            except OSError:
                self._reset(client)
                continue
            with self._lock:
                alive = self._listener is listener
                if alive:
                    self._sockets |= {client, server}
            if not alive:
                self._reset(client)
                self._reset(server)
                return
            for connection in (client, server):
                connection.settimeout(None)
            self._spawn(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        answers = threading.Thread(target=self._pump, args=(server, client), daemon=True, name=f"proxy-{self.port}-answers")
        answers.start()
        self._pump(client, server)
        answers.join()
        with self._lock:
            self._sockets -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        """Forward one direction until its end, which is passed on."""
        try:
            while chunk := source.recv(CHUNK_BYTES):
                self._open.wait()
                if self._delay_s:
                    time.sleep(self._delay_s)
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(source)
            self._reset(target)

    @staticmethod
    def _reset(connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        connection.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cut()


def through(database_url: str, port: int) -> str:
    """The same database behind another port of this machine."""
    parts = urlsplit(database_url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"))


def port_of(database_url: str) -> int:
    """The port of a URL."""
    return urlsplit(database_url).port or 5432


@pytest.fixture
def tcp_proxy() -> Iterator[Callable[[int], TcpProxy]]:
    """Make started proxies for given target ports; they are cut for good at the end of the test."""
    proxies: list[TcpProxy] = []

    def make(target_port: int) -> TcpProxy:
        proxies.append(TcpProxy(target_port).start())
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.cut()
