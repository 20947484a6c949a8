"""The critical batch: known constants of Kaplan come back from curves at several batches."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.batches.critical_batch import fit_critical_batch
from scaling.fit.batches.steps_to_loss import points_of
from scaling.fit.other_laws.published import critical_batch, least_steps
from scaling.fit.summary import summary
from scaling.report.tables.laws import other_laws
from tests.support.batch_curves import BATCHES, S_C, curves
from tests.support.fit_examples import observations, write_csv
from tests.support.fit_runs import check, fitted

NOBODY = observations([{"params": 1e8, "tokens": 1e9, "loss": 3.0}])


def fit(traces, resamples=0):
    return fit_critical_batch(NOBODY, resamples, 0, traces)


def test_exact_curves_give_kaplans_constants():
    """B* and alpha_B to 0.1%, and at each loss S_min, E_min and their ratio B_crit."""
    law = fit(curves())
    assert law.status == "ok" and law.runs == 7
    assert law.B_star.value == pytest.approx(2.1e8, rel=1e-3)
    assert law.alpha_B.value == pytest.approx(0.21, rel=1e-3)
    size = (6.5e13 / 1e8) ** 0.077
    for level in law.levels:
        steps = S_C / (level.loss - size) ** (1 / 0.76)
        assert level.S_min.value == pytest.approx(steps, rel=2e-3)
        assert level.B_crit.value == pytest.approx(critical_batch(level.loss), rel=2e-3)
        assert level.E_min.value == pytest.approx(level.S_min.value * level.B_crit.value)


def test_points_lie_on_the_hyperbola_of_steps_and_examples():
    """(S/S_min - 1)(E/E_min - 1) = 1 at every batch and loss (McCandlish et al. 2018)."""
    points, law = points_of(curves()), fit(curves())
    steps, batch = np.exp(points.log_s), np.exp(points.log_b)
    for index, level in enumerate(law.levels):
        at = points.level == index
        product = (steps[at] / level.S_min.value - 1) * (
            batch[at] * steps[at] / level.E_min.value - 1
        )
        assert product == pytest.approx(np.ones(7), rel=0.05)
        by_rule = least_steps(steps[at], batch[at], level.loss)
        assert by_rule == pytest.approx(level.S_min.value, rel=5e-3)


def test_sizes_share_one_law_and_keep_their_own_steps():
    """Kaplan's B_crit depends on the loss alone: three sizes give it together."""
    law = fit(curves(params=(3e7, 1e8, 3e8), batches=BATCHES[::2]))
    assert law.runs == 12 and len(law.levels) == 18
    assert law.B_star.value == pytest.approx(2.1e8, rel=2e-3)
    assert {level.params for level in law.levels} == {3e7, 1e8, 3e8}


def test_the_gradient_noise_scale_stands_beside_the_critical_batch():
    """Half of it by construction; of runs that did not log it there is none."""
    for level in fit(curves()).levels:
        assert level.noise_scale == pytest.approx(critical_batch(level.loss) / 2, rel=0.05)
    silent = fit([replace(trace, noise_scale=None) for trace in curves()])
    assert {level.noise_scale for level in silent.levels} == {None}


def test_noisy_curves_hold_the_truth_in_their_intervals():
    """With 0.003 nats between runs and 0.01 between rows the 90% intervals hold the constants."""
    law = fit(curves(run_sd=0.003, row_sd=0.01, seed=1), 200)
    assert law.B_star.ci90[0] < 2.1e8 < law.B_star.ci90[1]
    assert law.alpha_B.ci90[0] < 0.21 < law.alpha_B.ci90[1]
    assert 0.001 < law.run_sd < 0.01 and law.alpha_B.se < 0.005
    for level in law.levels:
        assert level.B_crit.ci90[0] < level.B_crit.value < level.B_crit.ci90[1]


def test_batches_on_one_side_of_the_critical_one_are_flagged_or_refused():
    """Far below it steps fall as 1/B, far above they stay: neither shows where it lies."""
    small = fit(curves(batches=np.geomspace(100, 800, 5), run_sd=0.003, row_sd=0.01), 60)
    assert small.status == "refused" or "edge_optimum" in {flag.code for flag in small.flags}
    large = fit(curves(batches=np.geomspace(1e9, 1e10, 5), run_sd=0.003, row_sd=0.01), 60)
    assert large.status == "refused" or "edge_optimum" in {flag.code for flag in large.flags}


@pytest.mark.parametrize(
    ("traces", "reason"),
    [
        ([], "no size has curves of 3 batches"),
        (curves(batches=BATCHES[:2]), "no size has curves of 3 batches"),
        (curves(batches=BATCHES[[0, 2, 4]]), "3 runs of 1 size, expected 4 at least"),
    ],
    ids=["none", "two batches", "three runs"],
)
def test_too_few_batches_or_runs_are_refused(traces, reason):
    """Two constants, an S_min a size, and one run to spare."""
    assert fit(traces).reason.startswith(reason)


def test_a_falling_rate_is_flagged():
    """A loss inside a schedule is not that of a run of so many steps."""
    law = fit([replace(trace, settled_from=1e9) for trace in curves()])
    assert "unsettled_schedule" in {flag.code for flag in law.flags}


def test_a_table_of_curves_is_fitted_where_the_law_is_named(tmp_path):
    """Terminal, page and fit.json have B* and alpha_B with intervals."""
    rows = [
        {"run_id": one.run_id, "params": one.params, "tokens": d, "step": s, "loss": loss, "lr": 1}
        for one in curves(run_sd=0.003, row_sd=0.01)
        for s, d, loss in zip(one.step[::6], one.tokens[::6], one.loss[::6], strict=True)
    ]
    path = write_csv(tmp_path / "curves.csv", rows)
    document = fitted(f"runs={path}", "laws=[critical_batch]", "n_bootstrap=60").document
    law = document.laws["critical_batch"]
    assert law.status == "ok" and law.B_star.value == pytest.approx(2.1e8, rel=0.3)
    assert "B*/L^(1/alpha_B): B* " in summary(document)
    assert "alpha_B" in other_laws(document).rows[0][3]
    check(document.to_json())
