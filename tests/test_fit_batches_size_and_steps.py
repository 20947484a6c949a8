"""L(N, S_min): Kaplan's constants come back from curves of several sizes and batches."""

from dataclasses import replace

import numpy as np
import pytest

from common.errors import BadInput
from scaling.fit.batches.size_and_steps import fit_size_and_steps, fit_with_samples
from scaling.fit.batches.steps_law import KAPLAN_STEPS, law_of
from scaling.fit.other_laws.published import critical_batch, least_steps
from scaling.fit.summary import summary
from scaling.report.tables.predictions import losses
from tests.support.batch_curves import ALPHA_N, ALPHA_S, BATCHES, N_C, S_C, curves
from tests.support.fit_examples import observations, write_csv
from tests.support.fit_runs import check, fitted

NOBODY = observations([{"params": 1e8, "tokens": 1e9, "loss": 3.0}])
SIZES = (1e7, 1e8, 1e9)
EXACT = curves(params=SIZES, batches=BATCHES[::2])
NOISY = curves(params=SIZES, batches=BATCHES[::2], run_sd=0.003, row_sd=0.01, seed=1)


def fit(traces, resamples=0, batch="fitted"):
    return fit_size_and_steps(NOBODY, resamples, 0, batch, traces)


@pytest.mark.parametrize("batch", ["fitted", "kaplan"])
def test_exact_curves_give_kaplans_constants(batch):
    """Table 3 of the paper to 0.1% in exponents and 0.5% in scales, of either B_crit."""
    law = fit(EXACT, batch=batch)
    assert law.status == ("ok" if batch == "fitted" else "flagged")
    assert law.critical_batch == batch and law.run_sd < 1e-4
    assert law.alpha_N.value == pytest.approx(ALPHA_N, rel=1e-3)
    assert law.alpha_S.value == pytest.approx(ALPHA_S, rel=1e-3)
    assert law.N_c.value == pytest.approx(N_C, rel=5e-3)
    assert law.S_c.value == pytest.approx(S_C, rel=2e-3)
    assert law.alpha_C.value == pytest.approx(KAPLAN_STEPS.alpha_C, rel=1e-3)
    assert law.C_c.value == pytest.approx(np.exp(KAPLAN_STEPS.log_C_c), rel=0.02)
    assert law.a.value == pytest.approx(KAPLAN_STEPS.n_opt.slope, rel=1e-3)
    assert law.identifiability.rank == 4 and law.identifiability.condition < 50


def test_runs_of_one_size_fall_on_one_line_in_least_steps():
    """What the figure shows: losses at S_min are those of the law whatever the batch."""
    for curve in fit(EXACT).curves:
        steps = np.array(curve.S_min)
        expected = (N_C / curve.params) ** ALPHA_N + (S_C / steps) ** ALPHA_S
        assert curve.losses == pytest.approx(expected, rel=1e-3)


def test_noisy_curves_hold_the_truth_in_their_intervals():
    law = fit(NOISY, 100)
    truth = {"alpha_N": ALPHA_N, "alpha_S": ALPHA_S, "N_c": N_C, "S_c": S_C, "B_star": 2.1e8}
    for name, value in (truth | {"alpha_C": KAPLAN_STEPS.alpha_C}).items():
        low, high = getattr(law, name).ci95
        assert low < value < high, name
    assert 0.0005 < law.run_sd < 0.005 and law.alpha_N.se < 0.001


def test_a_wrong_critical_batch_shows_in_the_constants():
    """Curves whose B_crit is a tenth of Kaplan's: fitted it is found, held it spoils alpha_S."""
    tenth = curves(params=SIZES, batches=BATCHES[::2], scale=0.1)
    own, held = fit(tenth), fit(tenth, batch="kaplan")
    assert own.B_star.value == pytest.approx(2.1e7, rel=0.01)
    assert own.alpha_S.value == pytest.approx(ALPHA_S, rel=2e-3)
    assert held.B_star.held and "held_batch" in {flag.code for flag in held.flags}
    assert abs(held.alpha_S.value / ALPHA_S - 1) > 0.05 and held.run_sd > 10 * own.run_sd


def test_too_few_sizes_batches_or_steps_are_refused():
    few = fit(curves(params=SIZES[:2]))
    assert few.reason == "2 distinct N, expected at least 3 to see an exponent"
    assert fit([]).reason.startswith("no training curves")
    one_batch = curves(params=SIZES * 2, batches=BATCHES[:1])
    assert "B_crit(L) is not fitted: no size has curves of 3 batches" in fit(one_batch).reason
    assert fit(one_batch, batch="kaplan").reason is None
    short = [
        replace(one, step=one.step[:40], tokens=one.tokens[:40], loss=one.loss[:40])
        for one in EXACT
    ]
    law = fit(short, batch="kaplan")
    assert law.reason.startswith("S_min spans a factor 1.")


def test_constants_that_noise_hides_are_named():
    """Sizes within 1.4 times: of the exponents alpha_N is lost in the scatter of runs."""
    close = curves(params=(1e8, 1.2e8, 1.4e8), batches=BATCHES[::2], run_sd=0.02)
    law = fit(close, 60, batch="kaplan")
    assert law.identifiability.undetermined == ("alpha_N",)
    texts = [flag.text for flag in law.flags]
    assert any("interval of alpha_N is wide" in text for text in texts)
    assert "N spans only a factor 1.4" in texts
    hidden = curves(params=(1e8, 1.02e8, 1.04e8), batches=BATCHES[::2], run_sd=0.1)
    assert fit(hidden, batch="kaplan").reason.startswith("a term vanished")


def test_a_table_of_curves_is_fitted_and_answers_losses(tmp_path):
    """Terminal, page and fit.json; a loss has B_crit, steps, tokens, size and compute."""
    rows = [
        {"run_id": one.run_id, "params": one.params, "tokens": d, "step": s, "loss": loss, "lr": 1}
        for one in NOISY
        for s, d, loss in zip(one.step[::6], one.tokens[::6], one.loss[::6], strict=True)
    ]
    path = write_csv(tmp_path / "curves.csv", rows)
    asked = ("predict.losses=[3.0,0.5]", "predict.flops=[1e21]", "predict.pairs=[[1e9,2e10]]")
    laws = "laws=[critical_batch,size_and_steps]"
    document = fitted(f"runs={path}", laws, "n_bootstrap=40", *asked).document
    check(document.to_json())
    text = summary(document)
    assert "alpha_C 0.05" in text and "predict loss 3 by size_and_steps: B_crit 1.1" in text
    (pair,) = [row for row in document.answers if row.asked == "pair"]
    assert pair.loss.value == pytest.approx(KAPLAN_STEPS.predict_loss(1e9, 2e10), rel=0.01)
    (budget,) = document.predictions[-1:]
    assert budget.n_opt.value == pytest.approx(KAPLAN_STEPS.n_opt.at(1e21), rel=0.1)
    three = [row for row in document.answers if row.asked == "loss" and row.loss.value == 3.0]
    assert [row.law for row in three] == ["critical_batch"] * 2 + ["size_and_steps"]
    truth = np.exp(KAPLAN_STEPS.log_critical_batch(np.log(3.0)))
    assert all(row.batch.value == pytest.approx(truth, rel=0.15) for row in three)
    largest, least = three[1:]
    assert largest.params.value == 1e9 and largest.beyond is None
    loss_of_size = (N_C / 1e9) ** ALPHA_N
    steps = S_C / (3.0 - loss_of_size) ** (1 / ALPHA_S)
    assert largest.steps.value == pytest.approx(steps, rel=0.1)
    assert largest.tokens.value == pytest.approx(steps * truth, rel=0.1)
    flops = np.exp(KAPLAN_STEPS.log_least_flops(3.0))
    assert least.flops.value == pytest.approx(flops, rel=0.1)
    assert least.flops.value == pytest.approx(6 * least.params.value * least.tokens.value)
    assert least.steps.value == pytest.approx(least.tokens.value / least.batch.value)
    far = [row for row in document.answers if row.asked == "loss" and row.loss.value == 0.5]
    assert [row.law for row in far] == ["critical_batch", "size_and_steps"]
    assert all(row.beyond > 2 for row in far)
    assert len(losses(document, "token").rows) == 5


def test_a_loss_that_no_law_answers_is_said(tmp_path):
    rows = [
        {"run_id": f"r{n}", "params": n, "tokens": 1e9, "loss": 3 - n / 1e9} for n in (1e7, 1e8)
    ]
    path = write_csv(tmp_path / "t.csv", rows)
    document = fitted(f"runs={path}", "predict.losses=[2.5]", "n_bootstrap=0").document
    (said,) = [flag for flag in document.warnings if flag.code == "unanswered"]
    assert "loss 2.5 (it needs critical_batch or size_and_steps)" in said.text


def test_relations_of_the_batch_take_the_constants_of_the_entry():
    law = law_of(fit(EXACT))
    assert critical_batch(3.0, law) == pytest.approx(critical_batch(3.0), rel=1e-3)
    assert least_steps(1e4, 1e6, 3.0, law) == pytest.approx(least_steps(1e4, 1e6, 3.0), rel=1e-3)
    assert law.n_opt.at(1e21) == pytest.approx(KAPLAN_STEPS.n_opt.at(1e21), rel=0.01)
    with pytest.raises(BadInput, match="size_and_steps: refused, no training curves"):
        law_of(fit([]))


def test_resamples_are_the_same_for_one_seed():
    one, two = (fit_with_samples(NOBODY, 40, 3, "kaplan", NOISY)[2] for _ in range(2))
    assert np.array_equal(one.alpha_N, two.alpha_N)
