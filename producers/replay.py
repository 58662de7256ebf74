"""`lumenstream replay`: ledgers above the cursor go through the processors once more, after the fix of whatever failed on them.

The raw message is taken from `ledgers`, else from `ledgers.failed`, checked, and sent to `ledgers.retry`, with the processors
that are to run in its headers. It keeps its partition number, so that the new parts follow the failures they supersede. What the
sink has committed is history: that is rewritten by backfill jobs, never here (architecture.md, 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from lumenstream import database, kafka
from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from lumenstream.xdr import LedgerDecodeError, validate
from producers.header import checked_header
from producers.sources.port import SourceLedger
from schemas.messages import LedgerHeaders, MessageError, Topic, partition_of
from schemas.processors import PROCESSORS

_BATCH_MESSAGES: Final = 64

_log = get_logger("replay")


class Replayed(NamedTuple):
    """What was sent, and where it was found."""

    sequence: int
    ledger_hash: str
    found: str  # topic [partition] offset
    partition: int
    offset: int  # on `ledgers.retry`


class _Found(NamedTuple):
    place: str
    partition: int
    key: bytes | None
    value: bytes
    headers: LedgerHeaders


def run(settings: Settings, sequence: int, processors: Sequence[str] = ()) -> Replayed:
    """Send one ledger again; no processors named means all.

    ConfigurationError for an unknown processor or a ledger that is committed, IntegrityError when no undamaged message of the
    ledger is left, UnreachableError when Kafka or the database does not answer.
    """
    _check_known(processors)
    cursor = _cursor(settings)
    if sequence <= cursor:
        raise ConfigurationError(
            f"ledger {sequence} is committed, the cursor stands at {cursor}",
            hint="committed history is made anew by lumenstream replay --from N --to M",
        )
    return _run(settings, sequence, processors)


def run_range(settings: Settings, first: int, last: int, processors: Sequence[str] = ()) -> Iterator[Replayed]:
    """Send the ledgers of a range again, one at a time, down to the first one that is committed by then. Errors as `run`.

    The highest goes first: of a range that ends beyond what there is, nothing is sent, which is a ConfigurationError.
    """
    _check_known(processors)
    for sequence in range(last, first - 1, -1):
        if sequence <= _cursor(settings):
            return
        try:
            sent = _run(settings, sequence, processors)
        except IntegrityError as error:
            if sequence == last and (newest := _newest(settings)) < last:
                text = f"ledger {last} was not produced yet, the newest is {newest}"
                raise ConfigurationError(text, hint=f"--to {newest}") from error
            raise
        yield sent


def _newest(settings: Settings) -> int:
    """The highest ledger among the last messages of the partitions of `ledgers`; 0 when they are empty."""
    reader = kafka.TopicReader(settings.kafka, settings.kafka.topic(Topic.LEDGERS))
    try:
        ends = {partition: reader.watermarks(partition) for partition in range(settings.kafka.partitions)}
        return max(_sequence(reader.one(at, high - 1)) or 0 if low < high else 0 for at, (low, high) in ends.items())
    finally:
        reader.close()


def _run(settings: Settings, sequence: int, processors: Sequence[str]) -> Replayed:
    found = _find(settings, sequence)
    offset = _send(settings, found, replace(found.headers, processors=tuple(sorted(set(processors)))))
    _log.info("ledger sent again", ledger=sequence, found=found.place, processors=list(processors) or "all")
    return Replayed(sequence, found.headers.ledger_hash, found.place, found.partition, offset)


def _check_known(processors: Sequence[str]) -> None:
    unknown = sorted(set(processors) - PROCESSORS.keys())
    if unknown:
        raise ConfigurationError(f"unknown processors: {', '.join(unknown)}", hint=f"known ones are {', '.join(PROCESSORS)}")


def _cursor(settings: Settings) -> int:
    with database.connect(settings.database, application_name="lumenstream-replay", autocommit=True) as connection:
        database.check_schema(connection)
        database.check_network(connection, settings.network.network_id())
        return database.get_cursor(connection, database.Cursor.LATEST)


def _find(settings: Settings, sequence: int) -> _Found:
    """The first undamaged message of the ledger. IntegrityError says what is wrong with those there are."""
    wrong: list[str] = []
    for topic in (Topic.LEDGERS, Topic.LEDGERS_FAILED):
        for message in _messages_of(settings, topic, sequence):
            try:
                return _checked(settings, message)
            except (IntegrityError, LedgerDecodeError, MessageError) as error:
                wrong.append(f"{_place(message)}: {error}")
    problem = f"damaged in every message: {'; '.join(wrong[:3])}" if wrong else "neither on `ledgers` nor on `ledgers.failed`"
    raise IntegrityError(
        f"ledger {sequence} is {problem}", hint=f"`lumenstream produce --from {sequence}` sends it again from the source"
    )


def _messages_of(settings: Settings, topic: Topic, sequence: int) -> Iterator[Message]:
    """Messages whose headers name the ledger. `ledgers` ascends, so a search finds the place; failures are read one by one."""
    partition = partition_of(sequence, settings.kafka.range_size, settings.kafka.partitions)
    reader = kafka.TopicReader(settings.kafka, settings.kafka.topic(topic))
    try:
        low, high = reader.watermarks(partition)
        first = _search(reader, partition, sequence) if topic is Topic.LEDGERS else low
        for start in range(first, high, _BATCH_MESSAGES):
            batch: list[Message] = []

            def take(message: Message, into: list[Message] = batch) -> bool:
                if _sequence(message) == sequence:
                    into.append(message)
                return True

            reader.read(partition, start, min(start + _BATCH_MESSAGES, high), take)
            yield from batch
    finally:
        reader.close()


def _search(reader: kafka.TopicReader, partition: int, sequence: int) -> int:
    """An offset at or before the ledger's. Sequences ascend and only ever fall back to a lower one when ledgers are sent again,
    so the ledger stands behind any step from below it to at or above it."""
    low, high = reader.watermarks(partition)
    while low < high:
        middle = (low + high) // 2
        found = _sequence(reader.one(partition, middle))
        if found is not None and found < sequence:
            low = middle + 1
        else:
            high = middle
    return low


def _sequence(message: Message) -> int | None:
    try:
        return LedgerHeaders.from_kafka(kafka.headers_of(message)).sequence
    except MessageError:
        return None


def _checked(settings: Settings, message: Message) -> _Found:
    headers, value = LedgerHeaders.from_kafka(kafka.headers_of(message)), message.value() or b""
    network_id = settings.network.network_id().hex()
    if headers.network_id != network_id:
        raise IntegrityError(f"of network {headers.network_id}, settings say {network_id}")
    header = checked_header(SourceLedger(headers.sequence, headers.previous_sequence, value, _place(message)))
    if header.hash.hex() != headers.ledger_hash:
        raise IntegrityError(f"the headers say hash {headers.ledger_hash}, the data says {header.hash.hex()}")
    validate(value)
    return _Found(_place(message), message.partition() or 0, message.key(), value, headers)


def _place(message: Message) -> str:
    return f"{message.topic()} [{message.partition()}] offset {message.offset()}"


def _send(settings: Settings, found: _Found, headers: LedgerHeaders) -> int:
    """Deliver to `ledgers.retry` and return the offset. UnreachableError when the broker does not confirm it."""
    kafka.ensure_topics(settings.kafka)
    topic = settings.kafka.topic(Topic.LEDGERS_RETRY)
    errors: list[str] = []
    offsets: list[int] = []

    def confirm(error: KafkaError | None, delivered: Message) -> None:
        if error is not None:
            errors.append(error.str())
        else:
            offsets.append(delivered.offset() or 0)

    producer = Producer(kafka.producer_config(settings.kafka))
    try:
        producer.produce(
            topic,
            value=found.value,
            key=found.key,
            partition=found.partition,
            headers=[*headers.to_kafka()],
            on_delivery=confirm,
        )
        producer.flush(kafka.DELIVERY_TIMEOUT_SECONDS)
    except KafkaException as error:
        errors.append(kafka.reason(error))
    if not offsets:
        problem = errors[0] if errors else f"no answer from {settings.kafka.bootstrap}"
        raise UnreachableError(f"sending to {topic}: {problem}", hint="nothing was changed: run the command again")
    return offsets[0]
