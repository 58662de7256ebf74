"""The proxy that tests cut connections with."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from lumenstream.embedded.processes import free_port
from tests.plugins.proxy import TcpProxy

TIMEOUT_S = 5.0
PAYLOAD = bytes(range(256)) * 4096


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that reads to the end of the client's half and then sends everything back."""
    listener = socket.create_server(("127.0.0.1", port := free_port()))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                received = bytearray()
                try:
                    while chunk := client.recv(65_536):
                        received += chunk
                    client.sendall(received)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    yield port
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(TIMEOUT_S)


def echo(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
        client.sendall(PAYLOAD)
        client.shutdown(socket.SHUT_WR)
        received = bytearray()
        while chunk := client.recv(65_536):
            received += chunk
    return bytes(received)


def test_both_directions_pass_and_one_may_end_first(echo_port: int, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    proxy = tcp_proxy(echo_port)
    assert echo(proxy.port) == PAYLOAD
    assert echo(proxy.port) == PAYLOAD


def test_a_cut_ends_open_connections_and_refuses_new_ones(echo_port: int, tcp_proxy: Callable[[int], TcpProxy]) -> None:
    proxy = tcp_proxy(echo_port)
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client:
        client.sendall(b"half a message")
        proxy.cut()
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S)
    proxy.restore()
    assert echo(proxy.port) == PAYLOAD


def test_nothing_behind_it_ends_the_connection(tcp_proxy: Callable[[int], TcpProxy]) -> None:
    proxy = tcp_proxy(free_port())
    with (
        suppress(ConnectionError),  # the reset may come while connect() still runs
        socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S) as client,
    ):
        assert client.recv(1) == b""
