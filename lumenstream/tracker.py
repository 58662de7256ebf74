"""Reports to Sentry, when a DSN is set (extra `sentry`): of defects, and of data or writers that contradict each other.

Nothing leaves the process without a DSN.
What is sent: the exception with its traceback, the role, the version, and the id of the request. What is not: local variables,
headers, addresses of clients, queries and their variables; passwords in connection strings are masked wherever they stand.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from lumenstream import __version__
from lumenstream.errors import ConfigurationError, ExitCode, LumenstreamError
from lumenstream.settings import TrackerSettings

FLUSH_SECONDS: Final = 5.0
MASK: Final = "[masked]"
_REPORTED: Final = (ExitCode.UNEXPECTED, ExitCode.INTEGRITY, ExitCode.FENCED)
_SDK: Final = "sentry_sdk"
# user:password@ of a URL, key=value forms of libpq, secret keys of accounts, tokens.
_SECRETS: Final = re.compile(
    r"(?<=://)[^/\s@]+(?=@)|(?<=password=)[^\s&'\"]+|\bS[A-Z2-7]{55}\b|(?<=Bearer )\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]+", re.IGNORECASE
)
_DROPPED: Final = ("request", "user", "breadcrumbs", "server_name", "modules", "extra")


def start(settings: TrackerSettings, role: str) -> None:
    """Begin to report. ConfigurationError for a DSN that is none, or without the extra."""
    dsn = settings.dsn.get_secret_value()
    if not dsn:
        return
    try:
        import sentry_sdk
        from sentry_sdk.integrations.atexit import AtexitIntegration
        from sentry_sdk.integrations.dedupe import DedupeIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    except ImportError as error:
        raise ConfigurationError("tracker.dsn is set, but sentry-sdk is missing", hint="pip install '.[sentry]'") from error
    try:
        sentry_sdk.init(
            dsn=dsn,
            environment=settings.environment or None,
            release=f"lumenstream@{__version__}",
            integrations=[AtexitIntegration(lambda *_: None), DedupeIntegration(), ExcepthookIntegration()],
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            send_default_pii=False,
            max_breadcrumbs=0,
            shutdown_timeout=FLUSH_SECONDS,
            before_send=_scrubbed,
        )
    except sentry_sdk.utils.BadDsn as error:
        raise ConfigurationError(f"tracker.dsn is not a DSN: {error}", hint="copy it from the project's settings") from error
    sentry_sdk.get_global_scope().set_tag("role", role)


def report(error: BaseException, **tags: str) -> None:
    """Send a defect that was caught; nothing when `start` was not called or had no DSN."""
    sdk = sys.modules.get(_SDK)
    if sdk is None:
        return
    with sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        sdk.capture_exception(error)


def report_end(error: Exception) -> None:
    """Send what ends this process, and wait until it is sent: a defect, chain data that contradicts itself, a second writer.

    What else we raise on purpose, a server that is away or a wrong setting, is for whoever runs the process.
    """
    code = error.exit_code if isinstance(error, LumenstreamError) else ExitCode.UNEXPECTED
    if code in _REPORTED and (sdk := sys.modules.get(_SDK)) is not None:
        report(error, exit_code=str(int(code)))
        sdk.flush(FLUSH_SECONDS)


def _scrubbed(event: Any, _hint: Any) -> Any:
    for name in _DROPPED:
        event.pop(name, None)
    return _masked(event)


def _masked(value: Any) -> Any:
    """The value with every text in it masked."""
    if isinstance(value, str):
        return _SECRETS.sub(MASK, value)
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list | tuple) else value
