"""Current state compared with a checkpoint and made anew: every kind of damage is found, mended, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka import Producer

from lumenstream.cli.state import ExpectedState, verify_checkpoint
from lumenstream.errors import ConfigurationError, FencedError, IntegrityError, LumenstreamError
from lumenstream.settings import KafkaSettings, ProducerSettings, Settings
from lumenstream.xdr import read_header
from sandbox import archive
from sandbox.network import Sandbox
from sandbox.settings import SandboxSettings
from schemas.messages import LedgerHeaders
from sinks.timescale.checkpoint import Check, Expected, check_state, rebuild_state
from sinks.timescale.checkpoint.firstrun import writers_lock
from tests.integration.checkpoint_world import (
    CORE_PASSPHRASE,
    LAST_MODIFIED,
    core_ledgers,
    dump,
    run_live,
    settings_for,
    write_archive,
)
from tests.plugins.servers import KafkaForTest

pytestmark = pytest.mark.integration
CHAINS = {"0718f2": 23, "66bd67": 7, "104f5d": 23, "13ddfb": 23}
DAMAGE = (
    "delete from native_balances where account_id in (select account_id from native_balances order by 1 limit 2)",
    "update native_balances set balance = balance + 1 where ctid = (select max(ctid) from native_balances)",
    "insert into native_balances (account_id, balance) values ('\\x30'::bytea || sha256('nobody'), 5)",
    "update trustline_balances set flags = flags + 1",
    "delete from sac_balances",
    "update offers set amount = 1",
    "delete from claimable_balance_claimants",
    "update claimable_balances set amount = amount + 1, creator_account_id = null, created_ledger = null, created_at = null",
    "update liquidity_pools set reserve_a = 7",
    "delete from protocol_wasms",
    "update protocol_contracts set wasm_hash = sha256('other')",
    "update contract_tokens set code = null, issuer = null, name = null, symbol = null where code is not null",
)


def damage(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        for statement in DAMAGE:
            connection.execute(statement.encode())


def with_ledgers(settings: Settings, kafka: KafkaForTest, folder: Path) -> Settings:
    """Raw ledgers come from files: nothing of them was ever on a topic."""
    broker = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=kafka.topic_prefix)
    return settings.model_copy(update={"kafka": broker, "producer": ProducerSettings(source="files", path=folder)})


def write_ledgers(folder: Path, ledgers: list[bytes]) -> Path:
    folder.mkdir()
    for number, data in enumerate(ledgers):
        (folder / f"{number:04d}.xdr").write_bytes(data)
    return folder


def check(settings: Settings) -> Check:
    with ExpectedState(settings, quiet=True) as state:
        return check_state(settings, state.at)


def rebuild(settings: Settings) -> dict[str, int]:
    with ExpectedState(settings, quiet=True) as state:
        return dict(rebuild_state(settings, state.at).rows)


@pytest.fixture
def world(
    shared_ledgers: Path, tmp_path: Path, database_url: str, kafka: KafkaForTest, request: pytest.FixtureRequest
) -> tuple[Settings, list[bytes]]:
    """A database in the middle of a chain, an archive and the ledgers of the chain."""
    name: str = getattr(request, "param", "0718f2")
    ledgers = core_ledgers(shared_ledgers, name)
    write_archive(tmp_path / "archive", ledgers, CHAINS[name])
    settings = settings_for(database_url, str(tmp_path / "archive"))
    run_live(settings, ledgers[:-4])
    return with_ledgers(
        settings,
        kafka,
        write_ledgers(tmp_path / "ledgers", ledgers),
    ), ledgers


@pytest.mark.parametrize("world", CHAINS, indirect=True)
def test_damage_is_found_and_mended(
    world: tuple[Settings, list[bytes]], second_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, ledgers = world
    url = settings.database.url.get_secret_value()
    before = dump(url, LAST_MODIFIED)
    assert check(settings).differences == []
    damage(url)
    found = check(settings).differences
    assert {difference.kind for difference in found} == {"missing", "too many", "different"}
    assert all(difference.examples for difference in found)
    with pytest.raises(LumenstreamError, match="current state differs in"):
        verify_checkpoint(settings, as_json=True)
    assert len(orjson.loads(capsys.readouterr().out.splitlines()[-1])["findings"]) == len(found)
    rows = rebuild(settings)
    assert rows.keys() == {difference.table for difference in found}
    assert check(settings).differences == []
    # What was deleted came back with its entry's own last_modified_ledger; all else is as it was.
    assert dump(url, LAST_MODIFIED) == before
    run_live(settings, ledgers)
    run_live(settings_for(second_database_url), ledgers)
    assert dump(url, LAST_MODIFIED) == dump(second_database_url, LAST_MODIFIED)
    assert rebuild(settings) == {}


def test_state_that_is_right_is_not_touched(world: tuple[Settings, list[bytes]]) -> None:
    settings, _ = world
    url = settings.database.url.get_secret_value()
    with psycopg.connect(url) as connection:
        before = connection.execute("select ctid, xmin, * from native_balances order by account_id").fetchall()
    assert rebuild(settings) == {}
    with psycopg.connect(url) as connection:
        assert connection.execute("select ctid, xmin, * from native_balances order by account_id").fetchall() == before


def test_a_sink_at_work_is_in_the_way_of_a_rebuild_and_not_of_a_check(
    world: tuple[Settings, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = world
    monkeypatch.setattr("sinks.timescale.checkpoint.firstrun.LOCK_SECONDS", 0.2)
    with writers_lock(settings):
        assert check(settings).differences == []
        with pytest.raises(FencedError):
            rebuild(settings)


def test_nothing_is_written_when_the_cursor_moved_meanwhile(world: tuple[Settings, list[bytes]]) -> None:
    """Guards: the writer's lock falls with its session, which nobody looks at for hours; a sink that was started then wrote."""
    settings, ledgers = world
    url = settings.database.url.get_secret_value()
    damage(url)
    moved: list[dict[str, list[Any]]] = []

    def state_at(cursor: int) -> Expected:
        expected = state.at(cursor)
        run_live(settings, ledgers)
        moved.append(dump(url))
        return expected

    with ExpectedState(settings, quiet=True) as state, pytest.raises(FencedError, match="moved the cursor from ledger"):
        rebuild_state(settings, state_at)
    assert [dump(url)] == moved


def test_a_ledger_that_nobody_has(world: tuple[Settings, list[bytes]], tmp_path: Path) -> None:
    settings, ledgers = world
    folder = write_ledgers(tmp_path / "some", ledgers[:25])
    lacking = settings.model_copy(update={"producer": ProducerSettings(source="files", path=folder)})
    with pytest.raises(IntegrityError, match="does not have ledger"):
        rebuild(lacking)


def test_a_source_that_is_needed_and_cannot_be_is_named_before_the_buckets_are_read(
    world: tuple[Settings, list[bytes]], tmp_path: Path
) -> None:
    """Guards: hours later, on a network of some size."""
    settings, _ = world
    lacking = settings.model_copy(update={"producer": ProducerSettings(source="files", path=tmp_path / "nowhere")})
    shutil.rmtree(tmp_path / "archive" / "bucket")
    for command in (check, rebuild):
        with pytest.raises(ConfigurationError, match="nowhere does not exist"):
            command(lacking)


def test_no_source_is_needed_while_the_topics_hold_the_ledgers(
    world: tuple[Settings, list[bytes]], kafka: KafkaForTest, tmp_path: Path
) -> None:
    settings, ledgers = world
    url = settings.database.url.get_secret_value()
    before = dump(url, LAST_MODIFIED)
    lacking = settings.model_copy(update={"producer": ProducerSettings(source="files", path=tmp_path / "nowhere")})
    produce(lacking, kafka.create_topic("ledgers"), ledgers)
    with psycopg.connect(url) as connection:
        connection.execute(
            'update ledgers set topic = %s, partition = 0, "offset" = sequence - %s',
            (f"{kafka.topic_prefix}ledgers", read_header(ledgers[0]).sequence),
        )
    damage(url)
    assert check(lacking).differences
    assert rebuild(lacking)
    assert dump(url, LAST_MODIFIED) == before


def produce(settings: Settings, topic: str, ledgers: list[bytes]) -> None:
    """Raw ledgers on the one partition of a topic, from offset 0 on."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap})
    for data in ledgers:
        header = read_header(data)
        headers = LedgerHeaders(
            sequence=header.sequence,
            previous_sequence=header.sequence - 1,
            close_time=header.close_time,
            ledger_hash=header.hash.hex(),
            protocol_version=header.protocol_version,
            network_id=settings.network.network_id().hex(),
        )
        producer.produce(topic, value=data, partition=0, headers=[*headers.to_kafka()])
    assert producer.flush(30) == 0


@pytest.mark.parametrize("crashpoint", ["checkpoint.in_ledgers:3", "checkpoint.before_commit"])
def test_killed_in_the_middle_it_leaves_the_old_state(world: tuple[Settings, list[bytes]], crashpoint: str) -> None:
    settings, _ = world
    url = settings.database.url.get_secret_value()
    before = dump(url, LAST_MODIFIED)
    damage(url)
    damaged = dump(url)
    environment = os.environ | {
        "LUMENSTREAM_CRASHPOINT": crashpoint,
        "LUMENSTREAM_DATABASE__URL": url,
        "LUMENSTREAM_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "LUMENSTREAM_ARCHIVE__URL": settings.archive.url,
        "LUMENSTREAM_ARCHIVE__CHECKPOINT_FREQUENCY": "8",
        "LUMENSTREAM_NETWORK__NAME": "test",
        "LUMENSTREAM_NETWORK__PASSPHRASE": CORE_PASSPHRASE,
    }
    command = [sys.executable, "-m", "lumenstream", "rebuild-state", "--json", "--source", "files"]
    command += ["--path", str(settings.producer.path)]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert dump(url) == damaged
    rebuild(settings)
    assert dump(url, LAST_MODIFIED) == before


def test_the_sandbox_ends_as_an_undisturbed_run(tmp_path: Path, database_url: str, kafka: KafkaForTest) -> None:
    """Its headers tell the hash of the list of buckets, and the ledger after the checkpoint must follow it."""
    network = Sandbox(SandboxSettings(seed=3, accounts=15, transactions_per_ledger=5))
    ledgers = []
    while network.latest_sequence < 75:
        ledgers.append(network.close_ledger().meta)
        if archive.is_checkpoint(network.latest_sequence):
            network.write_archive(tmp_path / "archive")
    passphrase = network.settings.network_passphrase
    settings = settings_for(database_url, str(tmp_path / "archive"), passphrase, 64)
    settings = with_ledgers(
        settings,
        kafka,
        write_ledgers(tmp_path / "ledgers", ledgers),
    )
    run_live(settings, ledgers[:-5])
    before = dump(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("update trustline_balances set balance = balance + 1, last_modified_ledger = 1")
        connection.execute("delete from native_balances")
    assert rebuild(settings).keys() == {"native_balances", "trustline_balances"}
    assert dump(database_url) == before
    run_live(settings, ledgers)
    assert check(settings).differences == []
