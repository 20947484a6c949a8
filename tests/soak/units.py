"""What the full run consists of."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.soak.damage import SHARES, corrupt_checkpoints, fuzz_group
from tests.soak.kills import kill_at_calls, kill_ranks, kill_sweepers, kill_training

Run = Callable[[Path, int, int], Counter[str]]


@dataclass(frozen=True)
class Unit:
    """A piece of one part of the run, done in its own process; `run` gets an empty folder."""

    name: str
    part: str
    run: Callable[[Path], Counter[str]]


def units(share: float = 1.0) -> list[Unit]:
    """All of them; of each part the given share."""
    made = []

    def add(
        part: str, times: int, each: int, run: Callable[[Path, int, int], Counter[str]]
    ) -> None:
        n = max(1, math.ceil(each * share))
        for seed in range(times):
            name = f"{part.replace(' ', '-')}-{seed:03d}"
            made.append(Unit(name, part, lambda at, n=n, seed=seed: run(at, n, seed)))

    add("kills of training", 36, 25, kill_training)
    add("kills of two ranks", 20, 5, kill_ranks)
    for after in (False, True):
        name = f"kills-at-calls-{'after' if after else 'before'}"
        made.append(Unit(name, "kills at each call", partial(kill_at_calls, after=after)))
    add("kills of sweepers", 20, 25, kill_sweepers)
    add("damaged checkpoints", 20, 1000, corrupt_checkpoints)
    for group, hundredths in SHARES.items():
        n = max(1, math.ceil(1000 * share))
        for seed in range(hundredths):
            run = partial(fuzz_group, name=group, inputs=n, seed=seed)
            made.append(Unit(f"fuzz-{group}-{seed:03d}", "damaged inputs", run))
    return made
