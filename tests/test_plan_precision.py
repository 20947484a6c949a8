"""The foreseen interval is the one that a fit of such runs gives, and follows the noise."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, observations
from test_plan_grid import CORPUS, experiment

from configs.errors import BadInput
from configs.load import build, compose_config
from scaling.fit.isoflop import fit_isoflop
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.parametric import centred as centred_rows
from scaling.fit.parametric import fit_parametric, minimise
from scaling.plan.config import CentreConfig
from scaling.plan.foresight import foresight_lines
from scaling.plan.grid import plan_grid
from scaling.plan.precision import Design, design_of, foresee, simulated
from scaling.plan.prior import QUICKSTART, Constants, ForesightConfig, Prior, centred, prior_of

BESIROGLU = PUBLISHED["besiroglu"]
FIT = config("runs=x")
DEFAULTS = build(ForesightConfig, compose_config("sweep")["foresight"])
PLAN = plan_grid(*experiment("quickstart"), CORPUS)


def design(law: Surface, low: float, high: float, sizes: int = 7, seeds: int = 1) -> Design:
    """Five budgets, each with sizes within 4 times of the law's optimum."""
    budget = np.repeat(np.geomspace(low, high, 5), sizes)
    params = law.optimal_allocation(budget)[0] * np.tile(np.geomspace(1 / 4, 4, sizes), 5)
    return Design(params, budget / (6 * params), budget, np.full(budget.size, seeds))


def foreseen(cells: Design, law: Surface, noise: float, target: float = 1e20, simulations=200):
    prior = Prior(law, "test", noise, over_bytes=False)
    return foresee(cells, prior, FIT, target, simulations, seed=0)


@pytest.mark.parametrize(
    ("low", "high", "noise", "sd"),
    [(1e16, 1e18, 0.005, 0.002), (1e16, 1e18, 0.02, 0.008), (1e17, 1e19, 0.02, 0.013)],
)
def test_the_published_spread_of_the_exponent_by_both_laws(low, high, noise, sd):
    for law in foreseen(design(BESIROGLU, low, high), BESIROGLU, noise).laws:
        assert law.sd == pytest.approx(sd, rel=0.15), law.name
        assert law.stands == 1 and abs(law.bias) < 3e-3
        half = (law.a[1] - law.a[0]) / 2
        assert half == pytest.approx(1.645 * law.sd, rel=0.15)
        assert law.b[0] + law.a[1] == pytest.approx(1, abs=1e-6)


def test_half_the_noise_gives_half_the_width_and_four_seeds_as_well():
    once = foreseen(design(BESIROGLU, 1e16, 1e18), BESIROGLU, 0.01)
    quieter = foreseen(design(BESIROGLU, 1e16, 1e18), BESIROGLU, 0.005)
    repeated = foreseen(design(BESIROGLU, 1e16, 1e18, seeds=4), BESIROGLU, 0.01)
    for law, half, quarter in zip(once.laws, quieter.laws, repeated.laws, strict=True):
        assert half.sd == pytest.approx(law.sd / 2, rel=0.05)
        assert quarter.sd == pytest.approx(law.sd / 2, rel=0.15)


def test_without_noise_what_is_left_is_the_known_bias_of_the_parabola():
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
def test_the_foreseen_spread_is_the_standard_error_that_a_fit_reports(index, fit):
    reported = []
    for seed in range(25):
        rows = isoflop_rows(
            BESIROGLU, np.geomspace(1e16, 1e18, 5), np.geomspace(1 / 4, 4, 7), 0.01, seed
        )
        reported.append(fit(observations(rows), seed).estimates["a"].se)
    law = foreseen(design(BESIROGLU, 1e16, 1e18), BESIROGLU, 0.01).laws[index]
    assert law.sd == pytest.approx(np.median(reported), rel=0.25)


def test_the_batched_descent_ends_where_the_fit_does():
    cells = design(BESIROGLU, 1e16, 1e18)
    law = foreseen(cells, BESIROGLU, 0.02, simulations=20).laws[1]
    losses, _ = simulated(cells, BESIROGLU, np.full(35, 0.02), 20, seed=0)
    rows, _ = centred_rows(cells.params, cells.tokens, losses[0])
    theta = [minimise(replace(rows, loss=loss), FIT.delta).theta for loss in losses]
    assert law.sd == pytest.approx(np.std([t[4] / (t[3] + t[4]) for t in theta]), rel=1e-6)


def test_the_quickstart_is_foreseen_as_it_came_out():
    """README: a = 0.427 (0.401 to 0.454) by valleys."""
    prior = prior_of(PLAN, DEFAULTS)
    found = foresee(design_of(PLAN), prior, FIT, 8e12, 200, 0)
    valleys = found.laws[0]
    assert (valleys.a[1] - valleys.a[0]) / 2 == pytest.approx(0.0265, rel=0.25)
    assert valleys.a[0] < 0.427 < valleys.a[1] and valleys.stands > 0.99
    assert 1.5 < found.losses[0] < found.losses[1] < 2.7 and found.noise[1] == 0.02
    low, high = found.bracketed
    assert 0.3 < low < 0.7 and 1.4 < high < 3


def test_cells_are_the_plans_own():
    cells = design_of(PLAN)
    assert len(cells.params) == 25 and cells.seeds.sum() == 43
    assert cells.budget == pytest.approx(6 * cells.params * cells.tokens, rel=0.01)


def test_only_isoflop_cells_enter_and_a_large_grid_is_simulated_less():
    first, *others = PLAN.trials
    apart = replace(PLAN, trials=(replace(first, arm="horizons"), *others))
    assert design_of(apart).seeds.sum() == 42
    assert [DEFAULTS.runs(cells) for cells in (25, 100, 400, 10_000)] == [200, 200, 50, 40]
    assert replace(DEFAULTS, simulations=1000).runs(25) == 1000


def test_a_law_with_its_optimum_elsewhere_leaves_no_vertex_and_it_is_said():
    wrong = replace(BESIROGLU, A=BESIROGLU.A * 20)  # N* 70 times as large
    found = foreseen(design(BESIROGLU, 1e16, 1e18), wrong, 0.005)
    valleys = found.laws[0]
    assert found.bracketed is None and valleys.stands == 0 and valleys.a is None
    assert valleys.doubts == {"refused: too few valleys with a vertex": 1.0}
    edge = replace(BESIROGLU, A=BESIROGLU.A * 2.1)  # N* 2.8 times as large: near the last size
    valleys = foreseen(design(BESIROGLU, 1e16, 1e18), edge, 0.02).laws[0]
    assert 0 < valleys.doubts["edge_valley"] <= 1


@pytest.mark.parametrize("exponent", [0.35, 0.5, 0.73])
def test_a_law_moved_to_the_centre_has_its_optimum_there_and_its_valleys_as_deep(exponent):
    centre = CentreConfig(flops=1e12, tokens_per_param=30, exponent=exponent)
    law = centred(QUICKSTART, centre)
    for budget in (1e10, 1e12, 1e15):
        assert law.optimal_allocation(budget)[0] == pytest.approx(centre.n_effective(budget))
    for of in (law, QUICKSTART):
        n, d = of.optimal_allocation(1e12)
        falls = of.alpha * of.A * n**-of.alpha
        assert falls == pytest.approx(of.beta * of.B * d**-of.beta)
        assert falls == pytest.approx(QUICKSTART.alpha * QUICKSTART.A * n_quickstart(1e12))
    assert law.alpha + law.beta == pytest.approx(QUICKSTART.alpha + QUICKSTART.beta)


def n_quickstart(budget: float) -> float:
    return QUICKSTART.optimal_allocation(budget)[0] ** -QUICKSTART.alpha


def test_a_fit_in_the_sweep_directory_is_the_prior_unless_a_law_is_named(tmp_path):
    constants = {"E": 1.0, "A": 50.0, "B": 80.0, "alpha": 0.5, "beta": 0.4}
    assert (
        prior_of(PLAN, DEFAULTS, tmp_path).name
        == "quickstart's surface, moved to the grid's centre"
    )
    (tmp_path / "fit").mkdir()
    path = tmp_path / "fit" / "fit.json"
    path.write_text("{")
    assert prior_of(PLAN, DEFAULTS, tmp_path).name.startswith("quickstart's")
    estimates = {name: {"value": value} for name, value in constants.items()}
    path.write_text(json.dumps({"laws": {"parametric": estimates}}))
    assert prior_of(PLAN, DEFAULTS, tmp_path).law == Surface(**constants)
    path.write_text(json.dumps({"laws": {"parametric": {"E": {"value": None}}}}))
    assert prior_of(PLAN, DEFAULTS, tmp_path).name.startswith("quickstart's")
    named = replace(DEFAULTS, law="besiroglu")
    assert prior_of(PLAN, named, tmp_path).law == BESIROGLU
    given = replace(DEFAULTS, law=Constants(**constants))
    assert prior_of(PLAN, given, tmp_path).law == Surface(**constants)


def test_what_is_foreseen_is_said_in_lines_that_fit_a_terminal():
    cells = design(BESIROGLU, 1e16, 1e18)
    lines = foresight_lines(foreseen(cells, BESIROGLU, 0.02), vocab_size=50257)
    assert lines[1] == "  test; noise 0.02 nats, 200 simulations"
    assert re.fullmatch(
        r"  isoflop     a = 0.51\d \+-0.01\d, b = 0.48\d \+-0.01\d, "
        r"N\* at 1e\+20 FLOP within a factor 1.\d\d",
        lines[2],
    )
    assert "every valley has a vertex while N* lies within 0.32 to 3.1 times" in lines[-1]
    # Far below the compute of its runs the law has losses that no model has.
    low = foreseen(design(BESIROGLU, 1e11, 1e13), BESIROGLU, 0.02, simulations=20)
    said = foresight_lines(low, vocab_size=50257)
    assert any("not to be relied on: that law has losses of" in line for line in said)
    wrong = foreseen(cells, replace(BESIROGLU, A=BESIROGLU.A * 20), 0.005, simulations=20)
    said = foresight_lines(wrong, vocab_size=50257)
    assert "  isoflop     stands in 0% of the simulations: no interval" in said
    assert "  isoflop: refused: too few valleys with a vertex in 100%" in said
    assert max(map(len, [*lines, *said])) <= 100


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"law": "kaplan"}, "foresight.law: found 'kaplan', expected one of hoffmann"),
        ({"law": {"E": 1}}, "foresight.law.A: missing"),
        ({"law": [1]}, "foresight.law: found [1] (list), expected text, or a group of fields"),
        (
            {"law": {"E": 1, "A": 0, "B": 1, "alpha": 1, "beta": 1}},
            "foresight.law.A: found 0.0, expected more",
        ),
        ({"noise": -0.1}, "foresight.noise: found -0.1, expected nats"),
        ({"target_flops": 0}, "foresight.target_flops: found 0, expected above 0"),
        ({"target_flops": 1e300}, "foresight.target_flops: found 1e+300, expected above 0 and"),
        ({"simulations": 3}, "foresight.simulations: found 3, expected 40"),
        ({"seed": -1}, "foresight.seed: found -1"),
    ],
)
def test_a_prior_that_cannot_be_is_refused(change, complaint):
    values = compose_config("sweep")["foresight"] | change
    with pytest.raises(BadInput) as refusal:
        build(ForesightConfig, values, "foresight")
    assert complaint in str(refusal.value)
