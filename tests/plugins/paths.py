"""Where the real ledgers and the reference results lie, which are too large for the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _directory(variable: str, default: Path) -> Path:
    directory = Path(os.environ.get(variable, default)).resolve()
    if not directory.is_dir():
        pytest.skip(f"{directory} does not exist: set {variable}")
    return directory


@pytest.fixture(scope="session")
def shared_ledgers() -> Path:
    """The directory of real ledgers: LUMENSTREAM_LEDGERS, else shared/ledgers beside the repository."""
    return _directory("LUMENSTREAM_LEDGERS", REPOSITORY.parent / "shared" / "ledgers")


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """The directory of reference results: LUMENSTREAM_GOLDEN, else shared/golden beside the repository."""
    return _directory("LUMENSTREAM_GOLDEN", REPOSITORY.parent / "shared" / "golden")
