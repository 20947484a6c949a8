"""How long a plan takes: its trials, what it promises, and plan.json; on one core, without torch.

python -m benchmarks.plan_speed
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from configs.load import build, compose_config
from scaling.fit.config import FitConfig
from scaling.plan.config import GridConfig
from scaling.plan.cost import CPU_REFERENCE
from scaling.plan.grid import Plan, plan_from_json, plan_grid, plan_to_json
from scaling.plan.precision import design_of, foresee
from scaling.plan.prior import ForesightConfig, prior_of
from scaling.plan.space import that_fit
from scaling.plan.table import totals
from training.config import TrainConfig

CORPUS = 30_000_000
REPEATS = 5


def seconds(act: Callable[[], Any]) -> float:
    """The least process time of some repeats."""
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        act()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Print a line a measurement."""
    values = compose_config("sweep", ["experiment=quickstart"])
    asked = build(ForesightConfig, values.pop("foresight"), "foresight")
    grid = build(GridConfig, values.pop("grid"), "grid")
    del values["launcher"]
    base = build(TrainConfig, values)
    fit = build(FitConfig, compose_config("fit", ["runs=x"]))
    budgets = tuple(float(c) for c in np.geomspace(2.5e10, 8e11, 200))
    many = replace(grid, budgets=budgets, seeds=10, seeds_at_centre=10, seeds_at_lowest_budget=10)
    plan = plan_grid(base, many, CORPUS, CPU_REFERENCE)
    document = json.loads(json.dumps(plan_to_json(plan)))
    print(f"{len(plan.trials)} trials:")
    for name, act in (
        ("planned", lambda: plan_grid(base, many, CORPUS, CPU_REFERENCE)),
        ("checked for memory and added up", lambda: totals(that_fit(plan, 10**9), 2, None)),
        ("to plan.json", lambda: json.dumps(plan_to_json(plan))),
        ("from plan.json", lambda: plan_from_json(document)),
    ):
        print(f"  {name:<34}{seconds(act):.2f} s")
    small = plan_grid(base, grid, CORPUS)
    print(f"{len(small.trials)} trials:")
    print(f"  {'planned':<34}{seconds(lambda: plan_grid(base, grid, CORPUS)):.3f} s")

    def foreseen(of: Plan) -> None:
        foresee(design_of(of), prior_of(of, asked), fit, 8e12, asked.simulations, asked.seed)

    name = f"foreseen by {asked.simulations} simulations"
    print(f"  {name:<34}{seconds(lambda: foreseen(small)):.2f} s")


if __name__ == "__main__":
    main()
