"""One conformance test for every ledger source, each against a real server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from lumenstream.bench.lakefiles import lake_objects, write_lake
from lumenstream.errors import ConfigurationError, IntegrityError
from lumenstream.settings import PASSPHRASES, LakeSettings, load_settings
from producers import sources
from producers.header import NetworkCheck, checked_header
from producers.sources import FilesSource, LakeSource, LedgerSource, RpcSource, SourceLedger
from producers.sources.lake import Layout
from producers.sources.sandbox import SandboxSource
from sandbox import ClosedLedger, SandboxSettings
from tests.servers.rpc import RpcStub
from tests.servers.s3 import REGION, S3Server
from tests.unit.source_support import (
    FIRST,
    LAST,
    NETWORK,
    PASSPHRASE,
    QUICK,
    keep_going,
    make_chain,
    stop_at_tip,
    write_file,
    write_folder,
)

KINDS = ("file", "folder", "lake folder", "lake folder of batches", "lake S3", "rpc", "sandbox")
STORED = KINDS[:-1]  # what the sandbox hands out it makes itself
LAYOUTS = {"lake folder": Layout(1, 8), "lake folder of batches": Layout(4, 2), "lake S3": Layout(1, 1)}
Make = Callable[[Sequence[ClosedLedger]], AbstractContextManager[LedgerSource]]


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    return make_chain()


def filled(server: S3Server, bucket: str, pairs: list[tuple[int, bytes]], layout: Layout) -> str:
    """A bucket with a lake of these ledgers; each is made once."""
    if bucket not in server.buckets:
        server.bucket(bucket, ((f"some/where/{key}", data) for key, data in lake_objects(pairs, layout, PASSPHRASE)))
    return bucket


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A source of one kind that serves these ledgers."""

    @contextmanager
    def build(ledgers: Sequence[ClosedLedger]) -> Iterator[LedgerSource]:
        match request.param:
            case "file":
                yield FilesSource(write_file(tmp_path, ledgers))
            case "folder":
                yield FilesSource(write_folder(tmp_path, ledgers))
            case "rpc":
                with RpcStub(ledgers, PASSPHRASE, oldest=FIRST, latest=LAST) as stub:
                    source = RpcSource(stub.url, PASSPHRASE, stop_at_tip, page=5, poll_seconds=0.01, retry=QUICK)
                    yield source
                    source.close()
            case "sandbox":
                yield SandboxSource(NETWORK, keep_going, max_ledgers=len(ledgers))
            case kind:
                layout = LAYOUTS[kind]
                pairs = [(ledger.sequence, ledger.meta) for ledger in ledgers]
                if kind == "lake S3":
                    server: S3Server = request.getfixturevalue("s3")
                    bucket = filled(server, f"lake-{hashlib.sha256(repr(pairs).encode()).hexdigest()[:16]}", pairs, layout)
                    settings = LakeSettings(url=f"s3://{bucket}/some/where", endpoint=server.url, region=REGION)
                else:
                    write_lake(tmp_path / "lake", pairs, layout, PASSPHRASE)
                    settings = LakeSettings(url=str(tmp_path / "lake"))
                yield LakeSource(settings, "sandbox", PASSPHRASE, stop_at_tip, poll_seconds=0.01, retry=QUICK)

    return build


def fetches() -> float:
    return REGISTRY.get_sample_value("lumenstream_source_fetch_seconds_count") or 0.0


def drain(source: LedgerSource, check: Callable[[SourceLedger], object]) -> None:
    for ledger in source.ledgers(None):
        check(ledger)


class TestEverySource:
    @pytest.mark.parametrize("after", [None, FIRST - 1, FIRST, 7, 8, LAST - 1, LAST, LAST + 5])
    def test_ascending_from_any_point_bytes_untouched(self, make: Make, chain: list[ClosedLedger], after: int | None) -> None:
        with make(chain) as source:
            found = list(source.ledgers(after))
        expected = [ledger for ledger in chain if after is None or ledger.sequence > after]
        assert [ledger.sequence for ledger in found] == [ledger.sequence for ledger in expected]
        assert [ledger.data for ledger in found] == [ledger.meta for ledger in expected]
        assert all(ledger.place for ledger in found)

    @pytest.mark.parametrize(("after", "through"), [(None, 5), (FIRST - 1, FIRST), (3, 8), (4, 7), (9, 9), (LAST - 2, LAST)])
    def test_a_range_is_what_was_asked_for(self, make: Make, chain: list[ClosedLedger], after: int | None, through: int) -> None:
        with make(chain) as source:
            found = [ledger.sequence for ledger in source.ledgers(after, through)]
        assert found == list(range(FIRST if after is None else after + 1, through + 1))

    def test_names_the_predecessor_and_nothing_before_its_first(self, make: Make, chain: list[ClosedLedger]) -> None:
        with make(chain) as source:
            found = list(source.ledgers(None))
        assert [ledger.previous_sequence for ledger in found] == [None, *range(FIRST, LAST)]

    def test_resumed_goes_on_where_it_ended_and_names_what_it_follows(self, make: Make, chain: list[ClosedLedger]) -> None:
        with make(chain) as source:
            begun = source.ledgers(None)
            first = [next(begun) for _ in range(5)]
            rest = list(source.ledgers(first[-1].sequence))
            assert [ledger.sequence for ledger in (*first, *rest)] == list(range(FIRST, LAST + 1))
            assert rest[0].previous_sequence == first[-1].sequence
            assert list(source.ledgers(4)) == list(source.ledgers(4))

    @pytest.mark.parametrize("make", STORED, indirect=True)
    def test_a_missing_ledger_of_a_range_is_an_error_and_never_skipped(self, make: Make, chain: list[ClosedLedger]) -> None:
        """Ledgers 8 to 11 are one object of the lake of batches."""
        found: list[int] = []
        with make([ledger for ledger in chain if not 8 <= ledger.sequence <= 11]) as source:
            with pytest.raises(IntegrityError, match=r"\b(8|12)\b"):
                found.extend(ledger.sequence for ledger in source.ledgers(3, LAST))
        assert found in ([4, 5, 6, 7], list(range(4, 12)))

    def test_another_network_is_noticed(self, make: Make, chain: list[ClosedLedger]) -> None:
        check = NetworkCheck(load_settings(network__name="pubnet").network.network_id())
        with make(chain) as source:
            with pytest.raises(IntegrityError, match="not a ledger of the configured network"):
                drain(source, check.check)

    def test_knows_its_tip_and_has_no_problem(self, make: Make, chain: list[ClosedLedger]) -> None:
        with make(chain) as source:
            assert len(list(source.ledgers(None))) == len(chain)
            assert source.tip in (LAST, None) and (source.tip is not None or isinstance(source, SandboxSource))
            assert source.problem == ""

    @pytest.mark.parametrize("make", STORED, indirect=True)
    def test_a_damaged_ledger_is_an_error_that_says_where(self, make: Make, chain: list[ClosedLedger]) -> None:
        damaged = [dataclasses.replace(ledger, meta=ledger.meta[:200]) if ledger.sequence == 6 else ledger for ledger in chain]
        with pytest.raises(IntegrityError, match=r"all\.xdr|b\.xdr\.gz|FFFFFFF9--6|FFFFFFFB--4-7|127\S* ledger 6"):
            with make(damaged) as source:
                drain(source, checked_header)

    def test_reads_are_timed(self, request: pytest.FixtureRequest, make: Make, chain: list[ClosedLedger]) -> None:
        """One observation a getLedgers page, an object or a ledger of a file; the sandbox reads nothing."""
        kind = request.node.callspec.params["make"]
        before = fetches()
        with make(chain) as source:
            assert len(list(source.ledgers(None))) == len(chain)
        pages, objects = -(-len(chain) // 5), LAST // 4 - FIRST // 4 + 1
        wanted = {"rpc": pages, "lake folder of batches": objects, "sandbox": 0}.get(kind, len(chain))
        assert fetches() - before == wanted


class TestSandbox:
    def test_keeps_the_pace(self) -> None:
        pauses: list[float] = []

        def wait(seconds: float) -> bool:
            pauses.append(seconds)
            time.sleep(seconds)
            return False

        source = SandboxSource(SandboxSettings(close_seconds=0.05, transactions_per_ledger=0), wait, max_ledgers=6)
        started = time.monotonic()
        assert len(list(source.ledgers(None))) == 6
        assert time.monotonic() - started >= 5 * 0.05
        assert len(pauses) >= 4

    def test_a_range_past_its_end_is_an_error(self) -> None:
        source = SandboxSource(NETWORK, keep_going, max_ledgers=3)
        for after, through, due in ((2, 9, 5), (7, 9, 8), (0, 3, 1)):
            with pytest.raises(IntegrityError, match=f"does not have ledger {due}"):
                list(source.ledgers(after, through))

    def test_the_stop_ends_it(self) -> None:
        source = SandboxSource(SandboxSettings(close_seconds=10, transactions_per_ledger=0), stop_at_tip)
        assert [ledger.sequence for ledger in source.ledgers(None)] == [2]

    def test_the_stop_ends_the_way_to_a_ledger_far_away(self) -> None:
        """Guards: the chain up to the resume point was made again without a look at the stop."""
        asked: list[float] = []

        def wait(seconds: float) -> bool:
            asked.append(seconds)
            return len(asked) == 3

        source = SandboxSource(NETWORK, wait)
        assert list(source.ledgers(10**9)) == []
        assert asked == [0, 0, 0]


class TestCreate:
    def test_each_source_by_its_setting(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(chain[0].meta)
        made = [
            sources.create(load_settings(producer__source="files", producer__path=tmp_path), keep_going),
            sources.create(load_settings(producer__source="lake", lake__url=str(tmp_path)), keep_going),
            sources.create(load_settings(producer__source="rpc", producer__rpc_url="http://127.0.0.1:1"), keep_going),
            sources.create(load_settings(producer__source="sandbox"), keep_going),
        ]
        assert [type(source) for source in made] == [FilesSource, LakeSource, RpcSource, SandboxSource]
        for source in made:
            source.close()

    @pytest.mark.parametrize("network", ["pubnet", "testnet"])
    def test_no_ledgers_are_made_up_for_a_public_network(self, network: str) -> None:
        """By its name, which a passphrase of one's own does not change, and by its passphrase under another name."""
        for flags in (
            {"network__name": network},
            {"network__name": network, "network__passphrase": "mine"},
            {"network__name": "mine", "network__passphrase": PASSPHRASES[network]},
        ):
            for refused in (sources.check, lambda settings: sources.create(settings, keep_going)):
                with pytest.raises(ConfigurationError, match=f"which {network} must not have") as error:
                    refused(load_settings(**flags))
                assert "--rpc-url" in error.value.hint and "--source lake" in error.value.hint
        sources.check(load_settings(network__name="mine", network__passphrase="mine"))

    def test_files_need_a_path(self) -> None:
        with pytest.raises(ConfigurationError, match="needs a path"):
            sources.create(load_settings(producer__source="files"), keep_going)
