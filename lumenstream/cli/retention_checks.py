"""The doctor's look at what the broker has deleted before it was read: ledgers of the workers, parts of the sink."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg

from lumenstream import database, kafka
from lumenstream.cli.checkresult import Level, Result
from lumenstream.errors import UnreachableError
from lumenstream.settings import Settings
from schemas.messages import Topic


def retention_passed(settings: Settings) -> Iterator[Result]:
    """A failure for each topic that begins after what its reader still needs, with the command that makes it again.

    Nothing when a server does not answer: the checks of that server say so.
    """
    with contextlib.suppress(UnreachableError):
        yield from _passed(settings)


def _passed(settings: Settings) -> Iterator[Result]:
    counts = kafka.partition_counts(settings.kafka)
    ledgers, parts = settings.kafka.topic(Topic.LEDGERS), settings.kafka.topic(Topic.LEDGER_CHANGES)
    if ledgers not in counts or parts not in counts:
        return
    mend = f"lumenstream produce --from {_cursor(settings) + 1}"
    for what, lost in (("workers", _workers(settings, ledgers)), ("sink", _sink(settings, parts, counts[parts]))):
        topic = ledgers if what == "workers" else parts
        if lost:
            partition, needed, low = lost[0]
            text = (
                f"the broker deleted what the {what} had not read: {topic} [{partition}] starts at {low}, needed from {needed} on"
            )
            yield Result(Level.FAIL, f"{what} and retention", text, mend)
        else:
            yield Result(Level.OK, f"{what} and retention", f"{topic} holds all that is still to be read")


def _workers(settings: Settings, topic: str) -> list[tuple[int, int, int]]:
    """Partition, offset needed and first offset kept."""
    from processors.worker import group_of

    reader = kafka.GroupReader(settings.kafka, group_of(settings), (topic,))
    try:
        return [(partition, needed, low) for (_, partition), (needed, low) in reader.lost().items()]
    finally:
        reader.close()


def _sink(settings: Settings, topic: str, count: int) -> list[tuple[int, int, int]]:
    try:
        with database.connect(settings.database, application_name="lumenstream-doctor", autocommit=True) as connection:
            if database.schema_version(connection) == 0:
                return []
            rows = connection.execute('select partition, "offset" from sink_offsets where topic = %s', (topic,)).fetchall()
    except psycopg.OperationalError as error:
        raise database.unreachable(settings.database.url.get_secret_value(), error) from error
    reader = kafka.TopicReader(settings.kafka, topic)
    try:
        lows = {partition: reader.watermarks(partition).low for partition, _ in rows if partition < count}
    finally:
        reader.close()
    return [(partition, needed, lows[partition]) for partition, needed in rows if needed < lows.get(partition, 0)]


def _cursor(settings: Settings) -> int:
    with database.connect(settings.database, application_name="lumenstream-doctor", autocommit=True) as connection:
        found = database.schema_version(connection) and database.get_cursor(connection, database.Cursor.LATEST)
    return found or 0
