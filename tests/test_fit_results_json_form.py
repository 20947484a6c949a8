"""Frozen dataclasses to JSON and back, and their schema."""

from dataclasses import replace
from typing import Any

import pytest

from common.errors import BadInput
from configs.schema import build
from scaling.fit.results import FitDocument
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.json_form import to_json
from scaling.fit.results.laws import IsoflopLaw, ParametricLaw, judged
from tests.support.fit_document import document
from tests.support.json_schema import problems


def test_to_json_of_an_estimate_at_its_bound() -> None:
    """Estimate at its bound has no value."""
    values = {"value": None, "se": None, "ci80": None, "ci90": None, "ci95": None, "bound": "low"}
    assert to_json(Estimate(None, bound="low")) == values


def test_to_json_leaves_out_numbers_of_a_refused_law() -> None:
    """Law refused leaves out its numbers."""
    law = IsoflopLaw(**judged(reason="two budgets"), valleys=())
    values = document(laws={"isoflop": law}).to_json()["laws"]["isoflop"]
    assert values == {"status": "refused", "flags": [], "reason": "two budgets", "valleys": []}
    assert build(IsoflopLaw, values).a == UNKNOWN


def test_json_schema_refuses_a_missing_and_an_unknown_key() -> None:
    """Json schema refuses a missing and an unknown key."""
    whole: dict[str, Any] = document().to_json()
    assert problems(whole) == []
    assert problems(whole | {"more": 1}) == ["FitDocument.more: unknown"]
    del whole["answers"]
    assert problems(whole) == ["FitDocument.answers: missing"]
    ok = {"laws": {"parametric": {"status": "ok", "flags": [], "reason": None}}}
    assert "FitDocument.laws.parametric.E: missing" in problems(document().to_json() | ok)


def test_from_json_refuses_an_unknown_key() -> None:
    """What this version cannot hold would be lost on writing."""
    values = document().to_json()
    values["holdout"]["later"] = 1
    with pytest.raises(BadInput, match="holdout.later: unknown key"):
        FitDocument.from_json(values)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"schema": 2}, "schema 2, expected 1"),
        ({"status": "good"}, "status: found 'good' .* expected one of ok, flagged, refused"),
        ({"laws": {"isoflop": 3}}, "laws.isoflop: found 3, expected a group of fields"),
        ({"laws": {"other": {}}}, "laws.other: unknown; known: isoflop"),
        (
            {"predictions": [{"flops": "x"}]},
            r"\[0\].flops: found 'x' .* expected a number",
        ),
        ({"warnings": {}}, "warnings: found {} .* expected a list"),
        ({"inputs": {"planned": True}}, "inputs.planned: found True .* expected a whole number"),
    ],
)
def test_from_json_names_the_place(part: dict[str, Any], expected: str) -> None:
    """From json names the place."""
    with pytest.raises(BadInput, match=expected):
        FitDocument.from_json(document().to_json() | part)


def test_from_json_fills_defaults() -> None:
    """An estimate of older files may lack what has a default."""
    values = {"status": "ok", "flags": [], "reason": None, "E": {"value": 1.5}}
    assert Estimate(1.5) == build(ParametricLaw, values).E
    assert replace(build(ParametricLaw, values), E=UNKNOWN).residuals is None
