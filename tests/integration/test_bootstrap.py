"""The first run: state from a checkpoint and live ledgers after it are what live ledgers alone would have made; or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from lumenstream.cli.state import bootstrap_when_empty, run_bootstrap
from lumenstream.errors import ConfigurationError, FencedError, IntegrityError
from sandbox import archive
from sandbox.network import Sandbox
from sandbox.settings import SandboxSettings
from sinks.timescale.checkpoint.firstrun import writers_lock
from sinks.timescale.writer import check_chain
from tests.integration.checkpoint_world import (
    CORE_PASSPHRASE,
    STATE_TABLES,
    UNKNOWABLE,
    assets,
    core_ledgers,
    dump,
    live_rows,
    run_live,
    settings_for,
    write_archive,
)

# Chains of stellar-core's tests, each with its checkpoint and for what it has.
CHAINS = {
    "0718f2": (23, "contract balances of assets, one removed"),
    "1e016c": (39, "code and instances that change"),
    "13ddfb": (31, "entries evicted and restored"),
    "3dd600": (15, "a liquidity pool and its shares"),
    "66bd67": (15, "a claimable balance"),
    "104f5d": (23, "offers"),
    "6816f0": (7, "trustlines that go"),
}


def count_rows(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        tables = (*STATE_TABLES, "trustline_assets", "ingest_store")
        return sum(connection.execute(f"select count(*) from {table}".encode()).fetchall()[0][0] for table in tables)


@pytest.mark.parametrize("name", CHAINS)
def test_checkpoint_and_live_equal_live_alone(
    name: str, shared_ledgers: Path, tmp_path: Path, database_url: str, second_database_url: str
) -> None:
    ledgers, checkpoint = core_ledgers(shared_ledgers, name), CHAINS[name][0]
    write_archive(tmp_path, ledgers, checkpoint)
    run_live(settings_for(second_database_url), ledgers)
    settings = settings_for(database_url, str(tmp_path))
    assert run_bootstrap(settings, quiet=True)[0] == checkpoint
    run_live(settings, ledgers)
    assert dump(database_url, UNKNOWABLE) == dump(second_database_url, UNKNOWABLE)
    assert assets(database_url) <= assets(second_database_url)


def sandbox_at_checkpoint(root: Path) -> tuple[list[bytes], int]:
    """An archive after ledger 63, and the ledgers from 2 to 70."""
    network = Sandbox(SandboxSettings(seed=5, accounts=20, transactions_per_ledger=6))
    ledgers = []
    while network.latest_sequence < 70:
        ledgers.append(network.close_ledger().meta)
        if archive.is_checkpoint(network.latest_sequence):
            network.write_archive(root)
    return ledgers, 63


def test_sandbox_equals_live_to_the_last_column(tmp_path: Path, database_url: str, second_database_url: str) -> None:
    ledgers, checkpoint = sandbox_at_checkpoint(tmp_path)
    passphrase = SandboxSettings().network_passphrase
    run_live(settings_for(second_database_url, "", passphrase), ledgers)
    settings = settings_for(database_url, str(tmp_path), passphrase, 64)
    bootstrap_when_empty(settings)
    assert live_rows(settings, ledgers)[0].header.sequence == checkpoint + 1
    run_live(settings, ledgers)
    assert dump(database_url) == dump(second_database_url)
    assert assets(database_url) == assets(second_database_url)
    bootstrap_when_empty(settings)  # it has begun: nothing happens


def test_the_ledger_after_the_checkpoint_must_follow_it(tmp_path: Path, database_url: str) -> None:
    """The archive's header tells the checkpoint's hash, so a chain that is not the archive's stops the sink."""
    sandbox_at_checkpoint(tmp_path)
    settings = settings_for(database_url, str(tmp_path), SandboxSettings().network_passphrase, 64)
    run_bootstrap(settings, quiet=True)
    other = Sandbox(SandboxSettings(seed=6, accounts=20, transactions_per_ledger=6))
    ledgers = [other.close_ledger().meta for _ in range(64)]
    with psycopg.connect(database_url) as connection:
        known = connection.execute("select value from ingest_store where key = 'checkpoint'").fetchall()[0][0]
    with pytest.raises(IntegrityError, match="ledger 64 names"):
        check_chain(live_rows(settings, ledgers), 63, known.partition(":")[2])
    with pytest.raises(IntegrityError, match="ledger 64 names"):
        run_live(settings, ledgers)


def test_bad_buckets_leave_nothing(shared_ledgers: Path, tmp_path: Path, database_url: str) -> None:
    write_archive(tmp_path, core_ledgers(shared_ledgers, "0718f2"), 23)
    deepest = max((tmp_path / "bucket").rglob("*.gz"), key=lambda file: file.stat().st_size)
    deepest.write_bytes(next(file for file in (tmp_path / "bucket").rglob("*.gz") if file != deepest).read_bytes())
    with pytest.raises(IntegrityError, match="its hash is"):
        run_bootstrap(settings_for(database_url, str(tmp_path)), quiet=True)
    assert count_rows(database_url) == 0


def test_a_database_that_has_begun_is_refused(shared_ledgers: Path, tmp_path: Path, database_url: str) -> None:
    ledgers = core_ledgers(shared_ledgers, "66bd67")
    write_archive(tmp_path, ledgers, 7)
    settings = settings_for(database_url, str(tmp_path))
    run_live(settings, ledgers[:3])
    with pytest.raises(ConfigurationError, match="its cursor is at ledger 4"):
        run_bootstrap(settings, quiet=True)


def test_a_running_sink_is_in_the_way(
    shared_ledgers: Path, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(tmp_path, core_ledgers(shared_ledgers, "66bd67"), 7)
    settings = settings_for(database_url, str(tmp_path))
    monkeypatch.setattr("sinks.timescale.checkpoint.firstrun.LOCK_SECONDS", 0.2)
    with writers_lock(settings), pytest.raises(FencedError, match="a sink is writing"):
        run_bootstrap(settings, quiet=True)
    assert count_rows(database_url) == 0


@pytest.mark.parametrize("crashpoint", ["checkpoint.in_copy", "checkpoint.before_commit"])
def test_killed_in_the_middle_it_leaves_nothing(crashpoint: str, shared_ledgers: Path, tmp_path: Path, database_url: str) -> None:
    write_archive(tmp_path, core_ledgers(shared_ledgers, "66bd67"), 7)
    environment = os.environ | {
        "LUMENSTREAM_CRASHPOINT": crashpoint,
        "LUMENSTREAM_DATABASE__URL": database_url,
        "LUMENSTREAM_ARCHIVE__URL": str(tmp_path),
        "LUMENSTREAM_ARCHIVE__CHECKPOINT_FREQUENCY": "8",
        "LUMENSTREAM_NETWORK__NAME": "test",
        "LUMENSTREAM_NETWORK__PASSPHRASE": CORE_PASSPHRASE,
    }
    command = [sys.executable, "-m", "lumenstream", "bootstrap", "--json"]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert count_rows(database_url) == 0
    done = subprocess.run(command, env=environment | {"LUMENSTREAM_CRASHPOINT": ""}, capture_output=True, check=True, timeout=60)
    assert b'"ledger":7' in done.stdout
    assert count_rows(database_url) > 0
