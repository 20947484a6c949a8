"""Fits for tests: a config, a table on disk, and IsoFLOP grids on a known surface."""

import csv
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from configs.load import compose_config
from configs.overrides import Keys
from configs.schema import build
from scaling.fit.config import FitConfig
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.observations import Observations

_PLAIN_PATH = re.compile(r"runs=[\w./-]+")


def config(*overrides: str) -> FitConfig:
    """The config that fit.py makes of these overrides."""
    paths = [override for override in overrides if override.startswith("runs=")]
    if len(paths) == 1 and _PLAIN_PATH.fullmatch(paths[0]):
        named = tuple("runs=T" if override == paths[0] else override for override in overrides)
        return replace(_composed(named), runs=paths[0].removeprefix("runs="))
    return _composed(overrides)


@cache
def _composed(overrides: tuple[str, ...]) -> FitConfig:
    """Composing takes Hydra longer than many a test, and most ask for the same options."""
    maps = ("where", "columns", "derive")
    keys = Keys(open=("units",), paths=(), maps=maps, once=False)  # a test's own come last
    values = compose_config("fit", overrides, keys=keys)
    return build(FitConfig, values)


def isoflop_rows(
    surface: Surface,
    budgets: Any,
    factors: Any,
    sigma: float = 0.0,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Runs at `factors` of the optimal size of each budget, with normal noise on the loss."""
    rng = np.random.default_rng(seed)
    rows = []
    for flops in budgets:
        for factor in factors:
            params = float(surface.optimal_allocation(flops)[0] * factor)
            tokens = float(flops / (6 * params))
            loss = float(surface.predict_loss(params, tokens) + sigma * rng.standard_normal())
            rows.append(
                {
                    "params": params,
                    "tokens": tokens,
                    "loss": loss,
                    "flops": float(flops),
                    "flops_budget": float(flops),
                }
            )
    return rows


def tuned_rows() -> list[dict[str, Any]]:
    """Four sizes at four amounts of data, each with five learning rates about the best one.

    Runs of one size and place among the rates share their name.
    """
    rng = np.random.default_rng(0)
    surface = PUBLISHED["besiroglu"]
    assert isinstance(surface, Surface)
    rows = []
    for params in (2e7, 4e7, 8e7, 1.6e8):
        for tokens in params * np.array([5, 20, 80, 320]):
            best = 1.79 * params**-0.713 * tokens**0.307
            for factor in (0.25, 0.5, 1, 2, 4):
                loss = surface.predict_loss(params, tokens) + 0.05 * np.log(factor) ** 2
                rows.append(
                    {
                        "run_id": f"{params:.0e}-{factor}",
                        "params": params,
                        "tokens": float(tokens),
                        "lr": float(best * factor),
                        "loss": float(loss + 1e-3 * rng.standard_normal()),
                    }
                )
    return rows


def observations(rows: list[dict[str, float]]) -> Observations:
    """The rows as admitted points, in the order given."""
    arrays = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    arrays.setdefault("flops", 6 * arrays["params"] * arrays["tokens"])
    unknown = np.full(len(rows), np.nan)
    return Observations(
        run_id=tuple(f"run-{index:03d}" for index in range(len(rows))),
        params=arrays["params"],
        tokens=arrays["tokens"],
        flops=arrays["flops"],
        loss=arrays["loss"],
        flops_budget=arrays.get("flops_budget", unknown),
        loss_se=arrays.get("loss_se", unknown),
        planned=len(rows),
    )


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A CSV of the rows, numbers in full."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path
