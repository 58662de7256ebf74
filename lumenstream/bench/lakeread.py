"""Reading a data lake: ledgers and megabytes a second out of a folder and out of an S3 here, read ahead and one by one.

The lake is written first, one ledger an object as on the public network. S3 is moto's server in a process of its own (a
development dependency); without it that part is left out. CPU is our process's: fetching and decompressing, no Kafka.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from lumenstream.bench.lakefiles import write_lake
from lumenstream.bench.pipeline import made_ledgers
from lumenstream.embedded.processes import ChildProcess, Command, free_port
from lumenstream.settings import PASSPHRASES, LakeSettings, Settings
from producers.sources.lake import LakeSource, Layout

DEFAULT_LEDGERS: Final = 200
_LAYOUT: Final = Layout(1, 64_000)
_REGION: Final = "us-east-1"
_BUCKET: Final = "lake"
_READY_SECONDS: Final = 60.0
_ONE_BY_ONE: Final = {"readers": 1, "prefetch_objects": 1}


def run(settings: Settings) -> dict[str, Any]:
    """Keys: ledgers, compressed_mb; for `folder` and `s3`, read ahead (`ahead`) and `one_by_one`: ledgers_per_second,
    mb_per_second (of raw ledgers), cpu_ms (a ledger); `ratio`: how many times faster reading ahead is."""
    count = int(os.environ.get("LUMENSTREAM_BENCH_LAKE_LEDGERS", DEFAULT_LEDGERS))
    with tempfile.TemporaryDirectory(prefix="lumenstream-lake-") as name:
        folder = Path(name) / "lake"
        ledgers = ((made.sequence, made.data) for made in made_ledgers(settings, count))
        compressed = write_lake(folder, ledgers, _LAYOUT, PASSPHRASES["pubnet"])
        result: dict[str, Any] = {"ledgers": count, "compressed_mb": round(compressed / 1e6, 1)}
        result["folder"] = _both(settings.lake.model_copy(update={"url": str(folder)}), count)
        if importlib.util.find_spec("moto") is not None:
            with _s3(Path(name), folder) as lake:
                result["s3"] = _both(settings.lake.model_copy(update=lake), count)
    return result


def _both(lake: LakeSettings, count: int) -> dict[str, Any]:
    _read(lake, min(count, 20))  # connections and caches
    one = _read(lake.model_copy(update=_ONE_BY_ONE), count)
    ahead = _read(lake, count)
    ratio = ahead["ledgers_per_second"] / one["ledgers_per_second"]
    return {"one_by_one": one, "ahead": ahead, "ratio": round(ratio, 2)}


def _read(lake: LakeSettings, count: int) -> dict[str, float]:
    """Read so many ledgers from the beginning on."""
    source = LakeSource(lake, "pubnet", PASSPHRASES["pubnet"], lambda seconds: seconds > 0)
    started, cpu, ledgers, size = time.perf_counter(), time.process_time(), 0, 0
    for ledger in source.ledgers(None):
        ledgers, size = ledgers + 1, size + len(ledger.data)
        if ledgers == count:
            break
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    source.close()
    return {
        "ledgers_per_second": round(ledgers / seconds, 1),
        "mb_per_second": round(size / seconds / 1e6, 1),
        "cpu_ms": round(cpu * 1000 / ledgers, 2),
    }


@contextmanager
def _s3(logs: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """The folder's lake on an S3 of our own; what the settings of the lake have to say."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = Command(
        argv=(sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)),
        log=logs / "moto.log",
        environment=dict(os.environ),
        working_directory=logs,
    )
    with ChildProcess("S3", command) as child:
        child.wait_ready(lambda: _answers(url), _READY_SECONDS)
        with httpx.Client(headers={"x-amz-acl": "public-read"}) as client:
            client.put(f"{url}/{_BUCKET}").raise_for_status()
            for path in folder.rglob("*"):
                if path.is_file():
                    client.put(f"{url}/{_BUCKET}/{path.relative_to(folder)}", content=path.read_bytes()).raise_for_status()
        yield {"url": f"s3://{_BUCKET}", "region": _REGION, "endpoint": url, "anonymous": True}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.TransportError:
        return False
