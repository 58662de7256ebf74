"""What only some need is an extra: a setting that needs a missing one ends with a line that installs it from a checkout."""

from __future__ import annotations

import sys

import pytest
from pydantic import SecretStr

from api.tracing import Tracer
from lumenstream import tracker
from lumenstream.errors import ConfigurationError
from lumenstream.settings import TrackerSettings
from tests.unit.test_house import pyproject


def extra_of(hint: str) -> str:
    """The extra that the hint installs; this project is on no package index, so it names the checkout."""
    assert hint.startswith("pip install '.[") and hint.endswith("]'")
    return hint.removeprefix("pip install '.[").removesuffix("]'")


def declared_in(extra: str) -> list[str]:
    found: list[str] = pyproject()["project"]["optional-dependencies"][extra]
    return found


def test_reports_without_the_client_of_sentry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(ConfigurationError, match=r"tracker\.dsn is set, but sentry-sdk is missing") as refused:
        tracker.start(TrackerSettings(dsn=SecretStr("https://key@sentry.example/1")), "sink")
    assert any(found.startswith("sentry-sdk") for found in declared_in(extra_of(refused.value.hint)))


def test_traces_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"api\.traces_endpoint is set, but OpenTelemetry is missing") as refused:
        Tracer("http://127.0.0.1:4318", 1.0)
    assert any(found.startswith("opentelemetry-sdk") for found in declared_in(extra_of(refused.value.hint)))
