"""Groups of ledgers in one transaction leave what single ledgers leave, byte for byte; a wrong ledger in one is named."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql

from lumenstream.bench.lake import make_ledgers
from lumenstream.bench.pipeline import PUBNET_ID
from lumenstream.embedded.processes import free_port
from lumenstream.errors import IntegrityError, LumenstreamError
from lumenstream.xdr import decode_ledger
from lumenstream.xdr.files import read_ledgers
from processors import registry
from schemas import families
from schemas.market_rows import ClaimableBalanceChange, ClaimableBalanceClaimantRow
from schemas.messages import PartHeaders, PartKind
from schemas.parts import SCHEMA_VERSION, encode
from sinks.timescale.reorder import Arrival, Gathered
from sinks.timescale.tables import LedgerEncoder
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
