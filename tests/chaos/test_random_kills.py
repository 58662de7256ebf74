"""`kill -9` of a random role at a random time, again and again, while ledgers keep coming."""

from __future__ import annotations

import random
import time
from typing import Final

from tests.chaos.conftest import Baseline, MakePipeline
from tests.chaos.pipeline import ROLES, Source

KILLS: Final = 6
LONGEST_PAUSE_SECONDS: Final = 1.0


def test_roles_are_killed_again_and_again(
    make_pipeline: MakePipeline, source: Source, baseline: Baseline, dice: random.Random
) -> None:
    pipeline = make_pipeline(source=source.paced(0.3))
    pipeline.start_all()
    pipeline.wait_for_cursor(source.first)
    for _ in range(KILLS):
        time.sleep(dice.uniform(0, LONGEST_PAUSE_SECONDS))
        name = dice.choice(ROLES)
        print(f"killing {name} at ledger {pipeline.cursor()}")
        pipeline.spawn(name)
    pipeline.wait_for_end()
    baseline.check(pipeline)
