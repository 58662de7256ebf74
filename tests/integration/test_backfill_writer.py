"""The transaction of a range by itself: its ledgers are encoded some at a time, and written all or not at all."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from lumenstream.errors import IntegrityError
from migrations import runner
from schemas.history import history_processors
from sinks.timescale.backfill.ranges import OpenRange, Planned
from sinks.timescale.backfill.writer import CHUNK_LEDGERS, RangeWriter
from sinks.timescale.layouts import HISTORY
from tests.integration.sink_world import NETWORK, dump, gather, make_chain
from tests.integration.test_sink_writer import write

COUNT = 2 * CHUNK_LEDGERS + 2
FIRST, LAST = 100, 100 + COUNT - 1
NAMES = history_processors()


def test_a_part_that_cannot_be_read_in_a_later_chunk_undoes_the_range(database_url: str, empty_database_url: str) -> None:
    chain, broken = make_chain(11, FIRST, COUNT), FIRST + CHUNK_LEDGERS + 1
    for ledger in chain:
        ledger.parts["sep41"].rows.clear()  # whose events count depends on what was known when (docs/decisions/0010)
    runner.migrate(empty_database_url)
    write(empty_database_url, chain, 1)
    expected = dump(empty_database_url)
    planned = Planned("job", FIRST, LAST, frozenset(NAMES), None, is_open=True)
    good = {ledger.sequence: gather(ledger, NAMES) for ledger in chain}
    wrong = dict(good)
    wrong[broken] = gather(chain[broken - FIRST], NAMES)
    wrong[broken].parts["trades"] = replace(wrong[broken].parts["trades"], value=b"no part")
    with psycopg.connect(database_url) as connection, psycopg.connect(database_url, autocommit=True) as parents:
        parents.execute(
            "insert into backfill_ranges (job, first_ledger, last_ledger, parts) values ('job', %s, %s, %s)",
            (FIRST, LAST, list(NAMES)),
        )
        writer = RangeWriter(connection, parents, NETWORK.name, 64)
        with pytest.raises(IntegrityError, match=f"ledger {broken}"):
            writer.write(OpenRange(planned, 0, 0, wrong))
        assert not any(dump(database_url)[table] for table in HISTORY)
        written = writer.write(OpenRange(planned, 0, 0, good))
        writer.close()
    found = dump(database_url)
    assert {table: found[table] for table in HISTORY} == {table: expected[table] for table in HISTORY}
    assert written is not None and {table: written[table] for table in HISTORY} == {table: len(found[table]) for table in HISTORY}
