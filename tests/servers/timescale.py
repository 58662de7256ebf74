"""PostgreSQL 17 with TimescaleDB (Apache edition) from Debian trixie in a private root: no Docker, the host's libc untouched.

Needs root (it changes its root directory and user), the amd64 or arm64 Debian archive and mmdebstrap. The root is built once into
`.cache/timescale-root/`; every server has its own data directory in it, which outlives `stop()`, `kill()` and `restart()`.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import psycopg

from lumenstream.embedded.processes import (
    LOOPBACK,
    Command,
    User,
    accepts_connections,
    run_to_end,
)
from tests.servers.cache import Unavailable, cached_directory
from tests.servers.own import OwnServer

SUITE = "trixie"
PACKAGES = ("base-files", "dash", "coreutils", "libc-bin", "tzdata", "postgresql-17", "postgresql-17-timescaledb")
BINARIES = "/usr/lib/postgresql/17/bin"
ROOT_VERSION = 1  # raise it when the way the root is built changes
BUILD_TIMEOUT_S = 400
INITDB_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5
MOUNT_TIMEOUT_S = 10
SMALL_DISK = "small-disk"
SERVER_USER = User("postgres", 65534, 65534)
SUPERUSER = "postgres"

# Neither PostgreSQL without JIT nor TimescaleDB reads any of it: 439 MB become about 150.
UNUSED = (
    *("usr/lib/*-linux-gnu/libLLVM*", "usr/lib/*-linux-gnu/libz3*", "usr/lib/*-linux-gnu/perl*", "usr/lib/*-linux-gnu/libperl*"),
    *("usr/lib/postgresql/17/lib/bitcode", "usr/lib/postgresql/17/lib/llvmjit*", "usr/lib/llvm*", "usr/bin/perl*"),
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/i18n", "usr/share/perl*", "usr/share/info"),
    *("usr/share/postgresql/17/man", "var/cache", "var/lib/apt", "var/lib/dpkg"),
)
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",  # the root has no /dev/shm
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    # The Apache edition has no jobs of ours, and a scheduler in every database makes copying one take 350 ms instead of 60.
    "timescaledb.max_background_workers": "0",
    "max_locks_per_transaction": "256",
    "max_worker_processes": "32",
    "timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
# A killed server loses nothing by these, since the kernel keeps what was written; only a killed machine would.
# synchronous_commit stays on: without it a killed server loses commits.
THROW_AWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


def _mmdebstrap() -> str:
    if shutil.which("mmdebstrap") is None:
        if shutil.which("apt-get") is None:
            raise Unavailable("mmdebstrap is not installed and this is not a Debian")
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "mmdebstrap"]):
            subprocess.run(command, capture_output=True, timeout=BUILD_TIMEOUT_S, check=False)
    found = shutil.which("mmdebstrap")
    if found is None:
        raise Unavailable("mmdebstrap could not be installed")
    return found


def _build_root(root: Path) -> None:
    command = [_mmdebstrap(), "--variant=extract", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"mmdebstrap did not end within {BUILD_TIMEOUT_S} s") from None
    if result.returncode:
        raise Unavailable(f"mmdebstrap failed: {result.stderr[-1000:]}")
    for pattern in UNUSED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _do_what_maintainer_scripts_do(root)


def _do_what_maintainer_scripts_do(root: Path) -> None:
    user = SERVER_USER
    (root / "etc/passwd").write_text(f"root:x:0:0::/:/bin/sh\n{user.name}:x:{user.uid}:{user.gid}::/:/bin/sh\n", encoding="utf-8")
    (root / "etc/group").write_text(f"root:x:0:\n{user.name}:x:{user.gid}:\n", encoding="utf-8")
    shell = root / "usr/bin/sh"
    if not shell.exists():
        shell.symlink_to("dash")
    for name, (major, minor) in DEVICES.items():
        node = root / "dev" / name
        if not node.exists():
            try:
                os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            except PermissionError:
                raise Unavailable("device nodes cannot be made here") from None
            node.chmod(0o666)
    (root / "tmp").chmod(0o1777)
    (root / "srv").mkdir(exist_ok=True)


def private_root() -> Path:
    """The private root, built if needed. Raises Unavailable with the reason."""
    if os.geteuid() != 0:
        raise Unavailable("a private root needs to be run by root")
    return cached_directory(f"timescale-root-{ROOT_VERSION}" if ROOT_VERSION > 1 else "timescale-root", _build_root)


class TimescaleServer(OwnServer):
    """A server on a port that stays the same over restarts. Ends with the process that started it. Logs in without password."""

    name = "PostgreSQL"
    kind = "TimescaleDB from Debian in a private root"

    def __init__(self, settings: dict[str, str] | None = None, durable: bool = False) -> None:
        super().__init__()
        self._settings = SETTINGS | ({} if durable else THROW_AWAY_SETTINGS) | (settings or {}) | {"port": str(self.port)}
        self._root = Path()

    @property
    def url(self) -> str:
        """The administration database's URL."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/postgres"

    def small_disk(self, mebibytes: int) -> str:
        """A file system of its own of that size, for a tablespace; its path as the server sees it. Raises Unavailable.

        A second call makes it that large. It goes away with `close()`.
        """
        disk = self._home / SMALL_DISK
        options = f"size={mebibytes}m"
        if disk.is_mount():
            options = f"remount,{options}"
        else:
            disk.mkdir()
            options = f"{options},mode=700,uid={SERVER_USER.uid},gid={SERVER_USER.gid}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        result = subprocess.run(mount, capture_output=True, text=True, timeout=MOUNT_TIMEOUT_S, check=False)
        if result.returncode:
            raise Unavailable(f"a file system cannot be mounted here: {result.stderr.strip()}")
        return f"/{disk.relative_to(self._root)}"

    def small_disk_use(self) -> int:
        """Bytes that are taken on the small disk."""
        status = os.statvfs(self._home / SMALL_DISK)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def close(self) -> None:
        """Stop and remove the data."""
        self.stop()
        if self._directory is not None and (disk := self._directory / SMALL_DISK).is_mount():
            subprocess.run(["umount", str(disk)], capture_output=True, timeout=MOUNT_TIMEOUT_S, check=True)
        super().close()

    @property
    def _data(self) -> str:
        return f"/{self._home.relative_to(self._root)}/data"

    def _new_directory(self) -> Path:
        self._root = private_root()
        directory = Path(tempfile.mkdtemp(prefix="server-", dir=self._root / "srv"))
        os.chown(directory, SERVER_USER.uid, SERVER_USER.gid)
        return directory

    def _initialize(self) -> None:
        arguments = (f"--pgdata={self._data}", f"--username={SUPERUSER}", "--auth=trust", "--encoding=UTF8", "--locale=C")
        run_to_end("initdb", self._command("initdb", *arguments, "--no-sync", "--no-instructions"), INITDB_TIMEOUT_S)

    def _serve(self) -> Command:
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        return self._command("postgres", "-D", self._data, *options)

    def _command(self, program: str, *arguments: str) -> Command:
        return Command(
            argv=(f"{BINARIES}/{program}", *arguments),
            log=self._home / f"{program}.log",
            environment={"LC_ALL": "C", "TMPDIR": "/tmp"},
            user=SERVER_USER,
            chroot=self._root,
            stop_signal=signal.SIGINT,  # fast shutdown: clients are disconnected
            scratch=(self._home,),
        )

    def _answers(self) -> bool:
        if not accepts_connections(self.port):
            return False
        try:
            psycopg.connect(self.url, connect_timeout=CONNECT_TIMEOUT_S).close()
        except psycopg.OperationalError:
            return False
        return True
