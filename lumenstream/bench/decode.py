"""Decoding a ledger: the native decoder and its Python twin against stellar_sdk.

The three take turns on every ledger in every round, with the cyclic collector off while the clock runs, so that a slow spell
of the machine touches all alike. In each turn a decoder runs twice and the second time counts: the first one finds the caches
and the heap as another decoder left them. Reported is the median over the rounds of each ledger, averaged over the ledgers.
"""

from __future__ import annotations

import gc
import hashlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stellar_sdk import xdr as sdk

from lumenstream import xdr
from lumenstream.bench.pipeline import PUBNET_ID, real_ledgers
from lumenstream.settings import Settings
from lumenstream.xdr.files import read_ledgers

DEFAULT_ROUNDS = 7


def run(settings: Settings) -> dict[str, Any]:
    """The keys of `measure`, over the pubnet ledgers. LUMENSTREAM_BENCH_DECODE_ROUNDS sets the number of rounds."""
    rounds = int(os.environ.get("LUMENSTREAM_BENCH_DECODE_ROUNDS", DEFAULT_ROUNDS))
    return measure(real_ledgers(settings), rounds, PUBNET_ID)


def run_files(ledgers: Sequence[Path], rounds: int, network_passphrase: str) -> dict[str, Any]:
    """The keys of `measure`, over every ledger in these files."""
    network_id = hashlib.sha256(network_passphrase.encode()).digest()
    return measure([data for path in ledgers for data in read_ledgers(path)], rounds, network_id)


def measure(ledgers: Sequence[bytes], rounds: int, network_id: bytes) -> dict[str, Any]:
    """Keys: ledgers, rounds, sdk_decode_ms, python_decode_ms, and where the native decoder is built decode_ms (rows included)
    and validate_ms (decode alone); ratio_native and ratio_python say how many times faster than stellar_sdk."""
    python = xdr.python_decoder()
    ways: dict[str, Callable[[bytes], object]] = {
        "sdk_decode_ms": sdk.LedgerCloseMeta.from_xdr_bytes,
        "python_decode_ms": lambda data: python.decode_ledger(data, network_id),
    }
    if xdr.DECODER == "native":
        native = xdr.native_decoder()
        ways["decode_ms"] = lambda data: native.decode_ledger(data, network_id)
        ways["validate_ms"] = native.validate
    result: dict[str, Any] = {"ledgers": len(ledgers), "rounds": rounds}
    per_ledger: dict[str, list[float]] = {name: [] for name in ways}
    for data in ledgers:
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, decode in ways.items():
                times[name].append(_milliseconds(decode, data))
        for name, measured in times.items():
            per_ledger[name].append(statistics.median(measured))
    mean = {name: statistics.fmean(medians) for name, medians in per_ledger.items()}
    result.update((name, round(milliseconds, 3)) for name, milliseconds in mean.items())
    result["ratio_python"] = round(mean["sdk_decode_ms"] / mean["python_decode_ms"], 1)
    if "decode_ms" in mean:
        result["ratio_native"] = round(mean["sdk_decode_ms"] / mean["decode_ms"], 1)
    return result


def _milliseconds(decode: Callable[[bytes], object], data: bytes) -> float:
    gc.collect()
    gc.disable()
    try:
        decode(data)
        started = time.perf_counter()
        decoded = decode(data)
        elapsed = time.perf_counter() - started
        del decoded  # not timed: what was decoded is freed by whoever uses it
    finally:
        gc.enable()
    return elapsed * 1000
