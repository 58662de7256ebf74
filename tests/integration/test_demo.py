"""`lumenstream demo`, the real command with its own servers: real ledgers the whole way, and sandbox runs that end early."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lumenstream.embedded import EmbeddedPostgres, EmbeddedTansu, MissingWheelError
from lumenstream.embedded.processes import free_port
from lumenstream.errors import ExitCode

REPOSITORY = Path(__file__).parents[2]
WHOLE_RUN_S = 240
STOP_S = 60


@pytest.fixture(scope="module", autouse=True)
def wheels() -> None:
    """The servers of the demo must be installed: start and stop each once."""
    try:
        with EmbeddedPostgres(), EmbeddedTansu():
            pass
    except MissingWheelError as error:
        pytest.skip(str(error))


def environment() -> dict[str, str]:
    """Without settings of the developer's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LUMENSTREAM_")}
    return {**kept, **({"LUMENSTREAM_REQUIRE_NATIVE": "1"} if os.environ.get("LUMENSTREAM_REQUIRE_NATIVE") == "1" else {})}


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lumenstream", "demo", *arguments],
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def once(*arguments: str) -> tuple[dict[str, Any], str]:
    """Run `demo --once --json`; the object of its last line, and stderr."""
    demo = start("--once", "--json", *arguments)
    out, error = demo.communicate(timeout=WHOLE_RUN_S)
    assert demo.returncode == 0, error
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result, error


def golden(directory: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    with gzip.open(directory / "base" / "pubnet.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            ledger = json.loads(line)
            if ledger["file"] in names:
                yield ledger


def test_real_ledgers_the_whole_way_as_the_reference_has_them(shared_ledgers: Path, shared_golden: Path) -> None:
    folder = shared_ledgers / "pubnet"
    expected = list(golden(shared_golden, {f"pubnet/{path.name}" for path in folder.iterdir()}))
    result, error = once("--network", "pubnet", "--ledgers", str(folder))

    assert re.match(r"lumenstream demo with the (native|pure-Python) decoder", error)
    tables = result["tables"]
    assert result["ledgers"] == tables["ledgers"] == len(expected) == 4
    assert result["decoder"] in ("native", "python") and result["seconds"] > 0
    for table in ("transactions", "operations"):
        assert tables[table] == sum(len(ledger[table]) for ledger in expected), table
    assert tables["trustline_assets"] == len({asset["id"] for ledger in expected for asset in ledger["trustline_assets"]})

    for table in ("transactions_accounts", "operations_accounts"):
        assert tables[table] == sum(len(ledger[table]) for ledger in expected), table

    last: dict[tuple[str, str], str] = {}
    accounts: dict[str, str] = {}
    for ledger in sorted(expected, key=lambda ledger: ledger["transactions"][0]["ledger_number"]):
        for change in ledger["trustline_changes"]:
            last[change["account_id"], change["trustline_asset_id"]] = change["operation"]
        for change in ledger["account_changes"]:
            accounts[change["account_id"]] = change["operation"]
    assert tables["trustline_balances"] == sum(operation != "REMOVE" for operation in last.values())
    # Ours also follow fees and refunds, which the reference at that commit does not.
    assert tables["native_balances"] >= sum(operation != "REMOVE" for operation in accounts.values())
    balance_changes = [row for ledger in expected for row in ledger["state_changes"] if row["state_change_category"] == "BALANCE"]
    assert tables["state_changes"] >= len(balance_changes)
    assert result["queried_transactions"] >= 4 and result["queried_accounts"] > 0


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.xdr").write_text("not a ledger at all, only text", encoding="utf-8")
    demo = start("--once", "--json", "--network", "pubnet", "--ledgers", str(tmp_path))
    out, error = demo.communicate(timeout=WHOLE_RUN_S)
    assert demo.returncode == ExitCode.INTEGRITY, error
    assert "notes.xdr" in error and not out


def test_the_sandbox_once() -> None:
    result, _ = once("--max-ledgers", "5", "--close-seconds", "0.2", "--transactions", "5")
    assert result["ledgers"] == 5
    assert result["tables"]["transactions"] > 0


def wait_for(pattern: str, demo: subprocess.Popen[str], seen: list[str]) -> re.Match[str]:
    """Read stderr up to a line that matches."""
    assert demo.stderr is not None
    deadline = time.monotonic() + WHOLE_RUN_S
    while time.monotonic() < deadline:
        line = demo.stderr.readline()
        seen.append(line)
        if match := re.search(pattern, line):
            return match
        assert line or demo.poll() is None, "".join(seen)
    raise AssertionError(f"{pattern} was not seen in\n{''.join(seen)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    demo = start("--close-seconds", "0.5")
    seen: list[str] = []
    try:
        api = wait_for(r"explorer +(http://\S+)/", demo, seen)[1]
        wait_for(r"sink (?:[2-9]|\d\d)", demo, seen)
        with urllib.request.urlopen(f"{api}/health", timeout=10) as answer:
            assert answer.status == 200
        family = psutil.Process(demo.pid).children(recursive=True)
        assert len(family) >= 14  # seven supervisors and what they run
        demo.send_signal(number)
        rest = demo.communicate(timeout=STOP_S)[1]
    finally:
        demo.kill()
    assert demo.returncode == 0, "".join(seen) + rest
    assert "nothing is left running" in rest
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_role_that_dies_ends_the_demo_with_its_log() -> None:
    demo = start("--close-seconds", "0.5")
    seen: list[str] = []
    try:
        wait_for(r"sink [2-9]", demo, seen)
        family = psutil.Process(demo.pid).children(recursive=True)
        sink = next(process for process in family if process.cmdline()[-2:] == ["lumenstream", "sink"])
        sink.kill()
        rest = demo.communicate(timeout=STOP_S)[1]
    finally:
        demo.kill()
    assert demo.returncode == ExitCode.FAILED
    assert "the sink ended with exit code" in rest and "sink.log" in rest
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that the database's own user can enter."""
    with tempfile.TemporaryDirectory(prefix="lumenstream-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "data"


def test_the_demo_stops_at_its_limits_and_continues_from_its_data(data_dir: Path) -> None:
    last = 1
    for _ in range(2):
        demo = start("--close-seconds", "0.2", "--max-ledgers", "4", "--data-dir", str(data_dir))
        error = demo.communicate(timeout=WHOLE_RUN_S)[1]
        assert demo.returncode == 0, error
        assert "the end, as announced: " in error and "--max-ledgers" in error
        found = re.search(r"holds ledgers up to (\d+)", error)
        assert found and int(found[1]) >= last + 4, error
        last = int(found[1])


def test_the_demo_stops_when_the_broker_holds_too_much() -> None:
    demo = start("--close-seconds", "0.1", "--transactions", "400", "--memory-limit-mib", "64")
    error = demo.communicate(timeout=WHOLE_RUN_S)[1]
    assert demo.returncode == 0, error
    assert "the end, as announced: the broker reached" in error


def test_up_runs_every_role_against_servers_of_ones_own(tmp_path: Path) -> None:
    """The way to production on one host: migrate, topics, up; then doctor and status find everything in order."""
    ports = (
        "PRODUCER__HTTP_PORT",
        "PROCESS__HTTP_PORT",
        "SINK__HTTP_PORT",
        "PUBLISHER__HTTP_PORT",
        "API__PORT",
        "MAINTENANCE__HTTP_PORT",
    )
    with EmbeddedPostgres() as postgres, EmbeddedTansu() as broker:
        free = iter(dict.fromkeys(free_port() for _ in range(4 * len(ports))))  # one port may come twice
        settings = environment() | {f"LUMENSTREAM_{name}": str(next(free)) for name in ports}
        settings |= {
            "LUMENSTREAM_DATABASE__URL": postgres.url,
            "LUMENSTREAM_KAFKA__BOOTSTRAP": broker.bootstrap,
            "LUMENSTREAM_KAFKA__PARTITIONS": "4",
            "LUMENSTREAM_SANDBOX__CLOSE_SECONDS": "0.5",
        }

        def lumenstream(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "lumenstream", *arguments]
            return subprocess.run(command, cwd=REPOSITORY, env=settings, capture_output=True, text=True, check=False, timeout=60)

        assert lumenstream("up").returncode == ExitCode.SCHEMA
        assert lumenstream("migrate").returncode == lumenstream("topics").returncode == 0
        with (tmp_path / "up.log").open("w", encoding="utf-8") as log:
            up = subprocess.Popen(
                [sys.executable, "-m", "lumenstream", "up", "--log-dir", str(tmp_path)], cwd=REPOSITORY, env=settings, stderr=log
            )
            try:
                status = wait_for_cursor(lumenstream, 4)
                doctor = lumenstream("doctor", "--json")
                family = psutil.Process(up.pid).children(recursive=True)
                up.send_signal(signal.SIGTERM)
                assert up.wait(STOP_S) == 0
            finally:
                up.kill()
        assert [stage["name"] for stage in status["stages"]] == [
            "producer",
            "worker 0",
            "sink",
            "publisher",
            "maintenance",
            "api",
        ]
        assert all(stage["up"] for stage in status["stages"])
        levels = {check["name"]: check["level"] for check in json.loads(doctor.stdout)}
        assert doctor.returncode == 0, doctor.stdout
        assert levels["partitions"] == levels["schema"] == levels["required"] == levels["sink"] == "ok"
        assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
        assert "sink      | " in (tmp_path / "up.log").read_text(encoding="utf-8")


def wait_for_cursor(lumenstream: Callable[..., subprocess.CompletedProcess[str]], ledger: int) -> dict[str, Any]:
    """The first `status --json` with this ledger committed and everything up."""
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        done = lumenstream("status", "--json")
        status: dict[str, Any] = json.loads(done.stdout)
        if status["cursor"] >= ledger and all(stage["up"] for stage in status["stages"]):
            return status
    raise AssertionError(f"ledger {ledger} was not committed: {status}")
