"""Groups of ledgers in one transaction leave what single ledgers leave, byte for byte; a wrong ledger in one is named."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql

from lumenstream.bench.lake import make_ledgers
from lumenstream.bench.pipeline import PUBNET_ID
from lumenstream.embedded.processes import free_port
from lumenstream.errors import FencedError, IntegrityError, LumenstreamError
from lumenstream.xdr import decode_ledger
from lumenstream.xdr.files import read_ledgers
from processors import registry
from schemas import families
from schemas.market_rows import ClaimableBalanceChange, ClaimableBalanceClaimantRow
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION, encode
from sinks.timescale.reorder import Arrival, Gathered, Reorder, Verdict
from sinks.timescale.tables import LedgerEncoder, LedgerRows
from sinks.timescale.writer import Writer, check_chain
from tests.integration.sink_world import (
    PARTITIONS,
    WAIT_S,
    RunningSink,
    World,
    account,
    dump,
    health,
    make_chain,
    run_until,
    wait_for,
)
from tests.integration.test_sink_entries import empty_chain
from tests.integration.test_sink_writer import write
from tests.plugins.servers import KafkaForTest

SEED = 20
REAL_LEDGERS = 8


@pytest.fixture
def world(kafka: KafkaForTest, database_url: str) -> World:
    for topic in ("ledgers", "ledger-changes"):
        kafka.create_topic(topic, PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
    return World(kafka.bootstrap, kafka.topic_prefix, database_url)


@pytest.fixture
def other_url(empty_database_url: str) -> str:
    from migrations.runner import migrate

    migrate(empty_database_url)
    return empty_database_url


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ledgers of the parts that a sink reads."""
    found: list[int] = []
    add = Reorder.add

    def note(self: Reorder, part: Arrival) -> Verdict:
        found.append(part.headers.sequence)
        return add(self, part)

    monkeypatch.setattr(Reorder, "add", note)
    return found


def real_chain(folder: Path) -> list[Gathered]:
    """Consecutive ledgers made of the real ones, with the parts of all processors."""
    real = [data for path in sorted(folder.glob("*.xdr.gz")) for data in read_ledgers(path)]
    chain: list[Gathered] = []
    for made in make_ledgers(real, REAL_LEDGERS, PUBNET_ID):
        ledger = decode_ledger(made.data, PUBNET_ID)
        previous = made.sequence - 1 if chain else None
        gathered = Gathered(made.sequence, previous, made.close_time, ledger.header.hash.hex(), 0.0)
        for processor in registry.create(None, PUBNET_ID):
            headers = PartHeaders(
                kind=PartKind.PART,
                processor=processor.name,
                version=processor.version,
                schema=SCHEMA_VERSION,
                sequence=made.sequence,
                previous_sequence=previous,
                close_time=made.close_time,
                ledger_hash=gathered.ledger_hash,
                network_id=PUBNET_ID.hex(),
                job="live",
                source_topic="ledgers",
                source_partition=0,
                source_offset=len(chain),
            )
            gathered.parts[processor.name] = Arrival(headers, encode(processor.process(ledger)), 0, len(chain), 0.0)
        chain.append(gathered)
    return chain


def commit(url: str, chain: Sequence[Gathered], sizes: Sequence[int]) -> None:
    encoder, cursor, cursor_hash, place = LedgerEncoder(), 0, "", 0
    with psycopg.connect(url) as connection:
        writer = Writer(connection, "ledger-changes")
        for size in sizes:
            rows = [encoder.encode(at, [part.value for part in at.parts.values()]) for at in chain[place : place + size]]
            check_chain(rows, cursor, cursor_hash)
            place += size
            cursor, cursor_hash, _ = writer.commit(rows, cursor, {0: place})


def copied(url: str) -> dict[str, bytes]:
    """Every table as COPY's binary form, in an order of its own; times of writing left out."""
    tables = {}
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "select table_name, array_agg(column_name::text order by ordinal_position) from information_schema.columns "
            "where table_schema = 'public' and table_name <> 'schema_migrations' "
            "and column_name not in ('ingested_at', 'created_at', 'updated_at') group by 1"
        ).fetchall()
        for table, names in columns:
            listed = sql.SQL(", ").join(map(sql.Identifier, names))
            query = sql.SQL("copy (select {0} from {1} order by {0}) to stdout (format binary)")
            with connection.cursor().copy(query.format(listed, sql.Identifier(table))) as copy:
                tables[table] = b"".join(map(bytes, copy))
    return tables


def test_groups_of_real_ledgers_leave_the_same_bytes(database_url: str, other_url: str, shared_ledgers: Path) -> None:
    chain, rng = real_chain(shared_ledgers / "pubnet"), random.Random(SEED)
    sizes = [1]
    while sum(sizes) < len(chain):
        sizes.append(rng.randint(2, min(5, len(chain) - sum(sizes) + 1)))
    sizes[-1] -= sum(sizes) - len(chain)
    commit(database_url, chain, [1] * len(chain))
    commit(other_url, chain, [size for size in sizes if size])
    single, grouped = copied(database_url), copied(other_url)
    assert single.keys() == grouped.keys()
    for table, data in single.items():
        assert data == grouped[table], f"{table}, groups of {sizes}"
    assert sum(map(len, single.values())) > 1 << 20


@pytest.mark.parametrize("seed", range(3))
def test_entries_that_go_and_come_again_in_a_group(database_url: str, other_url: str, seed: int) -> None:
    """The ledger never gives an id of a claimable balance twice; the sink does not count on it."""
    rng, chain = random.Random(seed), empty_chain(24)
    for ledger in chain:
        part = ledger.parts["claimable_balances"]
        for number in rng.sample(range(4), 2):
            kind = rng.choice(["ADD", "UPDATE", "REMOVE"])
            creator = account(ledger.sequence) if kind == "ADD" else None
            change = ClaimableBalanceChange(f"{number:02}", kind, 1, "native", ledger.sequence, 0, None, creator)
            part.add(families.CLAIMABLE_BALANCE_CHANGES, [change])
            if kind == "ADD":
                row = ClaimableBalanceClaimantRow(f"{number:02}", account(rng.randrange(9)), {"unconditional": True})
                part.add(families.CLAIMABLE_BALANCE_CLAIMANTS, [row])
    write(database_url, chain, 1)
    write(other_url, chain, 6)
    single, grouped = dump(database_url), dump(other_url)
    assert single["claimable_balances"] == grouped["claimable_balances"] != []
    assert single == grouped


def test_the_good_ledgers_of_a_refused_group_are_committed_and_the_wrong_one_is_named(world: World) -> None:
    world.send(make_chain(6, 100, 12))
    with psycopg.connect(world.database_url, autocommit=True) as conn:
        conn.execute("alter table transactions add constraint none check (ledger_number <> 107) not valid")
    with RunningSink(world.settings(group_threshold=0)) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, LumenstreamError)
    assert "what follows ledger 106" in str(running.error) and "23514" in str(running.error)
    assert world.cursor() == 106
    assert [row[0] for row in dump(world.database_url)["ledgers"]] == list(range(100, 107))


def test_a_ledger_that_cannot_be_read_stops_the_sink_behind_the_good_ones(world: World) -> None:
    chain = make_chain(6, 100, 12)
    others = [name for name in chain[0].parts if name != "effects"]
    world.send_parts([(ledger, name) for ledger in chain for name in (others if ledger.sequence == 107 else ledger.parts)])
    world.send(chain[7:8], ["effects"], value=b"no part")
    with RunningSink(world.settings(group_threshold=0)) as running:
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and "ledger 107" in str(running.error)
    assert world.cursor() == 106


def test_rows_bound_a_group(world: World) -> None:
    world.send(make_chain(6, 100, 12))
    with psycopg.connect(world.database_url, autocommit=True) as listener:
        listener.execute("listen lumenstream_ledger")
        run_until(world, 111, group_threshold=0, group_rows=1)
        notes = [note.payload for note in listener.notifies(timeout=5, stop_after=12)]
    assert notes == [str(sequence) for sequence in range(100, 112)]


def test_the_lag_is_what_lies_on_the_topic_and_is_not_committed(world: World) -> None:
    chain, port, topic = make_chain(6, 100, 10), free_port(), f"{world.topic_prefix}ledgers"
    raw = Producer({"bootstrap.servers": world.bootstrap})
    for _ in chain:
        raw.produce(topic, b"raw", partition=1)
    assert raw.flush(WAIT_S) == 0

    def send(first: int, end: int) -> None:
        for offset in range(first, end):
            world.send([chain[offset]], source_topic=topic, source_partition=1, source_offset=offset)

    def lag() -> object:
        return health(port)[1].get("lag_ledgers")

    send(0, 4)
    for _ in ("at once", "after a restart"):
        with RunningSink(world.settings(http_port=port)) as running:
            wait_for(lambda: world.cursor() == 103 and lag() == 6, "six ledgers behind")
        assert running.error is None
    with RunningSink(world.settings(http_port=port)) as running:
        send(4, 10)
        wait_for(lambda: lag() == 0, "the tip")
        assert world.cursor() == 109
        details = health(port)[1]
        assert details["lag_seconds"] > 0 and details["catching_up"] is False
    assert running.error is None


@contextmanager
def held_commits(world: World) -> Iterator[Callable[[], bool]]:
    """No commit gets further than its first rows until the end of the block; tells whether one has come to that."""
    with psycopg.connect(world.database_url) as holder, psycopg.connect(world.database_url, autocommit=True) as watcher:
        holder.execute("lock table transactions in share mode")

        def waits() -> bool:
            found = watcher.execute("select count(*) from pg_locks where not granted and relation = 'transactions'::regclass")
            return found.fetchone() != (0,)

        yield waits
        holder.rollback()


def test_what_follows_a_commit_is_read_and_encoded_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, encoded = make_chain(6, 100, 20), list[int]()
    encode_ledger = LedgerEncoder.encode

    def encode_and_note(self: LedgerEncoder, ledger: Gathered, parts: Iterable[bytes]) -> LedgerRows:
        encoded.append(ledger.sequence)
        return encode_ledger(self, ledger, parts)

    monkeypatch.setattr(LedgerEncoder, "encode", encode_and_note)
    world.send(chain[:1])
    run_until(world, 100)
    with RunningSink(world.settings(group_threshold=0, group_ledgers=4)) as running:
        with held_commits(world) as waits:
            world.send(chain[1:5])
            wait_for(waits, "a commit")
            world.send(chain[5:])
            wait_for(lambda: max(encoded) > 104, "a ledger of the next group")
            assert world.cursor() == 100
        wait_for(lambda: world.cursor() == 119 or not running.alive, f"the end: {running.error}")
    assert running.error is None
    assert sorted(encoded) == list(range(100, 120)), "made ahead, and not made again"


def test_what_is_wrong_behind_a_batch_stops_the_sink_after_it(world: World, read: list[int]) -> None:
    """Guards: an error in what was read during a commit must not hide that the commit went well."""
    chain = make_chain(6, 100, 4)
    world.send(chain[:1])
    with RunningSink(world.settings()) as running:
        wait_for(lambda: world.cursor() == 100)
        with held_commits(world) as waits:
            world.send(chain[1:2])
            wait_for(waits, "a commit")
            world.send(chain[2:3], network_id="ab" * 32)
            wait_for(lambda: 102 in read, "the wrong part")
            assert running.alive
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, IntegrityError) and "ledger 102" in str(running.error)
    assert world.cursor() == 101


def test_a_writer_that_moved_the_cursor_is_told_of_before_what_was_read_meanwhile(world: World, read: list[int]) -> None:
    chain = make_chain(6, 100, 4)
    world.send(chain[:1])
    with RunningSink(world.settings()) as running:
        wait_for(lambda: world.cursor() == 100)
        with psycopg.connect(world.database_url) as other:
            other.execute("update ingest_store set value = '150' where key = 'latest_ingest_ledger'")
            world.send(chain[1:2])
            with psycopg.connect(world.database_url, autocommit=True) as watcher:
                blocked = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
                wait_for(lambda: watcher.execute(blocked).fetchone() != (0,), "a commit")
            world.send(chain[2:3], network_id="ab" * 32)
            wait_for(lambda: 102 in read, "the wrong part")
            other.commit()
        wait_for(lambda: not running.alive)
    assert isinstance(running.error, FencedError)


def test_a_refused_commit_keeps_nothing_of_its_term(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a future in a frame of its own error kept the window of every term that ended so, until a full collection."""
    terms: list[weakref.ref[Reorder]] = []
    made = Reorder.__init__

    def note(self: Reorder, **arguments: Any) -> None:
        terms.append(weakref.ref(self))
        made(self, **arguments)

    monkeypatch.setattr(Reorder, "__init__", note)
    world.send(make_chain(6, 100, 2))
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(
            "create function refuse() returns trigger language plpgsql as "
            "$$ begin raise exception 'no space' using errcode = 'disk_full'; end $$"
        )
        connection.execute("create trigger refuse before insert on ledgers execute function refuse()")
        gc.disable()
        try:
            with RunningSink(world.settings()) as running:
                wait_for(lambda: len(terms) > 2 or not running.alive, "a third term")
                assert [term() for term in terms[:-1]] == [None] * (len(terms) - 1)
                connection.execute("drop trigger refuse on ledgers")
                wait_for(lambda: world.cursor() == 101 or not running.alive, "the end")
        finally:
            gc.enable()
    assert running.error is None
