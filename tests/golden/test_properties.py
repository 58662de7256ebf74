"""What is derived is a pure function of ledger and network: the same bytes again, elsewhere, in slices, from either decoder."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from lumenstream import xdr
from lumenstream.xdr import LedgerContentError, decode_ledger
from processors import registry
from schemas.history import CURRENT_STATE
from tests.golden.derived_bytes import digest, part_bytes, sample

EVERY: Final = 11
PROCESS_SECONDS: Final = 280.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def here(shared_ledgers: Path) -> dict[str, str]:
    """Digests made in this process."""
    return {name: digest(data, network_id) for name, data, network_id in sample(shared_ledgers, EVERY)}


def test_twice_and_with_other_ledgers_in_between(here: dict[str, str], shared_ledgers: Path) -> None:
    """Nothing is kept from ledger to ledger: in another order they give the same."""
    again = list(sample(shared_ledgers, EVERY))
    random.Random(7).shuffle(again)
    assert {name: digest(data, network_id) for name, data, network_id in again} == here


@pytest.mark.parametrize("decoder", ["native", "python"])
def test_in_another_process(decoder: str, here: dict[str, str], shared_ledgers: Path) -> None:
    """With another hash seed, and with either decoder."""
    if decoder == "native" and xdr.DECODER != "native":
        pytest.skip("the native decoder is not built")
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "LUMENSTREAM_DECODER": decoder}
    command = [sys.executable, "-m", "tests.golden.derived_bytes", str(shared_ledgers), str(EVERY)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=PROCESS_SECONDS, check=True)
    assert dict(line.split(" ", 1) for line in done.stdout.splitlines()) == here


def test_in_slices_of_processors(shared_ledgers: Path) -> None:
    """Workers that run a few processors each, every one with a decoded ledger of its own, send what one that runs all sends."""
    dice = random.Random(11)
    for name, data, network_id in sample(shared_ledgers, EVERY):
        try:
            whole = part_bytes(decode_ledger(data, network_id), registry.create(None, network_id))
        except LedgerContentError:
            continue
        names = dice.sample(list(registry.REGISTRY), len(registry.REGISTRY))
        cuts = sorted(dice.sample(range(1, len(names)), 2))
        slices = [names[: cuts[0]], names[cuts[0] : cuts[1]], names[cuts[1] :]]
        found: dict[str, bytes] = {}
        for chosen in slices:
            found |= part_bytes(decode_ledger(data, network_id), registry.create(chosen, network_id))
        assert found == whole, name


def test_the_sample_is_whole(here: dict[str, str]) -> None:
    refused = [text for text in here.values() if text.startswith("Ledger")]
    assert len(here) > 300
    assert len(refused) < 10, refused


def test_parts_for_a_backfill_lack_current_state_and_nothing_else(shared_ledgers: Path) -> None:
    seen: set[str] = set()
    for _, data, network_id in sample(shared_ledgers, EVERY):
        try:
            ledger = decode_ledger(data, network_id)
            whole = {one.name: one.process(ledger).rows for one in registry.create(list(registry.HISTORY_ONLY), network_id)}
        except LedgerContentError:
            continue
        for one in registry.create(list(registry.HISTORY_ONLY), network_id, history_only=True):
            rows = whole[one.name]
            assert one.process(ledger).rows == {name: rows[name] for name in rows if name not in CURRENT_STATE}
            seen |= rows.keys()
    assert {"trustline_assets", "trustline_changes", "trades", "offer_changes", "claimable_balance_events"} <= seen
