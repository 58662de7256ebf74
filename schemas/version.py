"""The database schema's version that this code reads and writes: the number of the newest file in `migrations/`."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 10
