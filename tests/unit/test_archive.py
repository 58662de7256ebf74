"""History archives: which entries exist, and what is refused. Archives come from the sandbox's writer, keys from stellar_sdk."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from lumenstream import xdr
from lumenstream.errors import ConfigurationError, IntegrityError, LumenstreamError, UnreachableError
from lumenstream.retry import RetryPolicy
from lumenstream.settings import ArchiveSettings
from lumenstream.xdr import LedgerDecodeError, _buckets, buckets
from lumenstream.xdr.rows import Entry
from producers.archive import HistoryArchive
from producers.archive.places import Bucket, Web
from producers.archive.store import MissingFileError, Store, unzipped
from sandbox import archive
from sandbox.network import Sandbox
from sandbox.settings import SandboxSettings
from tests.servers.s3 import KEY_ID, REGION, SECRET, S3Server
from tests.unit.archive_builder import LEDGER, PROTOCOL, TOLD, State, layers, settings_for, write

STATE_FILE = ".well-known/stellar-history.json"


def scanners() -> list[Callable[[], buckets.BucketScanner]]:
    return [_buckets.BucketScanner, *([buckets.scanner] if xdr.DECODER == "native" else [])]


def scan(scanner: buckets.BucketScanner, contents: list[bytes], piece: int = 1 << 20) -> list[Entry]:
    """Buckets from the newest to the oldest, in pieces."""
    found: list[Entry] = []
    for number, content in enumerate(contents, 1):
        scanner.begin(number == len(contents))
        for at in range(0, len(content), piece):
            found += scanner.feed(content[at : at + piece])
        scanner.end()
    return found


def contents(states: list[State]) -> list[bytes]:
    return [content for content in archive.bucket_list(PROTOCOL, states).live if content]


def rows_of(state: State) -> list[Entry]:
    """What a scanner tells of a state that lies in one bucket: nothing hides anything there."""
    return scan(_buckets.BucketScanner(), contents([state]))


def read_all(root: Path | str) -> list[Entry]:
    reader = HistoryArchive(settings_for(root), threading.Event().wait)
    try:
        return [entry for batch in reader.entries(reader.newest()) for entry in batch.entries]
    finally:
        reader.close()


@pytest.mark.parametrize("make", scanners())
@pytest.mark.parametrize("seed", range(4))
def test_what_exists_is_what_the_newest_layer_holds(make: Callable[[], buckets.BucketScanner], seed: int) -> None:
    states = layers(seed)
    found = scan(make(), contents(states), piece=777)
    expected = rows_of({key: value for key, value in states[-1].items() if key[3] in TOLD})
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert len(found) == sum(key[3] in TOLD for key in states[-1])
    assert {entry.type for entry in found} == set(TOLD)


@pytest.mark.skipif(xdr.DECODER != "native", reason="there is one scanner only")
def test_both_scanners_agree() -> None:
    states = layers(9)
    native, twin = buckets.scanner(), _buckets.BucketScanner()
    assert scan(native, contents(states)) == scan(twin, contents(states))
    assert (native.records, native.known) == (twin.records, twin.known)
    assert 0 < native.known < native.records


def test_a_created_entry_and_the_oldest_bucket_take_no_memory() -> None:
    states = layers(3)
    scanner = buckets.scanner()
    scan(scanner, contents(states[-1:]))
    assert scanner.known == 0


@pytest.mark.parametrize("make", scanners())
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-3], "ends inside record"),
        (lambda content: b"\0\0\0\4" + content[4:], "no record mark"),
        (lambda content: content[:7] + b"\7" + content[8:], "unknown value"),
        (lambda content: content + content[:16], "metadata stand first"),
        (lambda content: content[:11] + b"\5" + content[12:], "do not belong here"),
    ],
)
def test_damaged_buckets_are_refused(
    make: Callable[[], buckets.BucketScanner], damage: Callable[[bytes], bytes], message: str
) -> None:
    content = contents(layers(1)[:1])[0]
    with pytest.raises(LedgerDecodeError, match=message):
        scan(make(), [damage(content)])


def test_evicted_entries_come_last_and_are_marked(tmp_path: Path) -> None:
    states = layers(5)
    archived = {key: value for key, value in layers(6)[-1].items() if key[3] in (6, 7)}
    write(tmp_path, states, archived)
    reader = HistoryArchive(settings_for(tmp_path), threading.Event().wait)
    batches = list(reader.entries(reader.newest()))
    told = [entry for batch in batches if batch.archived for entry in batch.entries]
    assert len(told) == len(archived) > 5
    assert [batch.archived for batch in batches] == sorted(batch.archived for batch in batches)


def test_the_sandbox_writes_the_archive_its_header_speaks_of(tmp_path: Path) -> None:
    network = Sandbox(SandboxSettings(accounts=20, transactions_per_ledger=5))
    while not archive.is_checkpoint(network.latest_sequence):
        network.close_ledger()
    network.write_archive(tmp_path)
    reader = HistoryArchive(settings_for(tmp_path), threading.Event().wait)
    checkpoint = reader.newest()
    assert checkpoint.header is not None and checkpoint.header.hash == network.latest_hash
    assert checkpoint.ledger == 63
    assert len([entry for batch in reader.entries(checkpoint) for entry in batch.entries]) == len(network.ledger_entries())


def _edit_state(root: Path, **changes: object) -> None:
    file = root / STATE_FILE
    file.write_bytes(orjson.dumps(orjson.loads(file.read_bytes()) | changes))


def _first_bucket(root: Path) -> Path:
    return min((root / "bucket").rglob("*.gz"))


def _rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(gzip.compress(change(gzip.decompress(file.read_bytes()))))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda root: _edit_state(root, version=3), "version 3 is unknown"),
        (lambda root: _edit_state(root, networkPassphrase="Another"), "is of network 'Another'"),
        (lambda root: _edit_state(root, currentLedger=100), "is no checkpoint"),
        (lambda root: _edit_state(root, currentBuckets=[]), "not a list of 11 levels"),
        (lambda root: (root / STATE_FILE).write_bytes(b"<html>"), "no state file"),
        (lambda root: (root / STATE_FILE).unlink(), "does not exist"),
        (lambda root: _first_bucket(root).unlink(), "does not exist"),
        (lambda root: _first_bucket(root).write_bytes(_first_bucket(root).read_bytes()[:-9]), "ends early"),
        (lambda root: _first_bucket(root).write_bytes(b"no gzip at all"), "damaged gzip"),
        (lambda root: _rewrite(_first_bucket(root), lambda data: data[:-1] + b"\1"), "its hash is|is not|unknown value|expected"),
        (lambda root: _rewrite(_first_bucket(root), lambda data: data[:16]), "its hash is"),
    ],
)
def test_bad_archives_are_refused(tmp_path: Path, harm: Callable[[Path], object], message: str) -> None:
    write(tmp_path, layers(2))
    harm(tmp_path)
    with pytest.raises(LumenstreamError, match=message):
        read_all(tmp_path)


def test_a_list_of_buckets_that_the_header_does_not_speak_of(tmp_path: Path) -> None:
    network = Sandbox(SandboxSettings(accounts=5, transactions_per_ledger=2))
    while not archive.is_checkpoint(network.latest_sequence):
        network.close_ledger()
    network.write_archive(tmp_path)
    state = orjson.loads((tmp_path / STATE_FILE).read_bytes())
    state["currentBuckets"][10]["snap"] = "ab" * 32
    (tmp_path / STATE_FILE).write_bytes(orjson.dumps(state))
    with pytest.raises(IntegrityError, match="its header says"):
        read_all(tmp_path)


def test_an_older_checkpoint_is_found(tmp_path: Path) -> None:
    write(tmp_path, layers(2))
    archive.write(tmp_path, 191, "Lumenstream Sandbox Network", archive.bucket_list(PROTOCOL, layers(3)))
    reader = HistoryArchive(settings_for(tmp_path), threading.Event().wait)
    assert reader.newest().ledger == 191
    assert reader.newest(not_above=190).ledger == LEDGER
    with pytest.raises(MissingFileError):
        reader.newest(not_above=126)
    with pytest.raises(IntegrityError, match="no checkpoint at or below ledger 62"):
        reader.newest(not_above=62)


def test_no_archive_is_configured() -> None:
    for url in ("", "ftp://somewhere"):
        with pytest.raises(ConfigurationError):
            HistoryArchive(settings_for(url), threading.Event().wait)


def test_pieces_of_a_gzip_file_are_bounded() -> None:
    data = bytes(5 << 20) + b"end"
    packed = gzip.compress(data[: 3 << 20]) + gzip.compress(data[3 << 20 :])
    pieces = list(unzipped(iter([packed[:100], packed[100:]]), "here"))
    assert b"".join(pieces) == data and max(map(len, pieces)) <= 1 << 20


@pytest.fixture
def flaky_server(tmp_path: Path) -> Iterator[Callable[[bool], str]]:
    """Serves a folder over HTTP and breaks off every first answer in the middle; with or without byte ranges."""
    servers: list[ThreadingHTTPServer] = []

    def start(ranges: bool) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(tmp_path, ranges))
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(root: Path, ranges: bool) -> type[BaseHTTPRequestHandler]:
    seen: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            file = root / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            if body and self.path not in seen and len(seen) % 2:
                seen.add(self.path)
                self.send_error(503)
                return
            data = file.read_bytes()
            start = int((self.headers.get("range") or "bytes=0-")[6:-1]) if ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("content-length", str(len(data) - start))
            self.end_headers()
            if body:
                broken = self.path not in seen
                seen.add(self.path)
                self.wfile.write(data[start : len(data) // 2] if broken else data[start:])

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(
    tmp_path: Path, flaky_server: Callable[[bool], str], ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, layers(2))
    expected = read_all(tmp_path)
    url = flaky_server(ranges)
    quick = RetryPolicy(first_pause_seconds=0.001)
    monkeypatch.setattr("producers.archive.checkpoint.open_store", lambda _, wait: Store(Web(url, 5), wait, quick))
    assert read_all(url) == expected
    with pytest.raises(MissingFileError):
        Store(Web(url, 5), threading.Event().wait).size("nothing/here")


def test_an_archive_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, layers(2))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    files = ((str(file.relative_to(tmp_path)), file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file())
    with S3Server() as server:
        server.bucket("history", ((f"core/{name}", data) for name, data in files))
        archive_settings = ArchiveSettings(url="s3://history/core", region=REGION, endpoint=server.url)
        settings = settings_for("").model_copy(update={"archive": archive_settings})
        reader = HistoryArchive(settings, threading.Event().wait)
        found = [entry for batch in reader.entries(reader.newest()) for entry in batch.entries]
        rest = b"".join(Bucket(archive_settings).read(STATE_FILE, 10))
        with pytest.raises(MissingFileError):
            Store(Bucket(archive_settings), threading.Event().wait).size("nothing/here")
    assert found == read_all(tmp_path)
    assert rest == (tmp_path / STATE_FILE).read_bytes()[10:]


def test_a_server_that_is_away_is_given_up() -> None:
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return False

    store = Store(Web("http://127.0.0.1:1/archive", 5), wait)
    with pytest.raises(UnreachableError, match="failed 10 times"):
        list(store.stream("x"))
    assert waited == [1, 2, 4, 8, 16, 30, 30, 30, 30]
