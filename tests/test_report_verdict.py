"""The verdict follows from the study by rule: what is small, wide, missed or refused is said."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from report_example import estimate, example

from scaling.report.headline import headline, size_of_study
from scaling.report.verdict import judge


def _large() -> Any:
    """The same study at a published scale, with subwords, more budgets and long runs."""
    fit = example()
    o = fit.observations
    observations = dataclasses.replace(
        o,
        params=o.params * 1e4,
        tokens=o.tokens * 1e7,
        flops=o.flops * 1e11,
        loss_se=np.full(len(o.loss), 0.01),
        columns={"vocab_size": np.full(len(o.loss), 50257.0), "steps": np.full(len(o.loss), 9e3)},
    )
    document = copy.deepcopy(fit.document)
    document["warnings"], document["conventions"] = [], document["conventions"][:1]
    for law in document["laws"].values():
        law["status"], law["flags"] = "ok", []
    vertex = document["laws"]["isoflop"]["valleys"][0]
    document["laws"]["isoflop"]["valleys"] = [
        {**vertex, "flops": c} for c in np.geomspace(1e19, 1e22, 6)
    ]
    return document, observations


def _cannot(document: dict[str, Any], observations: Any) -> str:
    return "\n".join(judge(document, observations).cannot)


def test_a_large_sound_study_lacks_nothing_that_is_asked_for() -> None:
    document, observations = _large()
    judged = judge(document, observations)
    assert judged.cannot == () and judged.doubts == ()
    assert len(judged.shows) == 3


def test_the_quickstart_says_what_it_is() -> None:
    fit = example()
    text = _cannot(fit.document, fit.observations)
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


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("a", estimate(0.5, 0.2), "leaves it open"),
        ("a", estimate(0.9, 0.02), "intervals of the two approaches are apart"),
    ],
)
def test_an_exponent_that_is_open_or_contradicted(part: str, value: Any, said: str) -> None:
    document, observations = _large()
    document["laws"]["isoflop"][part] = value
    assert said in _cannot(document, observations)


def test_a_missed_holdout_is_no_success() -> None:
    document, observations = _large()
    document["holdout"] |= {"inside90": False, "loss_error": 0.092}
    judged = judge(document, observations)
    assert "off by +9.20%" in "\n".join(judged.cannot)
    assert "9.20%" not in "\n".join(judged.shows)


def test_a_flag_is_said_once_with_the_laws_that_carry_it() -> None:
    document, observations = _large()
    for law in document["laws"].values():
        law["flags"] = [{"code": "repeated_points", "text": "3 runs repeat another"}]
    assert judge(document, observations).doubts == (
        "IsoFLOP valleys and parametric surface: 3 runs repeat another.",
    )


def test_the_headline_is_one_sentence_with_states() -> None:
    document = example().document
    assert headline(document) == (
        "Compute-optimal size grows as C^0.42 (90% interval 0.39 to 0.45) and data as C^0.58 "
        "(0.55 to 0.61) by IsoFLOP valleys (flagged: few budgets); as C^0.38 (0.33 to 0.43) and "
        "C^0.62 (0.57 to 0.67) by the parametric surface (flagged: floor unidentified)."
    )
    refused = {"status": "refused", "flags": [], "reason": "not converged"}
    document["laws"]["isoflop"] = refused
    assert headline(document).endswith("; IsoFLOP valleys refused: not converged.")
    document["laws"] = {"parametric": refused}
    assert headline(document) == (
        "No law of compute-optimal size stands; parametric surface refused: not converged."
    )


def test_the_size_of_a_study() -> None:
    fit = example()
    assert size_of_study(fit.document, fit.observations) == (
        "20 runs of 21 used, 2.5e10 to 8e11 FLOP (4 budgets, 1.5 decades), 4.60k to 258k parameters"
    )


def test_a_large_miss_inside_a_wide_interval_shows_nothing() -> None:
    document, observations = _large()
    document["holdout"] |= {"inside90": True, "loss_error": -0.075}
    judged = judge(document, observations)
    assert "off by -7.50%" in "\n".join(judged.cannot)
    assert "7.50%" not in "\n".join(judged.shows)


def test_runs_of_one_budget_span_no_range() -> None:
    document, observations = _large()
    document["laws"] = {}
    one = dataclasses.replace(observations, flops=np.full(len(observations.flops), 1e17))
    assert ", 1e17 FLOP, " in size_of_study(document, one)
