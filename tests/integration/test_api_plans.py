"""The plans of every read of the API over 200,000 rows of each table of history, four days in chunks of one: none reads a table
from end to end, each touches few pages, and close times leave chunks out. The statements are those that the application sends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from lumenstream.bench.history import HISTORY, Scale
from lumenstream.bench.plan_reads import reads
from lumenstream.bench.plan_seed import seed
from lumenstream.bench.plans import budget, explain, scans_history
from tests.plugins.servers import copied_database

ROWS: Final = 200_000
# A page of 50 rows. The rarest filter that has no index of its own passes one row in sixteen of the account's; between two times
# there are 1,100 rows of all accounts.
MAX_ROWS_REMOVED: Final = 2_300

SCALE: Final = Scale(ROWS)
READS: Final = reads(SCALE)
CHILDREN: Final = [name for name in READS if name.split(",")[0] in {
    "transactions by id",
    "operations by id",
    "operations of transactions",
    "operations of an account in transactions",
    "state changes of transactions",
    "state changes of operations",
    "state changes of an account in transactions",
    "accounts of transactions",
    "accounts of operations",
    "totals of transactions",
    "totals of operations",
}]  # fmt: skip


@pytest.fixture(scope="module")
def seeded(admin_url: str, template_database: str) -> Iterator[psycopg.Connection[Any]]:
    with copied_database(admin_url, template_database) as url:
        seed(url, ROWS)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


def test_there_are_as_many_rows_as_promised(seeded: psycopg.Connection[Any]) -> None:
    for table in HISTORY:
        row = seeded.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        assert row is not None
        assert row[0] >= ROWS, table


@pytest.mark.parametrize("name", READS)
def test_no_read_scans_a_table_or_throws_away_more_than_a_few_pages(seeded: psycopg.Connection[Any], name: str) -> None:
    for plan in explain(seeded, READS[name]):
        assert not scans_history(name, plan), plan
        assert plan.rows_removed <= MAX_ROWS_REMOVED, plan
        assert plan.buffers <= budget(name), plan


@pytest.mark.parametrize("kind", ["first", "last", "after", "before"])
def test_a_category_an_account_hardly_has_is_found_by_its_index(seeded: psycopg.Connection[Any], kind: str) -> None:
    for name in ("of a category", "of a category it has not"):
        (plan,) = explain(seeded, READS[f"an account's state changes {name}, {kind}"])
        assert plan.rows_removed == 0
        assert all(index.endswith("idx_state_changes_account_rare") for index in plan.indexes)


@pytest.mark.needs("timescaledb")
@pytest.mark.parametrize("name", CHILDREN)
def test_children_are_looked_for_in_the_chunk_of_their_parent_only(seeded: psycopg.Connection[Any], name: str) -> None:
    """The parents lie within one or two days of four."""
    (plan,) = explain(seeded, READS[name])
    of_table = Counter(chunk.rsplit("_", 2)[0] for chunk in plan.chunks)  # _hyper_<table>_<chunk>_chunk
    assert of_table
    assert max(of_table.values()) <= 2, plan


@pytest.mark.needs("timescaledb")
@pytest.mark.parametrize(
    "name", ["transactions", "operations", "state changes", "an account's transactions", "an account's trades"]
)
def test_a_cursor_leaves_out_the_chunks_behind_it(seeded: psycopg.Connection[Any], name: str) -> None:
    (first,), (after,) = (explain(seeded, READS[f"{name}, {kind}"]) for kind in ("first", "after"))
    assert after.chunks
    assert first.chunks - after.chunks
