"""What a check of `lumenstream doctor` says."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    OK = 0
    WARN = 1
    FAIL = 2


class Result(NamedTuple):
    """One line of the doctor."""

    level: Level
    name: str
    text: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        return {"level": self.level.name.lower(), "name": self.name, "text": self.text, "mend": self.mend}
