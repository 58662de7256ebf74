"""Guards: a logged exception once showed the local variables of every frame, a database URL with its password among them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from lumenstream import logs
from lumenstream.settings import LogSettings

PASSWORD = "correct-horse-battery-staple"


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo what `configure` does to the process."""
    root = logging.getLogger()
    handlers, level, ours = root.handlers, root.level, logging.getLogger("lumenstream").level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("lumenstream").setLevel(ours)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail(url: str) -> None:
    raise ValueError(f"no answer within {len(url)} ms")


@pytest.mark.parametrize("format", ["console", "json"])
def test_exceptions_are_logged_without_local_variables(
    format: Literal["console", "json"], restored_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(LogSettings(format=format), "sink")
    try:
        fail(PASSWORD)
    except ValueError:
        logs.get_logger("test").exception("it failed")
    logged = capsys.readouterr().err
    assert "it failed" in logged
    assert f"no answer within {len(PASSWORD)} ms" in logged
    assert PASSWORD not in logged
