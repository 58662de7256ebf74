"""The status view, the panel and the demo's helpers, without servers: from metrics pages to rows, lines and limits."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from lumenstream import masking, panel
from lumenstream.demo.expected import expected
from lumenstream.demo.follow import LogFollower
from lumenstream.demo.interrupts import stop_on_signals
from lumenstream.demo.options import DemoOptions, settings_for
from lumenstream.errors import ConfigurationError
from lumenstream.settings import PASSPHRASES, DatabaseSettings, Settings, load_settings
from lumenstream.status import DatabaseStatus, Endpoint, Monitor, Samples, Snapshot, Stage, endpoints, scrape, stage_of
from lumenstream.xdr.files import ledger_files
from producers import sources
from sandbox import Sandbox, SandboxSettings

PRODUCER = "lumenstream_produced_ledger {ledger}\nlumenstream_produced_ledgers_total {count}\nprocess_resident_memory_bytes 1e8\n"
SINK = (
    "lumenstream_cursor_ledger 7\nlumenstream_committed_ledgers_total 5\nlumenstream_sink_is_leader 1\n"
    'lumenstream_sink_missing_part{processor="accounts"} 1\nlumenstream_sink_missing_part{processor="effects"} 0\n'
    'lumenstream_sink_waiting_seconds 33\nlumenstream_server_errors_total{server="kafka"} 2\n'
)


@pytest.fixture
def page() -> Iterator[Callable[[str], str]]:
    """Serves a text as /metrics, which the test may change; gives the URL."""
    servers: list[ThreadingHTTPServer] = []

    def serve(text: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_samples_add_and_compare_over_labels() -> None:
    samples = Samples('a_total{x="1"} 2\na_total{x="2"} 5\n')
    assert (samples.total("a_total"), samples.highest("a_total"), samples.total("b")) == (7, 5, 0)
    assert samples.by_label("a_total", "x") == {"1": 2, "2": 5}


def test_a_sink_that_waits_says_for_what() -> None:
    stage = stage_of(Endpoint("sink", ""), Samples(SINK))
    assert (stage.ledger, stage.count, stage.errors, stage.note) == (7, 5, 2, "waits 33 s for accounts")


@pytest.mark.parametrize(
    ("leads", "catches_up", "note"), [(0, 0, "standing by"), (1, 0, "leading"), (1, 1, "leading, catching up")]
)
def test_a_sink_says_whether_it_writes(leads: int, catches_up: int, note: str) -> None:
    page = f"lumenstream_sink_is_leader {leads}\nlumenstream_sink_catching_up {catches_up}\n"
    assert stage_of(Endpoint("sink", ""), Samples(page)).note == note


def test_a_worker_says_how_many_messages_wait_on_its_partitions() -> None:
    lag = 'lumenstream_worker_lag_messages{{topic="ledgers"}} {0}\nlumenstream_worker_lag_messages{{topic="ledgers.retry"}} 2\n'
    assert stage_of(Endpoint("worker 1", ""), Samples(lag.format(1200))).note == "1,202 messages behind"
    assert stage_of(Endpoint("worker", ""), Samples("")).note == ""


def test_monitor_gives_lag_and_shows_who_is_down(page: Callable[[str], str]) -> None:
    targets = [
        Endpoint("producer", page(PRODUCER.format(ledger=10, count=9))),
        Endpoint("sink", page(SINK)),
        Endpoint("api", "http://127.0.0.1:9"),
    ]
    snapshot = Monitor(targets, extra=lambda: [Stage("broker", up=True, memory_bytes=1 << 20)]).sample()
    assert (snapshot.head, snapshot.cursor, snapshot.lag, snapshot.errors) == (10, 7, 3, 2)
    assert [(stage.name, stage.up, stage.lag) for stage in snapshot.stages] == [
        ("producer", True, 0),
        ("sink", True, 3),
        ("api", False, None),
        ("broker", True, None),
    ]
    assert "sink 7" in panel.line(snapshot) and "api down" in panel.line(snapshot)
    assert snapshot.to_json()["lag"] == 3


def test_rates_survive_a_restart_and_finished_roles_keep_their_row(page: Callable[[str], str]) -> None:
    done: set[str] = set()
    counts = iter([5, 9, 1, 3])
    served: list[str] = []
    monitor = Monitor([Endpoint("producer", "")], finished=lambda: done)

    def sample() -> Stage:
        served.append(page(PRODUCER.format(ledger=10, count=next(counts))))
        monitor.targets = (Endpoint("producer", served[-1]),)
        time.sleep(0.01)
        return monitor.sample().stages[0]

    assert sample().rate is None
    assert (sample().rate or 0) > 0
    assert sample().rate is None  # the count fell: a new process
    assert (sample().rate or 0) > 0
    done.add("producer")
    monitor.targets = (Endpoint("producer", "http://127.0.0.1:9"),)
    stage = monitor.sample().stages[0]
    assert (stage.up, stage.ledger, stage.note) == (True, 10, "finished")


def test_a_page_that_is_no_metrics_counts_as_down(page: Callable[[str], str]) -> None:
    assert scrape(Endpoint("api", page("<html> not { metrics"))) is None


def test_the_database_that_does_not_answer_is_part_of_the_status() -> None:
    settings = load_settings(database__url="postgresql://u:secret@127.0.0.1:9/x").database
    found = Monitor([], database=settings).sample().database
    assert found is not None and "does not answer" in found.error and "secret" not in found.error
    assert isinstance(settings, DatabaseSettings)


def test_the_panel_shows_every_stage_and_the_database() -> None:
    stages = (Stage("sink", up=True, ledger=1_234, rate=2.5, lag=3, partitions=4, memory_bytes=5 << 20), Stage("api", up=False))
    database = DatabaseStatus(cursor=1_234, ledgers=9, schema_version=3, edition="plain", required_processors=("accounts",))
    out = io.StringIO()
    Console(file=out, width=160).print(panel.render(Snapshot(stages, 1_237, 1_234, 0.0, database), "title", ["a note"]))
    for text in ("1,234", "2.5 ledgers/s", "5 MiB", "api", "accounts", "a note"):
        assert text in out.getvalue()


def test_endpoints_count_workers_and_leave_out_free_ports() -> None:
    settings = load_settings(process__workers=2, process__http_port=9000, publisher__http_port=0)
    roles = ["producer", "worker 0", "worker 1", "sink", "maintenance", "api"]
    assert [endpoint.role for endpoint in endpoints(settings)] == roles
    assert endpoints(settings)[2].url.endswith(":9001")


def test_targets_name_roles_elsewhere_and_every_address_of_a_host_is_one() -> None:
    settings = load_settings(status__targets="producer=http://127.0.0.1:8011, worker=http://no-such-host.invalid:8020")
    assert endpoints(settings) == (
        Endpoint("producer", "http://127.0.0.1:8011"),
        Endpoint("worker", "http://no-such-host.invalid:8020"),
    )
    both = endpoints(load_settings(status__targets="worker=http://127.0.0.1:1,worker=http://127.0.0.2:1"))
    assert [(endpoint.role, endpoint.kind) for endpoint in both] == [("worker 0", "worker"), ("worker 1", "worker")]
    some = endpoints(
        load_settings(status__targets="enrichment=http://no-such-host.invalid:8017,enrichment=http://127.0.0.1:8017")
    )
    assert some == (Endpoint("enrichment", "http://127.0.0.1:8017"),), "none or one: a name that is not known is none"
    for wrong in ("worker", "teapot=http://h:1", "worker=https://h:1", "worker=http://"):
        with pytest.raises(ConfigurationError, match="role=http://host:port"):
            endpoints(load_settings(status__targets=wrong))


def test_a_target_is_here_when_its_address_says_so() -> None:
    here = {
        "127.0.0.1": True,
        "127.8.8.8": True,
        "[::1]": True,
        "localhost": True,
        "10.0.0.7": False,
        "sink": False,
        "[fd00::1]": False,
    }
    assert {host: Endpoint("sink", f"http://{host}:8013").here for host in here} == here


def test_enrichment_has_a_row_of_its_own() -> None:
    samples = Samples('lumenstream_enriched_tokens_total{outcome="filled"} 5\nlumenstream_tokens_without_metadata 3\n')
    row = stage_of(Endpoint("enrichment", "http://h:1"), samples, {"role": "enrichment", "error": "no answer"})
    assert (row.count, row.unit, row.note, row.problems) == (5, "tokens", "3 without metadata", ("no answer",))


def test_settings_survive_the_way_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = load_settings(
        database__url="postgresql://u:p%20w@h/d", process__processors="accounts,participants", producer__path=tmp_path
    )
    for name, value in masking.environment_of(before).items():
        monkeypatch.setenv(name, value)
    assert Settings() == before


def test_logs_are_followed_with_their_role(tmp_path: Path) -> None:
    log = tmp_path / "sink.log"
    log.write_text("old\n", encoding="utf-8")
    out = io.StringIO()
    with LogFollower({"sink": log, "api": tmp_path / "none.log"}, out), log.open("a", encoding="utf-8") as writer:
        writer.write("new\nnot yet comple")
    assert out.getvalue() == "sink      | new\n"


def test_signals_become_an_event_and_handlers_come_back() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
    assert signal.getsignal(signal.SIGTERM) is former


def test_the_demo_has_ports_and_topics_of_its_own() -> None:
    options = DemoOptions(flags={"network__name": "pubnet"}, ledgers=Path(__file__).parent, workers=3)
    first, second = (settings_for(options, "postgresql://h/d", "127.0.0.1:1") for _ in range(2))
    assert first.kafka.topic_prefix != second.kafka.topic_prefix
    assert first.producer.source == "files" and first.network.name == "pubnet"
    ports = [int(endpoint.url.rpartition(":")[2]) for endpoint in endpoints(first)]
    assert len(ports) == len(set(ports)) == 7


def test_the_demo_follows_public_networks_from_their_newest_ledger() -> None:
    options = DemoOptions(flags={"network__name": "testnet"})
    options.check()
    producer = settings_for(options, "postgresql://h/d", "127.0.0.1:1").producer
    assert (producer.source, producer.begin) == ("lake", "newest")
    with pytest.raises(ConfigurationError, match="--once needs an end"):
        DemoOptions(flags={"network__name": "testnet"}, once=True).check()
    with pytest.raises(ConfigurationError, match="no ledgers of futurenet"):
        DemoOptions(flags={"network__name": "futurenet"}).check()
    assert settings_for(DemoOptions(flags={}), "postgresql://h/d", "127.0.0.1:1").producer.begin == "oldest"


def test_the_demo_s_own_network_is_the_sandbox_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUMENSTREAM_NETWORK__NAME", "pubnet")
    monkeypatch.setenv("LUMENSTREAM_NETWORK__PASSPHRASE", PASSPHRASES["pubnet"])
    sources.check(made := settings_for(DemoOptions(flags={}), "postgresql://h/d", "127.0.0.1:1"))
    assert made.network.resolved_passphrase() == PASSPHRASES["sandbox"]


def test_what_a_folder_holds_is_told_from_headers(tmp_path: Path) -> None:
    for closed in (Sandbox(SandboxSettings()).close_ledger() for _ in range(1)):
        (tmp_path / "b.xdr").write_bytes(closed.meta)
        (tmp_path / "a.xdr").write_bytes(closed.meta)
    for name in ("README.md", "manifest.json", ".hidden"):
        (tmp_path / name).write_text("not a ledger", encoding="utf-8")
    assert [path.name for path in ledger_files(tmp_path)] == ["a.xdr", "b.xdr"]
    assert expected(tmp_path) == (1, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="no ledger"):
        expected(tmp_path / "empty")


def test_consecutive_partitions_are_told_as_one() -> None:
    names = (*(f"ledgers {number}" for number in (0, 10, 1, 2, 11, 5)), "ledgers.retry 3")
    assert Stage("worker 0", up=True, assignment=names).spans == ("ledgers 0-2", "ledgers 5", "ledgers 10-11", "ledgers.retry 3")
    assert Stage("worker 0", up=True).spans == ()
