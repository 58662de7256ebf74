"""`lumenstream verify`: does the database hold what it says it holds? Reads only, some ledgers at a time.

Checked: a row in `ledgers` for every ledger; each names the one before it, by number and by hash; transactions, operations and
state changes are as many as its row says; whatever belongs to a transaction or operation finds it; whoever took part in one is
linked to it, as far as other rows tell; the cursors stand where `ledgers` begins and ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final, Literal, LiteralString, NamedTuple

from lumenstream.database import (
    Connection,
    Cursor,
    check_network,
    check_schema,
    clear_errors,
    connect,
    get_checkpoint,
    get_cursor,
)
from lumenstream.errors import ConfigurationError
from lumenstream.settings import Settings
from schemas.toid import ledger_range

STEP_LEDGERS: Final = 256
MAX_EXAMPLES: Final = 3


class Finding(NamedTuple):
    """Something wrong in ledgers `first` to `last`."""

    kind: str
    first: int
    last: int
    text: str


class Report(NamedTuple):
    first: int
    last: int
    ledgers: int
    findings: list[Finding]


_COUNTS: Final[dict[str, LiteralString]] = {
    "transactions": (
        "select l.sequence, l.transaction_count, count(t.to_id) from ledgers l left join transactions t on "
        "t.ledger_created_at = l.closed_at and t.to_id >= l.sequence::bigint << 32 and t.to_id < (l.sequence + 1)::bigint << 32 "
        "where l.sequence between %(first)s and %(last)s group by 1, 2 having l.transaction_count <> count(t.to_id)"
    ),
    "operations": (
        "select l.sequence, l.operation_count, count(t.id) from ledgers l left join operations t on "
        "t.ledger_created_at = l.closed_at and t.id >= l.sequence::bigint << 32 and t.id < (l.sequence + 1)::bigint << 32 "
        "where l.sequence between %(first)s and %(last)s group by 1, 2 having l.operation_count <> count(t.id)"
    ),
    "state_changes": (
        "select l.sequence, l.state_change_count, count(t.to_id) from ledgers l left join state_changes t on "
        "t.ledger_created_at = l.closed_at and t.to_id >= l.sequence::bigint << 32 and t.to_id < (l.sequence + 1)::bigint << 32 "
        "where l.sequence between %(first)s and %(last)s group by 1, 2 having l.state_change_count <> count(t.to_id)"
    ),
}


class _Partner(NamedTuple):
    """Every row of `table` has one in `partner`: a parent (kind `orphan`), or whose history it is in (kind `link`)."""

    kind: Literal["orphan", "link"]
    table: LiteralString
    id: LiteralString
    partner: LiteralString
    partner_id: LiteralString
    condition: LiteralString


_PARTNERS: Final = (
    _Partner("orphan", "transactions_accounts", "c.tx_to_id", "transactions", "p.to_id", "p.to_id = c.tx_to_id"),
    _Partner("orphan", "operations_accounts", "c.operation_id", "operations", "p.id", "p.id = c.operation_id"),
    _Partner("orphan", "operations", "c.id", "transactions", "p.to_id", "p.to_id = (c.id & ~4095::bigint)"),
    _Partner("orphan", "state_changes", "c.to_id", "transactions", "p.to_id", "p.to_id = c.to_id"),
    _Partner("orphan", "trades", "c.to_id", "transactions", "p.to_id", "p.to_id = c.to_id"),
    _Partner("orphan", "claimable_balance_events", "c.to_id", "transactions", "p.to_id", "p.to_id = c.to_id"),
    _Partner("link", "transactions", "c.to_id", "transactions_accounts", "p.tx_to_id", "p.tx_to_id = c.to_id"),
    _Partner("link", "operations", "c.id", "operations_accounts", "p.operation_id", "p.operation_id = c.id"),
    _Partner(
        "link",
        "state_changes",
        "c.to_id",
        "transactions_accounts",
        "p.tx_to_id",
        "p.account_id = c.account_id and p.tx_to_id = c.to_id",
    ),
    _Partner(  # one outside every operation has operation_id 0, which is in no ledger
        "link",
        "state_changes",
        "c.operation_id",
        "operations_accounts",
        "p.operation_id",
        "p.account_id = c.account_id and p.operation_id = c.operation_id",
    ),
)


def verify(settings: Settings, first: int | None = None, last: int | None = None) -> Report:
    """Check ledgers `first` to `last`; None: from the oldest one, to the cursor. ConfigurationError for what is not there.

    A database that has nothing but the state of a checkpoint claims no history, so none is missing: no ledger, no finding.
    SchemaVersionError, IntegrityError for another network's database, UnreachableError when the database goes away.
    """
    with (
        clear_errors(settings.database),
        connect(settings.database, application_name="lumenstream-verify", autocommit=True, patient=True) as connection,
    ):
        check_schema(connection)
        check_network(connection, settings.network.network_id())
        cursor, oldest = get_cursor(connection, Cursor.LATEST), get_cursor(connection, Cursor.OLDEST)
        if not cursor:
            raise ConfigurationError("the database has no ledger yet", hint="run the pipeline first")
        if first is None and last is None and not oldest and get_checkpoint(connection)[0] == cursor:
            return Report(cursor, cursor, 0, [])
        start, end = first or oldest or cursor, cursor if last is None else last
        if start > end:
            raise ConfigurationError(f"ledger {start} comes after {end}", hint="the first ledger comes first")
        if end > cursor:
            raise ConfigurationError(
                f"ledger {end} is above the cursor, which is at {cursor}", hint="what comes after it is not there yet"
            )
        findings = [*_cursors(connection, cursor, oldest)]
        count, following = 0, start
        while following <= end:
            low = _next_present(connection, following, end)
            if low != following:
                findings.append(Finding("gap", following, end if low is None else low - 1, "no row in ledgers"))
            if low is None:
                break
            high = min(end, low + STEP_LEDGERS - 1)
            following = high + 1
            count += _one(connection, "select count(*) from ledgers where sequence between %s and %s", (low, high))
            findings += _chain(connection, low, high)
            findings += _wrong_counts(connection, low, high)
            findings += _alone(connection, low, high)
    return Report(start, end, count, _joined(findings))


def _next_present(connection: Connection, first: int, last: int) -> int | None:
    """The first of these ledgers that is there: a gap of years is passed over in one step."""
    row = connection.execute("select min(sequence) from ledgers where sequence between %s and %s", (first, last)).fetchone()
    return row[0] if row is not None else None


def _cursors(connection: Connection, cursor: int, oldest: int) -> Iterator[Finding]:
    lowest, highest = connection.execute("select min(sequence), max(sequence) from ledgers").fetchone() or (None, None)
    if highest is not None and highest != cursor:
        text = f"the cursor is at {cursor}, the last ledger is {highest}"
        yield Finding("cursor", min(highest, cursor), max(highest, cursor), text)
    if lowest is not None and oldest > lowest:
        yield Finding("cursor", lowest, oldest, f"the oldest cursor is at {oldest}, the first ledger is {lowest}")


def _chain(connection: Connection, first: int, last: int) -> Iterator[Finding]:
    """Gaps, and links to the ledger before that do not hold. The ledger before `first` is looked at, not reported."""
    rows = connection.execute(
        "select sequence, hash, previous_hash, previous_sequence from ledgers where sequence between %s and %s order by 1",
        (first - 1, last),
    ).fetchall()
    before: tuple[int, bytes] | None = None
    expected = first
    for sequence, digest, previous_hash, previous_sequence in rows:
        if sequence > expected:
            yield Finding("gap", expected, sequence - 1, "no row in ledgers")
        if sequence >= first and before is not None and before[0] == sequence - 1:
            if previous_hash != before[1]:
                text = f"names {previous_hash.hex()} as the hash of the ledger before it, that one has {before[1].hex()}"
                yield Finding("chain", sequence, sequence, text)
            if previous_sequence != before[0]:
                said = "none" if previous_sequence is None else previous_sequence
                yield Finding("chain", sequence, sequence, f"names {said} as the ledger before it, {before[0]} is there")
        before = (sequence, digest)
        expected = max(expected, sequence + 1)
    if expected <= last:
        yield Finding("gap", expected, last, "no row in ledgers")


def _wrong_counts(connection: Connection, first: int, last: int) -> Iterator[Finding]:
    for table, query in _COUNTS.items():
        for sequence, said, found in connection.execute(query, {"first": first, "last": last}).fetchall():
            yield Finding("count", sequence, sequence, f"{found} rows in {table}, its row in ledgers says {said}")


def _alone(connection: Connection, first: int, last: int) -> Iterator[Finding]:
    """Rows without their partner, looked for between the close times of the ledgers, in the chunks of those alone."""
    times = connection.execute(
        "select min(closed_at), max(closed_at) from ledgers where sequence between %s and %s", (first, last)
    ).fetchone()
    if times is None or times[0] is None:
        return
    low, high = ledger_range(first, last)
    arguments = {"opened": times[0], "closed": times[1], "low": low, "high": high}
    for kind, table, column, partner, partner_column, condition in _PARTNERS:
        rows = connection.execute(
            f"select {column}, count(*) from {table} c left join {partner} p "
            f"on {condition} and p.ledger_created_at = c.ledger_created_at "
            f"and p.ledger_created_at between %(opened)s and %(closed)s "
            f"and {partner_column} >= %(low)s and {partner_column} < %(high)s "
            f"where c.ledger_created_at between %(opened)s and %(closed)s and {column} >= %(low)s and {column} < %(high)s "
            f"and {partner_column} is null group by 1 order by 1",
            arguments,
        ).fetchall()
        for sequence, group in groupby(rows, key=lambda row: row[0] >> 32):
            found = [*group]
            examples = ", ".join(str(row[0]) for row in found[:MAX_EXAMPLES])
            total = sum(row[1] for row in found)
            yield Finding(kind, sequence, sequence, f"{total} rows in {table} without a row in {partner}: {examples}")


def _joined(findings: list[Finding]) -> list[Finding]:
    """In order of the ledgers; gaps that touch are one."""
    joined: list[Finding] = []
    for gap in sorted(finding for finding in findings if finding.kind == "gap"):
        if joined and joined[-1].last + 1 == gap.first:
            joined[-1] = joined[-1]._replace(last=gap.last)
        else:
            joined.append(gap)
    joined += [finding for finding in findings if finding.kind != "gap"]
    return sorted(joined, key=lambda finding: (finding.first, finding.kind, finding.text))


def _one(connection: Connection, query: LiteralString, arguments: tuple[int, int]) -> int:
    row = connection.execute(query, arguments).fetchone()
    return 0 if row is None else int(row[0])
