"""The headline is one sentence with the state of each law; the title names the runs."""

import dataclasses
from typing import Any

import numpy as np

from scaling.report.study import Study
from scaling.report.text.headline import headline, size_of_study, title_of_study
from tests.support.report_example import study

REFUSED = {"status": "refused", "flags": [], "reason": "not converged"}


def test_headline_is_one_sentence_by_the_first_law_that_stands() -> None:
    def refuse(values: dict[str, Any]) -> None:
        values["laws"]["isoflop"] = REFUSED | {"valleys": []}

    assert headline(study().document) == (
        "Compute-optimal size grows as C^0.42 (90% interval 0.39 to 0.45) and data as C^0.58 "
        "(0.55 to 0.61)."
    )
    assert headline(study(refuse).document) == (
        "Compute-optimal size grows as C^0.38 (90% interval 0.33 to 0.43) and data as C^0.62 "
        "(0.57 to 0.67)."
    )


def test_headline_names_the_reasons_where_every_law_is_refused() -> None:
    def refuse_all(values: dict[str, Any]) -> None:
        values["laws"] = {"parametric": REFUSED}

    assert headline(study(refuse_all).document) == (
        "Every law of compute-optimal size was refused; parametric surface: not converged."
    )


def test_size_of_study_counts_runs_budgets_and_sizes() -> None:
    span = "2.5e10 to 8e11 FLOP (4 budgets, 1.5 decades)"
    assert size_of_study(study()) == f"20 runs of 21 used, {span}, 4.60k to 258k parameters"
    assert size_of_study(Study(study().document)) == f"20 runs of 21 used, {span}"


def test_size_of_study_of_one_budget_spans_no_range() -> None:
    small = study(lambda values: values.update(laws={}))
    one = dataclasses.replace(small.runs, flops=np.full(len(small.runs), 1e17))
    assert ", 1e17 FLOP, " in size_of_study(dataclasses.replace(small, runs=one))


def test_title_of_study_names_the_runs_and_the_rows_chosen() -> None:
    def choose(values: dict[str, Any], recipe: Any) -> None:
        paths = [{"path": path, "sha256": ""} for path in ("logs/a.csv", "runs/b")]
        values["provenance"]["runs"] = paths
        values["inputs"]["where"] = {"recipe": recipe}

    one = study(lambda values: choose(values, "wiki")).document
    two = study(lambda values: choose(values, ["wiki", "code"])).document
    assert title_of_study(one) == "Scaling-law fit of a.csv and b, recipe wiki"
    assert title_of_study(two) == "Scaling-law fit of a.csv and b, recipe wiki or code"
