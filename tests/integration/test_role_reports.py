"""What ends a role is reported to Sentry, on a real HTTP server: defects, contradictions, and nothing else, and no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from lumenstream.errors import ExitCode
from tests.plugins.receiver import Receiver, receiver
from tests.plugins.servers import KafkaForTest
from tests.servers.cache import REPOSITORY
from tests.servers.rpc import RpcStub
from tests.unit.source_support import make_chain

__all__ = ["receiver"]  # the fixture

SECRET: Final = "hunter2"
# Each in a process of its own: Sentry's client belongs to the whole process.
PROGRAMS: Final = {
    "producer": """
from lumenstream.cli.main import main
from producers import ledger
def broken(*_):
    raise RuntimeError("a defect")
ledger.run = broken
main(["produce"])
""",
    "worker": """
from lumenstream.settings import load_settings
from processors import worker
def broken(*_, **__):
    raise RuntimeError("a defect")
worker.run = broken
worker._child(load_settings(), 1, 0)
""",
}
ENDS: Final = """
import os
from lumenstream import tracker
from lumenstream.errors import ConfigurationError, FencedError, UnreachableError
from lumenstream.settings import load_settings
tracker.start(load_settings().tracker, "sink")
for error in (UnreachableError, ConfigurationError, FencedError):
    tracker.report_end(error("postgresql://user:hunter2@db/x"))
os._exit(0)
"""


def ended(receiver: Receiver, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process with Sentry's address, to its end."""
    given = {
        "LUMENSTREAM_TRACKER__DSN": f"http://0123456789abcdef0123456789abcdef@127.0.0.1:{receiver.port}/7",
        "LUMENSTREAM_DATABASE__URL": f"postgresql://user:{SECRET}@127.0.0.1:9/x",
        "PYTHONPATH": str(REPOSITORY),
        "PATH": "/usr/bin:/bin",
        **environment,
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=100, check=False)


def reports(receiver: Receiver) -> list[dict[str, Any]]:
    """The exceptions that were reported, which must hold no secret."""
    got = receiver.wait(1)
    assert SECRET.encode() not in b"".join(one.body for one in got)
    return [json.loads(line) for one in got for line in one.body.splitlines() if b'"exception"' in line]


def test_ledgers_of_another_network_end_the_producer_and_are_reported(
    receiver: Receiver, kafka: KafkaForTest, tmp_path: Path
) -> None:
    with RpcStub(make_chain(), "Another Network") as rpc:
        done = ended(
            receiver,
            *("-m", "lumenstream", "produce", "--source", "rpc"),
            folder=tmp_path,
            LUMENSTREAM_PRODUCER__RPC_URL=f"{rpc.url}/?key={SECRET}",
            LUMENSTREAM_PRODUCER__USE_DATABASE="false",
            LUMENSTREAM_PRODUCER__HTTP_PORT="0",
            LUMENSTREAM_KAFKA__BOOTSTRAP=kafka.bootstrap,
            LUMENSTREAM_KAFKA__TOPIC_PREFIX=kafka.topic_prefix,
            LUMENSTREAM_KAFKA__PARTITIONS="1",
        )
    assert done.returncode == ExitCode.INTEGRITY, done.stderr
    (event,) = reports(receiver)
    assert event["exception"]["values"][-1]["type"] == "IntegrityError"
    assert "serves network 'Another Network'" in event["exception"]["values"][-1]["value"]
    assert event["tags"] == {"role": "producer", "exit_code": "6"}


@pytest.mark.parametrize("role", PROGRAMS)
def test_a_defect_that_ends_a_role_is_reported_once(receiver: Receiver, role: str, tmp_path: Path) -> None:
    """Also in one of several workers, whose exceptions never reach the interpreter's hook."""
    done = ended(receiver, "-c", PROGRAMS[role], folder=tmp_path)
    assert done.returncode == ExitCode.UNEXPECTED and "RuntimeError: a defect" in done.stderr
    (event,) = reports(receiver)
    assert event["exception"]["values"][-1]["value"] == "a defect" and event["tags"]["role"] == role


def test_only_contradictions_are_reported_and_before_the_process_ends(receiver: Receiver, tmp_path: Path) -> None:
    done = ended(receiver, "-c", ENDS, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (event,) = reports(receiver)
    (value,) = event["exception"]["values"]
    assert (value["type"], value["value"]) == ("FencedError", "postgresql://[masked]@db/x")
    assert event["tags"] == {"role": "sink", "exit_code": "7"}
