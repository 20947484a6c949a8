"""The expected interval is the one that a fit of such runs gives, and follows the noise."""

from dataclasses import replace

import numpy as np
import pytest

from configs.load import compose_config
from configs.schema import build
from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.numerics.rows import Rows
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.minimum import minimise
from scaling.plan.grid import plan_grid
from scaling.plan.precision.assumed_law import (
    AssumedLaw,
    PrecisionConfig,
    assume_law,
)
from scaling.plan.precision.result import precision_lines
from scaling.plan.precision.simulate import Design, design_of, expect_precision, simulated
from tests.support.fit_examples import config, isoflop_rows, observations
from tests.support.plan_examples import CORPUS, experiment

BESIROGLU = PUBLISHED["besiroglu"]

FIT = config("runs=x")

DEFAULTS = build(PrecisionConfig, compose_config("sweep")["foresight"])

PLAN = plan_grid(*experiment("quickstart"), CORPUS)


def design(law: Surface, low: float, high: float, sizes: int = 7, seeds: int = 1) -> Design:
    """Five budgets, each with sizes within 4 times of the law's optimum."""
    budget = np.repeat(np.geomspace(low, high, 5), sizes)
    params = law.optimal_allocation(budget)[0] * np.tile(np.geomspace(1 / 4, 4, sizes), 5)
    return Design(params, budget / (6 * params), budget, np.full(budget.size, seeds))


def foreseen(cells: Design, law: Surface, noise: float, target: float = 1e20, simulations=200):
    prior = AssumedLaw(law, "test", noise, over_bytes=False)
    return expect_precision(cells, prior, FIT, target, simulations, seed=0)


@pytest.mark.parametrize(
    ("low", "high", "noise", "sd"),
    [(1e16, 1e18, 0.005, 0.002), (1e16, 1e18, 0.02, 0.008), (1e17, 1e19, 0.02, 0.013)],
)
def test_expect_precision_matches_published_spread(low, high, noise, sd):
    """The published spread of the exponent by both laws, minima by parabolas in their windows."""
    prior = AssumedLaw(BESIROGLU, "test", noise, over_bytes=False)
    asked = config("runs=x", "isoflop.method=parabola")
    for law in expect_precision(design(BESIROGLU, low, high), prior, asked, 1e20, 200, 0).laws:
        assert law.sd == pytest.approx(sd, rel=0.15), law.name
        assert law.fitted == 1 and abs(law.bias) < 3e-3
        half = (law.a[1] - law.a[0]) / 2
        assert half == pytest.approx(1.645 * law.sd, rel=0.15)
        assert law.b[0] + law.a[1] == pytest.approx(1, abs=1e-6)


def test_expect_precision_halves_with_noise_or_four_seeds():
    """Half the noise gives half the width and four seeds as well."""
    once = foreseen(design(BESIROGLU, 1e16, 1e18), BESIROGLU, 0.01)
    quieter = foreseen(design(BESIROGLU, 1e16, 1e18), BESIROGLU, 0.005)
    repeated = foreseen(design(BESIROGLU, 1e16, 1e18, seeds=4), BESIROGLU, 0.01)
    for law, half, quarter in zip(once.laws, quieter.laws, repeated.laws, strict=True):
        assert half.sd == pytest.approx(law.sd / 2, rel=0.05)
        assert quarter.sd == pytest.approx(law.sd / 2, rel=0.15)


def test_expect_precision_without_noise_leaves_bias_of_parabola():
    """Without noise what is left is the known bias of the parabola."""
    law = PUBLISHED["hoffmann_printed"]
    cells = design(law, 1e17, 1e21)
    x = np.log(np.geomspace(1 / 4, 4, 7))
    log_n = []
    for budget in np.unique(cells.budget):
        n, d = law.optimal_allocation(budget)
        bend, slope, _ = np.polyfit(x, law.predict_loss(n * np.exp(x), d * np.exp(-x)), 2)
        log_n.append(np.log(n) - slope / (2 * bend))
    line = np.polyfit(np.log(np.unique(cells.budget)), log_n, 1)
    isoflop, parametric = foreseen(cells, law, 0.0, target=1e24, simulations=20).laws
    assert isoflop.sd == pytest.approx(0, abs=1e-12)
    assert isoflop.bias == pytest.approx(line[0] - law.a, abs=1e-9)
    n_true = law.optimal_allocation(1e24)[0]
    assert isoflop.factor == pytest.approx(np.exp(np.polyval(line, np.log(1e24))) / n_true)
    assert isoflop.factor == pytest.approx(1.013, abs=3e-3)  # Czech 2026, by 15 sizes
    assert parametric.factor == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("index", "fit"),
    [
        (0, lambda runs, seed: fit_isoflop(runs, 300, seed, 0.2, methods=("parabola",)).law),
        (1, lambda runs, seed: fit_parametric(runs, 100, seed).law),
    ],
)
def test_expect_precision_equals_standard_error_of_fit(index, fit):
    """The expected spread is the standard error that a fit reports."""
    reported = []
    for seed in range(25):
        rows = isoflop_rows(
            BESIROGLU, np.geomspace(1e16, 1e18, 5), np.geomspace(1 / 4, 4, 7), 0.01, seed
        )
        reported.append(fit(observations(rows), seed).a.se)
    law = foreseen(design(BESIROGLU, 1e16, 1e18), BESIROGLU, 0.01).laws[index]
    assert law.sd == pytest.approx(np.median(reported), rel=0.25)


def test_expect_precision_minimises_as_the_fit_does():
    """The batched descent ends where the fit does."""
    cells = design(BESIROGLU, 1e16, 1e18)
    law = foreseen(cells, BESIROGLU, 0.02, simulations=20).laws[1]
    losses, _ = simulated(cells, BESIROGLU, np.full(35, 0.02), 20, seed=0)
    rows = Rows.of(cells.params, cells.tokens, losses[0])
    theta = [minimise(replace(rows, loss=loss), FIT.delta).theta for loss in losses]
    assert law.sd == pytest.approx(np.std([t[4] / (t[3] + t[4]) for t in theta]), rel=1e-6)


def test_expect_precision_simulates_the_laws_that_are_asked():
    """A grid for another law gets no interval of IsoFLOP curves, and one of one law not both."""
    prior, cells = assume_law(PLAN, DEFAULTS), design_of(PLAN)
    both = expect_precision(cells, prior, FIT, 8e12, 40, 0)
    for laws, names in ((("kaplan", "parametric"), ("parametric",)), (("isoflop",), ("isoflop",))):
        found = expect_precision(cells, prior, replace(FIT, laws=laws), 8e12, 40, 0)
        assert tuple(law.name for law in found.laws) == names
        assert found.laws[0] in both.laws and found.headline == found.laws[0].line(8e12)
        assert ("IsoFLOP" in " ".join(precision_lines(found))) == ("isoflop" in names)
    found = expect_precision(cells, prior, replace(FIT, laws=("data_constrained",)), 8e12, 40, 0)
    assert not found.laws and found.headline.startswith("not simulated: ")
    assert found.headline in precision_lines(found)[1]


def test_expect_precision_of_quickstart_matches_its_fit():
    """README: a = 0.423 (0.395 to 0.454) by IsoFLOP curves."""
    prior = assume_law(PLAN, DEFAULTS)
    found = expect_precision(design_of(PLAN), prior, FIT, 8e12, 200, 0)
    valleys = found.laws[0]
    assert (valleys.a[1] - valleys.a[0]) / 2 == pytest.approx(0.0285, rel=0.25)
    assert valleys.a[0] < 0.423 < valleys.a[1] and valleys.fitted > 0.99
    assert 1.5 < found.losses[0] < found.losses[1] < 2.7 and found.noise[1] == 0.02
    low, high = found.bracketed
    assert 0.3 < low < 0.7 and 1.4 < high < 3


def test_design_of_takes_cells_of_plan():
    """Cells are the plans own."""
    cells = design_of(PLAN)
    assert len(cells.params) == 25 and cells.seeds.sum() == 43
    assert cells.budget == pytest.approx(6 * cells.params * cells.tokens, rel=0.01)


def test_design_of_takes_only_isoflop_cells():
    """Only isoflop cells enter and a large grid is simulated less."""
    first, *others = PLAN.trials
    apart = replace(PLAN, trials=(replace(first, part="horizons"), *others))
    assert design_of(apart).seeds.sum() == 42
    assert [DEFAULTS.runs(cells) for cells in (25, 100, 400, 10_000)] == [200, 200, 50, 40]
    assert replace(DEFAULTS, simulations=1000).runs(25) == 1000


def test_expect_precision_says_where_no_curve_has_a_minimum():
    """A law with its optimum elsewhere leaves no minimum and it is said."""
    wrong = replace(BESIROGLU, A=BESIROGLU.A * 20)  # N* 70 times as large
    found = foreseen(design(BESIROGLU, 1e16, 1e18), wrong, 0.005)
    valleys = found.laws[0]
    assert found.bracketed is None and valleys.fitted == 0 and valleys.a is None
    assert valleys.flags == {"refused: too few curves with a minimum": 1.0}
    edge = replace(BESIROGLU, A=BESIROGLU.A * 2.1)  # N* 2.8 times as large: near the last size
    valleys = foreseen(design(BESIROGLU, 1e16, 1e18), edge, 0.02).laws[0]
    assert 0 < valleys.flags["edge_valley"] <= 1


def test_expect_precision_says_where_the_cells_do_not_separate_the_constants():
    """A plain grid does; sizes of a factor 1.2 about the optimum lie on one ray."""
    plain = foreseen(design(BESIROGLU, 1e17, 1e19), BESIROGLU, 0.005, simulations=40)
    assert plain.collinear is None
    budget = np.repeat(np.geomspace(1e17, 1e19, 5), 5)
    params = BESIROGLU.optimal_allocation(budget)[0] * np.tile(np.geomspace(0.9, 1.1, 5), 5)
    ray = Design(params, budget / (6 * params), budget, np.ones(25, dtype=int))
    narrow = foreseen(ray, BESIROGLU, 0.005, simulations=40)
    assert "tokens per parameter span only" in narrow.collinear
    assert any("collinear design" in line for line in precision_lines(narrow))
