"""A data lake as a source: what only it does. The rest is in test_sources.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
import zstandard
from obstore.store import AzureStore

from lumenstream.bench.lakefiles import lake_objects, write_lake
from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.settings import LakeSettings, load_settings
from lumenstream.xdr import read_header
from producers import sources
from producers.header import checked_header
from producers.sources import LakeSource
from producers.sources.lake import MANIFEST, Batch, Layout, located
from producers.sources.lake.prefetch import Limits, Prefetch
from producers.sources.lake.store import LakeStore
from sandbox import ClosedLedger
from tests.plugins.proxy import TcpProxy
from tests.servers.s3 import REGION, S3Server
from tests.unit.source_support import FIRST, LAST, PASSPHRASE, QUICK, counting, keep_going, make_chain, stop_at_tip

PUBNET = "Public Global Stellar Network ; September 2015"
SINGLE = Layout(1, 8)
POLL_SECONDS = 0.01
"""Longer than every pause between two attempts."""


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    return make_chain()


def pairs(ledgers: list[ClosedLedger]) -> list[tuple[int, bytes]]:
    return [(ledger.sequence, ledger.meta) for ledger in ledgers]


def lake(url: str | Path, wait: Callable[[float], bool] = stop_at_tip, **settings: Any) -> LakeSource:
    made = LakeSettings(**{"url": str(url), "timeout_seconds": 5.0} | settings)
    return LakeSource(made, "sandbox", PASSPHRASE, wait, poll_seconds=POLL_SECONDS, retry=QUICK)


def sequences(source: LakeSource, after: int | None = None, through: int | None = None) -> list[int]:
    return [ledger.sequence for ledger in source.ledgers(after, through)]


class TestLayout:
    @pytest.mark.parametrize(
        ("layout", "sequence", "key"),
        [
            (Layout(1, 64000), 53312000, "FCD285FF--53312000-53375999/FCD285FF--53312000.xdr.zst"),
            (Layout(1, 1), 2, "FFFFFFFD--2.xdr.zst"),
            (Layout(2, 8), 3, "FFFFFFFF--0-15/FFFFFFFD--2-3.xdr.zst"),
            (Layout(2, 8), 18, "FFFFFFEF--16-31/FFFFFFED--18-19.xdr.zst"),
            (Layout(64, 1000), 63, "FFFFFFFF--0-63999/FFFFFFFF--0-63.xdr.zst"),
        ],
    )
    def test_names_are_those_of_the_standard(self, layout: Layout, sequence: int, key: str) -> None:
        batch = layout.batch_of(sequence)
        assert layout.key_of(batch) == key and layout.batch_at(key) == batch and batch.first <= sequence <= batch.last

    @pytest.mark.parametrize("name", [".config.json", "index.json", "notes/readme.txt"])
    def test_other_objects_are_left_alone(self, name: str) -> None:
        assert SINGLE.batch_at(name) is None

    @pytest.mark.parametrize(
        "key",
        [
            "FFFFFFFF--0-7/FFFFFFFC--2.xdr.zst",
            "FFFFFFFF--0-7/FFFFFFFD--2.xdr.gz",
            "FFFFFFFF--0-7/FFFFFFFD--2-3.xdr.zst",
            "FFFFFFF7--8-15/FFFFFFFD--2.xdr.zst",
            "FFFFFFFD--2.xdr.zst",
        ],
    )
    def test_a_name_that_lies_is_an_error(self, key: str) -> None:
        with pytest.raises(IntegrityError, match=f"{key}.* is misnamed"):
            SINGLE.batch_at(key)

    def test_newer_ledgers_sort_first(self) -> None:
        keys = [SINGLE.key_of(Batch(sequence, sequence)) for sequence in range(40)]
        assert sorted(keys, reverse=True) == keys


class TestOpening:
    def test_a_lake_without_manifest_needs_the_layout(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        write_lake(tmp_path, pairs(chain), SINGLE, PASSPHRASE)
        (tmp_path / MANIFEST).unlink()
        with pytest.raises(ConfigurationError, match=r"no \.config\.json"):
            sequences(lake(tmp_path))
        assert len(sequences(lake(tmp_path, ledgers_per_batch=1, batches_per_partition=8))) == len(chain)
        with pytest.raises(IntegrityError, match="misnamed"):
            sequences(lake(tmp_path, ledgers_per_batch=2, batches_per_partition=4))

    def test_the_manifest_wins(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        write_lake(tmp_path, pairs(chain), SINGLE, PASSPHRASE)
        assert len(sequences(lake(tmp_path, ledgers_per_batch=9, batches_per_partition=9))) == len(chain)

    def test_another_network_is_refused(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        write_lake(tmp_path, pairs(chain), SINGLE, PUBNET)
        with pytest.raises(IntegrityError, match="holds network 'Public Global"):
            sequences(lake(tmp_path))

    @pytest.mark.parametrize(
        ("manifest", "wrong"),
        [
            ("{", "cannot be read"),
            ("[]", "cannot be read"),
            ('{"ledgersPerBatch": 1}', "batchesPerPartition"),
            ('{"ledgersPerBatch": 0, "batchesPerPartition": 1}', "0 ledgers an object"),
            ('{"ledgersPerBatch": 1, "batchesPerPartition": 1, "compression": "lz4"}', "compression 'lz4'"),
        ],
    )
    def test_a_manifest_that_cannot_be_used_is_named(self, tmp_path: Path, manifest: str, wrong: str) -> None:
        (tmp_path / MANIFEST).write_text(manifest)
        with pytest.raises(IntegrityError, match=f"config.json .*{wrong}"):
            sequences(lake(tmp_path))

    @pytest.mark.parametrize("url", ["/does/not/exist", "file:///does/not/exist", "ftp://host/lake", "s3://"])
    def test_a_place_that_cannot_be_is_a_mistake_of_configuration(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            sources.create(load_settings(producer__source="lake", lake__url=url), keep_going)

    def test_file_urls(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        folder = tmp_path / "a lake"
        write_lake(folder, pairs(chain), SINGLE, PASSPHRASE)
        assert len(sequences(lake(folder.as_uri()))) == len(chain)

    @pytest.mark.parametrize("network", ["pubnet", "testnet"])
    def test_public_lakes_by_name(self, network: str) -> None:
        """Nothing is asked of them here; that they are chosen, with their region and without credentials."""
        found = located(LakeSettings(), network)
        assert found.url == f"s3://aws-public-blockchain/v1.1/stellar/ledgers/{network}"
        assert (found.region, found.anonymous) == ("us-east-2", True)
        source = sources.create(load_settings(producer__source="lake", network__name=network), keep_going)
        assert isinstance(source, LakeSource) and source.tip is None
        assert located(LakeSettings(url="s3://mine"), network).url == "s3://mine"

    def test_other_networks_have_none(self) -> None:
        with pytest.raises(ConfigurationError, match="network 'sandbox' has no public lake"):
            sources.check(load_settings(producer__source="lake"))

    @pytest.mark.parametrize("url", ["s3://user:hunter2@bucket/path", "az://container/path?sig=hunter2", "gs://hunter2@bucket"])
    def test_secrets_in_the_url_are_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match=r"setting lake\.url: .*credentials come from the environment") as refused:
            load_settings(lake__url=url)
        assert "hunter2" not in str(refused.value) and "hunter2" not in refused.value.hint

    def test_a_lake_without_objects(self, tmp_path: Path) -> None:
        write_lake(tmp_path, [], SINGLE, PASSPHRASE)
        with pytest.raises(ConfigurationError, match="no ledger to begin with"):
            sequences(lake(tmp_path))
        assert sequences(lake(tmp_path), after=4) == []


class TestS3:
    @pytest.mark.parametrize("layout", [Layout(1, 4), Layout(4, 2)])
    def test_partitions_newest_and_oldest(self, s3: S3Server, chain: list[ClosedLedger], layout: Layout) -> None:
        bucket = f"partitions-{layout.ledgers_per_batch}"
        s3.bucket(bucket, lake_objects(pairs(chain), layout, PASSPHRASE))
        source = lake(f"s3://{bucket}", endpoint=s3.url, region=REGION)
        assert sequences(source) == list(range(FIRST, LAST + 1)) and source.tip == LAST

    def test_google_storage_is_read_by_the_protocol_it_shares_with_s3(self, s3: S3Server, chain: list[ClosedLedger]) -> None:
        """Its XML interface; no Google server is asked. What is public is read without credentials."""
        public = {"x-amz-acl": "public-read"}
        httpx.put(f"{s3.url}/google", headers=public).raise_for_status()
        for key, data in lake_objects(pairs(chain), SINGLE, PASSPHRASE):
            httpx.put(f"{s3.url}/google/lake/{key}", content=data, headers=public).raise_for_status()
        source = lake("gs://google/lake", endpoint=s3.url, anonymous=True)
        assert sequences(source) == list(range(FIRST, LAST + 1))

    def test_azure_is_opened_with_the_account_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No Azure server is there to be asked: the container and the path in it are what can be told."""
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        store = LakeStore(LakeSettings(url="az://container/a/lake"), "pubnet")._store
        assert isinstance(store, AzureStore)
        assert (store.config["container_name"], store.prefix) == ("container", "a/lake")

    def test_access_denied_is_told_with_its_mending(self, s3: S3Server, chain: list[ClosedLedger]) -> None:
        s3.bucket("private", lake_objects(pairs(chain[:1]), SINGLE, PASSPHRASE))
        with pytest.raises(ConfigurationError, match=r"s3://private/\.config\.json: access denied"):
            sequences(lake("s3://private", endpoint=s3.url, region=REGION, anonymous=True))

    def test_a_store_that_goes_away_is_waited_for(self, s3: S3Server, chain: list[ClosedLedger]) -> None:
        s3.bucket("proxied", lake_objects(pairs(chain), SINGLE, PASSPHRASE))
        with TcpProxy(int(s3.url.rpartition(":")[2])) as proxy:
            pauses: list[float] = []

            def wait(seconds: float) -> bool:
                if 0 < seconds < POLL_SECONDS:
                    pauses.append(seconds)
                    if len(pauses) == 3:
                        proxy.restore()
                return seconds >= POLL_SECONDS  # at the tip; what was read ahead may fail once more before

            source = lake("s3://proxied", wait, endpoint=f"http://127.0.0.1:{proxy.port}", region=REGION, prefetch_objects=2)
            reading = source.ledgers(None)
            found = [next(reading).sequence for _ in range(4)]
            proxy.cut()
            found += [ledger.sequence for ledger in reading]
        assert found == list(range(FIRST, LAST + 1))
        assert pauses[:3] == [0.001, 0.002, 0.002] and source.problem == ""

    def test_gives_up_after_ten_attempts(self, chain: list[ClosedLedger]) -> None:
        pauses, wait = counting(100)
        source = lake("s3://nowhere", wait, endpoint="http://127.0.0.1:9", region=REGION, anonymous=True)
        with pytest.raises(UnreachableError, match=r"reading s3://nowhere failed 10 times"):
            sequences(source)
        assert len(pauses) == 9 and "attempt 9" in source.problem

    def test_the_stop_ends_a_series_of_retries(self) -> None:
        _, wait = counting(2)
        assert sequences(lake("s3://nowhere", wait, endpoint="http://127.0.0.1:9", region=REGION, anonymous=True)) == []


class TestReading:
    def test_polls_at_the_tip_for_the_next_object(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        objects = dict(lake_objects(pairs(chain), SINGLE, PASSPHRASE))
        late = [SINGLE.key_of(Batch(sequence, sequence)) for sequence in range(10, LAST + 1)]
        write_lake(tmp_path, pairs(chain[:8]), SINGLE, PASSPHRASE)

        def wait(seconds: float) -> bool:
            if seconds > 0 and late:
                path = tmp_path / late.pop(0)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(objects[str(path.relative_to(tmp_path))])
                return False
            return seconds > 0

        source = lake(tmp_path, wait)
        assert sequences(source) == list(range(FIRST, LAST + 1)) and source.tip == LAST

    def test_a_hole_is_named(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        write_lake(tmp_path, pairs([ledger for ledger in chain if ledger.sequence != 9]), SINGLE, PASSPHRASE)
        found: list[int] = []
        with pytest.raises(IntegrityError, match=r"no object FFFFFFF7--8-15/FFFFFFF6--9\.xdr\.zst, and newer ones up to"):
            found.extend(ledger.sequence for ledger in lake(tmp_path).ledgers(None))
        assert found == list(range(FIRST, 9))

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: data[:-1],
            lambda data: data[: len(data) // 2],
            lambda data: data + data,
            lambda data: zstandard.compress(b"\0" * 11),
            lambda data: b"",
            lambda data: b"not zstd at all",
            lambda data: data[:40] + bytes(40) + data[80:],
        ],
    )
    def test_a_damaged_object_is_named(self, chain: list[ClosedLedger], tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
        write_lake(tmp_path, pairs(chain), SINGLE, PASSPHRASE)
        path = tmp_path / SINGLE.key_of(Batch(6, 6))
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(IntegrityError, match=r"FFFFFFF9--6\.xdr\.zst"):
            [checked_header(ledger) for ledger in lake(tmp_path).ledgers(None)]

    def test_an_object_of_other_ledgers_than_its_name_says(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        write_lake(tmp_path, pairs(chain), SINGLE, PASSPHRASE)
        (tmp_path / SINGLE.key_of(Batch(7, 7))).replace(tmp_path / SINGLE.key_of(Batch(6, 6)))
        with pytest.raises(IntegrityError, match=r"FFFFFFF9--6\.xdr\.zst holds ledgers 7 to 7"):
            sequences(lake(tmp_path))

    def test_many_readers_of_ranges(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        """As backfill jobs on several hosts do."""
        write_lake(tmp_path, pairs(chain), Layout(4, 2), PASSPHRASE)
        ranges = [(FIRST - 1, 5), (5, 9), (9, 12), (12, LAST), (2, 14), (3, 4)]
        with ThreadPoolExecutor(len(ranges)) as pool:
            found = list(pool.map(lambda wanted: sequences(lake(tmp_path), *wanted), ranges))
        assert found == [list(range(after + 1, through + 1)) for after, through in ranges]


class TestPrefetch:
    def test_reads_ahead_in_parallel_and_hands_out_in_order(self) -> None:
        """Objects arrive in reverse: the first one only after the others of the window."""
        together = threading.Barrier(4, timeout=20)
        arrived: list[int] = []

        def fetch(batch: Batch) -> bytes:
            if batch.first < 4:
                together.wait()
            arrived.append(batch.first)
            return str(batch.first).encode()

        prefetch = Prefetch(Layout(1, 1), fetch, Limits(4, 4, 1 << 20), 1)
        taken = []
        for sequence in range(10):
            prefetch.start(Batch(sequence, sequence), 9)
            assert prefetch.wait(lambda: False)
            taken.append(prefetch.take())
        prefetch.close()
        assert taken == [str(sequence).encode() for sequence in range(10)] and sorted(arrived) == list(range(10))

    @pytest.mark.parametrize(("limits", "most"), [(Limits(8, 3, 1 << 20), 3), (Limits(8, 100, 5000), 5), (Limits(8, 100, 10), 1)])
    def test_objects_and_bytes_are_bounded(self, limits: Limits, most: int) -> None:
        """Every object has 1,000 bytes; one is read however small the limit."""
        lock, asked, taken = threading.Lock(), 0, 0
        ahead: list[int] = []

        def fetch(batch: Batch) -> bytes:
            nonlocal asked
            with lock:
                asked += 1
                ahead.append(asked - taken)
            return bytes(1000)

        prefetch = Prefetch(Layout(1, 1), fetch, limits, 1000)
        for sequence in range(30):
            prefetch.start(Batch(sequence, sequence), 29)
            prefetch.wait(lambda: False)
            prefetch.take()
            taken += 1
        prefetch.close()
        assert max(ahead) <= most and asked == 30
        assert most == 1 or max(ahead) > 1

    def test_nothing_is_asked_for_past_the_last(self) -> None:
        asked: list[int] = []

        def fetch(batch: Batch) -> bytes | None:
            asked.append(batch.first)
            return None if batch.first > 2 else b"x"

        prefetch = Prefetch(Layout(1, 1), fetch, Limits(4, 8, 1 << 20), 1)
        for sequence in range(3):
            prefetch.start(Batch(sequence, sequence), 2)
            prefetch.wait(lambda: False)
            assert prefetch.take() == b"x"
        prefetch.start(Batch(3, 3), 2)
        prefetch.wait(lambda: False)
        assert prefetch.take() is None
        prefetch.close()
        assert sorted(asked) == [0, 1, 2, 3]


def test_the_real_object_of_a_real_lake(shared_ledgers: Path, tmp_path: Path) -> None:
    """Ledger 53312000 of the public network, in an object that Galexie wrote."""
    layout = Layout(1, 64000)
    key = layout.key_of(layout.batch_of(53_312_000))
    (tmp_path / key).parent.mkdir()
    (tmp_path / key).symlink_to(shared_ledgers / "lake" / Path(key).name)
    manifest = {"networkPassphrase": PUBNET, "compression": "zstd", "ledgersPerBatch": 1, "batchesPerPartition": 64000}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    settings = LakeSettings(url=str(tmp_path))
    source = LakeSource(settings, "pubnet", PUBNET, stop_at_tip, poll_seconds=0.01, retry=QUICK)
    (ledger,) = source.ledgers(None)
    assert (ledger.sequence, read_header(ledger.data).sequence, source.tip) == (53_312_000, 53_312_000, 53_312_000)


def test_the_writer_refuses_a_batch_with_a_hole(chain: list[ClosedLedger], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be made of"):
        write_lake(tmp_path, pairs([ledger for ledger in chain if ledger.sequence != 6]), Layout(4, 2), PASSPHRASE)


def test_s3_lists_like_a_folder(s3: S3Server, chain: list[ClosedLedger], tmp_path: Path) -> None:
    store = s3.bucket("same", lake_objects(pairs(chain), SINGLE, PASSPHRASE))
    write_lake(tmp_path, pairs(chain), SINGLE, PASSPHRASE)
    keys = [meta["path"] for page in obstore.list(store) for meta in page]
    assert sorted(keys) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert keys[1] == SINGLE.key_of(Batch(LAST, LAST))
