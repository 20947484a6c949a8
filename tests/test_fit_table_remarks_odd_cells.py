"""A few cells in another unit than their column are named; an odd run that is one is not."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.table.remarks.odd_cells import odd_cells
from tests.support.fit_tables import table_of

LAW = PUBLISHED["besiroglu"]


def rows(count=24, seed=0):
    """Runs of 20 to 2,000 million parameters at 2 to 200 tokens a parameter."""
    rng = np.random.default_rng(seed)
    n = np.geomspace(2e7, 2e9, count)
    d = n * 10 ** rng.uniform(0.3, 2.3, count)
    loss = LAW.predict_loss(n, d) + 0.005 * rng.standard_normal(count)
    return [
        {
            "run_id": f"r{i}",
            "params": n[i],
            "tokens": d[i],
            "flops": 6 * n[i] * d[i],
            "loss": loss[i],
        }
        for i in range(count)
    ]


def said(runs):
    return [flag.text for flag in odd_cells(table_of(runs))]


@pytest.mark.parametrize(
    ("name", "factor", "cure"),
    [
        ("params", 1e-6, "x 1e6?"),
        ("params", 1e-3, "x 1e3?"),
        ("tokens", 1e-9, "x 1e9?"),
        ("tokens", 1e-3, "x 1e3?"),
        ("tokens", 1e3, "x 1e-3?"),
        ("flops", 1e-18, "x 1e18?"),
        ("flops", 1e-12, "x 1e12?"),
        ("flops", 1e3, "x 1e-3?"),
    ],
)
@pytest.mark.parametrize("cells", [(5,), (0, 11, 23)])
def test_odd_cells_are_named_by_row_and_value(name, factor, cure, cells):
    """One cell, or three of 24, at the ends of the sizes and in the middle."""
    runs = rows()
    for cell in cells:
        runs[cell][name] *= factor
        if name != "flops":
            runs[cell].pop("flops")
    (text,) = said(runs)
    assert text.startswith(f"{len(cells)} cell{'s' * (len(cells) > 1)} seem")
    for cell in cells:
        assert f"(run r{cell}): {name} {runs[cell][name]:.4g}, {cure}" in text


def test_odd_cells_are_none_of_a_plain_table():
    assert said(rows()) == [] and said(rows(5)) == []


def test_odd_cells_leave_a_run_that_was_trained_far_longer():
    """Its tokens are a thousand times those of the others, and its loss says so."""
    runs = rows()
    d = runs[8]["tokens"] * 1e3
    runs[8] |= {"tokens": d, "loss": LAW.predict_loss(runs[8]["params"], d)}
    runs[8]["flops"] = 6 * runs[8]["params"] * d
    assert said(runs) == []


def test_odd_cells_leave_a_column_of_two_halves():
    """Half of a column in another unit is no few cells: which half is wrong does not show."""
    runs = rows()
    for run in runs[::2]:
        run["tokens"] /= 1e9
        run.pop("flops")
    assert said(runs) == []
