"""Compute multipliers of simulated arms whose worth is known."""

import re
from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.multiplier.estimator import Asked, multipliers
from scaling.fit.multiplier.frontiers import Arm
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import IsoflopMinimum
from tests.support.arms import BUDGETS, LAW, arms, runs, with_seeds

QUICK = Asked(resamples=400, seed=0)
# k, noise in nats, correlation of runs of one seed (None: the columns do not say).
STUDIES = [(k, sd, r) for k in (1.0, 1.1, 1.5) for sd in (0.005, 0.02) for r in (None, 0.7)]


def _covered(k, sd, correlation, seeds):
    """Of simulated studies: the share whose 90% interval holds k, and holds no trend; verdicts."""
    rows = []
    for seed in seeds:
        found = multipliers(*arms(k, sd, seed, correlation), replace(QUICK, seed=seed))
        trend = found[0].trend
        every = [_holds(one.k, k) for one in found if one.k.ci90]
        rows.append(
            (
                _holds(trend.k, k),
                np.mean(every),
                _holds(trend.slope, 0.0),
                trend.verdict == "no difference shown",
            )
        )
    return np.mean(rows, axis=0)


def _holds(estimate, value):
    return estimate.ci90[0] <= value <= estimate.ci90[1]


def test_multipliers_intervals_cover_the_truth():
    """Over 204 studies of known k the 90% intervals of k, overall and at each budget, cover it."""
    found = [_covered(*study, range(100 * i, 100 * i + 17)) for i, study in enumerate(STUDIES)]
    overall, each, slope, _ = np.mean(found, axis=0)
    assert 0.86 <= overall <= 0.94  # two standard errors of so few studies
    assert 0.86 <= each <= 0.93
    assert 0.86 <= slope <= 0.94
    same = [row[3] for study, row in zip(STUDIES, found, strict=True) if study[0] == 1]
    assert 0.82 <= np.mean(same) <= 0.98  # the same, of 68
    assert max(row[3] for s, row in zip(STUDIES, found, strict=True) if s[0] == 1.5) == 0


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=str)
def test_multipliers_intervals_cover_the_truth_in_1000_studies(study):
    """In 1000 studies of each kind the 90% interval of k covers 87 to 93%."""
    overall, each, slope, same = _covered(*study, range(1000))
    assert 0.87 <= overall <= 0.93
    assert 0.86 <= each <= 0.93
    assert 0.85 <= slope <= 0.94
    if study[0] == 1:
        assert 0.87 <= same <= 0.93


@pytest.mark.parametrize("k", [1.0, 1.1, 1.5, 1 / 1.3], ids=lambda k: f"{k:.2f}")
def test_multipliers_of_runs_without_noise(k):
    """Without noise k, k_D and k_N are those of the surface, at every budget."""
    found = multipliers(Arm("plain", runs()), Arm("new", runs(k)), replace(QUICK, resamples=0))
    assert [one.flops for one in found] == pytest.approx(BUDGETS)
    for one in found:
        assert one.k.value == pytest.approx(k, rel=0.004)
        assert one.k_data.value == pytest.approx(k**LAW.b, rel=0.02)
        assert one.k_size.value == pytest.approx(k**LAW.a, rel=0.02)
        assert one.k_data.value * one.k_size.value == pytest.approx(one.k.value, rel=1e-6)
    trend = found[0].trend
    assert trend.k.value == pytest.approx(k, rel=0.004)
    assert trend.verdict is None and trend.k.ci90 is None
    assert "without an interval" in trend.words


@pytest.mark.parametrize(
    ("k", "trend", "verdict", "course"),
    [
        (1.5, 0.15, "better", "growing"),
        (1.5, -0.08, "better", "vanishing"),
        (1.5, 0.0, "better", "constant"),
        (0.7, -0.1, "worse", "growing"),
        (1.0, 0.0, "no difference shown", "constant"),
    ],
    ids=str,
)
def test_multipliers_say_verdict_and_trend(k, trend, verdict, course):
    """Verdict and trend follow the intervals, and the sentence says both."""
    found = multipliers(*arms(k, 0.002, 1, 0.5, trend=trend), QUICK)[0].trend
    assert (found.verdict, found.with_compute) == (verdict, course)
    assert _holds(found.slope, trend)
    assert trend or _holds(found.k, k)
    assert {
        "better": "with 1/",
        "worse": "times the compute",
        "no difference shown": "no difference shown",
    }[verdict] in found.words
    assert (course in found.words) == (course != "constant")


def test_multipliers_are_paired_where_seeds_are_one():
    """Runs of one seed are resampled together, and the interval is that of their difference."""
    shared = arms(1.1, 0.01, 3, 0.8)
    apart = [Arm(one.name, replace(one.runs, columns={})) for one in shared]
    one, other = (multipliers(*pair, QUICK)[0].trend for pair in (shared, apart))
    assert one.paired and one.correlation == pytest.approx(0.8, abs=0.15)
    assert not other.paired and other.correlation is None
    assert np.ptp(one.k.ci90) < 0.7 * np.ptp(other.k.ci90)
    assert one.k.value == pytest.approx(other.k.value, rel=1e-3)


def test_multipliers_by_a_pinned_irreducible_loss():
    """E that is pinned is taken and said to be, and it moves k less than noise does."""
    pair = arms(1.3, 0.005, 5)
    pinned, free = (multipliers(*pair, replace(QUICK, E=E))[0].trend for E in (LAW.E, None))
    assert pinned.E_pinned and Estimate(LAW.E) == pinned.E
    assert not free.E_pinned and free.E.ci90 is not None
    assert pinned.k.value == pytest.approx(free.k.value, rel=0.01)
    refused = multipliers(*pair, replace(QUICK, E=50.0))
    assert refused[0].status == "refused" and "multiplier.E" in refused[0].reason


def test_multipliers_at_budgets_of_their_own():
    """An arm whose budgets are not the baseline's is read against the baseline's power law."""
    other = runs(1.4, budgets=BUDGETS * 1.35)
    found = multipliers(Arm("plain", runs()), Arm("new", other), replace(QUICK, resamples=0))
    assert [one.flops for one in found] == pytest.approx(BUDGETS * 1.35)
    assert found[0].trend.k.value == pytest.approx(1.4, rel=0.01)
    assert all(one.baseline_loss.value is None for one in found)


def test_multipliers_of_a_saved_fit():
    """Minima with their standard errors are enough, resampled apart."""
    k, (base, arm) = 1.5, arms(1.5, 0.005, 2)
    losses = LAW.predict_loss(*LAW.optimal_allocation(k * BUDGETS))
    n, d = LAW.optimal_allocation(BUDGETS)
    saved = [
        IsoflopMinimum(c, Estimate(x, x / 10), Estimate(y, y / 10), Estimate(z, 0.003), 7, ())
        for c, x, y, z in zip(BUDGETS, n, d, losses, strict=True)
    ]
    trend = multipliers(base, Arm("new", minima=saved), QUICK)[0].trend
    assert _holds(trend.k, k) and not trend.paired
    assert np.ptp(trend.k.ci90) < 0.2
    assert multipliers(base, arm, QUICK)[0].trend.k.value == pytest.approx(trend.k.value, rel=0.05)


@pytest.mark.parametrize("loss", [1e300, -1.0, 1e-310])
@pytest.mark.parametrize("order", [1, -1])
def test_multipliers_of_an_absurd_saved_fit(loss, order):
    """A minimum that no fit has is none; warnings are errors here, so none of numpy's is left."""
    n, d = LAW.optimal_allocation(BUDGETS)
    good = LAW.predict_loss(n, d)
    for losses, se, counts in (
        (np.full(5, loss), 0.003, n),
        (np.append(loss, good[1:]), 0.003, n),
        (good, abs(loss), n),
        (good, 0.003, np.full(5, loss)),
    ):
        saved = [
            IsoflopMinimum(c, Estimate(x, x / 10), Estimate(y, y / 10), Estimate(z, se), 7, ())
            for c, x, y, z in zip(BUDGETS, counts, d, losses, strict=True)
        ]
        pair = Arm("plain", runs()), Arm("new", minima=saved)
        for one in multipliers(*pair[::order], replace(QUICK, resamples=60)):
            assert one.k.value is None or np.isfinite(one.k.value)


def test_multipliers_say_where_the_baseline_is_extrapolated():
    """In the sentence that is read, beside the flag at the budget."""
    base, arm = arms(30.0, 0.001, 4)
    found = multipliers(base, arm, QUICK)
    far = [one for one in found if any(flag.code == "extrapolation" for flag in one.flags)]
    assert [one.flops for one in far] == pytest.approx([1e19])
    assert "from 1e17 to 1e19 FLOP (at 1e19 FLOP the baseline's law is extrapolated)" in (
        found[0].trend.words
    )
    assert "extrapolated" not in multipliers(*arms(1.5, 0.001, 4), QUICK)[0].trend.words
    (text,) = (flag.text for flag in far[0].flags if flag.code == "extrapolation")
    assert re.search(r"baseline would need (29|30)[.\d]* times the compute of its largest", text)
    weak = multipliers(*arms(1 / 30, 0.001, 4), QUICK)
    (text,) = (flag.text for one in weak for flag in one.flags if flag.code == "extrapolation")
    assert re.search(r"baseline would need 1/(29|30)[.\d]* of the compute of its least", text)


def test_multipliers_leave_out_an_open_curve():
    """A budget whose curve is open has no multiplier and says why; the others have."""
    base, arm = arms(1.2, 0.005, 4)
    flops, n = arm.runs.flops_budget, arm.runs.params
    lost = (flops == BUDGETS[2]) & (n > 0.9 * np.median(n[flops == BUDGETS[2]]))
    found = multipliers(base, replace(arm, runs=arm.runs.take(~lost)), QUICK)
    assert len(found) == 5 and found[0].trend.budgets == 4
    (one,) = [one for one in found if one.status == "refused"]
    assert one.flops == pytest.approx(BUDGETS[2]) and one.k.value is None
    assert "new: open" in one.reason


def test_multipliers_refuse_fewer_than_three_minima():
    """Arms with minima at two budgets alone have no multiplier."""
    base, arm = arms(1.2, 0.005, 4)
    kept = arm.runs.flops_budget <= BUDGETS[1] * 1.01
    (one,) = multipliers(base, replace(arm, runs=arm.runs.take(kept)), QUICK)
    assert one.status == "refused" and one.flops is None and one.trend is None
    assert "new has a minimum at 2 budgets, expected at least 3" in one.reason


def test_multipliers_refuse_minima_without_losses():
    """Rows of optima alone, without losses, have no multiplier."""
    (one,) = multipliers(Arm("plain", runs()), Arm("new", runs(noise=np.nan)), QUICK)
    assert one.status == "refused" and one.reason == "new: the rows have no loss"


def test_multipliers_refuse_losses_apart():
    """Losses that do not overlap tell no multiplier, which would be an extrapolation."""
    far = runs(1.0, noise=-1.5)
    (one,) = multipliers(Arm("plain", runs()), Arm("new", far), QUICK)
    assert one.status == "refused" and "do not overlap" in one.reason


@pytest.mark.parametrize("column", ["tokenizer", "dataset", "vocab_size"])
def test_multipliers_refuse_losses_of_other_tokens(column):
    """Arms of another tokenizer or text are refused per token, and fitted in bits per byte."""
    base, arm = arms(1.2, 0.005, 4)
    base = replace(base, setting={column: ("1",)})
    arm = replace(arm, setting={column: ("2",)})
    (one,) = multipliers(base, arm, QUICK)
    assert one.status == "refused"
    assert f"{column} (1 against 2)" in one.reason and "loss_unit=bpb" in one.reason
    in_bytes = [replace(each, loss_unit="bpb") for each in (base, arm)]
    assert multipliers(*in_bytes, QUICK)[0].status == "ok"
    (one,) = multipliers(base, in_bytes[1], QUICK)
    assert one.reason == "losses are in nats and in bpb"


def test_multipliers_do_not_depend_on_the_order_of_runs():
    """A permuted table gives the same bits once its runs are in order, as admission puts them."""
    base, arm = arms(1.1, 0.01, 3, 0.8)
    one = multipliers(base, arm, QUICK)
    assert one == multipliers(base, arm, QUICK)
    assert one != multipliers(base, arm, replace(QUICK, seed=1))


def test_multipliers_by_surfaces():
    """Without IsoFLOP curves the surfaces of both arms are compared where both have runs."""
    budgets = np.geomspace(1e17, 1e19, 2)
    base, arm = (
        Arm(name, runs(k, budgets=budgets), surface=(surface, surface_samples(surface)))
        for name, k, surface in (("plain", 1.0, LAW), ("new", 1.25, scaled(1.25)))
    )
    found = multipliers(base, arm, QUICK)
    trend = found[0].trend
    assert trend.frontier == "surface" and trend.k.value == pytest.approx(1.25, rel=1e-3)
    assert trend.E.value == pytest.approx(LAW.E, rel=0.02)
    assert [one.flops for one in found] == pytest.approx(np.geomspace(1e17, 1e19, 5))


def scaled(k):
    """The surface whose L*(C) is the law's at k C."""
    return replace(LAW, A=LAW.A * k ** (-LAW.a * LAW.alpha), B=LAW.B * k ** (-LAW.b * LAW.beta))


def surface_samples(surface):
    rng = np.random.default_rng(0)
    return replace(
        surface,
        **{
            name: getattr(surface, name) * (1 + 0.001 * rng.standard_normal(200))
            for name in ("E", "A", "B", "alpha", "beta")
        },
    )


def test_multipliers_need_the_same_seeds():
    """Cells of other seeds, or of other counts of them, are not paired."""
    base, arm = arms(1.1, 0.01, 3, 0.8)
    other = replace(arm, runs=with_seeds(arm.runs, 2))
    assert multipliers(base, arm, QUICK)[0].trend.paired
    assert not multipliers(base, other, QUICK)[0].trend.paired
