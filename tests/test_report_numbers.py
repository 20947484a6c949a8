"""Numbers in the report read back as what they were, and unknown ones are said in words."""

import math

import pytest
from report_example import estimate

from scaling.report.numbers import count, power, with_interval


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (14_600, "14.6k"),
        (999_600, "1.00M"),
        (9_996, "10.0k"),
        (124_439_808, "124M"),
        (7e10, "70.0B"),
        (1.4e12, "1.40T"),
        (12, "12"),
        (None, "unknown"),
        (math.inf, "unknown"),
    ],
)
def test_counts_keep_three_digits(value: float | None, written: str) -> None:
    assert count(value) == written


@pytest.mark.parametrize("value", [2.5e10, 8e11, 5.76e23, 1e15, 31.6, 0.001, 3.16e-7])
def test_powers_read_back(value: float) -> None:
    assert float(power(value)) == pytest.approx(value, rel=1e-12)


def test_interval_width_sets_the_decimals() -> None:
    assert with_interval(estimate(0.4213, 0.018)) == "0.42 (0.39 to 0.45)"
    assert with_interval(estimate(0.5126, 0.0004)) == "0.5126 (0.5119 to 0.5133)"
    assert with_interval(estimate(4.2, 9.0)) == "4.20 (-10.56 to 18.96)"


def test_a_parameter_at_its_bound_is_not_a_number() -> None:
    assert with_interval(estimate(None, bound="low")) == "not identified (at its lower bound)"
    assert with_interval(estimate(None)) == "unknown"
    assert with_interval(None) == "unknown"
