"""Kafka for every role: client configuration from settings, topics, watermarks, and single messages read by offset.

Data flow: settings in, confluent-kafka configurations and typed answers out. The Faust worker, which has its own client, takes
its topics and its first offsets from here. A broker that refuses our topic settings, or does not know one, is one warning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from lumenstream.errors import ConfigurationError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import KafkaSettings
from schemas.messages import SAME_PARTITIONS, Headers, Topic

ClientConfig = dict[str, Any]

# What a message holds besides its value: key, headers, batch framing.
MESSAGE_OVERHEAD_BYTES: Final = 16 << 10
DELIVERY_TIMEOUT_SECONDS: Final = 30.0
LINGER_MS: Final = 5

_LIBRDKAFKA_MAX_MESSAGE_BYTES: Final = 1_000_000_000
_LIBRDKAFKA_MAX_FETCH_BYTES: Final = 2_147_483_135
_NO_END: Final = (1 << 63) - 1
_MIN_FETCH_BYTES: Final = 50 << 20
_RECONNECT_MAX_MS: Final = 2_000
_HOUR_MS: Final = 3_600_000
_PROBE_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.2
_HINT: Final = "is the broker running, and is LUMENSTREAM_KAFKA__BOOTSTRAP right?"
_CANNOT_CONFIGURE: Final = (KafkaError.INVALID_CONFIG, KafkaError.INVALID_REQUEST, KafkaError.UNSUPPORTED_VERSION)

_log = get_logger("kafka")


class Watermarks(NamedTuple):
    """The first offset a partition holds, and the one its next message will get. Equal: nothing to read."""

    low: int
    high: int


def client_config(settings: KafkaSettings) -> ClientConfig:
    """What every confluent-kafka client needs: addresses, security, time-outs."""
    config: ClientConfig = {
        "bootstrap.servers": settings.bootstrap,
        "client.id": "lumenstream",
        "security.protocol": settings.security_protocol,
        "socket.timeout.ms": int(settings.request_timeout_seconds * 1000),
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": _RECONNECT_MAX_MS,
        "log.connection.close": False,
        "log_level": 0,  # what fails comes back as an error; librdkafka would repeat it on stderr in its own form
    }
    if settings.sasl_mechanism:
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username
        config["sasl.password"] = settings.sasl_password.get_secret_value()
    if settings.ssl_ca_location:
        config["ssl.ca.location"] = settings.ssl_ca_location
    return config


def max_value_bytes(settings: KafkaSettings) -> int:
    """The largest value that fits a message, its key and headers beside it."""
    return settings.max_message_bytes - MESSAGE_OVERHEAD_BYTES


def producer_config(settings: KafkaSettings) -> ClientConfig:
    """An idempotent producer that keeps order in each partition."""
    return client_config(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": LINGER_MS,
        "message.max.bytes": min(settings.max_message_bytes, _LIBRDKAFKA_MAX_MESSAGE_BYTES),
        "message.timeout.ms": int(DELIVERY_TIMEOUT_SECONDS * 1000),
        "request.timeout.ms": int(settings.request_timeout_seconds * 1000),
    }


def consumer_config(settings: KafkaSettings, group: str) -> ClientConfig:
    """A consumer that starts at the earliest message and commits nothing by itself. `group` is prefixed as topics are."""
    fetch = min(max(settings.max_message_bytes, _MIN_FETCH_BYTES), _LIBRDKAFKA_MAX_FETCH_BYTES - 1024)
    return client_config(settings) | {
        "group.id": settings.topic_prefix + group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": int(settings.session_timeout_seconds * 1000),
        "heartbeat.interval.ms": int(settings.session_timeout_seconds * 1000 / 6),
        "fetch.max.bytes": fetch,
        "receive.message.max.bytes": fetch + 1024,
        "message.max.bytes": min(settings.max_message_bytes, _LIBRDKAFKA_MAX_MESSAGE_BYTES),
    }


def admin(settings: KafkaSettings) -> AdminClient:
    """An admin client. Keep it until the futures it gave have ended."""
    return AdminClient(client_config(settings))


def wait_for_broker(settings: KafkaSettings, timeout: float) -> None:
    """Return when a broker answers. UnreachableError when none does within `timeout` seconds."""
    client, deadline = admin(settings), time.monotonic() + timeout
    while True:
        remaining = deadline - time.monotonic()
        try:
            if client.list_topics(timeout=max(0.1, min(_PROBE_SECONDS, remaining))).brokers:
                return
        except KafkaException as error:
            if time.monotonic() >= deadline:
                raise UnreachableError(f"Kafka at {settings.bootstrap} does not answer: {reason(error)}", hint=_HINT) from error
        time.sleep(_POLL_SECONDS)


def reason(error: KafkaException) -> str:
    """The text of a Kafka error, without its tuple."""
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(first)


def partition_counts(settings: KafkaSettings) -> dict[str, int]:
    """Partitions of every topic on the broker. UnreachableError when it does not answer."""
    try:
        found = admin(settings).list_topics(timeout=settings.request_timeout_seconds).topics
    except KafkaException as error:
        raise UnreachableError(f"Kafka at {settings.bootstrap} does not answer: {reason(error)}", hint=_HINT) from error
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


def topic_config(settings: KafkaSettings) -> dict[str, str]:
    """Settings of every topic. Retention counts from arrival: by close times a broker would delete old ledgers at once."""
    return {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(settings.max_message_bytes),
        "retention.ms": str(settings.retention_hours * _HOUR_MS),
    }


def ensure_topics(settings: KafkaSettings) -> None:
    """Create the topics that are missing and check those that are there. Safe from many processes at once.

    ConfigurationError when one of SAME_PARTITIONS has another number of partitions: parts share their ledger's partition number.
    """
    names = [settings.topic(topic) for topic in Topic]
    counts = partition_counts(settings)
    _check_counts(settings, counts)
    missing = [name for name in names if name not in counts]
    bare: frozenset[str] = frozenset()
    if missing:
        bare = _create(settings, missing)
        _wait_for_topics(settings, names)
    _check_configs(settings, [name for name in names if name not in bare])


def _check_counts(settings: KafkaSettings, counts: Mapping[str, int]) -> None:
    names = [settings.topic(topic) for topic in SAME_PARTITIONS]
    wrong = {name: counts[name] for name in names if counts.get(name, settings.partitions) != settings.partitions}
    if wrong:
        name, count = next(iter(wrong.items()))
        raise ConfigurationError(
            f"topic {name} has {count} partitions, settings ask for {settings.partitions}",
            hint=f"set LUMENSTREAM_KAFKA__PARTITIONS={count}, or see docs/runbook.md, topics with another number of partitions",
        )


def _create(settings: KafkaSettings, names: list[str]) -> frozenset[str]:
    """Create topics. Returns those that the broker took only without our settings, which has been logged."""
    bare = refused = _try_create(settings, names, topic_config(settings))
    if bare:
        _log.warning(
            "topics were created without settings that the broker refuses: retention and the largest message are its own",
            topics=sorted(bare),
            settings=topic_config(settings),
            reason=reason(next(iter(bare.values()))),
        )
        refused = _try_create(settings, list(bare), {})
    if refused:
        name, error = next(iter(refused.items()))
        raise ConfigurationError(f"topic {name} cannot be created: {reason(error)}", hint="may this user create topics here?")
    return frozenset(bare)


def _try_create(settings: KafkaSettings, names: list[str], config: dict[str, str]) -> dict[str, KafkaException]:
    """Create topics; those refused because of their settings come back with the error."""
    client = admin(settings)
    topics = [NewTopic(name, settings.partitions, settings.replication, config=config) for name in names]
    refused: dict[str, KafkaException] = {}
    for name, future in client.create_topics(topics, request_timeout=settings.request_timeout_seconds).items():
        try:
            future.result(settings.request_timeout_seconds + 1)
        except TimeoutError as error:
            raise UnreachableError(f"creating topic {name}: no answer from {settings.bootstrap}", hint=_HINT) from error
        except KafkaException as error:
            code = error.args[0].code()
            if code in _CANNOT_CONFIGURE:
                refused[name] = error
            elif code == KafkaError._TIMED_OUT:
                raise UnreachableError(f"creating topic {name}: no answer from {settings.bootstrap}", hint=_HINT) from error
            elif code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ConfigurationError(f"topic {name} cannot be created: {reason(error)}") from error
    return refused


def _wait_for_topics(settings: KafkaSettings, names: list[str]) -> None:
    deadline = time.monotonic() + settings.request_timeout_seconds
    while True:
        counts = partition_counts(settings)
        _check_counts(settings, {name: count for name, count in counts.items() if count})
        unknown = [name for name in names if not counts.get(name)]
        if not unknown:
            return
        if time.monotonic() > deadline:
            raise UnreachableError(f"topic {unknown[0]} was created and is still unknown to the broker", hint=_HINT)
        time.sleep(_POLL_SECONDS)


def _check_configs(settings: KafkaSettings, names: list[str]) -> None:
    """Compare what the broker tells about topics, old and new, with what we set; what differs or is unknown is one warning."""
    if not names:
        return
    client, wanted = admin(settings), topic_config(settings)
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    try:
        futures = client.describe_configs(resources, request_timeout=settings.request_timeout_seconds)
        found = {resource.name: future.result(settings.request_timeout_seconds + 1) for resource, future in futures.items()}
    except (KafkaException, TimeoutError) as error:
        _log.warning("the broker does not tell topic settings", error=str(error))
        return
    values = {name: {key: entries[key].value if key in entries else None for key in wanted} for name, entries in found.items()}
    differences = {
        name: wrong
        for name, told in values.items()
        if (wrong := {key: text for key, text in told.items() if text != wanted[key]})
    }
    if differences:
        _log.warning("topic settings are not those wanted, or the broker does not know them", found=differences, wanted=wanted)


def _watermarks(consumer: Consumer, asked: TopicPartition, timeout_seconds: float) -> Watermarks:
    """A partition without a leader yet, as right after its creation, is asked again. Else UnreachableError."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            if found := consumer.get_watermark_offsets(asked, timeout=timeout_seconds, cached=False):
                return Watermarks(*found)
            problem = "no answer"
        except KafkaException as error:
            problem = reason(error)
        if time.monotonic() >= deadline:
            raise UnreachableError(f"watermarks of {asked.topic} [{asked.partition}]: {problem}", hint=_HINT)
        time.sleep(_POLL_SECONDS)


class TopicReader:
    """Reads single messages by partition and offset, and watermarks; belongs to no consumer group. Not thread-safe."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self._settings = settings
        # Small fetches: a look-up wants one message, and a broker always sends at least one batch.
        small = {
            "max.partition.fetch.bytes": 1 << 10,
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 1,
            "enable.partition.eof": True,
        }
        config = consumer_config(settings, "lookup") | small
        self._consumer = Consumer(config)

    def watermarks(self, partition: int) -> Watermarks:
        """UnreachableError when the broker does not answer. A partition without a leader yet is asked again."""
        low, high = _watermarks(self._consumer, TopicPartition(self.topic, partition), self._settings.request_timeout_seconds)
        return Watermarks(low, self._true_end(partition, low, high))

    def _true_end(self, partition: int, low: int, high: int) -> int:
        """Tansu reports the first offset of the last batch plus one, so the end is read, not believed."""
        end = high

        def take(message: Message) -> bool:
            nonlocal end
            end = (message.offset() or 0) + 1
            return True

        self.read(partition, max(low, high - 1), _NO_END if high > low else low, take)
        return end

    def read(self, partition: int, first: int, end: int, take: Callable[[Message], bool]) -> None:
        """Hand the messages at offsets first..end-1 to `take` in order, until it says False or the partition ends.

        UnreachableError on silence.
        """
        if first >= end:
            return
        self._consumer.assign([TopicPartition(self.topic, partition, first)])
        try:
            deadline = time.monotonic() + self._settings.request_timeout_seconds
            while time.monotonic() < deadline:
                message = self._consumer.poll(_POLL_SECONDS)
                if message is None:
                    continue
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    if error.fatal() or error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
                        raise UnreachableError(f"reading {self.topic} [{partition}] at {first}: {error.str()}", hint=_HINT)
                    continue
                deadline = time.monotonic() + self._settings.request_timeout_seconds
                offset = message.offset()
                if offset is None or offset >= end or not take(message) or offset == end - 1:
                    return
        finally:
            self._consumer.unassign()
        raise UnreachableError(f"reading {self.topic} [{partition}] at {first}: no answer", hint=_HINT)

    def one(self, partition: int, offset: int) -> Message:
        """The message at an offset, or the next one if that is gone."""
        found: list[Message] = []

        def take(message: Message) -> bool:
            found.append(message)
            return False

        self.read(partition, offset, self.watermarks(partition).high, take)
        if not found:
            raise UnreachableError(f"reading {self.topic} [{partition}]: nothing at offset {offset}", hint=_HINT)
        return found[0]

    def close(self) -> None:
        self._consumer.close()


class GroupReader:
    """Sees from outside how far a consumer group (full name) has got; it is no member of the group. Not thread-safe."""

    def __init__(self, settings: KafkaSettings, group: str, topics: Sequence[str]) -> None:
        self._settings = settings
        self._group = group
        self._asked = [TopicPartition(topic, partition) for topic in topics for partition in range(settings.partitions)]
        self._consumer = Consumer(client_config(settings) | {"group.id": group, "enable.auto.commit": False})

    def behind(self) -> dict[tuple[str, int], range]:
        """By topic and partition the offsets that the group has yet to read, where there are any. Else UnreachableError."""
        waiting = {place: range(max(committed, low), high) for place, committed, (low, high) in self._positions()}
        return {place: offsets for place, offsets in waiting.items() if offsets}

    def lost(self) -> dict[tuple[str, int], tuple[int, int]]:
        """By topic and partition the next offset of the group, and the first one that is still there, where that comes later: the
        broker deleted what lies between before the group had read it. Else UnreachableError."""
        return {place: (committed, marks.low) for place, committed, marks in self._positions() if 0 <= committed < marks.low}

    def _positions(self) -> Iterator[tuple[tuple[str, int], int, Watermarks]]:
        """Topic and partition, next offset (negative: never committed), watermarks."""
        timeout = self._settings.request_timeout_seconds
        try:
            for answer in self._consumer.committed(self._asked, timeout=timeout):
                if answer.error is not None:
                    raise KafkaException(answer.error)
                marks = _watermarks(self._consumer, answer, timeout)
                yield (answer.topic, answer.partition), answer.offset, marks
        except KafkaException as error:
            raise UnreachableError(f"offsets of group {self._group}: {reason(error)}", hint=_HINT) from error

    def close(self) -> None:
        self._consumer.close()


def headers_of(message: Message) -> Headers:
    """Headers as pairs; one without a value becomes empty, which the parsers of `schemas.messages` refuse by name."""
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name, value.encode() if isinstance(value, str) else value or b"") for name, value in pairs]


def group_has_offsets(settings: KafkaSettings, group: str, topic: str) -> bool:
    """Has this consumer group (full name) ever committed an offset of the topic?"""
    consumer = Consumer(client_config(settings) | {"group.id": group, "enable.auto.commit": False})
    try:
        asked = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
        return any(answer.offset >= 0 for answer in consumer.committed(asked, timeout=settings.request_timeout_seconds))
    except KafkaException as error:
        raise UnreachableError(f"offsets of group {group}: {reason(error)}", hint=_HINT) from error
    finally:
        consumer.close()


def commit_group_offsets(settings: KafkaSettings, group: str, topic: str, offsets: Mapping[int, int]) -> None:
    """Set the committed offsets of a consumer group (full name) that has no member at the moment."""
    consumer = Consumer(client_config(settings) | {"group.id": group, "enable.auto.commit": False})
    try:
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        for answer in consumer.commit(offsets=wanted, asynchronous=False) or []:
            if answer.error is not None:
                raise KafkaException(answer.error)
    except KafkaException as error:
        raise ConfigurationError(
            f"offsets of group {group} cannot be set: {reason(error)}", hint="stop the workers of this group first"
        ) from error
    finally:
        consumer.close()


def group_members(settings: KafkaSettings, prefix: str) -> dict[str, int]:
    """How many members each consumer group has at the moment whose full name begins so. UnreachableError without an answer."""
    client, seconds = admin(settings), settings.request_timeout_seconds
    try:
        listed = client.list_consumer_groups(request_timeout=seconds).result(seconds + 1)
        if listed.errors:
            raise KafkaException(listed.errors[0])
        names = sorted(found.group_id for found in listed.valid if found.group_id.startswith(prefix))
        told = client.describe_consumer_groups(names, request_timeout=seconds) if names else {}
        return {name: len(future.result(seconds + 1).members) for name, future in told.items()}
    except (KafkaException, TimeoutError) as error:
        text = reason(error) if isinstance(error, KafkaException) else "no answer"
        raise UnreachableError(f"the consumer groups at {settings.bootstrap}: {text}", hint=_HINT) from error
