"""One conformance test for every ledger source, then what only one of them does."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.settings import load_settings
from producers import sources
from producers.sources import FilesSource, LedgerSource, RpcSource, SandboxSource
from sandbox import ClosedLedger, Sandbox, SandboxSettings

LEDGERS = 12
FIRST = 2
LAST = FIRST + LEDGERS - 1
NETWORK = SandboxSettings(close_seconds=0.001, transactions_per_ledger=2)


@pytest.fixture(scope="module")
def chain() -> list[ClosedLedger]:
    """The first ledgers of a sandbox network."""
    sandbox = Sandbox(NETWORK)
    return [sandbox.close_ledger() for _ in range(LEDGERS)]


def stop_at_once(_: float) -> bool:
    """A wait that ends the iteration: what a source without end does at its tip."""
    return True


def keep_going(_: float) -> bool:
    return False


@dataclass
class RpcStub:
    """A Stellar RPC server of a few ledgers, with a retention window, failures and delays to order."""

    ledgers: list[ClosedLedger]
    oldest: int = FIRST
    latest: int = LAST
    passphrase: str = NETWORK.network_passphrase
    failures: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    delay_seconds: float = 0.0
    calls: list[str] = field(default_factory=list)

    def __enter__(self) -> RpcStub:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.calls.append(request["method"])
                time.sleep(stub.delay_seconds)
                if stub.failures:
                    stub.failures.pop(0)(self)
                else:
                    send(self, 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], **stub.answer(request)}))

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        window = {"latestLedger": self.latest, "oldestLedger": self.oldest}
        match request["method"]:
            case "getNetwork":
                return {"result": {"passphrase": self.passphrase}}
            case "getHealth":
                return {"result": {"status": "healthy", **window}}
        start, limit = request["params"]["startLedger"], request["params"]["pagination"]["limit"]
        if not self.oldest <= start <= self.latest:
            message = f"start ledger must be between the oldest ledger: {self.oldest} and the latest ledger: {self.latest}"
            return {"error": {"code": -32600, "message": message}}
        page = [ledger for ledger in self.ledgers if start <= ledger.sequence <= self.latest][:limit]
        entries = [
            {"sequence": ledger.sequence, "hash": ledger.hash.hex(), "metadataXdr": base64.b64encode(ledger.meta).decode()}
            for ledger in page
        ]
        return {"result": {"ledgers": entries, "cursor": str(page[-1].sequence), **window}}


def send(handler: BaseHTTPRequestHandler, status: int, body: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body.encode())


def rpc(stub: RpcStub, **options: Any) -> RpcSource:
    return RpcSource(
        options.pop("url", stub.url),
        NETWORK.network_passphrase,
        options.pop("wait", stop_at_once),
        page=5,
        poll_seconds=0.01,
        first_backoff_seconds=0.001,
        **options,
    )


def record(data: bytes) -> bytes:
    return struct.pack(">I", len(data) | 1 << 31) + data


def write_folder(path: Path, chain: list[ClosedLedger]) -> Path:
    """The chain in files whose order and format differ from its own."""
    folder = path / "ledgers"
    (folder / "deep").mkdir(parents=True)
    (folder / "README.md").write_text("not a ledger")
    (folder / "z.xdr").write_bytes(b"".join(record(ledger.meta) for ledger in chain[:4]))
    (folder / "deep" / "b.xdr.gz").write_bytes(gzip.compress(b"".join(record(ledger.meta) for ledger in reversed(chain[4:8]))))
    for number, ledger in enumerate(chain[8:]):
        (folder / f"{9 - number}.xdr").write_bytes(ledger.meta)
    return folder


@pytest.fixture(params=["file", "folder", "rpc", "sandbox"])
def source(request: pytest.FixtureRequest, chain: list[ClosedLedger], tmp_path: Path) -> Iterator[LedgerSource]:
    made: LedgerSource
    match request.param:
        case "file":
            (tmp_path / "all.xdr").write_bytes(b"".join(record(ledger.meta) for ledger in chain))
            made = FilesSource(tmp_path / "all.xdr")
        case "folder":
            made = FilesSource(write_folder(tmp_path, chain))
        case "rpc":
            with RpcStub(chain) as stub:
                made = rpc(stub)
                yield made
                made.close()
            return
        case _:
            made = SandboxSource(NETWORK, keep_going, max_ledgers=LEDGERS)
    yield made
    made.close()


class TestEverySource:
    @pytest.mark.parametrize("after", [None, FIRST - 1, FIRST, 7, 8, LAST - 1, LAST, LAST + 5])
    def test_ascending_from_any_point_bytes_untouched(
        self, source: LedgerSource, chain: list[ClosedLedger], after: int | None
    ) -> None:
        found = list(source.ledgers(after))
        expected = [ledger for ledger in chain if after is None or ledger.sequence > after]
        assert [ledger.sequence for ledger in found] == [ledger.sequence for ledger in expected]
        assert [ledger.data for ledger in found] == [ledger.meta for ledger in expected]

    def test_names_the_predecessor_and_nothing_before_its_first(self, source: LedgerSource) -> None:
        found = list(source.ledgers(None))
        assert [ledger.previous_sequence for ledger in found] == [None, *range(FIRST, LAST)]

    def test_resumed_names_what_it_resumes_after(self, source: LedgerSource) -> None:
        assert next(iter(source.ledgers(6))).previous_sequence == 6

    def test_can_be_read_twice(self, source: LedgerSource) -> None:
        assert list(source.ledgers(4)) == list(source.ledgers(4))

    def test_says_where_a_ledger_lies(self, source: LedgerSource) -> None:
        assert all(ledger.place for ledger in source.ledgers(None))


class TestFiles:
    def test_a_gap_is_kept_and_named(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(record(chain[0].meta) + record(chain[5].meta))
        found = list(FilesSource(tmp_path).ledgers(None))
        assert [(ledger.sequence, ledger.previous_sequence) for ledger in found] == [(2, None), (7, 2)]
        assert [ledger.previous_sequence for ledger in FilesSource(tmp_path).ledgers(4)] == [2]

    def test_equal_duplicates_are_dropped(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(chain[0].meta)
        (tmp_path / "b.xdr").write_bytes(record(chain[0].meta) * 2 + record(chain[1].meta))
        assert [ledger.sequence for ledger in FilesSource(tmp_path).ledgers(None)] == [2, 3]

    def test_contradicting_duplicates_are_refused(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        other = Sandbox(SandboxSettings(seed=2, transactions_per_ledger=2)).close_ledger()
        (tmp_path / "a.xdr").write_bytes(chain[0].meta)
        (tmp_path / "b.xdr").write_bytes(other.meta)
        with pytest.raises(IntegrityError, match=r"ledger 2 is in .*a\.xdr and in .*b\.xdr"):
            FilesSource(tmp_path)

    def test_a_truncated_file_is_named(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(record(chain[0].meta) + record(chain[1].meta)[:-9])
        with pytest.raises(IntegrityError, match=r"a\.xdr"):
            FilesSource(tmp_path)

    def test_a_file_that_changes_while_read_is_noticed(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        path = tmp_path / "a.xdr"
        path.write_bytes(chain[0].meta)
        source = FilesSource(tmp_path)
        path.write_bytes(chain[1].meta)
        with pytest.raises(IntegrityError, match="changed while"):
            list(source.ledgers(None))

    @pytest.mark.parametrize("path", ["missing", "empty"])
    def test_no_ledgers_is_a_mistake_of_configuration(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConfigurationError):
            FilesSource(tmp_path / path)


class TestRpc:
    def test_failures_are_retried(self, chain: list[ClosedLedger]) -> None:
        failures = [
            lambda handler: send(handler, 503, "busy"),
            lambda handler: send(handler, 200, "not JSON"),
            lambda handler: send(handler, 200, '{"error": {"code": -32603, "message": "database is locked"}}'),
            lambda handler: send(handler, 200, "[]"),
            lambda handler: handler.connection.close(),
        ]
        with RpcStub(chain, failures=failures) as stub:
            source = rpc(stub, wait=lambda _: not failures and len(stub.calls) > 8)
            assert len(list(source.ledgers(None))) == LEDGERS
            assert not stub.failures
            source.close()

    def test_gives_up_after_ten_attempts(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, failures=[lambda handler: send(handler, 500, "")] * 20) as stub:
            source = rpc(stub, wait=keep_going)
            with pytest.raises(UnreachableError, match="failed 10 times.*HTTP 500"):
                list(source.ledgers(None))
            assert len(stub.calls) == 10
            source.close()

    def test_pauses_double_up_to_thirty_seconds(self, chain: list[ClosedLedger]) -> None:
        pauses: list[float] = []

        def wait(seconds: float) -> bool:
            pauses.append(seconds)
            return False

        with RpcStub(chain, failures=[lambda handler: send(handler, 500, "")] * 20) as stub:
            source = RpcSource(stub.url, NETWORK.network_passphrase, wait)
            with pytest.raises(UnreachableError):
                list(source.ledgers(None))
            source.close()
        assert pauses == [1, 2, 4, 8, 16, 30, 30, 30, 30]

    def test_the_stop_ends_a_series_of_retries(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, failures=[lambda handler: send(handler, 500, "")] * 20) as stub:
            source = rpc(stub)
            assert list(source.ledgers(None)) == []
            assert len(stub.calls) == 1
            source.close()

    def test_a_ledger_before_the_window_names_the_oldest(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, oldest=6) as stub:
            source = rpc(stub)
            with pytest.raises(IntegrityError, match="no longer has ledger 4: the oldest it keeps is 6"):
                list(source.ledgers(3))
            source.close()

    def test_a_window_that_moves_on_is_noticed_at_once(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain) as stub:
            source = rpc(stub, wait=keep_going)
            ledgers = source.ledgers(None)
            for _ in range(5):  # one page
                next(ledgers)
            stub.oldest = 10
            with pytest.raises(IntegrityError, match="no longer has ledger 7: the oldest it keeps is 10"):
                next(ledgers)
            assert stub.calls.count("getLedgers") == 2
            source.close()

    def test_starts_at_the_oldest_it_keeps_or_at_the_first_given(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, oldest=6) as stub:
            for first, expected in ((None, 6), (9, 9)):
                source = rpc(stub, first=first)
                ledger = next(iter(source.ledgers(None)))
                assert (ledger.sequence, ledger.previous_sequence) == (expected, None)
                source.close()

    def test_polls_at_the_tip(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, latest=5) as stub:
            waits = 0

            def wait(_: float) -> bool:
                nonlocal waits
                waits += 1
                stub.latest = min(stub.latest + 2, LAST)
                return stub.latest == LAST

            source = rpc(stub, wait=wait)
            assert [ledger.sequence for ledger in source.ledgers(None)] == list(range(FIRST, LAST - 1))
            assert waits == 4
            source.close()

    def test_another_network_is_refused(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, passphrase="Somewhere Else") as stub:
            source = rpc(stub)
            with pytest.raises(IntegrityError, match="serves network 'Somewhere Else'"):
                list(source.ledgers(None))
            source.close()

    def test_a_ledger_out_of_line_is_refused(self, chain: list[ClosedLedger]) -> None:
        with RpcStub([ledger for ledger in chain if ledger.sequence != 4]) as stub:
            source = rpc(stub)
            with pytest.raises(IntegrityError, match="gave ledger 5 where 4 was due"):
                list(source.ledgers(None))
            source.close()

    def test_a_slow_server_is_waited_for(self, chain: list[ClosedLedger]) -> None:
        with RpcStub(chain, delay_seconds=0.05) as stub:
            source = rpc(stub)
            assert len(list(source.ledgers(None))) == LEDGERS
            source.close()

    def test_messages_show_no_more_of_the_url_than_its_server(
        self, chain: list[ClosedLedger], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Providers put their keys into the user, the path or the query."""
        with RpcStub(chain, oldest=6, passphrase="Somewhere Else") as stub:
            url = stub.url.replace("//", "//hunter2@") + "/hunter2?key=hunter2"
            texts = []
            source = rpc(stub, url=url)
            with pytest.raises(IntegrityError) as refused:
                list(source.ledgers(None))
            texts.append(str(refused.value))
            stub.passphrase = NETWORK.network_passphrase
            with pytest.raises(IntegrityError) as gone:
                list(source.ledgers(3))
            texts += [str(gone.value), next(iter(source.ledgers(None))).place]
            stub.failures += [lambda handler: send(handler, 500, "")] * 20
            source.close()
            source = rpc(stub, url=url, wait=keep_going)
            with pytest.raises(UnreachableError) as silent:
                list(source.ledgers(None))
            texts += [str(silent.value), "".join(capsys.readouterr())]
            source.close()
        assert "127.0.0.1" in texts[0] and not [text for text in texts if "hunter2" in text]

    def test_needs_a_url(self) -> None:
        with pytest.raises(ConfigurationError, match="needs a URL"):
            RpcSource("", "x", keep_going)


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

    def test_the_stop_ends_it(self) -> None:
        source = SandboxSource(SandboxSettings(close_seconds=10, transactions_per_ledger=0), stop_at_once)
        assert [ledger.sequence for ledger in source.ledgers(None)] == [2]


class TestCreate:
    def test_each_source_by_its_setting(self, chain: list[ClosedLedger], tmp_path: Path) -> None:
        (tmp_path / "a.xdr").write_bytes(chain[0].meta)
        made = [
            sources.create(load_settings(producer__source="files", producer__path=tmp_path), keep_going),
            sources.create(load_settings(producer__source="rpc", producer__rpc_url="http://127.0.0.1:1"), keep_going),
            sources.create(load_settings(producer__source="sandbox"), keep_going),
        ]
        assert [type(source) for source in made] == [FilesSource, RpcSource, SandboxSource]
        for source in made:
            source.close()

    def test_files_need_a_path(self) -> None:
        with pytest.raises(ConfigurationError, match="needs a path"):
            sources.create(load_settings(producer__source="files"), keep_going)
