"""Laws of one variable answer what is asked, by both forms; what has no answer is said."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.other_laws.answers import optimum_along_budgets
from scaling.fit.results import FitDocument
from scaling.fit.summary import summary
from scaling.report.tables.predictions import answers as answers_table
from tests.support.fit_examples import write_csv
from tests.support.fit_runs import check, fitted

SURFACE = PUBLISHED["besiroglu"]


def rows_of(points, sigma=0.001):
    rng = np.random.default_rng(0)
    return [
        {
            "run_id": f"r{index}",
            "params": n,
            "tokens": d,
            "loss": SURFACE.predict_loss(n, d) + sigma * rng.normal(),
        }
        for index, (n, d) in enumerate(points)
    ]


def asked(tmp_path, points, *predict):
    """The document and the lines that a fit prints."""
    path = write_csv(tmp_path / "t.csv", rows_of(points))
    document = fitted(f"runs={path}", "n_bootstrap=60", *predict).document
    check(document.to_json())
    return document, summary(document).split("\n")


def one_size():
    return [(1.2e8, d) for d in np.geomspace(1e9, 3e11, 9)]


def test_a_pair_is_answered_by_the_learning_curve_of_its_size(tmp_path):
    document, lines = asked(tmp_path, one_size(), "predict.pairs=[[1.2e8,1e12]]")
    first, second = document.answers
    assert first.law == second.law == "learning_curve"
    assert first.form == "E + (D_c/D)^alpha" and "not preferred by BIC" in second.form
    assert first.loss.value == pytest.approx(SURFACE.predict_loss(1.2e8, 1e12), abs=0.01)
    assert first.loss.ci90[0] < first.loss.value < first.loss.ci90[1]
    assert first.beyond == pytest.approx(1e12 / 3e11)
    said = [line for line in lines if line.startswith("predict pair by learning_curve, E + ")]
    assert len(said) == 1 and f"loss {first.loss.value:.4g}" in said[0]
    assert "Learning curves" in answers_table(document, "token").rows[0][1].capitalize()


def test_a_pair_of_another_size_is_said_to_have_no_answer(tmp_path):
    document, lines = asked(tmp_path, one_size(), "predict.pairs=[[1e9,1e12]]")
    assert document.answers == ()
    (warning,) = [flag for flag in document.warnings if flag.code == "unanswered"]
    assert (
        "N 1e+09, D 1e+12 (it needs parametric, over_training, kaplan L(N, D), or a learning curve"
        in warning.text
    )
    assert any(warning.text in line for line in lines)


def test_a_budget_is_answered_by_the_law_of_compute(tmp_path):
    """Twenty tokens per parameter in every run: no optimum, but a loss at each budget."""
    points = [(n, 20 * n) for n in np.geomspace(1e7, 1e10, 9)]
    document, _ = asked(tmp_path, points, "predict.flops=[1e23]")
    found = {row.form: row.loss.value for row in document.answers if row.law == "kaplan.L_C"}
    n = np.sqrt(1e23 / 120)
    assert found["E + (C_c/C)^alpha"] == pytest.approx(SURFACE.predict_loss(n, 20 * n), abs=0.02)
    assert len(found) == 2
    assert not any(flag.code == "unanswered" for flag in document.warnings)


def test_sizes_and_data_are_answered_by_their_laws(tmp_path):
    """L(N) along the most data of each size, L(D) along the largest size."""
    points = [(n, d) for n in np.geomspace(1e7, 1e9, 6) for d in np.geomspace(1e11, 1e13, 5)]
    document, _ = asked(tmp_path, points, "predict.params=[1e10]", "predict.tokens=[1e14]")
    found = {(row.asked, row.law): row for row in reversed(document.answers)}
    size, data = found["params", "kaplan.L_N"], found["tokens", "kaplan.L_D"]
    assert size.loss.value == pytest.approx(SURFACE.predict_loss(1e10, 1e13), abs=0.05)
    assert data.loss.value == pytest.approx(SURFACE.predict_loss(1e9, 1e14), abs=0.05)
    assert size.tokens.value is None and data.params.value is None
    assert FitDocument.from_json(document.to_json()) == document


def test_a_budget_inside_the_runs_is_printed_where_it_was_asked_for(tmp_path):
    points = [
        (n, c / (6 * n))
        for c in np.geomspace(1e18, 1e20, 5)
        for n in np.geomspace(0.25, 4, 7) * SURFACE.optimal_allocation(c)[0]
    ]
    document, lines = asked(tmp_path, points, "predict.flops=[5e18]", "laws=[parametric]")
    assert sum(bool(row.asked) for row in document.predictions) == 1
    assert any(line.startswith("predict 5e+18 FLOP by parametric") for line in lines)


def test_laws_of_both_variables_answer_beside_the_surface(tmp_path):
    """That of over-training answers all that is asked, Kaplan's L(N, D) a pair."""
    tied = Surface(1.8, 400.0, 1800.0, 0.35, 0.35)
    points = [(n, d) for n in np.geomspace(1e7, 1e10, 6) for d in np.geomspace(1e9, 1e12, 6)]
    rows = [
        {"run_id": f"r{i}", "params": n, "tokens": d, "loss": tied.predict_loss(n, d)}
        for i, (n, d) in enumerate(points)
    ]
    path = write_csv(tmp_path / "t.csv", rows)
    asked = ("predict.flops=[1e23]", "predict.params=[1e9]", "predict.tokens=[2e10]")
    laws = "laws=[over_training,kaplan]"
    document = fitted(
        f"runs={path}", "n_bootstrap=40", *asked, "predict.pairs=[[1e9,1e11]]", laws
    ).document
    check(document.to_json())
    budget = next(row for row in document.predictions if row.law == "over_training")
    assert budget.n_opt.value == pytest.approx(tied.optimal_allocation(1e23)[0], rel=1e-3)
    found = {(row.asked, row.law): row for row in document.answers}
    ratio = tied.optimal_allocation(1e23)[1] / tied.optimal_allocation(1e23)[0]
    size, data = found["params", "over_training"], found["tokens", "over_training"]
    assert size.tokens.value == pytest.approx(ratio * 1e9, rel=1e-3)
    assert data.params.value == pytest.approx(2e10 / ratio, rel=1e-3)
    pair = found["pair", "over_training"]
    assert pair.loss.value == pytest.approx(tied.predict_loss(1e9, 1e11), abs=1e-4)
    joint = found["pair", "kaplan.L_ND"]
    assert joint.loss.value == pytest.approx(tied.predict_loss(1e9, 1e11), rel=0.05)
    assert "Kaplan's L(N, D)" in {row[1] for row in answers_table(document, "token").rows}


def test_kaplan_law_is_least_along_a_budget_where_it_says():
    """N* and D* of the closed form beside a search along 6 N D = C."""
    law = PUBLISHED["kaplan"]
    n, d = (power.at(1e21) for power in optimum_along_budgets(law))
    assert 6 * n * d == pytest.approx(1e21)
    sizes = n * np.geomspace(0.5, 2, 2001)
    losses = law.predict_loss(sizes, 1e21 / (6 * sizes))
    assert sizes[losses.argmin()] == pytest.approx(n, rel=1e-3)
