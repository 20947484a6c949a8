"""Over-training: Gadre's own coefficients from his runs, exact recovery, coverage, refusals."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import observe
from scaling.fit.other_laws.over_training import OverTraining, fit_over_training
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config, observations
from tests.support.fit_grid import OVER_TRAINED, over_trained

# E, a, b and k = 2 eta of the authors' code on their five runs of each set.
GADRE = {
    "c4_original": (1.50826, 113.693, 189.516, 0.242472),
    "rpj": (1.83665, 166.211, 366.687, 0.272851),
    "rw_original": (1.73446, 125.096, 246.207, 0.254395),
}
# E, A, B, alpha, beta and objective of approach 3 on all runs of a set.
SURFACES = {
    "c4_original": (1.620024, 122.55, 242.61, 0.252574, 0.262229, 0.0005299541305),
    "rpj": (1.720245, 106.09, 297.98, 0.243084, 0.273005, 0.0004265108272),
    "rw_original": (1.701340, 76.774, 384.16, 0.222587, 0.289773, 0.0004757255016),
}


def gadre(reference_dir, name):
    path = reference_dir / "gadre2024_overtraining.csv"
    options = config(f"runs={path}", f"where.train_dataset={name}")
    rows = read_inputs(options).runs
    return observe(rows, options)


def small_runs(runs):
    """The authors' split: four sizes at 20 tokens a parameter, the smallest also at 320."""
    multiplier = runs.columns["chinchilla_multiplier"]
    four = (multiplier == 1) & (runs.params < 5e8)
    return runs.take(four | ((multiplier == 16) & (runs.params < 2e7)))


@pytest.mark.needs_reference
@pytest.mark.parametrize("name", GADRE)
def test_fit_over_training_reproduces_gadre(reference_dir, name):
    """Gadre's coefficients on his five runs."""
    runs = small_runs(gadre(reference_dir, name))
    assert len(runs) == 5
    law = fit_over_training(runs, 400, 0)
    found = OverTraining.of(law)
    theirs = (found.E, found.a_prime / 6**found.eta, found.b_prime, 2 * found.eta)
    assert theirs == pytest.approx(GADRE[name], rel=1e-5)
    # Five runs for four parameters: the numbers stand, and say how little they are worth alone.
    assert law.status == "flagged"
    assert {"wide_interval", "floor_unidentified"} & {flag.code for flag in law.flags}


@pytest.mark.needs_reference
def test_fit_over_training_held_out_errors_of_gadre(reference_dir):
    """Gadre's held out errors three hundred times further."""
    runs = gadre(reference_dir, "rpj")
    law = OverTraining.of(fit_over_training(small_runs(runs), 0, 0))
    errors = {
        run_id: abs(law.predict_loss(c, d / n) / loss - 1)
        for run_id, n, d, c, loss in zip(
            runs.run_id, runs.params, runs.tokens, runs.flops, runs.loss, strict=True
        )
    }
    assert errors["rpj-open_lm_1b-32.0"] <= 0.0071035
    assert errors["rpj-open_lm_7b-1.0"] <= 0.0073205


@pytest.mark.needs_reference
@pytest.mark.parametrize("name", SURFACES)
def test_fit_parametric_on_gadres_runs(reference_dir, name):
    """Approach 3 on Gadre's runs."""
    fitted = fit_parametric(gadre(reference_dir, name), 0, 0)
    *terms, alpha, beta, objective = SURFACES[name]
    surface = fitted.surface
    scales = (surface.E, surface.A, surface.B)
    assert fitted.law.objective == pytest.approx(objective, rel=1e-6)
    assert scales == pytest.approx(terms, rel=1e-3)
    assert (surface.alpha, surface.beta) == pytest.approx((alpha, beta), abs=1e-5)


def test_fit_over_training_recovers_the_law():
    law = fit_over_training(over_trained(), 60, 0)
    found = OverTraining.of(law)
    assert law.status == "ok"
    for name in ("E", "a_prime", "b_prime", "eta", "best_multiplier"):
        assert getattr(law, name).value == pytest.approx(getattr(OVER_TRAINED, name), rel=1e-6)
    assert found.predict_loss(1e22, 640) == pytest.approx(
        OVER_TRAINED.predict_loss(1e22, 640), rel=1e-9
    )


def test_best_multiplier_has_the_least_loss():
    """The best multiplier has the least loss."""
    ratios = np.geomspace(0.1, 1000, 200_001)
    best = ratios[np.argmin(OVER_TRAINED.predict_loss(1e20, ratios))]
    assert best == pytest.approx(OVER_TRAINED.best_multiplier, rel=1e-4)


@pytest.mark.parametrize("rows", [24, 8])
def test_fit_over_training_interval_covers(rows):
    """The interval of eta covers."""
    hits = 0
    for seed in range(150):
        runs = over_trained(0.01, seed)
        law = fit_over_training(runs.take(np.arange(0, 24, 24 // rows)), 150, seed)
        low, high = law.eta.ci90
        hits += low <= OVER_TRAINED.eta <= high
    assert 0.80 <= hits / 150 <= 0.98


def test_fit_over_training_flags_a_narrow_range():
    """A narrow range of ratios is flagged."""
    law = fit_over_training(over_trained(ratios=(15, 20, 30)), 60, 0)
    assert "narrow_range" in {flag.code for flag in law.flags}


@pytest.mark.parametrize(
    ("ratios", "rows", "reason"),
    [
        ((20,), 6, "one ratio of tokens to parameters"),
        ((5, 20, 80, 320), 4, "4 distinct (N, D) points, expected at least 5"),
    ],
)
def test_fit_over_training_refuses(ratios, rows, reason):
    """Tables that show no over training are refused."""
    law = fit_over_training(over_trained(ratios=ratios).take(np.arange(rows)), 60, 0)
    assert law.status == "refused"
    assert reason in law.reason


def test_fit_over_training_refuses_one_size():
    runs = over_trained(ratios=(5, 10, 20, 40, 80))
    law = fit_over_training(runs.take(runs.params == runs.params[0]), 60, 0)
    assert law.reason == (
        "1 distinct N: these runs do not determine E, a_prime; they determine eta = 0.136 alone"
    )
    assert law.eta.value is None


@pytest.mark.parametrize(("jitter", "why"), [(0.0, "1 distinct D"), (1e-3, "D spans a factor 1")])
def test_fit_over_training_refuses_one_amount_of_data(jitter, why):
    """At one D another E with another data term has the same losses; eta alone is known."""
    rng = np.random.default_rng(0)
    surface = PUBLISHED["besiroglu"]
    sizes = np.geomspace(1e7, 3e9, 12)
    rows = [
        {"params": n, "tokens": d, "loss": surface.predict_loss(n, 2e10) + 0.001 * e}
        for n, d, e in zip(
            sizes, 2e10 * (1 + jitter * rng.normal(size=12)), rng.normal(size=12), strict=True
        )
    ]
    law = fit_over_training(observations(rows), 60, 0)
    assert law.status == "refused" and law.best_multiplier.value is None
    assert law.reason.startswith(f"{why}: ")
    if not jitter:
        assert law.identifiability.undetermined == ("E", "b_prime")
        assert law.reason.endswith("they determine eta = 0.1737 alone")  # k = 2 eta = 0.35


def codes(runs):
    law = fit_over_training(runs, 60, 0)
    return [flag.code for flag in law.flags], " ".join(flag.text for flag in law.flags)


@pytest.mark.parametrize(("sigma", "flagged"), [(0.005, False), (0.02, False), (0.15, True)])
def test_fit_over_training_flags_scatter(sigma, flagged):
    """Runs that lie further off than seeds do are flagged."""
    rng = np.random.default_rng(0)
    rows = [
        {"params": n, "tokens": n * m, "loss": OVER_TRAINED.predict_loss(6 * n * n * m, m)}
        for n in (1e7, 3e7, 1e8, 3e8)
        for m in (5, 20, 80, 320, 640)
    ]
    for row in rows:
        row["loss"] += sigma * rng.standard_normal()
    found, text = codes(observations(rows))
    assert ("scatter" in found) == flagged
    assert "by=COLUMN" not in text


def test_fit_over_training_tells_recipes_from_a_wrong_form():
    """Recipes in one fit are told apart from a wrong form."""
    rows = [
        {"params": n, "tokens": n * m, "loss": OVER_TRAINED.predict_loss(6 * n * n * m, m) * recipe}
        for n in (1e7, 3e7, 1e8, 3e8)
        for m in (5, 20, 80, 320, 640)
        for recipe in (0.95, 1.05)
    ]
    found, text = codes(observations(rows))
    assert "scatter" in found and "by=COLUMN" in text


@pytest.mark.needs_reference
def test_fit_over_training_flags_gadres_runs(reference_dir):
    """All runs of a set are more than the form holds for; those of his own split are not."""
    path = reference_dir / "gadre2024_overtraining.csv"
    options = config(f"runs={path}")
    together = observe(read_inputs(options).runs, options)
    found, text = codes(together)
    assert "scatter" in found and "3.3% of the loss" in text and "by=COLUMN" in text
    for name in GADRE:
        assert "scatter" in codes(gadre(reference_dir, name))[0]
        assert "scatter" not in codes(small_runs(gadre(reference_dir, name)))[0]
