"""A warm-up or cool-down of few steps is told, and the laws without such runs stand beside."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.checks.schedules import short_schedules
from scaling.fit.dispatch import fit_headline
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import config, isoflop_rows, observations
from tests.support.fit_runs import fitted, table

BUDGETS, FACTORS = np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7)
ASKED = config("runs=x", "laws=[parametric]", "n_bootstrap=60")


def grid(bias=0.0, **columns):
    """A planned grid; `bias` is added to the losses of the two largest sizes of each budget."""
    runs = observations(isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, FACTORS, 0.001))
    large = np.tile(FACTORS > 2, len(BUDGETS))
    columns = {name: np.where(large, one, other) for name, (one, other) in columns.items()}
    return replace(runs, loss=runs.loss + bias * large, columns=columns)


def told(runs):
    return [flag.text for flag in short_schedules(runs, fit_headline(runs, ASKED, 60), ASKED)]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"cooldown_steps": (60, 400)}, "10 runs have under 100 steps of cool-down, too few"),
        (
            {"batch_tokens": (1e5, 1e5), "cooldown_tokens": (9e6, 4e7)},
            "10 runs have under 100 steps of cool-down, too few",
        ),
        (
            {"batch_tokens": (1e5, 1e5), "warmup_tokens": (2e6, 1e7), "cooldown_steps": (60, 400)},
            "10 runs have under 50 steps of warm-up and 10 runs have under 100 steps of cool-down",
        ),
    ],
    ids=["steps", "tokens", "both"],
)
def test_undercooled_large_models_are_told_with_the_law_without_them(columns, says):
    """Losses too high by 0.05 at the largest sizes move a; the warning's a is the truth's."""
    runs = grid(0.05, **columns)
    [text] = told(runs)
    assert text.startswith(says) and "run-005, run-006, run-012" in text
    assert "and 5 more; without them parametric has a = " in text and text.endswith("of 25 runs")
    biased = fit_headline(runs, ASKED, 0).parametric.law.a.value
    without = float(text.split("a = ")[1].split(" ")[0])
    assert abs(without - 0.5126) < 0.01 < abs(biased - 0.5126)
    assert f"not {biased:.4f}" in text


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"cooldown_steps": (100, 400), "warmup_steps": (50, 50)},
        {"cooldown_steps": (0, 0), "warmup_steps": (0, 0)},
        {"warmup_tokens": (10, 10)},
        {"cooldown_steps": (np.nan, 400)},
    ],
    ids=["unknown", "enough", "none", "no batch", "blank"],
)
def test_schedules_that_are_long_unknown_or_absent_are_not_told(columns):
    """Enough steps, no such part of the schedule, and nothing known raise no warning."""
    assert told(grid(**columns)) == []


def test_a_table_whose_runs_are_all_short_says_that_none_is_left(tmp_path):
    """The warning stands in the document; the headline keeps every run."""
    path = table(tmp_path, warmup_steps=20)
    document = fitted(f"runs={path}", "laws=[isoflop]", "n_bootstrap=60").document
    [flag] = [flag for flag in document.warnings if flag.code == "short_schedule"]
    assert flag.text.startswith("35 runs have under 50 steps") and flag.text.endswith(
        "without them no run is left"
    )
    assert document.inputs.used == 35 and document.isoflop.status == "ok"
