"""Runs are grouped by budget as the fit groups them."""

import dataclasses

import numpy as np

from scaling.report.figures.data import budgets_of
from scaling.report.study import Study
from tests.support.report_example import study


def test_budgets_of_runs_at_scattered_compute_are_none() -> None:
    found = study(lambda values: values.update(laws={}))
    flops = np.geomspace(1e18, 1e22, 20) * np.random.default_rng(0).uniform(0.9, 1.1, 20)
    runs = dataclasses.replace(
        found.runs,
        flops=flops,
        flops_budget=np.full(20, np.nan),
        tokens=flops / (6 * found.runs.params),
    )
    budgets = budgets_of(Study(found.document, runs))
    assert budgets.flops == [] and set(budgets.of_run) == {-1}
