"""What servers that tests start for themselves have in common: a port and a data directory that outlive `stop()`, `kill()` and
`restart()`, and an end with the process that started them.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from lumenstream.embedded.processes import ChildProcess, Command, ServerError, free_port

READY_TIMEOUT_S = 60.0


class OwnServer(ABC):
    """A server process; also a context manager that starts and closes it."""

    name: ClassVar[str]
    kind: ClassVar[str]

    def __init__(self) -> None:
        self.port = free_port()
        self._directory: Path | None = None
        self._process: ChildProcess | None = None

    @abstractmethod
    def _new_directory(self) -> Path:
        """A new, empty data directory. Raises Unavailable where this kind of server cannot be had."""

    @abstractmethod
    def _initialize(self) -> None:
        """Make the data directory ready for the server. Raises ServerError."""

    @abstractmethod
    def _serve(self) -> Command:
        """The server's command."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client gets an answer."""

    @property
    def pid(self) -> int | None:
        """The server's own process, the first of several."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Make a new data directory if there is none, start the server and wait until it answers. Raises Unavailable."""
        if self._process is not None and self._process.running:
            raise ServerError(f"{self.name} is already running")
        try:
            if self._directory is None:
                self._directory = self._new_directory()
                self._initialize()
            self._process = ChildProcess(self.name, self._serve()).start()
            self._process.wait_ready(self._answers, READY_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """A controlled shutdown; the data stays."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL to every process of the server; the data stays."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> Self:
        """Start again on the same port and the same data, after a controlled shutdown if it still runs."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop and remove the data."""
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    @property
    def _home(self) -> Path:
        assert self._directory is not None
        return self._directory

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
