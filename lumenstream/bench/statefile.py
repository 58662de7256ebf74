"""A made-up archive of any size for the benchmark of the first run: a full state, and newer layers that hide a part of it.

The mix is that of a public network in spirit: mostly trustlines and accounts, offers, balances that contracts hold, and times to
live, which no table is made of.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandbox import archive, wire
from sandbox.envelopes import Asset
from sandbox.settings import PROTOCOL_VERSION
from sandbox.state import Account, TrustLine

LEDGER: Final = 63_999_999  # a checkpoint
SEED: Final = 20261127
ASSETS: Final = 400
LAYERS: Final = 3  # beyond the full state
CHANGED: Final = 0.04  # of the state, in each newer layer
GONE: Final = 0.01

_ACCOUNTS, _TRUSTLINES, _OFFERS, _HOLDINGS, _TIMES = 0.33, 0.42, 0.05, 0.10, 0.10
_OFFER, _CONTRACT_DATA, _TTL = wire.int32(2), wire.int32(6), wire.int32(9)
_NATIVE: Final = wire.ZERO
_CONTRACT: Final = wire.int32(1)
_PERSISTENT: Final = wire.int32(1)
_TRUE: Final = wire.int32(0) + wire.int32(1)


def write(root: Path, passphrase: str, entries: int) -> None:
    """An archive with about `entries` entries that exist. The same number gives the same archive."""
    rng = random.Random(SEED)
    state = dict(_entries(rng, entries))
    buckets = [archive.bucket(PROTOCOL_VERSION, {}, state)]
    keys = sorted(state)
    for _ in range(LAYERS):
        changed = rng.sample(keys, int(entries * CHANGED))
        gone = set(changed[: int(entries * GONE)])
        before = {key: state[key] for key in changed}
        after = {key: wire.uint32(LEDGER) + state[key][4:] for key in changed if key not in gone}
        buckets.append(archive.bucket(PROTOCOL_VERSION, before, after))
    archive.write(root, LEDGER, passphrase, archive.from_buckets(PROTOCOL_VERSION, buckets))


def _entries(rng: random.Random, count: int) -> Iterator[tuple[bytes, bytes]]:
    assets = [_asset(rng) for _ in range(ASSETS)]
    contracts = [rng.randbytes(32) for _ in range(ASSETS)]
    for _ in range(int(count * _ACCOUNTS)):
        account = Account(rng.randbytes(32), rng.randrange(1 << 40), 1, 3, rng.randrange(1, LEDGER), 1, rng.randrange(1, LEDGER))
        yield account.key, account.encode()
    for _ in range(int(count * _TRUSTLINES)):
        line = TrustLine(rng.randbytes(32), rng.choice(assets), rng.randrange(1 << 40), 1 << 50, 1, rng.randrange(1, LEDGER))
        yield line.key, line.encode()
    for number in range(int(count * _OFFERS)):
        yield _offer(rng, number, rng.choice(assets))
    for _ in range(int(count * _HOLDINGS)):
        yield _holding(rng, rng.choice(contracts))
    for _ in range(int(count * _TIMES)):
        key = _TTL + rng.randbytes(32)
        yield key, _modified(rng) + key + wire.uint32(LEDGER) + wire.ZERO


def _asset(rng: random.Random) -> Asset:
    return Asset("".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4)), rng.randbytes(32))


def _modified(rng: random.Random) -> bytes:
    return wire.uint32(rng.randrange(1, LEDGER))


def _offer(rng: random.Random, number: int, asset: Asset) -> tuple[bytes, bytes]:
    key = _OFFER + wire.account_id(rng.randbytes(32)) + wire.int64(number)
    terms = _NATIVE + asset.xdr + wire.int64(rng.randrange(1 << 40)) + wire.int32(3) + wire.int32(7)
    return key, _modified(rng) + key + terms + wire.ZERO + wire.ZERO + wire.ZERO


def _holding(rng: random.Random, contract: bytes) -> tuple[bytes, bytes]:
    """The balance of a contract with an asset's contract."""
    holder = wire.int32(18) + _CONTRACT + rng.randbytes(32)
    key = _CONTRACT + contract + wire.int32(16) + wire.ONE + wire.array([_symbol(b"Balance"), holder]) + _PERSISTENT
    amount = wire.int32(10) + wire.int64(0) + wire.uint64(rng.randrange(1 << 60))
    fields = [_symbol(b"amount") + amount, _symbol(b"authorized") + _TRUE, _symbol(b"clawback") + _TRUE]
    value = wire.int32(17) + wire.ONE + wire.array(fields)
    return _CONTRACT_DATA + key, _modified(rng) + _CONTRACT_DATA + wire.ZERO + key + value + wire.ZERO


def _symbol(text: bytes) -> bytes:
    return wire.int32(15) + wire.opaque(text)
