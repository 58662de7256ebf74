"""Topics of a broker that knows fewer settings: one warning, because by close times it would delete ledgers at once."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from lumenstream import kafka
from lumenstream.settings import KafkaSettings
from schemas.messages import Topic


class Log:
    def __init__(self) -> None:
        self.warnings: list[dict[str, Any]] = []

    def warning(self, event: str, **values: Any) -> None:
        self.warnings.append(values)


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


class Broker:
    """An admin client of a broker that refuses settings, or takes them and keeps to its own."""

    def __init__(self, refuses: bool, keeps: dict[str, str]) -> None:
        self.refuses = refuses
        self.keeps = keeps
        self.topics: dict[str, int] = {}

    def create_topics(self, topics: list[Any], **_: Any) -> dict[str, Future[Any]]:
        answers: dict[str, Future[Any]] = {}
        for topic in topics:
            if topic.config and self.refuses:
                answers[topic.topic] = done(KafkaException(KafkaError(KafkaError.INVALID_CONFIG)))
            else:
                self.topics[topic.topic] = topic.num_partitions
                answers[topic.topic] = done(None)
        return answers

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future[Any]]:
        entries = {key: SimpleNamespace(value=value) for key, value in self.keeps.items()}
        return {resource: done(entries) for resource in resources}


def warnings_of(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> list[dict[str, Any]]:
    log = Log()
    monkeypatch.setattr(kafka, "_log", log)
    monkeypatch.setattr(kafka, "admin", lambda _: broker)
    monkeypatch.setattr(kafka, "partition_counts", lambda _: dict(broker.topics))
    kafka.ensure_topics(KafkaSettings(partitions=3))
    assert set(broker.topics) == {str(topic) for topic in Topic}
    return log.warnings


def test_settings_that_are_refused_are_one_warning_at_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    (warning,) = warnings_of(monkeypatch, Broker(refuses=True, keeps={}))
    assert warning["settings"]["message.timestamp.type"] == "LogAppendTime"
    assert len(warning["topics"]) == len(Topic)


def test_settings_that_a_broker_took_and_does_not_keep_are_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = kafka.topic_config(KafkaSettings(partitions=3))
    assert warnings_of(monkeypatch, Broker(refuses=False, keeps=wanted)) == []
    (warning,) = warnings_of(monkeypatch, Broker(refuses=False, keeps=wanted | {"message.timestamp.type": "CreateTime"}))
    assert warning["found"]["ledgers"] == {"message.timestamp.type": "CreateTime"}
    without = {key: value for key, value in wanted.items() if key != "max.message.bytes"}
    (warning,) = warnings_of(monkeypatch, Broker(refuses=False, keeps=without))
    assert warning["found"]["ledgers"] == {"max.message.bytes": None}
