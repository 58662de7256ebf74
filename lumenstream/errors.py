"""Errors that end a command with one clear line. Exit codes are part of the interface: docs/operations.md lists them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    UNEXPECTED = 1  # a defect: a traceback follows
    USAGE = 2  # unknown command, option or value
    UNREACHABLE = 3  # Kafka, the database or a ledger source does not answer
    SCHEMA = 4  # the database schema is too old or too new for this program
    CONFIGURATION = 5  # a setting is missing or contradicts another
    INTEGRITY = 6  # chain data that contradicts itself: another network, broken hash chain, a gap
    FENCED = 7  # another writer holds the lock or moved the cursor
    FAILED = 8  # the work was done and did not succeed, for example a failed verification


class LumenstreamError(Exception):
    """Base of all errors we raise on purpose. `hint` says what to do about it."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnreachableError(LumenstreamError):
    exit_code = ExitCode.UNREACHABLE


class StalledError(UnreachableError):
    """A Kafka client of ours stands still although the broker answers; only a fresh start helps."""


class SchemaVersionError(LumenstreamError):
    exit_code = ExitCode.SCHEMA


class ConfigurationError(LumenstreamError):
    exit_code = ExitCode.CONFIGURATION


class IntegrityError(LumenstreamError):
    exit_code = ExitCode.INTEGRITY


class FencedError(LumenstreamError):
    exit_code = ExitCode.FENCED
