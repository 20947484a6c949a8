"""The list of laws names functions and types that are there."""

from inspect import signature
from typing import get_type_hints

import pytest

from scaling.fit.config import FitConfig
from scaling.fit.registry import HEADLINE, LAWS


@pytest.mark.parametrize("name", LAWS)
def test_law_entry_names_its_function_and_result(name: str) -> None:
    entry = LAWS[name]
    parameters = list(signature(entry.function).parameters)
    assert parameters[0] == "observations" and set(entry.options) < set(parameters)
    assert set(entry.options) <= set(get_type_hints(FitConfig))
    assert set(entry.estimates) <= set(get_type_hints(entry.result_type))


def test_headline_laws_are_hoffmanns_second_and_third_approach() -> None:
    assert HEADLINE == ("isoflop", "parametric")
