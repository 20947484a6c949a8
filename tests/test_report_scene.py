"""What is drawn is what fit.json states: vertices, lines, bands, contours, seeds and curves."""

import dataclasses

import numpy as np
import pytest
from report_example import BUDGETS, example

from scaling.fit.fit import Fit
from scaling.report.scene import CURVE_BINS, scene
from scaling.report.sections import pictures


def _scene(fit: Fit) -> dict:
    return scene(fit.document, fit.observations, fit.curves)


def _at(line: dict, name: str, flops: float) -> float:
    """A line's value at a budget that it has a point for."""
    index = int(np.argmin(np.abs(np.log(np.array(line["flops"]) / flops))))
    assert line["flops"][index] == pytest.approx(flops, rel=1e-5)
    return line[name][index]


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_lines_and_bands_pass_through_the_predictions(law: str) -> None:
    fit = example()
    line = _scene(fit)["laws"][law]["line"]
    stated = [p for p in fit.document["predictions"] if p["law"] == law]
    assert len(stated) == 5
    for prediction in stated:
        c = prediction["flops"]
        assert _at(line, "n", c) == pytest.approx(prediction["n_opt"]["value"], rel=1e-4)
        assert _at(line, "n_low", c) == pytest.approx(prediction["n_opt"]["ci90"][0], rel=1e-4)
        assert _at(line, "d_high", c) == pytest.approx(prediction["d_opt"]["ci90"][1], rel=1e-4)


def test_the_surface_alone_states_a_loss() -> None:
    laws = _scene(example())["laws"]
    assert set(laws["isoflop"]["line"]["loss"]) == {None}
    assert None not in laws["parametric"]["line"]["loss"]


def test_no_band_beyond_what_was_predicted() -> None:
    fit = example()
    line = _scene(fit)["laws"]["isoflop"]["line"]
    beyond = np.array(line["flops"]) > 3e12 * 1.001
    assert beyond.any()
    assert all(low is None for low, out in zip(line["n_low"], beyond, strict=True) if out)


def test_parabolas_are_those_of_the_fit() -> None:
    fit = example()
    drawn = _scene(fit)
    assert drawn["budgets"] == list(BUDGETS)
    for i, valley in enumerate(drawn["valleys"]):
        here = np.array(drawn["points"]["budget"]) == i
        log_n = np.log(fit.observations.params[here])
        coefficients = np.polyfit(log_n, fit.observations.loss[here], 2)
        expected = np.polyval(coefficients, np.log(valley["curve"]["params"]))
        assert valley["curve"]["loss"] == pytest.approx(expected, rel=1e-5)
        assert valley["n_opt"] == fit.document["laws"]["isoflop"]["valleys"][i]["n_opt"]["value"]


def test_splines_are_drawn_through_the_losses_and_called_so() -> None:
    fit = example()
    fit.document["laws"]["isoflop"]["method"] = "spline"
    drawn = _scene(fit)
    for i, valley in enumerate(drawn["valleys"]):
        here = np.array(drawn["points"]["budget"]) == i
        order = np.argsort(fit.observations.params[here])
        log_n = np.log(fit.observations.params[here][order])
        on_curve = np.interp(log_n, np.log(valley["curve"]["params"]), valley["curve"]["loss"])
        assert on_curve == pytest.approx(fit.observations.loss[here][order], rel=1e-4)
    caption = pictures(fit.document, drawn)["valleys"].caption
    assert "spline" in caption and "parabola" not in caption
    stated = example().document
    assert "parabola" in pictures(stated, drawn)["valleys"].caption


def test_contours_lie_on_the_surface_near_the_runs() -> None:
    fit = example()
    surface = _scene(fit)["surface"]
    k = surface["constants"]
    assert len(surface["lines"]) >= 5
    for line in surface["lines"]:
        for path in line["paths"]:
            n = np.array(path["params"])
            d = np.array(path["flops"]) / (6 * n)
            loss = k["E"] + k["A"] * n ** -k["alpha"] + k["B"] * d ** -k["beta"]
            assert loss == pytest.approx(np.full(len(n), line["loss"]), rel=2e-3)
            assert d.max() < 3.1 * fit.observations.tokens.max()


def test_no_contour_is_drawn_where_the_stated_flop_are_far_from_6nd() -> None:
    fit = example()
    far = dataclasses.replace(fit.observations, tokens=1e9 * fit.observations.tokens)
    assert scene(fit.document, far, fit.curves)["surface"]["lines"] == []


def test_a_residual_is_the_log_of_observed_over_fitted() -> None:
    fit = example()
    drawn = _scene(fit)
    k = drawn["surface"]["constants"]
    o = fit.observations
    fitted = k["E"] + k["A"] * o.params ** -k["alpha"] + k["B"] * o.tokens ** -k["beta"]
    assert drawn["points"]["residual"] == pytest.approx(np.log(o.loss / fitted), abs=1e-5)


def test_averaged_seeds_are_shown_one_by_one() -> None:
    fit = example()
    observations = dataclasses.replace(
        fit.observations,
        run_id=("s0+s1+s2", *fit.observations.run_id[1:]),
        members={"s0+s1+s2": ("s0", "s1", "s2")},
        merged=2,
    )
    curve = fit.curves[fit.observations.run_id[0]]
    last = curve[-1]
    seeds = {f"s{i}": [*curve[:-1], {**last, "val_loss": 2.3 + 0.01 * i}] for i in range(3)}
    drawn = scene(fit.document, observations, seeds)
    assert drawn["seeds"]["run_id"] == ["s0", "s1", "s2"]
    assert drawn["seeds"]["loss"] == [2.3, 2.31, 2.32]
    assert set(drawn["seeds"]["params"]) == {float(observations.params[0])}
    assert drawn["seeds"]["budget"] == [0, 0, 0]
    assert {c["params"] for c in drawn["curves"]} == {float(observations.params[0])}


def test_curves_are_thinned_within_their_ends() -> None:
    fit = example()
    for curve in _scene(fit)["curves"]:
        rows = fit.curves[curve["run_id"]]
        assert 10 < len(curve["flops"]) <= CURVE_BINS
        assert min(r["flops"] for r in rows) <= curve["flops"][0] * 1.00001
        assert curve["flops"][-1] <= rows[-1]["flops"] * 1.00001


def test_runs_without_budgets_form_no_valley() -> None:
    fit = example(curves=False)
    rng = np.random.default_rng(0)
    flops = np.geomspace(1e18, 1e22, 20) * rng.uniform(0.9, 1.1, 20)
    observations = dataclasses.replace(
        fit.observations,
        flops=flops,
        flops_budget=np.full(20, np.nan),
        tokens=flops / (6 * fit.observations.params),
    )
    drawn = _scene(Fit({**fit.document, "laws": {}}, observations, {}, False))
    assert drawn["budgets"] == [] and set(drawn["points"]["budget"]) == {-1}
    assert drawn["laws"] == {} and drawn["surface"] is None and drawn["curves"] == []
