"""A proxy in front of PostgreSQL that cuts one connection at a chosen statement: in COPY, before COMMIT, or after it."""

from __future__ import annotations

import socket
import threading
from enum import StrEnum
from typing import Final

from tests.plugins.proxy import CHUNK_BYTES, TcpProxy

_COPY_ENDS: Final = b"from stdin (format binary)"
_COMMIT: Final = b"COMMIT\x00"


class Cut(StrEnum):
    IN_COPY = "in copy"  # half of a table's rows arrive
    BEFORE_COMMIT = "before commit"  # COMMIT does not arrive
    AFTER_COMMIT = "after commit"  # COMMIT is done, its answer does not arrive


class StatementProxy(TcpProxy):
    """Cuts the connection that sends the `hit`-th statement of its kind; later connections pass. `done` is set by the cut."""

    def __init__(self, target_port: int, cut: Cut, hit: int) -> None:
        super().__init__(target_port)
        self.done = threading.Event()
        self._kind = cut
        self._left = hit
        self._deaf: set[int] = set()  # client ports whose COMMIT was forwarded and whose answer is to be lost
        self._copying: set[int] = set()
        self._counting = threading.Lock()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        """Forward one direction until its end or the cut."""
        try:
            from_client = source.getpeername()[1] != self.target_port
            client = (source if from_client else target).getpeername()[1]
            while chunk := source.recv(CHUNK_BYTES):
                if from_client:
                    keep = self._kept(client, chunk)
                    target.sendall(chunk[:keep])
                    if keep < len(chunk):
                        self._end(source, target)
                        return
                elif client in self._deaf:
                    self._end(source, target)
                    return
                else:
                    target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(source)
            self._reset(target)

    def _kept(self, client: int, chunk: bytes) -> int:
        """How many bytes of a client's chunk are forwarded; fewer than all means the cut."""
        with self._counting:
            if self.done.is_set():
                return len(chunk)
            if self._kind is Cut.IN_COPY:
                return self._kept_in_copy(client, chunk)
            if _COMMIT not in chunk:
                return len(chunk)
            self._left -= 1
            if self._left:
                return len(chunk)
            if self._kind is Cut.BEFORE_COMMIT:
                return 0
            self._deaf.add(client)
            return len(chunk)

    def _kept_in_copy(self, client: int, chunk: bytes) -> int:
        """The rows follow the statement in a chunk of their own, since the client waits for the server's word to begin."""
        if client in self._copying:
            return len(chunk) // 2
        if _COPY_ENDS in chunk:
            self._left -= 1
            if not self._left:
                self._copying.add(client)
        return len(chunk)

    def _end(self, *sockets: socket.socket) -> None:
        for connection in sockets:
            self._reset(connection)
        self.done.set()
