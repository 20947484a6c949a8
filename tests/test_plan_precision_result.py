"""The expected precision in lines for people."""

import re
from dataclasses import replace

import numpy as np

from scaling.fit.laws import PUBLISHED, Surface
from scaling.plan.precision.assumed_law import (
    AssumedLaw,
)
from scaling.plan.precision.result import precision_lines
from scaling.plan.precision.simulate import Design, expect_precision
from tests.support.fit_examples import config

BESIROGLU = PUBLISHED["besiroglu"]

FIT = config("runs=x")
GUESSING = np.log(50257)


def design(law: Surface, low: float, high: float, sizes: int = 7, seeds: int = 1) -> Design:
    """Five budgets, each with sizes within 4 times of the law's optimum."""
    budget = np.repeat(np.geomspace(low, high, 5), sizes)
    params = law.optimal_allocation(budget)[0] * np.tile(np.geomspace(1 / 4, 4, sizes), 5)
    return Design(params, budget / (6 * params), budget, np.full(budget.size, seeds))


def foreseen(
    cells: Design, law: Surface, noise: float, target=1e20, simulations=200, guessing=GUESSING
):
    prior = AssumedLaw(law, "test", noise, over_bytes=False, guessing=guessing)
    return expect_precision(cells, prior, FIT, target, simulations, seed=0)


def test_precision_lines_fit_terminal():
    """The expected precision is said in lines that fit a terminal."""
    cells = design(BESIROGLU, 1e16, 1e18)
    lines = precision_lines(foreseen(cells, BESIROGLU, 0.02))
    assert lines[1] == "  test; noise 0.02 nats, 200 simulations"
    assert re.fullmatch(
        r"  isoflop     a = 0.51\d \+-0.01\d, b = 0.48\d \+-0.01\d, "
        r"N\* at 1e\+20 FLOP within a factor 1.\d\d",
        lines[2],
    )
    assert "every IsoFLOP curve has a minimum while N* lies within 0.32 to 3.1 times" in lines[-1]
    # Far below the compute of its runs the law has losses that no model has.
    low = foreseen(design(BESIROGLU, 1e11, 1e13), BESIROGLU, 0.02, simulations=20)
    said = precision_lines(low)
    assert low.headline in said[1] and "a = " not in " ".join(said)
    law = replace(BESIROGLU, A=BESIROGLU.A * 20)
    wrong = foreseen(cells, law, 0.005, simulations=20, guessing=np.inf)
    said += precision_lines(wrong)
    assert "  isoflop     fitted in 0% of the simulations: no interval" in said
    assert "  isoflop: refused: too few curves with a minimum in 100%" in said
    assert max(map(len, [*lines, *said])) <= 100
