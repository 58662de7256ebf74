"""What needs no server of `lumenstream.database`: error classes, lock keys, what may be said of a connection string."""

from __future__ import annotations

import psycopg
import psycopg_pool
import pytest
from psycopg import errors

from lumenstream.database import advisory_key, clear_errors, connect, connection_arguments, describe, error_class, is_permanent
from lumenstream.errors import ExitCode, LumenstreamError, UnreachableError
from lumenstream.settings import DatabaseSettings


@pytest.mark.parametrize(
    ("error", "name", "permanent"),
    [
        (errors.UniqueViolation(), "unique_violation", True),
        (errors.CheckViolation(), "check_violation", True),
        (errors.NotNullViolation(), "not_null_violation", True),
        (errors.UndefinedTable(), "postgres_error", True),
        (errors.NumericValueOutOfRange(), "postgres_error", True),
        (errors.SerializationFailure(), "serialization_failure", False),
        (errors.DeadlockDetected(), "deadlock", False),
        (errors.QueryCanceled(), "query_canceled", False),
        (errors.AdminShutdown(), "admin_shutdown", False),
        (errors.ConnectionFailure(), "connection_error", False),
        (errors.DiskFull(), "postgres_error", False),
        (errors.TooManyConnections(), "postgres_error", False),
        (errors.ConfigurationLimitExceeded(), "configuration_limit", True),
        (psycopg.OperationalError("server closed the connection"), "connection_error", False),
        (psycopg.InterfaceError("the connection is closed"), "connection_closed", False),
        (psycopg_pool.PoolTimeout(), "context_deadline_exceeded", False),
    ],
)
def test_errors_are_classed(error: psycopg.Error, name: str, permanent: bool) -> None:
    assert (error_class(error), is_permanent(error)) == (name, permanent)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.OperationalError("server closed the connection"), UnreachableError),
        (psycopg.InterfaceError("the connection is closed"), UnreachableError),
        (errors.AdminShutdown(), UnreachableError),
        (errors.QueryCanceled(), UnreachableError),
        (errors.ConnectionFailure(), UnreachableError),
        (errors.DiskFull(), LumenstreamError),
        (errors.ConfigurationLimitExceeded(), LumenstreamError),
        (errors.InsufficientPrivilege(), LumenstreamError),
        (psycopg.DataError("a query that always gives one row gave none"), LumenstreamError),
    ],
)
def test_a_command_says_whether_the_database_is_away(error: psycopg.Error, kind: type[LumenstreamError]) -> None:
    settings = DatabaseSettings.model_validate({"url": "postgresql://u:secret@h:7/d"})
    with pytest.raises(kind) as caught, clear_errors(settings):
        raise error
    assert type(caught.value) is kind and "h:7/d" in str(caught.value) and "secret" not in str(caught.value)
    with pytest.raises(ZeroDivisionError), clear_errors(settings):
        raise ZeroDivisionError


def test_an_unknown_error_is_unknown() -> None:
    assert error_class(KeyError()) == "unknown"


def test_lock_keys_are_fnv_1a() -> None:
    """Vectors of the algorithm's reference, as signed numbers."""
    assert advisory_key("") == 0xCBF29CE484222325 - (1 << 64)
    assert advisory_key("a") == 0xAF63DC4C8601EC8C - (1 << 64)
    assert advisory_key("foobar") == 0x85944171F73967E8 - (1 << 64)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:secret@db.example:6000/wallet", "db.example:6000/wallet"),
        ("host=h password=secret dbname=d", "h:5432/d"),
        ("postgresql://", "localhost:5432/"),
        ("no = = string", "the database"),
    ],
)
def test_a_connection_string_is_described_without_its_password(url: str, text: str) -> None:
    assert describe(url) == text


def test_nobody_listening_is_unreachable() -> None:
    settings = DatabaseSettings.model_validate({"url": "postgresql://u:secret@127.0.0.1:1/d", "connect_timeout_seconds": 1})
    with pytest.raises(UnreachableError) as caught:
        connect(settings, application_name="test")
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert "127.0.0.1:1/d" in str(caught.value) and "secret" not in str(caught.value)


def test_options_of_the_url_are_kept() -> None:
    settings = DatabaseSettings.model_validate({"url": "postgresql://h/d?options=-c%20jit%3Doff", "statement_timeout_seconds": 7})
    assert connection_arguments(settings, "x")["options"] == "-c jit=off -c statement_timeout=7s"
