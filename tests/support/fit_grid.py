"""Grids of one exponent, bent and over-trained ones, and the law of minima, for tests."""

from dataclasses import replace

import numpy as np

from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.other_laws.over_training import OverTraining
from tests.support.fit_examples import isoflop_rows, observations

TIED = PUBLISHED["muennighoff_c4"]
BUDGETS = np.geomspace(1e17, 1e19, 5)
SIZES = np.geomspace(1 / 4, 4, 7)
OVER_TRAINED = OverTraining(E=1.84, a_prime=212.0, b_prime=367.0, eta=0.136)


def law(rows, resamples=0, **changes):
    return fit_isoflop(replace(observations(rows), **changes), resamples, 0, 0.2).law


def bent_rows(budgets, by, sigma=0.0, seed=0):
    """An IsoFLOP grid whose N* is exp(by x^2) times a power law, x = log C about its mean."""
    x = np.log(budgets) - np.log(budgets).mean()
    rows = []
    for index, flops in enumerate(budgets):
        factor = float(np.exp(by * x[index] ** 2))
        for row in isoflop_rows(TIED, [flops], SIZES, sigma, seed + index):
            size, data = row["params"] * factor, row["tokens"] / factor
            rows.append({**row, "params": size, "tokens": data})
    return rows


def over_trained(sigma=0.0, seed=0, ratios=(5, 20, 80, 320)):
    """Runs of six sizes, each at these tokens per parameter, with normal noise on the loss."""
    rng = np.random.default_rng(seed)
    return observations(
        [
            {
                "params": float(n),
                "tokens": float(m * n),
                "loss": float(OVER_TRAINED.predict_loss(6 * m * n**2, m) + sigma * rng.normal()),
            }
            for n in np.geomspace(1e7, 4e8, 6)
            for m in ratios
        ]
    )
