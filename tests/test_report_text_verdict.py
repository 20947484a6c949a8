"""The verdict follows from the study by rule: what is small, wide, missed or refused is said."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from scaling.report.study import Study
from scaling.report.text.verdict import Verdict, judge
from tests.support.report_example import Edit, study
from tests.support.report_values import estimate


def _large(edit: Edit = lambda values: None) -> Study:
    """The same study at a published scale, with subwords, more budgets and long runs."""

    def grow(values: dict[str, Any]) -> None:
        values["warnings"], values["conventions"] = [], values["conventions"][:1]
        for law in values["laws"].values():
            law["status"], law["flags"] = "ok", []
        minimum = values["laws"]["isoflop"]["valleys"][0]
        budgets = np.geomspace(1e19, 1e22, 6)
        values["laws"]["isoflop"]["valleys"] = [{**minimum, "flops": c} for c in budgets]
        edit(values)

    small = study(grow)
    runs, n = small.runs, len(small.runs)
    columns = {"vocab_size": np.full(n, 50257.0), "steps": np.full(n, 9e3)}
    runs = dataclasses.replace(
        runs,
        params=runs.params * 1e4,
        tokens=runs.tokens * 1e7,
        flops=runs.flops * 1e11,
        loss_se=np.full(n, 0.01),
        columns=columns,
    )
    return dataclasses.replace(small, runs=runs)


def _cannot(of: Study) -> str:
    return "\n".join(judge(of).cannot)


def test_judge_asks_a_large_sound_study_for_nothing() -> None:
    judged = judge(_large())
    assert judged.cannot == () and judged.flags == ()
    assert len(judged.shows) == 3


def test_judge_says_of_the_quickstart_what_it_is() -> None:
    text = _cannot(study())
    for said in (
        "test of the machinery",
        "tokens here are bytes",
        "short n-grams",
        "4 budgets",
        "1.5 decades",
        "no run was repeated",
        "fewer than 500 steps",
        "a goes from 0.42 to 0.53",
    ):
        assert said in text


def test_judge_puts_the_weightiest_limit_first() -> None:
    """What it says in a line stands on one, and a refused law of the headline before all else."""
    refused = {"status": "refused", "flags": [], "reason": "not converged"}

    def refuse(values: dict[str, Any]) -> None:
        values["laws"] |= {"parametric": refused, "over_training": refused}

    limits = judge(study(refuse)).limits
    assert limits[0].what == "Parametric surface: refused, not converged"
    assert limits[1].what.startswith("Anything about language models at large")
    assert limits[-1].what == "Over-training: refused, not converged"
    assert all(len(limit.what) <= 100 for limit in limits)


@pytest.mark.parametrize(
    ("a", "said"),
    [
        (estimate(0.5, 0.2), "leaves it open"),
        (estimate(0.9, 0.02), "intervals of the two approaches are apart"),
    ],
)
def test_judge_names_an_exponent_that_is_open_or_contradicted(a: Any, said: str) -> None:
    assert said in _cannot(_large(lambda values: values["laws"]["isoflop"].update(a=a)))


@pytest.mark.parametrize(("inside", "error"), [(False, 0.092), (True, -0.075)])
def test_judge_counts_a_missed_holdout_as_no_success(inside: bool, error: float) -> None:
    """Nor a large miss that a wide interval holds."""
    held = {"inside90": inside, "loss_error": error}
    judged = judge(_large(lambda values: values["holdout"].update(held)))
    assert f"off by {100 * error:+.2f}%" in "\n".join(judged.cannot)
    assert "off by" not in "\n".join(judged.shows)


def test_judge_says_a_flag_once_with_the_laws_that_carry_it() -> None:
    def flag(values: dict[str, Any]) -> None:
        for law in values["laws"].values():
            law["flags"] = [{"code": "repeated_points", "text": "3 runs repeat another"}]

    assert judge(_large(flag)).flags == (
        "IsoFLOP curves and parametric surface: 3 runs repeat another.",
    )


def test_judge_of_a_saved_fit_says_what_needs_no_run() -> None:
    text = _cannot(Study(study().document))
    assert "4 budgets" in text and "test of the machinery" in text
    assert "no run was repeated" not in text and "bytes" not in text


def test_a_surface_that_misses_its_runs_confirms_nothing() -> None:
    """Intervals that overlap by their width alone are no agreement."""

    def miss(values: dict[str, Any]) -> None:
        values["laws"]["parametric"]["flags"] = [{"code": "misfit", "text": "it misses its runs"}]

    agreed, apart = judge(_large()), judge(_large(miss))
    assert any("do not contradict" in line for line in agreed.shows)
    assert not any("do not contradict" in line for line in apart.shows)
    assert any("by the parametric surface: it misses its runs" in line for line in apart.cannot)


def test_a_held_out_size_that_is_missed_is_no_success() -> None:
    def off(error: float) -> Verdict:
        def edit(values: dict[str, Any]) -> None:
            held = values["holdout"]
            held["loss_error"], held["inside90"], held["n_opt_error"] = 0.001, True, error

        return judge(_large(edit))

    good, bad = off(0.1), off(-0.41)
    assert any("One step beyond" in line and "N* by +10%" in line for line in good.shows)
    assert not any("One step beyond" in line for line in bad.shows)
    assert any("N* by -41%" in line for line in bad.cannot)
