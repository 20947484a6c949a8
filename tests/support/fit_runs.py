"""Whole fits for tests: a table of an IsoFLOP grid, its fit, and what every fit.json satisfies."""

import numpy as np
import pytest

import fit as entry
from common.errors import BadInput
from configs.cli import run_entry
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import observe
from scaling.fit.pipeline import fit
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config, isoflop_rows, write_csv
from tests.support.json_schema import problems

SURFACE = PUBLISHED["besiroglu"]
QUICK = "n_bootstrap=60"


def table(folder, name="runs.csv", budgets=5, sizes=7, sigma=0.005, **columns):
    rows = isoflop_rows(
        SURFACE, np.geomspace(1e17, 1e19, budgets), np.geomspace(1 / 4, 4, sizes), sigma
    )
    for index, row in enumerate(rows):
        row |= {"run_id": f"run-{index:03d}", **columns}
    return write_csv(folder / name, rows)


def fitted(*overrides):
    return fit(config(*overrides))


def check(document):
    """What every fit.json must satisfy."""
    assert problems(document) == []
    inputs = document["inputs"]
    assert inputs["planned"] == inputs["used"] + len(inputs["excluded"])
    assert inputs["observations"] == inputs["used"] - inputs["merged"]


def read(runs, *overrides):
    """What is read of `runs`, and what of it is admitted."""
    asked = config(f"runs={runs}", *overrides)
    inputs = read_inputs(asked)
    return inputs, observe(inputs.runs, asked)


def refusal(runs, *overrides):
    """The line that refuses `runs`."""
    with pytest.raises(BadInput) as error:
        read(runs, *overrides)
    return str(error.value)


def run(*overrides, root="fit"):
    """The exit status of fit.py."""
    return run_entry(entry.main, root, "", list(overrides))
