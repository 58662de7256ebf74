"""Backfill and replay on real Kafka and TimescaleDB: whatever is done to a database and its jobs, history ends as it should."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql

from lumenstream import retention
from lumenstream.bench.lakefiles import write_lake
from lumenstream.database import DECOMPRESSION_LIMIT, edition
from lumenstream.embedded.processes import ChildProcess, Command
from lumenstream.errors import ConfigurationError, ExitCode, UnreachableError
from lumenstream.settings import LakeSettings, ProducerSettings
from producers import replay
from producers.backfill import Job, Progress, Request
from producers.backfill.plan import Range
from producers.backfill.sending import Sender
from producers.sources.lake import Layout
from schemas import history
from sinks.timescale import checkpoint, verify
from sinks.timescale.layouts import HISTORY
from sinks.timescale.maintenance.retention import look
from tests.chaos.snapshot import Snapshot
from tests.integration.backfill_world import (
    FIRST,
    LAST,
    BackfillWorld,
    Chain,
    LiveWriter,
    check_equal,
    history_of,
    make_chain,
    running_sink,
)
from tests.plugins.servers import KafkaForTest, create_database, drop_database
from tests.servers.cache import Unavailable
from tests.servers.choose import Servers, with_database
from tests.servers.rpc import RpcStub

EVERY = range(FIRST, LAST + 1)
HOLES = {*range(FIRST, 7), *range(12, 30), 33, *range(40, 43)}  # the beginning, whole ranges, one ledger, a range's end
LIVE_FROM = 50  # ledgers that are committed while a job runs


@pytest.fixture(scope="module")
def world(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackfillWorld]:
    """The chain on a topic, and a worker that serves every test."""
    try:
        bootstrap = servers.bootstrap
    except Unavailable as error:
        pytest.skip(f"no Kafka: {error}")
    topics = KafkaForTest(bootstrap, f"t{secrets.token_hex(6)}.")
    made = BackfillWorld(bootstrap, topics.topic_prefix, tmp_path_factory.mktemp("backfill"), make_chain())
    made.produce_ledgers()
    with made.worker():
        yield made
    topics.delete_topics()


@pytest.fixture(scope="module")
def whole(world: BackfillWorld, admin_url: str, template_database: str) -> Iterator[tuple[str, Snapshot]]:
    """A database without gaps: its name, for copies, and its history."""
    name = f"ls_{secrets.token_hex(6)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        create_database(admin, name, template_database)
    url = with_database(admin_url, name)
    LiveWriter(url, world.chain).commit(EVERY)
    yield name, history_of(url)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        drop_database(admin, name)


@pytest.fixture
def whole_url(whole: tuple[str, Snapshot], admin_url: str) -> Iterator[str]:
    """A copy of the database without gaps, to be damaged."""
    name = f"ls_{secrets.token_hex(6)}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        create_database(admin, name, whole[0])
    yield with_database(admin_url, name)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        drop_database(admin, name)


def cursors(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("select key, value from ingest_store where key <> 'network_id'").fetchall())


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount > 0, statement


def test_gaps_are_filled_while_the_live_sink_goes_on(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str
) -> None:
    live = LiveWriter(database_url, world.chain)
    live.commit([sequence for sequence in EVERY if sequence not in HOLES and sequence < LIVE_FROM])
    settings = world.settings(database_url)
    going_on = threading.Thread(target=live.commit, args=(range(LIVE_FROM, LAST + 1),))
    going_on.start()
    try:
        summary = world.run(settings, Request(1 + 1, LIVE_FROM - 1))
    finally:
        going_on.join(30)
    assert summary.failed == ()
    assert (summary.ledgers, summary.done_ledgers, summary.copied_ledgers) == (len(HOLES),) * 3
    check_equal(database_url, whole[1])
    assert cursors(database_url) == {"latest_ingest_ledger": str(LAST), "oldest_ingest_ledger": str(FIRST)}
    assert verify.verify(settings).findings == []
    with Job(settings, Request(FIRST, LAST), threading.Event()) as again:
        assert again.plan() == 0


@pytest.mark.parametrize("source", ["lake", "rpc"])
def test_gaps_are_filled_from_other_sources(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str, source: Literal["lake", "rpc"], tmp_path: Path
) -> None:
    """An object of the lake holds four ledgers: ranges begin and end within objects."""
    LiveWriter(database_url, world.chain).commit([sequence for sequence in EVERY if sequence not in HOLES])
    passphrase = world.settings(database_url).network.resolved_passphrase()
    make_lake(tmp_path, world, world.chain)
    with RpcStub(list(world.chain.ledgers.values()), passphrase) as stub:
        settings = world.settings(database_url, from_topics=False).model_copy(
            update={
                "producer": ProducerSettings(source=source, rpc_url=stub.url, poll_seconds=0.01),
                "lake": LakeSettings(url=str(tmp_path), prefetch_objects=3),
            }
        )
        summary = world.run(settings, Request(FIRST, LAST - 5))
    assert (summary.failed, summary.done_ledgers, summary.copied_ledgers) == ((), len(HOLES), 0)
    check_equal(database_url, whole[1])


def test_a_source_that_stays_away_ends_the_job_and_is_named(world: BackfillWorld, database_url: str) -> None:
    """Not after the time for a standstill, and not as a range that failed: the next run does what is left."""
    LiveWriter(database_url, world.chain).commit([FIRST, LAST])
    away = ProducerSettings(source="rpc", rpc_url="http://127.0.0.1:9", source_attempts=2, source_backoff_seconds=0.01)
    settings = world.settings(database_url, from_topics=False).model_copy(update={"producer": away})
    with Job(settings, Request(FIRST, LAST), threading.Event()) as job:
        job.plan()
        with pytest.raises(UnreachableError, match=r"getNetwork at http://127\.0\.0\.1:9 failed 2 times") as raised:
            job.run(lambda progress: None, lambda: None)
        assert job.cut_short is not None and not job.cut_short.ok
        assert (job.cut_short.error, job.cut_short.failed) == (str(raised.value), ())
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from backfill_ranges where state in ('open', 'failed')").fetchone() == (0,)


def test_two_sinks_and_every_message_three_times(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    LiveWriter(database_url, world.chain).commit([LAST])
    send = Sender.send

    def thrice(self: Sender, messages: Any) -> None:
        send(self, [message for message in messages for _ in range(3)])

    monkeypatch.setattr(Sender, "send", thrice)
    summary = world.run(world.settings(database_url, open_ranges=8), Request(FIRST, LAST), sinks=2)
    assert summary.failed == ()
    check_equal(database_url, whole[1])


def test_a_range_made_anew_twice_stays_the_same_and_comes_from_the_topic(
    world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str
) -> None:
    settings = world.settings(whole_url, path=Path("/nowhere"))  # a source would be an error
    for _ in range(2):
        summary = world.run(settings, Request(10, 40, rewrite=True))
        assert summary.failed == ()
        assert summary.copied_ledgers == summary.done_ledgers == 31
        check_equal(whole_url, whole[1])


def test_replay_mends_what_was_damaged(world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str) -> None:
    low, high = 12 << 32, 46 << 32
    inside = f"to_id between {low} and {high}"
    execute(
        whole_url,
        f"delete from state_changes where {inside} and state_change_id > {1 << 28} and (to_id >> 12) % 3 = 0",
        f"update state_changes set amount = '7' where {inside} and state_change_category = 'BALANCE'",
        f"delete from operations_accounts where operation_id between {low} and {high} and operation_id % 2 = 1",
        f"insert into transactions_accounts (account_id, tx_to_id, ledger_created_at) "
        f"select '\\x00', to_id, ledger_created_at from transactions where {inside}",
        "update ledgers set state_change_count = 0 where sequence between 12 and 45",
    )
    assert verify.verify(world.settings(whole_url)).findings
    summary = world.run(world.settings(whole_url), Request(10, 48, rewrite=True, processors=("effects", "token_transfers")))
    assert summary.failed == ()
    check_equal(whole_url, whole[1])
    execute(
        whole_url,
        f"delete from transactions where {inside} and (to_id >> 12) % 2 = 0",
        f"delete from operations where id between {low} and {high}",
        f"update transactions set ledger_number = 1, fee_charged = 1 where {inside}",
        "update ledgers set operation_count = 0 where sequence between 12 and 45",
    )
    summary = world.run(world.settings(whole_url), Request(10, 48, rewrite=True))
    assert summary.failed == ()
    check_equal(whole_url, whole[1])


@pytest.mark.parametrize(
    "taken_back",
    ["update backfill_ranges set state = 'open' where first_ledger = 16", "delete from backfill_ranges where first_ledger = 16"],
    ids=["the transaction of the range", "the plan too"],
)
def test_a_range_that_a_crash_took_back_is_not_done(world: BackfillWorld, whole_url: str, taken_back: str) -> None:
    """The ledgers of a replay are there anyway, so they prove nothing. Guards: the job said that all was done."""
    settings, lost = world.settings(whole_url), list[int]()

    def watch(progress: Progress) -> None:
        if progress.done_ranges == progress.ranges:
            execute(whole_url, taken_back)
            lost.append(progress.done_ledgers)

    with running_sink(settings), Job(settings, Request(10, 30, rewrite=True), threading.Event()) as job:
        assert job.plan() == 21
        summary = job.run(watch, lambda: None)
    assert lost == [21]
    assert [failed for failed, _ in summary.failed] == [Range(16, 23)]
    assert not summary.ok and summary.done_ledgers == 21 - 8


@pytest.mark.parametrize("names", [("effects",), ("participants",), ("sac_events", "contract_deploys"), ("trades",)])
def test_replay_of_some_processors_changes_nothing_that_was_right(
    world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str, names: tuple[str, ...]
) -> None:
    summary = world.run(world.settings(whole_url), Request(20, 35, rewrite=True, processors=names))
    assert summary.failed == ()
    check_equal(whole_url, whole[1])


def make_lake(folder: Path, world: BackfillWorld, chain: Chain) -> Path:
    """Ledgers 2 to 55, four an object."""
    pairs = [(sequence, closed.meta) for sequence, closed in chain.ledgers.items() if sequence < 56]
    write_lake(folder, pairs, Layout(4, 5), world.settings("postgresql://nowhere").network.resolved_passphrase())
    return folder


@pytest.mark.parametrize("processors", ["", ",".join(history.STREAMS)], ids=["all", "named"])
def test_replay_takes_from_a_lake_what_the_topics_hold_no_more(
    world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str, tmp_path: Path, processors: str
) -> None:
    """Topic and lake take turns within ranges and objects; one message is another ledger's, as after a topic was made anew."""
    execute(
        whole_url,
        "update ledgers set topic = 'deleted' where sequence between 13 and 30 and sequence % 3 > 0",
        'update ledgers set "offset" = 0 where sequence = 35',
        f"delete from state_changes where to_id between {12 << 32} and {36 << 32}",
    )
    lake = make_lake(tmp_path, world, world.chain)
    command = ("replay", "--from", "10", "--to", "40", "--workers", "0", "--source", "lake", "--lake-url", str(lake), "--json")
    code, out, error = lumenstream(world, whole_url, *command, "--processors", processors)
    assert code == 0, error
    summary = json.loads(out)
    assert (summary["done_ledgers"], summary["copied_ledgers"]) == (31, 31 - 12 - 1)
    check_equal(whole_url, whole[1])


def test_a_replay_from_a_lake_of_another_chain_changes_nothing(
    world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str, tmp_path: Path
) -> None:
    elsewhere = "update ledgers set topic = 'deleted' where sequence between 10 and 23"
    execute(whole_url, elsewhere)
    before = history_of(whole_url)
    lake = LakeSettings(url=str(make_lake(tmp_path, world, make_chain(seed=6))))
    settings = world.settings(whole_url).model_copy(update={"producer": ProducerSettings(source="lake"), "lake": lake})
    summary = world.run(settings, Request(10, 30, rewrite=True))
    assert [failed for failed, _ in summary.failed] == [Range(10, 15), Range(16, 23)]
    assert all("the database has" in text for _, text in summary.failed)
    check_equal(whole_url, before)


def test_rows_that_nothing_announced_are_in_the_way_once(
    world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str
) -> None:
    execute(whole_url, "delete from ledgers where sequence between 16 and 23")
    summary = world.run(world.settings(whole_url), Request(FIRST, LAST))
    assert summary.failed == ()
    check_equal(whole_url, whole[1])


def test_a_poison_ledger_is_named_and_the_other_ranges_are_done(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str
) -> None:
    LiveWriter(database_url, world.chain).commit([LAST])
    poison = {20: replace(world.chain.ledgers[20], meta=world.chain.ledgers[20].meta[:-40])}
    ledgers = [poison.get(sequence, closed) for sequence, closed in world.chain.ledgers.items() if sequence != 44]
    settings = world.settings(database_url, path=world.write_files("poison", ledgers), from_topics=False)
    summary = world.run(settings, Request(FIRST, LAST))
    assert [failed for failed, _ in summary.failed] == [Range(16, 23), Range(40, 47)]
    texts = [text for _, text in summary.failed]
    assert "ledger 20" in texts[0] and "failed" in texts[0]
    assert "does not have ledger 44" in texts[1]
    assert summary.done_ledgers == LAST - FIRST + 1 - 16 - 1
    gaps = [(finding.first, finding.last) for finding in verify.verify(settings).findings if finding.kind == "gap"]
    assert gaps == [(16, 23), (40, 47)]
    assert world.run(world.settings(database_url), Request(FIRST, LAST)).ledgers == 16
    check_equal(database_url, whole[1])


def test_a_job_without_workers_gives_up_and_says_why(world: BackfillWorld, database_url: str) -> None:
    LiveWriter(database_url, world.chain).commit([FIRST, LAST])
    settings = world.settings(database_url, stall_seconds=0.6)
    with Job(settings, Request(FIRST, LAST), threading.Event()) as job:  # no sink either
        job.plan()
        summary = job.run(lambda progress: None, lambda: None)
    assert summary.done_ledgers == 0
    assert [failed for failed, _ in summary.failed] == job.ranges
    assert "nothing was committed for" in summary.failed[0][1]
    assert "not begun" in summary.failed[-1][1]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request(9, 8), "comes after"),
        (Request(FIRST, LAST + 1), "above the cursor"),
        (Request(FIRST, LAST, rewrite=True, processors=("accounts",)), "no processor of that name writes history"),
    ],
)
def test_what_cannot_be_asked_for(world: BackfillWorld, whole_url: str, request_: Request, text: str) -> None:
    with Job(world.settings(whole_url), request_, threading.Event()) as job, pytest.raises(ConfigurationError, match=text):
        job.plan()


def lumenstream(world: BackfillWorld, url: str, *arguments: str, crashpoint: str = "", prefix: str = "") -> tuple[int, str, str]:
    """The program as an operator runs it. Topics with another prefix have no worker yet."""
    environment = {
        **os.environ,
        **world.environment(url),
        "LUMENSTREAM_KAFKA__TOPIC_PREFIX": world.topic_prefix + prefix,
        "LUMENSTREAM_CRASHPOINT": crashpoint,
    }
    done = subprocess.run(
        [sys.executable, "-m", "lumenstream", *arguments],
        env=environment,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_survives_kills_of_sink_and_worker(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str
) -> None:
    LiveWriter(database_url, world.chain).commit([LAST])
    command = ("backfill", "--start", str(FIRST), "--end", str(LAST), "--json")
    for crashpoint in ("backfill.in_range:2", "backfill.before_commit:2", "backfill.after_commit:1"):
        code, _, error = lumenstream(world, database_url, *command, "--workers", "0", crashpoint=crashpoint)
        assert code == ExitCode.FAILED, error
        assert "the backfill sink-0 ended" in error
    code, _, error = lumenstream(world, database_url, *command, crashpoint="worker.before_ack:40", prefix="own.")
    assert code == ExitCode.FAILED, error
    assert "the backfill workers ended" in error
    code, out, error = lumenstream(world, database_url, *command, prefix="own.")
    assert code == 0, error
    summary = json.loads(out)
    assert summary["ok"] and 0 < summary["done_ledgers"] < LAST - FIRST
    check_equal(database_url, whole[1])
    code, out, _ = lumenstream(world, database_url, *command[:-1])
    assert (code, out) == (0, f"nothing is missing between {FIRST} and {LAST}\n")


def test_a_job_that_an_error_ends_tells_what_it_knew(world: BackfillWorld, database_url: str) -> None:
    """Guards: the list of failed ranges was lost, and --json said nothing, when a helper died after a range had failed."""
    LiveWriter(database_url, world.chain).commit([LAST])
    lacking = world.write_files("lacking", [closed for closed in world.chain.ledgers.values() if closed.sequence != FIRST + 1])
    command = ("backfill", "--start", str(FIRST), "--end", str(LAST), "--path", str(lacking))
    failed = f"{lacking} does not have ledger {FIRST + 1}"
    code, out, error = lumenstream(world, database_url, *command, "--json", crashpoint="worker.before_ack:20", prefix="dies.")
    assert code == ExitCode.FAILED and "error: the backfill workers ended" in error
    summary = json.loads(out)
    assert not summary["ok"] and not summary["interrupted"]
    assert summary["error"].startswith("the backfill workers ended")
    assert [(found["first"], found["last"]) for found in summary["failed"]] == [(FIRST, 7)]
    assert summary["failed"][0]["error"].startswith(failed)
    assert summary["ledgers"] == LAST - FIRST and 0 <= summary["done_ledgers"] < LAST - FIRST
    code, out, error = lumenstream(world, database_url, *command, crashpoint="backfill.before_commit:1", prefix="dies.")
    assert code == ExitCode.FAILED and "error: the backfill sink-0 ended" in error
    assert f"failed: {FIRST}-7: {failed}" in error
    assert " ledgers in " in out.splitlines()[-1]


def test_replay_by_the_command_line_needs_both_ends(world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str) -> None:
    code, _, error = lumenstream(world, whole_url, "replay", "--from", "10")
    assert code == ExitCode.CONFIGURATION and "--from and --to" in error
    arguments = ("replay", "--from", "10", "--to", "12", "--processors", "effects", "--workers", "0")
    code, out, error = lumenstream(world, whole_url, *arguments)
    assert code == 0, error
    assert "3 of 3 ledgers" in out
    check_equal(whole_url, whole[1])


def test_a_replay_leaves_to_the_job_what_is_committed_meanwhile(world: BackfillWorld, database_url: str) -> None:
    live, settings = LiveWriter(database_url, world.chain), world.settings(database_url)
    live.commit(range(FIRST, 41))
    with Job(settings, Request(30, 45, rewrite=True), threading.Event()) as job:
        assert (job.plan(), job.above) == (40 - 30 + 1, Range(41, 45))
        sent = replay.run_range(settings, 41, 45)
        assert next(sent).sequence == 45
        live.commit(range(41, 44))
        assert [found.sequence for found in sent] == [44]
        assert (job.plan(43), job.above) == (43 - 30 + 1, None)
        assert job.ranges[-1].last == 43


def test_verify_finds_planted_defects(world: BackfillWorld, whole_url: str) -> None:
    code, out, _ = lumenstream(world, whole_url, "verify")
    assert (code, out) == (0, f"{LAST - FIRST + 1} ledgers between {FIRST} and {LAST}, 0 findings\n")
    code, _, error = lumenstream(world, whole_url, "verify", "--to", str(LAST + 1))
    assert code == ExitCode.CONFIGURATION and f"above the cursor, which is at {LAST}" in error
    execute(
        whole_url,
        f"delete from transactions where to_id = (select max(to_id) from transactions where to_id < {11 << 32})",
        "update ledgers set state_change_count = state_change_count + 1 where sequence = 20",
        "update ledgers set previous_hash = hash where sequence = 25",
        "update ledgers set previous_sequence = 7 where sequence = 28",
        "delete from ledgers where sequence between 30 and 32",
        f"delete from operations where id = (select max(id) from operations where id < {41 << 32})",
        f"delete from transactions_accounts where tx_to_id = (select max(to_id) from transactions where to_id < {46 << 32})",
        f"delete from operations_accounts using state_changes s where operations_accounts.operation_id = s.operation_id "
        f"and operations_accounts.account_id = s.account_id and s.operation_id between {50 << 32} and {51 << 32}",
    )
    code, out, error = lumenstream(world, whole_url, "verify", "--json")
    assert code == ExitCode.FAILED, error
    found = {(finding["kind"], finding["first"], finding["last"]) for finding in json.loads(out)["findings"]}
    assert found >= {
        ("count", 10, 10),
        ("orphan", 10, 10),
        ("count", 20, 20),
        ("chain", 25, 25),
        ("chain", 28, 28),
        ("gap", 30, 32),
        ("count", 40, 40),
        ("orphan", 40, 40),
        ("link", 45, 45),
        ("link", 50, 50),
    }
    assert {first for _, first, _ in found} == {10, 20, 25, 28, 30, 40, 45, 50}


def test_verify_passes_over_a_gap_of_years_in_one_step(world: BackfillWorld, whole_url: str) -> None:
    """Step by step it would take hours."""
    far = 2_000_000_000
    execute(
        whole_url,
        f"update ledgers set sequence = {far} where sequence = {LAST}",
        f"update ingest_store set value = '{far}' where key = 'latest_ingest_ledger'",
    )
    report = verify.verify(world.settings(whole_url))
    assert report.ledgers == LAST - FIRST + 1
    assert [(found.first, found.last) for found in report.findings if found.kind == "gap"] == [(LAST, far - 1)]


def test_ledgers_older_than_retention_are_refused_unless_it_is_paused(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str
) -> None:
    """The chain closed in January 2026. While a job that pauses retention runs, nothing may be dropped; afterwards it may."""
    LiveWriter(database_url, world.chain).commit([sequence for sequence in EVERY if sequence > 20])
    execute(database_url, "update retention set keep = '30 days'")
    settings = world.settings(database_url)
    with pytest.raises(ConfigurationError, match=f"ledger {FIRST} closed 2026-01") as refused:
        world.run(settings, Request(FIRST, 20))
    assert "--pause-retention" in refused.value.hint
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select min(sequence) from ledgers").fetchone() == (21,)
    paused: set[str] = set()

    def watch(progress: object) -> None:
        with psycopg.connect(database_url) as connection:
            paused.add(look(connection, datetime.now(UTC)).held_by)

    with running_sink(settings), Job(settings, Request(FIRST, 20, pause_retention=True), threading.Event()) as job:
        assert job.plan() == 20 - FIRST + 1
        assert job.run(watch, lambda: None).ok
        assert paused == {f"{job.name} pauses retention"}
    check_equal(database_url, whole[1])
    with psycopg.connect(database_url) as connection:
        assert retention.running_jobs(connection) == []
        assert look(connection, datetime.now(UTC)).held_by.startswith(f"ledger {LAST} at the cursor is itself older")


def test_a_killed_command_stops_pausing_retention(world: BackfillWorld, database_url: str, tmp_path: Path) -> None:
    """Its entry stands in the database and is not renewed any more: two minutes later it counts for nothing."""
    LiveWriter(database_url, world.chain).commit([LAST])
    command = Command(
        argv=(
            *(sys.executable, "-m", "lumenstream", "backfill", "--start", str(FIRST), "--end", str(LAST)),
            *("--workers", "0", "--sinks", "0", "--pause-retention"),
        ),
        log=tmp_path / "backfill.log",
        environment=world.environment(database_url),
        working_directory=tmp_path,
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        with ChildProcess("the command", command) as child:
            child.wait_ready(lambda: bool(retention.running_jobs(connection)), 60)
            child.kill()
        (job,) = retention.running_jobs(connection)
        assert job.pauses_retention and look(connection, datetime.now(UTC)).held_by == f"{job.job} pauses retention"
        left = connection.execute("select expires_at - now() from backfill_jobs").fetchone()
        assert left is not None and left[0].total_seconds() <= retention.LEASE_SECONDS
        connection.execute("update backfill_jobs set expires_at = expires_at - %s", (left[0],))
        assert retention.running_jobs(connection) == []
        assert not look(connection, datetime.now(UTC)).held_by.endswith("pauses retention")


def test_a_database_that_began_with_a_checkpoint_gets_its_past_before_the_first_live_ledger(
    world: BackfillWorld, whole: tuple[str, Snapshot], database_url: str
) -> None:
    """Guards: the oldest cursor did not move without a row, so the live sink set it in the middle: verify complained for good.
    Nor is the ledger of the checkpoint missing before anything was ingested."""
    settings, at = world.settings(database_url), LIVE_FROM - 1
    checkpoint.bootstrap(settings, checkpoint.Origin(at, world.chain.ledgers[at].hash.hex()), [])
    assert verify.verify(settings) == verify.Report(at, at, 0, [])
    code, out, error = lumenstream(world, database_url, "verify")
    assert (code, error) == (0, "") and out.startswith("no history yet")
    assert [finding.kind for finding in verify.verify(settings, at, at).findings] == ["gap"]
    assert world.run(settings, Request(20, at)).ok
    assert cursors(database_url)["oldest_ingest_ledger"] == "20"
    assert verify.verify(settings) == verify.Report(20, at, at - 20 + 1, [])
    LiveWriter(database_url, world.chain, at).commit(range(LIVE_FROM, LAST + 1))
    assert verify.verify(settings) == verify.Report(20, LAST, LAST - 20 + 1, [])
    assert world.run(settings, Request(FIRST, at)).ok
    assert verify.verify(settings) == verify.Report(FIRST, LAST, len(EVERY), [])
    check_equal(database_url, whole[1])


def limit_decompression(connection: psycopg.Connection[Any], rows: int) -> None:
    """For sessions that begin later, and where the server has the setting."""
    known = connection.execute("select current_setting(%s, true)", (DECOMPRESSION_LIMIT,)).fetchone()
    if known is not None and known[0] is not None:
        statement = sql.SQL("alter database {} set {} = {}")
        name, setting = sql.Identifier(connection.info.dbname), sql.SQL(DECOMPRESSION_LIMIT)
        connection.execute(statement.format(name, setting, rows))


def test_the_transaction_of_a_range_may_open_compressed_chunks_of_any_size(
    world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str
) -> None:
    """Guards: past 100,000 rows TimescaleDB ended it. Its Apache edition has the setting too, and nothing to open."""
    with psycopg.connect(whole_url, autocommit=True) as connection:
        limit_decompression(connection, 7)
        connection.execute("create table limits (said text)")
        connection.execute(
            "create function note() returns trigger language plpgsql as "
            f"$$ begin insert into limits values (current_setting('{DECOMPRESSION_LIMIT}', true)); return null; end $$"
        )
        connection.execute("create trigger note after update on backfill_ranges for each statement execute function note()")
        timescale = edition(connection) != "plain"
    assert world.run(world.settings(whole_url), Request(10, 30, rewrite=True)).ok
    with psycopg.connect(whole_url) as connection:
        said = connection.execute("select said, count(*) from limits group by 1").fetchall()
    ranges, others = 3, 2  # of the job: its begin and its end
    assert dict(said) == ({"0": ranges, "7": others} if timescale else {None: ranges + others})
    check_equal(whole_url, whole[1])


@pytest.mark.needs("timescaledb-community")
def test_ranges_in_compressed_chunks_are_made_anew(world: BackfillWorld, whole: tuple[str, Snapshot], whole_url: str) -> None:
    with psycopg.connect(whole_url, autocommit=True) as connection:
        for table in HISTORY:
            connection.execute("select compress_chunk(c) from show_chunks(%s::regclass) c", (table,))
        limit_decompression(connection, 1)
    summary = world.run(world.settings(whole_url), Request(FIRST, LAST, rewrite=True))
    assert summary.ok and summary.done_ledgers == len(EVERY)
    check_equal(whole_url, whole[1])
    assert verify.verify(world.settings(whole_url)).findings == []
