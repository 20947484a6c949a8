"""Loss against shape: a known parabola comes back, and runs of several sizes are refused."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.other_laws.shape import fit_shape
from scaling.report.figures.experiments import experiment_charts
from scaling.report.study import Study
from tests.support.fit_examples import observations
from tests.support.report_example import example

SHAPES = ((2, 96), (3, 78), (4, 68), (6, 56), (8, 48), (12, 40))
COLUMNS = ("n_layer", "n_embd", "n_head")
BEST, RISE = 14.0, 0.02  # aspect ratio of least loss; share by which it is above at twice that


def runs(noise=0.0, seed=0, shapes=SHAPES, heads=(1,), growth=1.0):
    rng = np.random.default_rng(seed)
    rows = []
    for place, (layers, width) in enumerate(shapes):
        bend = np.log(width / layers / BEST) ** 2 / np.log(2) ** 2
        for number in heads:
            loss = 2.5 * (1 + RISE) ** bend * (1 + 0.004 * (number - 1))
            rows.append(
                {
                    "params": 2.2e5 * growth**place,
                    "tokens": 1e6 / growth**place,
                    "loss": loss + noise * rng.standard_normal(),
                    "n_layer": layers,
                    "n_embd": width,
                    "n_head": number,
                }
            )
    columns = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    return replace(observations(rows), columns=columns)


def test_a_known_parabola_comes_back():
    """The best ratio, the ranges within 1% and 3%, and the spread, as far as the grid is fine."""
    law = fit_shape(runs(), 0, 0)
    assert law.best_ratio.value == pytest.approx(BEST, rel=0.005)
    for excess, found in ((0.01, law.range_1), (0.03, law.range_3)):
        half = np.log(2) * np.sqrt(np.log1p(excess) / np.log1p(RISE))
        low, high = max(40 / 12, BEST * np.exp(-half)), min(48, BEST * np.exp(half))
        assert found.value == pytest.approx(high / low, rel=0.005)
    assert law.tried == pytest.approx((40 / 12, 48)) and law.heads_spread is None
    ends = [(1 + RISE) ** (np.log(r / BEST) / np.log(2)) ** 2 - 1 for r in law.tried]
    assert law.spread.value == pytest.approx(max(ends), rel=0.005)


def test_heads_spread_and_the_best_of_them_makes_the_parabola():
    law = fit_shape(runs(heads=(1, 2, 4)), 0, 0)
    assert law.heads_spread == pytest.approx(0.012)
    assert law.best_ratio.value == pytest.approx(BEST, rel=0.005) and len(law.cells) == 18


def test_intervals_hold_the_truth():
    inside = 0
    for seed in range(60):
        low, high = fit_shape(runs(0.005, seed), 200, seed).best_ratio.ci90
        inside += low < BEST < high
    assert 46 <= inside <= 60


def test_the_noise_between_seeds_is_used_where_it_is_known():
    law = fit_shape(replace(runs(), loss_se=np.full(len(SHAPES), 0.025)), 100, 0)
    assert law.noise_sd == pytest.approx(0.01, rel=0.2) and law.best_ratio.se > 0.5


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (runs(growth=1.1), "N spans a factor 1.61, expected one, within 1.25"),
        (runs(shapes=SHAPES[:3]), "3 aspect ratios, expected at least 4"),
        (observations([{"params": 1, "tokens": 1, "loss": 1}]), "the table has no column n_layer"),
    ],
)
def test_other_sizes_and_few_shapes_are_refused(table, reason):
    assert fit_shape(table, 0, 0).reason == reason


def test_an_optimum_outside_the_shapes_is_a_bound():
    """A ratio beyond those tried is no number, and what was tried has a spread all the same."""
    law = fit_shape(runs(shapes=((2, 200), (2, 160), (2, 128), (2, 96))), 60, 0)
    (flag,) = [flag for flag in law.flags if flag.code == "edge_optimum"]
    assert flag.text.endswith("48 to 100: the best one is at most 48")
    assert law.best_ratio.value is None and law.best_ratio.bound == "low"
    assert law.spread.value > 0.05 and law.range_3.value < 100 / 48


def test_the_figure_shows_the_networks_and_the_parabola():
    law = fit_shape(runs(0.005, heads=(1, 2)), 60, 0)
    study = Study(replace(example().document, laws={"shape": law}))
    (chart,) = experiment_charts(study)
    line, level, points = chart.panels[0].series
    assert np.min(line.y) == pytest.approx(level.y[0] / 1.03, rel=1e-3)
    assert list(points.y) == [cell.loss for cell in law.cells]
    assert "within 3%" in chart.caption and "several numbers of heads" in chart.caption
