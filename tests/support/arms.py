"""Two arms on one surface, the second worth k times its compute, for tests."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling.fit.laws import PUBLISHED
from scaling.fit.multiplier.frontiers import Arm
from scaling.fit.observations import Observations
from tests.support.fit_examples import write_csv

LAW: Any = PUBLISHED["besiroglu"]
BUDGETS = np.geomspace(1e17, 1e19, 5)
SIZES = np.geomspace(1 / 4, 4, 7)


def cells(budgets=BUDGETS, factors=SIZES):
    """(C, N, D) of every cell of a grid, (n,) each."""
    flops = np.repeat(budgets, len(factors))
    params = LAW.optimal_allocation(flops)[0] * np.tile(factors, len(budgets))
    return flops, params, flops / (6 * params)


def runs(k=1.0, noise: Any = 0.0, trend=0.0, budgets=BUDGETS, factors=SIZES) -> Observations:
    """A grid whose L*(C) is that of the law at k C, and at k (C/C_mean)^trend C with a trend."""
    flops, params, tokens = cells(budgets, factors)
    own = k * (flops / np.exp(np.log(budgets).mean())) ** trend
    loss = LAW.predict_loss(params * own**LAW.a, tokens * own**LAW.b) + noise
    unknown = np.full(len(flops), np.nan)
    names = tuple(f"run-{index:03d}" for index in range(len(flops)))
    return Observations(names, params, tokens, flops, loss, flops, unknown, planned=len(names))


def with_seeds(observations: Observations, count=1) -> Observations:
    """The same runs, said to be of seed 0 and the next ones."""
    n = len(observations)
    columns = {"seed": np.zeros(n), "seeds": np.full(n, float(count))}
    return replace(observations, columns=columns)


def arms(k, sd, seed, correlation=None, seeds=1, trend=0.0) -> tuple[Arm, Arm]:
    """Baseline and arm, with normal noise; None: no seeds, else matched cells correlate so."""
    rng = np.random.default_rng(seed)
    shared, *own = rng.standard_normal((3, seeds, len(BUDGETS) * len(SIZES)))
    r = correlation or 0.0
    found = []
    for name, worth, unit in zip(("plain", "new"), (1.0, k), own, strict=True):
        each = sd * (np.sqrt(r) * shared + np.sqrt(1 - r) * unit)
        own_trend = trend if name == "new" else 0.0
        observations = runs(worth, each.mean(axis=0), own_trend)
        if correlation is not None:
            observations = with_seeds(observations, seeds)
        if seeds > 1:
            between = np.sqrt(each.var(axis=0, ddof=1).mean() / seeds)
            observations = replace(observations, loss_se=np.full(len(observations), between))
        found.append(Arm(name, observations))
    return found[0], found[1]


def arm_rows(name: str, worth: float, noise: Any, **columns: Any) -> list[dict[str, Any]]:
    """The rows of an arm of such worth in a table of arms."""
    flops, params, tokens = cells()
    loss = LAW.predict_loss(params * worth**LAW.a, tokens * worth**LAW.b) + noise
    return [
        {
            "run_id": f"{name}-{index}",
            "params": float(n),
            "tokens": float(d),
            "flops": float(c),
            "flops_budget": float(c),
            "loss": float(one),
            "arm": name,
            "seed": 0,
            **columns,
        }
        for index, (c, n, d, one) in enumerate(zip(flops, params, tokens, loss, strict=True))
    ]


def arm_table(
    folder: Path,
    worth: Mapping[str, float],
    name: str = "arms.csv",
    without: tuple[str, ...] = (),
    **columns: Mapping[str, Any],
) -> Path:
    """A table of arms of such worth, whose runs of one cell share most of their noise."""
    rng = np.random.default_rng(0)
    shared, rows = rng.standard_normal(35), []
    for arm, k in worth.items():
        noise = 0.01 * (0.9 * shared + 0.44 * rng.standard_normal(35))
        rows += arm_rows(arm, k, noise, **{n: v[arm] for n, v in columns.items()})
    return write_csv(
        folder / name, [{n: v for n, v in row.items() if n not in without} for row in rows]
    )
