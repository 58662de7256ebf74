"""The first run as an operator does it: bootstrap, then every role as a process, on real servers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from lumenstream.errors import ExitCode
from lumenstream.settings import PASSPHRASES
from sandbox import archive
from sandbox.network import GENESIS_SEQUENCE, Sandbox
from sandbox.settings import SandboxSettings
from sinks.timescale.verify import verify
from tests.chaos.pipeline import SANDBOX_TRANSACTIONS, Pipeline, sandbox_source
from tests.integration.checkpoint_world import assets, dump, run_live, settings_for
from tests.plugins.servers import KafkaForTest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SEED = 11
LAST = 70


def test_the_pipeline_goes_on_after_the_checkpoint(
    tmp_path: Path, database_url: str, second_database_url: str, kafka: KafkaForTest
) -> None:
    network = Sandbox(SandboxSettings(seed=SEED, transactions_per_ledger=SANDBOX_TRANSACTIONS))
    ledgers = []
    while network.latest_sequence < LAST:
        ledgers.append(network.close_ledger().meta)
        if archive.is_checkpoint(network.latest_sequence):
            network.write_archive(tmp_path / "archive")
    passphrase = PASSPHRASES["sandbox"]
    run_live(settings_for(second_database_url, "", passphrase), ledgers)
    environment = {"LUMENSTREAM_ARCHIVE__URL": str(tmp_path / "archive")}
    source = sandbox_source(SEED, LAST - GENESIS_SEQUENCE)
    with Pipeline(
        tmp_path,
        bootstrap=kafka.bootstrap,
        topic_prefix=kafka.topic_prefix,
        database_url=database_url,
        source=source,
        environment=environment,
    ) as pipeline:
        too_early = pipeline.spawn("producer")
        assert too_early.exit_code() == ExitCode.CONFIGURATION, too_early.log()
        assert "lumenstream bootstrap comes first" in too_early.log()
        command = [sys.executable, "-m", "lumenstream", "bootstrap", "--json"]
        subprocess.run(command, env=pipeline.environment(), capture_output=True, check=True, timeout=120)
        pipeline.start_all()
        pipeline.wait_for_end()
    assert dump(database_url) == dump(second_database_url)
    assert assets(database_url) == assets(second_database_url)
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("select min(sequence), max(sequence), min(previous_sequence) from ledgers").fetchone()
    assert stored == (64, LAST, 63)
    assert verify(settings_for(database_url, "", passphrase)).findings == []
