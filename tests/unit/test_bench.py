"""What benchmarks are made of: who is counted as which process, and heavy ledgers that chain."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from itertools import islice, pairwise
from pathlib import Path

import pytest

from lumenstream.bench import cpu
from lumenstream.bench.heavy import HeavyLedgers
from lumenstream.bench.memory import Peak
from lumenstream.bench.sustained import NETWORK, chained
from lumenstream.xdr import decode_ledger, read_header
from lumenstream.xdr.files import read_ledgers


def test_commands_of_ours_below_a_process_are_found_by_name() -> None:
    sleeper = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", sleeper, "lumenstream", "sink", "--port", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        assert cpu.commands_below(os.getpid())[child.pid] == "sink"
        child.stdin.close()


def test_the_broker_is_who_listens_on_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert cpu.listeners(port) == {os.getpid()}
    assert cpu.listeners(port) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it, which only Linux has")
def test_the_peak_of_a_program_is_not_that_of_who_started_it() -> None:
    ballast = bytearray(300 << 20)
    program = "import sys; held = bytearray(64 << 20); del held; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()
        with Peak(child.pid) as peak:
            deadline = time.monotonic() + 30
            while peak.bytes is None and time.monotonic() < deadline:
                time.sleep(0.01)
        child.stdin.close()
    assert peak.bytes is not None and 64 << 20 <= peak.bytes < len(ballast)


def test_heavy_ledgers_chain_and_keep_their_transactions(shared_ledgers: Path) -> None:
    network_id = NETWORK.network_id()
    source = list(islice(read_ledgers(shared_ledgers / "loadtest" / "v26.xdr.zst"), 2))
    heavy = HeavyLedgers(source, network_id).ledger(20)
    made = list(chained(heavy, source[-1], 3, 1_700_000_000))
    headers = [read_header(ledger.data) for ledger in made]
    assert [header.sequence for header in headers] == [ledger.sequence for ledger in made]
    assert all(later.previous_hash == earlier.hash for earlier, later in pairwise(headers))
    assert [ledger.close_time for ledger in made] == [1_700_000_000, 1_700_000_002, 1_700_000_004]
    assert {len(decode_ledger(ledger.data, network_id).transactions) for ledger in made} == {20}
