"""The workers and sinks that a backfill command starts for itself. They end with the command, however it ends."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lumenstream.embedded.processes import ChildProcess, Command
from lumenstream.errors import LumenstreamError
from lumenstream.masking import environment_of
from lumenstream.settings import Settings

STOP_SECONDS: Final = 20.0


class Helpers:
    """Workers are asked to stop first, since sinks have nothing to do without them."""

    def __init__(self, settings: Settings, logs: Path, workers: int, sinks: int) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        environment = environment_of(settings) | {"LUMENSTREAM_PROCESS__PROCESSORS": ""}
        environment.pop("LUMENSTREAM_PROCESS__FROM_LEDGER", None)
        commands: dict[str, tuple[str, ...]] = {
            f"sink-{number}": ("sink", "--backfill", "--port", "0") for number in range(sinks)
        }
        if workers:
            commands["workers"] = ("process", "--backfill", "--workers", str(workers), "--port", "0")
        self._children = [
            ChildProcess(
                f"the backfill {name}",
                Command(
                    argv=(sys.executable, "-m", "lumenstream", *arguments),
                    log=logs / f"backfill-{name}.log",
                    environment=environment,
                    working_directory=Path.cwd(),
                    stop_timeout_s=STOP_SECONDS,
                ),
            )
            for name, arguments in commands.items()
        ]

    def check(self) -> None:
        """LumenstreamError with the end of its log when one has ended."""
        for child in self._children:
            if not child.running:
                raise LumenstreamError(
                    f"{child.name} ended with exit code {child.wait(0)}; the end of {child.command.log}:\n{child.log_tail()}",
                    hint="what is committed stays; the same command does the rest",
                )

    def __enter__(self) -> Self:
        try:
            for child in self._children:
                child.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        for child in reversed(self._children):
            child.ask_to_stop()
        for child in self._children:
            child.stop()
