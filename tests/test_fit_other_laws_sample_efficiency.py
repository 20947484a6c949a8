"""Tokens to a loss against size: the slope of curves that have one comes back."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.other_laws.sample_efficiency import fit_sample_efficiency
from scaling.report.figures.experiments import experiment_charts
from scaling.report.study import Study
from tests.support.fit_examples import observations
from tests.support.report_example import example

NOBODY = observations([{"params": 1e8, "tokens": 1e9, "loss": 3.0}])
SIZES = (1e6, 1e7, 1e8, 1e9)
SLOPE, BATCH = 0.3, 1e5


def curve(params, sd=0.0, rng=None, batch=BATCH):
    """A run whose loss is a function of D N^SLOPE alone; `sd` moves its tokens, in logarithm."""
    tokens = np.geomspace(1e7, 1e10, 400)
    shift = sd * rng.standard_normal() if rng is not None else 0.0
    loss = 2 + (tokens * (params / 1e6) ** SLOPE * np.exp(shift) / 1e7) ** -0.4
    return Trace(f"{params:.0e}", params, 6 * params, tokens / batch, tokens, loss, 0.0)


def fit(traces, resamples=0):
    return fit_sample_efficiency(NOBODY, resamples, 0, traces)


def test_the_slope_of_exact_curves_comes_back():
    """And the tokens of the smallest over those of the largest, 1000^0.3 over all sizes."""
    law = fit([curve(n) for n in SIZES])
    assert law.status == "ok" and law.runs == 4 and law.batch_tokens == pytest.approx(BATCH)
    assert law.slope.value == pytest.approx(SLOPE, rel=1e-4)
    widest = max(max(level.params) / min(level.params) for level in law.levels)
    assert law.saving.value == pytest.approx(widest**SLOPE, rel=1e-3)
    for level in law.levels:
        n, d = np.array(level.params), np.array(level.tokens)
        expected = 1e7 * (level.loss - 2) ** -2.5 / (n / 1e6) ** SLOPE
        assert len(n) >= 3 and d == pytest.approx(expected, rel=1e-3)


def test_intervals_hold_the_slope():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(40):
        law = fit([curve(n, 0.1, rng) for n in SIZES], 200)
        inside += law.slope.ci90[0] < SLOPE < law.slope.ci90[1]
    assert 29 <= inside <= 40


def test_only_curves_of_one_batch_count():
    law = fit([*(curve(n) for n in SIZES), curve(3e8, batch=3e5)])
    assert law.runs == 4 and law.slope.value == pytest.approx(SLOPE, rel=1e-4)


def test_few_sizes_and_no_common_loss_are_refused():
    assert fit([]).reason.startswith("no training curves")
    two = fit([curve(n) for n in SIZES[:2]])
    assert two.reason == "curves of 2 sizes at one batch, expected at least 3"
    apart = [replace(curve(n), loss=curve(n).loss + 10 * i) for i, n in enumerate(SIZES)]
    assert fit(apart).reason == "no loss is reached by curves of 3 sizes"


def test_the_figure_shows_tokens_to_each_loss():
    law = fit([curve(n, 0.05, np.random.default_rng(1)) for n in SIZES], 60)
    study = Study(replace(example().document, laws={"sample_efficiency": law}))
    (chart,) = experiment_charts(study)
    points = [one for one in chart.panels[0].series if one.text]
    assert [len(one.x) for one in points] == [len(level.params) for level in law.levels]
    assert "times as many as the largest" in chart.caption
