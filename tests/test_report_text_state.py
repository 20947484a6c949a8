"""The state of a fit is one word, and the flag beside it the one that matters most."""

from typing import Any

from scaling.report.text.state import weightiest
from tests.support.report_example import study


def _flags(*codes: str) -> list[dict[str, str]]:
    return [{"code": code, "text": f"the text of {code}."} for code in codes]


def test_weightiest_takes_the_gravest_flag_wherever_it_stands() -> None:
    def edit(values: dict[str, Any]) -> None:
        values["laws"]["isoflop"]["flags"] = _flags("wide_interval", "few_budgets")
        values["laws"]["parametric"]["flags"] = _flags("floor_unidentified", "unheard_of")
        values["warnings"] = _flags("repeated_points")

    assert weightiest(study(edit).document) == "the text of few_budgets"

    def worse(values: dict[str, Any]) -> None:
        edit(values)
        values["warnings"] = _flags("units")

    assert weightiest(study(worse).document) == "the text of units"


def test_weightiest_prefers_what_denies_the_exponent_to_a_misfit_of_the_surface() -> None:
    def edit(values: dict[str, Any]) -> None:
        values["laws"]["isoflop"]["flags"] = _flags("edge_valley", "bent_frontier")
        values["laws"]["parametric"]["flags"] = _flags("misfit")

    assert weightiest(study(edit).document) == "the text of bent_frontier"


def test_weightiest_is_never_what_was_asked_for() -> None:
    def edit(values: dict[str, Any]) -> None:
        for law in values["laws"].values():
            law["flags"] = []
        values["warnings"] = _flags("converted")

    assert weightiest(study(edit).document) == ""


def test_weightiest_prefers_the_first_law_of_the_headline() -> None:
    def edit(values: dict[str, Any]) -> None:
        for key, law in values["laws"].items():
            law["flags"] = [{"code": "flops_mismatch", "text": key}]

    assert weightiest(study(edit).document) == "isoflop"


def test_weightiest_names_a_law_that_is_not_that_of_the_headline() -> None:
    def edit(values: dict[str, Any]) -> None:
        values["warnings"], values["laws"]["isoflop"]["flags"] = [], []

    said = "parametric surface: the interval of E reaches zero"
    assert weightiest(study(edit).document) == said


def test_weightiest_is_the_reason_where_the_headline_is_refused() -> None:
    def refuse(values: dict[str, Any]) -> None:
        refused = {"status": "refused", "flags": [], "reason": "one budget.", "valleys": []}
        values["laws"] = {"isoflop": refused}

    assert weightiest(study(refuse).document) == "one budget"


def test_weightiest_of_a_fit_without_flags_is_nothing() -> None:
    def clear(values: dict[str, Any]) -> None:
        values["warnings"] = []
        for law in values["laws"].values():
            law["flags"] = []

    assert weightiest(study(clear).document) == ""
