"""Structured logs: one event per line, on stderr, as JSON or for a console; ledger, partition and offset are bound where known.

Tracebacks come without local variables, which may hold a password or a whole ledger.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from lumenstream.settings import LogSettings

Logger = structlog.stdlib.BoundLogger


def configure(settings: LogSettings, role: str) -> None:
    """Set up logging for this process. Libraries that log through `logging` appear in the same form, from warnings up."""
    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if settings.format == "json":
        tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        last: list[Any] = [tracebacks, structlog.processors.JSONRenderer()]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("lumenstream").setLevel(level)
    structlog.contextvars.bind_contextvars(role=role)


def get_logger(name: str) -> Logger:
    """A logger below `lumenstream`, for example `get_logger("sink")`."""
    logger: Logger = structlog.get_logger(f"lumenstream.{name}")
    return logger
