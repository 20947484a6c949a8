"""How long a plan takes: its trials, what it promises, and plan.json; on one core, without torch.

python -m benchmarks.plan_speed
"""

import common.start  # noqa: F401

# isort: split
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.timing import parser, seconds
from common.errors import ExitStatus
from configs.cli import exit_status
from configs.load import compose_config
from configs.schema import build
from scaling.fit.config import FitConfig
from scaling.plan.config import GridConfig
from scaling.plan.cost import CPU_REFERENCE
from scaling.plan.grid import plan_grid
from scaling.plan.memory import drop_oversized_cells
from scaling.plan.plan import Plan
from scaling.plan.plan_json import plan_from_json, plan_to_json
from scaling.plan.precision.assumed_law import PrecisionConfig, assume_law
from scaling.plan.precision.simulate import design_of, expect_precision
from scaling.plan.table import totals
from training.config import TrainConfig

CORPUS = 30_000_000
REPEATS = 5


def least_s(act: Callable[[], Any]) -> float:
    """The least process time of some repeats."""
    return min(seconds(act, time.process_time) for _ in range(REPEATS))


def main(words: Sequence[str]) -> int:
    """Print a line a measurement."""
    parser("plan_speed", __doc__).parse_args(words)
    values = compose_config("sweep", ["experiment=quickstart"])
    asked = build(PrecisionConfig, values.pop("foresight"), "foresight")
    grid = build(GridConfig, values.pop("grid"), "grid")
    del values["launcher"]
    base = build(TrainConfig, values)
    fit = build(FitConfig, compose_config("fit", ["runs=x"]))
    budgets = tuple(float(c) for c in np.geomspace(2.5e10, 8e11, 200))
    many = replace(grid, budgets=budgets, seeds=10, seeds_at_centre=10, seeds_at_lowest_budget=10)
    plan = plan_grid(base, many, CORPUS, CPU_REFERENCE)
    sized = replace(plan, memory_bytes=10**9)
    document = json.loads(json.dumps(plan_to_json(plan)))
    print(f"{len(plan.trials)} trials:")
    for name, act in (
        ("planned", lambda: plan_grid(base, many, CORPUS, CPU_REFERENCE)),
        ("checked for memory and added up", lambda: totals(drop_oversized_cells(sized), 2, None)),
        ("to plan.json", lambda: json.dumps(plan_to_json(plan))),
        ("from plan.json", lambda: plan_from_json(document)),
    ):
        print(f"  {name:<34}{least_s(act):.2f} s")
    small = plan_grid(base, grid, CORPUS)
    print(f"{len(small.trials)} trials:")
    print(f"  {'planned':<34}{least_s(lambda: plan_grid(base, grid, CORPUS)):.3f} s")

    def precision(of: Plan) -> None:
        expect_precision(
            design_of(of), assume_law(of, asked), fit, 8e12, asked.simulations, asked.seed
        )

    name = f"precision expected by {asked.simulations} simulations"
    print(f"  {name:<34}{least_s(lambda: precision(small)):.2f} s")
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
