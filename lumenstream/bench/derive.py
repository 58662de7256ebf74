"""Deriving a ledger: stellar_sdk's decoding alone, ours, and ours with the nine processors and their encoded parts.

The ways take turns on every ledger in every round, with the cyclic collector off while the clock runs; each runs twice in its
turn and the second time counts, because the first one finds the caches as another way left them. The clock counts CPU time of
this process, which has one thread, so that other programs on the machine weigh little. Reported is the median over the rounds of
each ledger, averaged over the ledgers.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Final

from stellar_sdk import xdr as sdk

from lumenstream import xdr
from lumenstream.bench.heavy import HeavyLedgers
from lumenstream.bench.pipeline import PUBNET_ID, real_ledgers
from lumenstream.settings import Settings
from lumenstream.xdr.files import read_ledgers
from lumenstream.xdr.rows import Ledger
from processors import registry
from processors.encoding import encode
from processors.port import Processor
from schemas.assets import network_id as network_id_of

DEFAULT_ROUNDS: Final = 9
HEAVY_SIZES: Final = (10, 100, 1_000, 3_000, 6_000)
_HEAVY_ROUNDS: Final = 5
_HEAVY_LEDGERS: Final = 24
_MEMORY_ROUNDS: Final = 50
_LOAD_TEST_PASSPHRASE: Final = "load test network"
_KIB_PER_MIB: Final = 1024

# What the reference has too. What we derive beyond it is reported beside.
NINE: Final = (
    "participants",
    "token_transfers",
    "effects",
    "contract_deploys",
    "sac_events",
    "trustlines",
    "accounts",
    "sac_balances",
    "sac_instances",
)


def run(settings: Settings) -> dict[str, Any]:
    """The keys of `measure` over the pubnet ledgers, of `measure_heavy`, and `worker_memory_mib` (steady and peak).
    LUMENSTREAM_BENCH_DERIVE_ROUNDS sets the number of rounds."""
    rounds = int(os.environ.get("LUMENSTREAM_BENCH_DERIVE_ROUNDS", DEFAULT_ROUNDS))
    ledgers = real_ledgers(settings)
    load_test = Path(os.environ.get("LUMENSTREAM_LEDGERS", "../shared/ledgers")) / "loadtest" / "v26.xdr.zst"
    return {
        **measure(ledgers, rounds, PUBNET_ID),
        **measure_heavy(load_test),
        "worker_memory_mib": worker_memory(ledgers, PUBNET_ID),
    }


def measure(ledgers: Sequence[bytes], rounds: int, network_id: bytes) -> dict[str, Any]:
    """Keys: ledgers, rounds, decoder, sdk_decode_ms, decode_ms, decode_and_free_ms (the only one that counts freeing what was
    decoded), derive_ms (decode, the nine processors, their encoded parts),
    ratio (how many times faster than stellar_sdk decodes), derive_all_ms (with every processor we have), processors_ms (each
    with its encoded part, on a ledger just decoded)."""
    nine, every = registry.create(NINE, network_id), registry.create(None, network_id)
    ways: dict[str, Callable[[bytes], object]] = {
        "sdk_decode_ms": sdk.LedgerCloseMeta.from_xdr_bytes,
        "decode_ms": lambda data: xdr.decode_ledger(data, network_id),
        "decode_and_free_ms": partial(_decode_and_free, network_id),
        "derive_ms": partial(_derive, network_id, nine),
        "derive_all_ms": partial(_derive, network_id, every),
    }
    times: dict[str, list[float]] = {}
    for data in ledgers:
        measured = _in_turns(ways, data, rounds) | _of_each(every, xdr.decode_ledger(data, network_id), rounds)
        for name, milliseconds in measured.items():
            times.setdefault(name, []).append(milliseconds)
    mean = {name: statistics.fmean(medians) for name, medians in times.items()}
    return {
        "ledgers": len(ledgers),
        "rounds": rounds,
        "decoder": xdr.DECODER,
        **{name: round(mean[name], 3) for name in ways},
        "ratio": round(mean["sdk_decode_ms"] / mean["derive_ms"], 1),
        "processors_ms": {processor.name: round(mean[processor.name], 3) for processor in every},
    }


def measure_heavy(load_test: Path) -> dict[str, Any]:
    """Key us_per_transaction: microseconds of decoding, nine processors and encoding, by number of transactions in the ledger."""
    network_id = network_id_of(_LOAD_TEST_PASSPHRASE)
    heavy = HeavyLedgers(islice(read_ledgers(load_test), _HEAVY_LEDGERS), network_id)
    way = {"derive": partial(_derive, network_id, registry.create(NINE, network_id))}
    found = {}
    for size in HEAVY_SIZES:
        milliseconds = _in_turns(way, heavy.ledger(size), _HEAVY_ROUNDS)["derive"]
        found[str(size)] = round(1000 * milliseconds / size, 1)
    return {"us_per_transaction": found}


def worker_memory(ledgers: Sequence[bytes], network_id: bytes) -> dict[str, float]:
    """MiB that a process of its own holds after deriving the ledgers again and again, and the most it held. Faust is loaded
    as in a worker; Kafka's buffers are not in it."""
    context = multiprocessing.get_context("spawn")
    answer: Queue[dict[str, float]] = context.Queue()
    process = context.Process(target=_hold, args=(list(ledgers), network_id, answer))
    process.start()
    found = answer.get()
    process.join()
    return found


def _hold(ledgers: list[bytes], network_id: bytes, answer: Queue[dict[str, float]]) -> None:
    importlib.import_module("processors.worker")  # with everything that a worker loads
    processors = registry.create(None, network_id)
    for _ in range(_MEMORY_ROUNDS):
        for data in ledgers:
            _derive(network_id, processors, data)
    answer.put({"steady": _mebibytes("VmRSS"), "peak": _mebibytes("VmHWM")})


def _mebibytes(field: str) -> float:
    """A field of /proc/self/status, which are in KiB. The peak that `getrusage` tells may be that of the parent process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return round(int(line.split()[1]) / _KIB_PER_MIB, 1)


def _derive(network_id: bytes, processors: Sequence[Processor], data: bytes) -> tuple[Ledger, list[bytes]]:
    """The ledger comes along, so that whoever measures this does not measure freeing it."""
    ledger = xdr.decode_ledger(data, network_id)
    return ledger, [encode(processor.process(ledger)) for processor in processors]


def _decode_and_free(network_id: bytes, data: bytes) -> None:
    xdr.decode_ledger(data, network_id)


def _part(processor: Processor, ledger: Ledger, _: bytes) -> bytes:
    return encode(processor.process(ledger))


def _of_each(processors: Sequence[Processor], ledger: Ledger, rounds: int) -> dict[str, float]:
    """Median milliseconds of each processor with its encoded part."""
    ways: dict[str, Callable[[bytes], object]] = {processor.name: partial(_part, processor, ledger) for processor in processors}
    return _in_turns(ways, b"", rounds)


def _in_turns(ways: Mapping[str, Callable[[bytes], object]], data: bytes, rounds: int) -> dict[str, float]:
    """Median milliseconds of each way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_milliseconds(way, data))
    return {name: statistics.median(measured) for name, measured in times.items()}


def _milliseconds(way: Callable[[bytes], object], data: bytes) -> float:
    gc.collect()
    gc.disable()
    try:
        way(data)
        started = time.process_time()
        made = way(data)
        elapsed = time.process_time() - started
        del made  # not timed, as in `bench decode`
    finally:
        gc.enable()
    return elapsed * 1000
