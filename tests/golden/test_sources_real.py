"""Real ledgers through every remote source: a folder lake, S3 and an RPC server hand out the bytes that the files hold."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import NamedTuple

import pytest

from lumenstream.bench.lakefiles import lake_objects, write_lake
from lumenstream.settings import LakeSettings
from lumenstream.xdr.files import read_ledgers
from producers.header import NetworkCheck, check_chain, checked_header
from producers.sources import LakeSource, LedgerSource, RpcSource
from producers.sources.lake import Layout
from tests.servers.rpc import RpcStub
from tests.servers.s3 import REGION, S3Server
from tests.unit.source_support import QUICK, stop_at_tip
from tests.unit.xdr_support import PASSPHRASES, network_id

FOLDER = "loadtest"  # consecutive ledgers of a megabyte and more
PASSPHRASE = PASSPHRASES[FOLDER]
COUNT = 4


class Ledger(NamedTuple):
    sequence: int
    meta: bytes


@pytest.fixture(scope="module")
def ledgers(shared_ledgers: Path) -> list[Ledger]:
    (file,) = (shared_ledgers / FOLDER).glob("*.zst")
    found = list(itertools.islice(read_ledgers(file), COUNT))
    return [Ledger(sequence, data) for sequence, data in enumerate(found, 10_048)]


def lake(url: str, endpoint: str = "") -> LakeSource:
    settings = LakeSettings(url=url, endpoint=endpoint, region=REGION, prefetch_objects=4)
    return LakeSource(settings, FOLDER, PASSPHRASE, stop_at_tip, poll_seconds=0.01, retry=QUICK)


def check(source: LedgerSource, ledgers: list[Ledger]) -> None:
    """All of them, their bytes untouched, a chain of hashes, of this network."""
    network = NetworkCheck(network_id(FOLDER))
    found = list(source.ledgers(ledgers[0].sequence - 1, ledgers[-1].sequence))
    assert [ledger.sequence for ledger in found] == [ledger.sequence for ledger in ledgers]
    assert [digest(ledger.data) for ledger in found] == [digest(ledger.meta) for ledger in ledgers]
    network.check(found[0])
    headers = [checked_header(ledger) for ledger in found]
    for (before, header), ledger in zip(itertools.pairwise(headers), found[1:], strict=True):
        check_chain(before.sequence, before.hash.hex(), header, ledger.place)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("layout", [Layout(1, 64000), Layout(2, 16)])
def test_a_folder_lake(ledgers: list[Ledger], tmp_path: Path, layout: Layout) -> None:
    write_lake(tmp_path, ledgers, layout, PASSPHRASE)
    check(lake(str(tmp_path)), ledgers)


def test_a_lake_on_s3(ledgers: list[Ledger], s3: S3Server) -> None:
    s3.bucket("real", lake_objects(ledgers, Layout(1, 64000), PASSPHRASE))
    check(lake("s3://real", s3.url), ledgers)


def test_an_rpc_server(ledgers: list[Ledger]) -> None:
    with RpcStub(ledgers, PASSPHRASE) as stub:
        source = RpcSource(stub.url, PASSPHRASE, stop_at_tip, page=3, poll_seconds=0.01, retry=QUICK)
        check(source, ledgers)
        source.close()
