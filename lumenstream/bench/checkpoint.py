"""The first run: entries a second from the files of a history archive to committed tables, and the memory that takes.

The archive is made up (`lumenstream.bench.statefile`). `read_...` is the archive's reader and the processors alone, in this
process; the rest is `lumenstream bootstrap`, started as an operator starts it, on a database of its own.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from lumenstream.bench import statefile
from lumenstream.bench.memory import Peak
from lumenstream.bench.pipeline import BenchPipeline
from lumenstream.errors import LumenstreamError
from lumenstream.settings import PASSPHRASES, ArchiveSettings, NetworkSettings, Settings
from lumenstream.xdr.rows import Entry
from processors.checkpoint import CheckpointProcessor
from producers.archive import HistoryArchive

DEFAULT_ENTRIES: Final = 1_000_000
_MIB: Final = 1 << 20


def run(settings: Settings) -> dict[str, Any]:
    """LUMENSTREAM_BENCH_CHECKPOINT_ENTRIES sets how many entries exist (one million)."""
    wanted = int(os.environ.get("LUMENSTREAM_BENCH_CHECKPOINT_ENTRIES", DEFAULT_ENTRIES))
    with BenchPipeline(settings, "checkpoint") as pipeline:
        root = pipeline.folder / "archive"
        statefile.write(root, PASSPHRASES["pubnet"], wanted)
        result = {"archive_megabytes": round(_size(root) / _MIB, 1), **_read(settings, root)}
        return {**result, **_bootstrap(pipeline, root, int(result["entries"]))}


def _read(settings: Settings, root: Path) -> dict[str, Any]:
    """The archive without a database."""
    network, of_archive = NetworkSettings(name="pubnet"), ArchiveSettings(url=str(root))
    settings = settings.model_copy(update={"network": network, "archive": of_archive})
    reader = HistoryArchive(settings, threading.Event().wait)
    processor = CheckpointProcessor(network.network_id())
    entries = rows = 0
    started, used = time.perf_counter(), time.process_time()
    checkpoint = reader.newest()

    def batches() -> Iterator[Sequence[Entry]]:
        nonlocal entries
        for batch in reader.entries(checkpoint):
            entries += len(batch.entries)
            yield batch.entries

    for made in processor.process_all(checkpoint.ledger, batches()):
        rows += sum(map(len, made.rows.values()))
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    return {
        "entries": entries,
        "rows": rows,
        "read_entries_per_second": round(entries / seconds),
        "read_cpu_microseconds_per_entry": round(cpu / entries * 1e6, 2),
    }


def _bootstrap(pipeline: BenchPipeline, root: Path, entries: int) -> dict[str, Any]:
    command = pipeline.command_line("bootstrap", "--archive-url", str(root), "--json")
    started = time.perf_counter()
    environment = {**os.environ, **command.environment}
    with command.log.open("wb") as log:
        child = subprocess.Popen(command.argv, env=environment, cwd=command.working_directory, stdout=subprocess.PIPE, stderr=log)
        with child, Peak(child.pid) as peak:
            output = child.stdout.read() if child.stdout else b""
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if child.returncode != 0:
        raise LumenstreamError(f"lumenstream bootstrap ended with {child.returncode}: {command.log.read_text()[-2000:]}")
    written = orjson.loads(output.splitlines()[-1])["rows"]
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "seconds": round(seconds, 1),
        "entries_per_second": round(entries / seconds),
        "cpu_microseconds_per_entry": round(cpu / entries * 1e6, 2),
        "peak_megabytes": None if peak.bytes is None else round(peak.bytes / _MIB),
        "written": written,
    }


def _size(root: Path) -> int:
    return sum(file.stat().st_size for file in root.rglob("*.gz"))
