"""`lumenstream doctor` and its ledger source: what answers, what is wrong, and what is no longer there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lumenstream.bench.lakefiles import write_lake
from lumenstream.cli.checkresult import Level, Result
from lumenstream.cli.checks import run
from lumenstream.settings import Settings, load_settings
from producers.sources.lake import Layout
from sandbox import ClosedLedger
from tests.servers.rpc import RpcStub
from tests.unit.source_support import LAST, PASSPHRASE, make_chain


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    return make_chain()


@pytest.fixture
def make(database_url: str) -> Callable[..., Settings]:
    def build(**flags: Any) -> Settings:
        return load_settings(
            database__url=database_url, kafka__bootstrap="127.0.0.1:9", kafka__request_timeout_seconds=0.2, **flags
        )

    return build


@pytest.fixture
def rpc(chain: list[ClosedLedger]) -> Iterator[RpcStub]:
    with RpcStub(chain, PASSPHRASE) as stub:
        yield stub


def source_lines(settings: Settings) -> list[Result]:
    return [result for result in run(settings) if result.name == "source"]


def test_a_lake_and_its_newest_ledger(make: Callable[..., Settings], chain: list[ClosedLedger], tmp_path: Path) -> None:
    write_lake(tmp_path, [(ledger.sequence, ledger.meta) for ledger in chain], Layout(1, 8), PASSPHRASE)
    (found,) = source_lines(make(producer__source="lake", lake__url=str(tmp_path)))
    assert (found.level, found.text) == (Level.OK, f"lake: {tmp_path}: newest ledger {LAST}")
    (wrong,) = source_lines(make(producer__source="lake", lake__url=str(tmp_path), network__name="pubnet"))
    assert wrong.level == Level.FAIL and "holds network 'Lumenstream Sandbox Network'" in wrong.text and wrong.mend
    (nowhere,) = source_lines(make(producer__source="lake"))
    assert nowhere.level == Level.FAIL and "LUMENSTREAM_LAKE__URL" in nowhere.mend


def test_the_sandbox_is_no_source_of_a_public_network(make: Callable[..., Settings]) -> None:
    (found,) = source_lines(make())
    assert found.level == Level.OK
    (refused,) = source_lines(make(network__name="testnet"))
    assert refused.level == Level.FAIL and "makes ledgers up" in refused.text and "--source lake" in refused.mend


def test_an_rpc_server_and_its_window(make: Callable[..., Settings], rpc: RpcStub, database_url: str) -> None:
    settings = make(producer__source="rpc", producer__rpc_url=rpc.url)
    (found,) = source_lines(settings)
    assert (found.level, found.text) == (Level.OK, f"rpc: {rpc.url}: ledgers 2 to {LAST}")
    rpc.oldest = 9
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into ingest_store (key, value) values ('latest_ingest_ledger', '6')")
    found, gone = source_lines(settings)
    assert found.level == Level.OK and gone.level == Level.WARN
    assert gone.text == "ledger 7, which comes after the database's cursor, is no longer there"


def test_a_server_that_is_away_is_asked_once(make: Callable[..., Settings]) -> None:
    (found,) = source_lines(make(producer__source="rpc", producer__rpc_url="http://127.0.0.1:9"))
    assert found.level == Level.FAIL and "failed once" in found.text
