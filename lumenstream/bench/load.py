"""A load generator for HTTP servers on this machine: keep-alive connections, each with one request under way at a time.

It runs as a process of its own and does nothing but send bytes made before, wait with epoll, and note times: some twenty
microseconds of CPU a request, which are part of the figures as every client's would be.
"""

from __future__ import annotations

import multiprocessing
import resource
import select
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

from lumenstream.errors import LumenstreamError

HOST: Final = "127.0.0.1"
CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
_RECEIVE_BYTES: Final = 1 << 18
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


class Load(NamedTuple):
    """What came of one run. Latencies in seconds."""

    latencies: list[float]
    seconds: float
    cpu_seconds: float
    failed: int  # answers with another status than 200, or with errors

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


def post(path: str, body: bytes) -> bytes:
    """A whole HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def generate(ports: Sequence[int], requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Send the requests in turn over `connections`, spread over the ports, for so many seconds.

    LumenstreamError when a server stops answering.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(theirs, ports, requests, connections, seconds), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(seconds + CONNECT_SECONDS + ANSWER_SECONDS + 10):
            raise LumenstreamError("the load generator did not come to an end")
        result: Load | str = ours.recv()
    except EOFError as error:
        raise LumenstreamError("the load generator died") from error
    finally:
        child.join(5)
        if child.is_alive():
            child.kill()
    if isinstance(result, str):
        raise LumenstreamError(f"the load generator failed: {result}")
    return result


def _child(pipe: Connection, ports: Sequence[int], requests: Sequence[bytes], connections: int, seconds: float) -> None:
    try:
        pipe.send(_drive(ports, requests, connections, seconds))
    except OSError as error:
        pipe.send(str(error))


def _drive(ports: Sequence[int], requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    poll = select.epoll()
    clients = {}
    for number in range(connections):
        connected = socket.create_connection((HOST, ports[number % len(ports)]), CONNECT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients[connected.fileno()] = _Client(connected, requests, number * len(requests) // connections)
        poll.register(connected, select.EPOLLIN)
    used = _cpu()
    began = time.perf_counter()
    for client in clients.values():
        client.send()
    end = began + seconds
    now = began
    while now < end:
        ready = poll.poll(ANSWER_SECONDS)
        if not ready:
            raise TimeoutError(f"no answer for {ANSWER_SECONDS:.0f} s")
        for number, _ in ready:
            clients[number].receive()
        now = time.perf_counter()
    latencies = [latency for client in clients.values() for latency in client.latencies]
    return Load(latencies, now - began, _cpu() - used, sum(client.failed for client in clients.values()))


class _Client:
    def __init__(self, connected: socket.socket, requests: Sequence[bytes], start: int) -> None:
        self._socket = connected
        self._requests = requests
        self._next = start
        self._sent_at = 0.0
        self._received = b""
        self._wanted = 0
        self.latencies: list[float] = []
        self.failed = 0

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        self._socket.sendall(self._requests[self._next % len(self._requests)])
        self._next += 1

    def receive(self) -> None:
        """What is there; and the next request when the answer is whole."""
        piece = self._socket.recv(_RECEIVE_BYTES)
        if not piece:
            raise ConnectionResetError("the server closed a connection")
        self._received += piece
        if not self._wanted:
            head, found, _ = self._received.partition(_HEAD_END)
            if not found:
                return
            length = head.lower().partition(_LENGTH)[2].partition(b"\r")[0]
            self._wanted = len(head) + len(_HEAD_END) + int(length)
        if len(self._received) < self._wanted:
            return
        self.latencies.append(time.perf_counter() - self._sent_at)
        answer = self._received
        if not answer.startswith(b"HTTP/1.1 200") or b'\r\n\r\n{"errors"' in answer[:1000]:
            self.failed += 1
        self._received, self._wanted = b"", 0
        self.send()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
