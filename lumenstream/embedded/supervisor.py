"""Runs one server for an owner and never leaves it behind.

Started by `processes.ChildProcess` as a script of its own (standard library only). Standard input is a pipe from the owner:
its first line is the job as JSON, later bytes are commands, and its end means that the owner is gone, kill -9 included.
Standard output carries one line back: the server's pid, or `error: ...`. The exit code is the server's.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

COMMAND_STOP = b"s"
COMMAND_KILL = b"k"

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
OWNER_POLL_S = 1.0
DESCENDANTS_TIMEOUT_S = 10.0


def _prctl() -> Callable[[int, int], object] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda option, argument: libc.prctl(option, argument, 0, 0, 0)


def spawn(job: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the server with the job's root, user and environment; if this supervisor is killed, the kernel ends it."""
    prctl = _prctl()
    supervisor = os.getpid()

    def become_server() -> None:
        if job["chroot"]:
            os.chroot(job["chroot"])
            os.chdir("/")
        if job["uid"] is not None:
            os.setgroups([])
            os.setgid(job["gid"])
            os.setuid(job["uid"])
        if prctl:  # after setuid, which clears it
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(1)

    if prctl:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    with open(job["log"], "ab") as log:
        return subprocess.Popen(
            job["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=job["cwd"],
            start_new_session=True,
            preexec_fn=become_server,  # noqa: PLW1509 (this process has one thread)
        )


def _children_of(parent: int) -> list[int]:
    children = []
    for entry in os.listdir("/proc") if sys.platform == "linux" else []:
        try:
            with open(f"/proc/{int(entry)}/stat", encoding="utf-8", errors="replace") as stat:
                if int(stat.read().rpartition(")")[2].split()[1]) == parent:
                    children.append(int(entry))
        except (ValueError, OSError):
            continue
    return children


def end_descendants() -> None:
    """Kill and reap what the server left: as subreaper, this process is now the parent of it."""
    deadline = time.monotonic() + DESCENDANTS_TIMEOUT_S
    while time.monotonic() < deadline:
        for pid in _children_of(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def end(server: subprocess.Popen[bytes], stop_signal: int, timeout_s: float) -> None:
    """Ask the server to stop, then insist."""
    server.send_signal(stop_signal)
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


class Watch:
    """Tells what to do next: a command of the owner, the owner's end, a signal, or the server's end."""

    def __init__(self) -> None:
        self._owner = os.getppid()
        self._wakeup, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def next(self) -> str:
        while True:
            ready, _, _ = select.select([0, self._wakeup], [], [], OWNER_POLL_S)
            if os.getppid() != self._owner:
                return "orphaned"
            if 0 in ready:
                command = os.read(0, 1)
                return {b"": "orphaned", COMMAND_STOP: "stop", COMMAND_KILL: "kill"}.get(command, "stop")
            if self._wakeup in ready:
                return "server ended" if os.read(self._wakeup, 1)[0] == signal.SIGCHLD else "stop"


def supervise(job: dict[str, Any]) -> int:
    """Run the server until it ends, the owner asks for its end, or the owner is gone. Returns the exit code to report."""
    watch = Watch()
    try:
        server = spawn(job)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"error: {error}", flush=True)
        return 127
    print(server.pid, flush=True)
    orphaned = False
    while server.poll() is None:
        match watch.next():
            case "kill":
                server.kill()
                server.wait()
            case "stop":
                end(server, job["stop_signal"], job["stop_timeout_s"])
            case "orphaned":
                orphaned = True
                end(server, job["stop_signal"], job["stop_timeout_s"])
    end_descendants()
    if orphaned:
        for path in job["scratch"]:
            shutil.rmtree(path, ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _read_job() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            sys.exit(0)
        line += piece
    job: dict[str, Any] = json.loads(line)
    return job


if __name__ == "__main__":
    sys.exit(supervise(_read_job()))
