"""Predictions by budget, size and data agree with one another, and say how far they reach."""

from dataclasses import replace

import numpy as np
import pytest

from common.errors import BadInput
from scaling.fit.dispatch import HeadlineFits, fit_headline
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import Observations
from scaling.fit.predict import FittedLaw, answers, budgets_to_predict, fitted_laws, predictions
from scaling.fit.results.document import Answer, Prediction
from scaling.fit.results.json_form import to_json
from tests.support.fit_examples import config, isoflop_rows, observations
from tests.support.fit_grid import BUDGETS, bent_rows
from tests.support.json_schema import problems

SURFACE = PUBLISHED["besiroglu"]
RUNS = isoflop_rows(SURFACE, np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.005)


@pytest.fixture(scope="module")
def study() -> tuple[Observations, HeadlineFits]:
    points = observations(RUNS)
    return points, fit_headline(points, config("runs=x"), 200)


def test_answers_agree(study: tuple[Observations, HeadlineFits]) -> None:
    """Budget size and data agree."""
    points, fits = study
    for row in predictions([1e20], points, _laws(points, fits)):
        n, d = row.n_opt.value, row.d_opt.value
        asked = config("runs=x", f"predict.params=[{n}]", f"predict.tokens=[{d}]").predict
        found = [r for r in answers(asked, points, _laws(points, fits)) if r.law == row.law]
        assert [r.asked for r in found] == ["params", "tokens"]
        for answer in found:
            assert problems(to_json(answer), Answer) == []
            assert answer.flops.value == pytest.approx(1e20, rel=1e-6)
            assert answer.params.value == pytest.approx(n, rel=1e-6)
            assert answer.tokens.value == pytest.approx(d, rel=1e-6)
            assert answer.flops.ci90[0] < 1e20 < answer.flops.ci90[1]
        assert found[0].params.ci90 is None and found[1].tokens.ci90 is None


def test_extrapolation_flag_has_its_factor(
    study: tuple[Observations, HeadlineFits],
) -> None:
    """Extrapolation is flagged with its factor."""
    points, fits = study
    inside, beyond, below = (
        [r for r in predictions([c], points, _laws(points, fits)) if r.law == "isoflop"][0]
        for c in (1e18, 1e20, 1e16)
    )
    assert inside.beyond is None and inside.flags == ()
    assert beyond.beyond == pytest.approx(10) and below.beyond == pytest.approx(10)
    assert _codes(beyond) == ["extrapolation"]
    assert "10 times above the compute measured, 1e+17 to 1e+19" in beyond.flags[0].text
    assert "below" in below.flags[0].text


def test_a_bent_frontier_is_said_of_what_lies_beyond_its_budgets() -> None:
    """By budget, size and data, of the law through the minima alone, and of nothing inside."""
    points = observations(bent_rows(BUDGETS, 0.02, sigma=0.001))
    laws = _laws(points, fit_headline(points, config("runs=x"), 200))
    rows = predictions([1e16, 1e18, 1e20], points, laws)
    bent = [(row.law, row.flops) for row in rows if "bent_frontier" in _codes(row)]
    assert bent == [("isoflop", 1e16), ("isoflop", 1e20)]
    asked = config("runs=x", "predict.params=[1e10]", "predict.tokens=[1e13]").predict
    said = {row.law: _codes(row) for row in answers(asked, points, laws)}
    assert said == {"isoflop": ["extrapolation", "bent_frontier"], "parametric": ["extrapolation"]}


def test_a_loss_above_a_measured_one_is_marked(
    study: tuple[Observations, HeadlineFits],
) -> None:
    """Of two runs of no more compute, and by more than noise."""
    points, fits = study
    laws = _laws(points, fits)
    (row,) = [r for r in predictions([1e18], points, laws) if r.law == "parametric"]
    assert row.flags == ()
    at = np.argsort(np.where(points.flops < 2e18, points.loss, np.inf))
    for share, count, codes in (
        (0.95, 2, ["above_measured"]),
        (0.995, 2, []),
        (0.5, 1, []),
    ):
        loss = points.loss.copy()
        loss[at[:count]] = share * row.loss.value
        lower = replace(points, loss=loss)
        (again,) = [r for r in predictions([1e18], lower, laws) if r.law == "parametric"]
        assert [flag.code for flag in again.flags] == codes
        (below,) = [r for r in predictions([1e17], lower, laws) if r.law == "parametric"]
        assert "above_measured" not in [flag.code for flag in below.flags]


def test_answers_of_a_pair_are_the_surface(study: tuple[Observations, HeadlineFits]) -> None:
    """A pair is the surface at that place."""
    points, fits = study
    asked = config("runs=x", "predict.pairs=[[1e9,1e9],[3e7,1e11]]").predict
    near, far = answers(asked, points, _laws(points, fits))
    assert near.law == far.law == "parametric"  # lines have no loss of any pair
    assert near.loss.value == pytest.approx(SURFACE.predict_loss(1e9, 1e9), rel=0.02)
    # The farthest of N, D and C says how far: 1e11 tokens at a compute that was measured.
    assert far.beyond == pytest.approx(1e11 / points.tokens.max())
    assert far.flags[0].text.startswith("D is")


@pytest.mark.parametrize("query", ["params=[0]", "tokens=[-1e9]", "pairs=[[1e9,0]]"])
def test_predict_config_refuses_impossible_questions(query: str) -> None:
    """Impossible questions are bad input."""
    with pytest.raises(BadInput, match="expected above 0"):
        config("runs=x", f"predict.{query}")


def _codes(row: Answer | Prediction) -> list[str]:
    return [flag.code for flag in row.flags]


def _laws(points: Observations, fits: HeadlineFits) -> list[FittedLaw]:
    return fitted_laws(points, fits.isoflop, fits.parametric)


def test_budgets_to_predict_without_profiles(study) -> None:
    """Without profiles joined intervals are those of the law."""
    points, fits = study
    stated = budgets_to_predict([], points, None)
    assert (stated[0], stated[-1]) == (points.flops.min(), points.flops.max())
    middles = [float(np.sqrt(low * high)) for low, high in zip(stated, stated[1:], strict=False)]

    def widths(budgets: list[float]) -> np.ndarray:
        rows = predictions(budgets, points, fitted_laws(points, None, fits.parametric))
        return np.array([np.log(row.n_opt.ci90[1] / row.n_opt.ci90[0]) for row in rows])

    ends = widths(stated)
    assert widths(middles) == pytest.approx((ends[1:] + ends[:-1]) / 2, rel=0.1)
