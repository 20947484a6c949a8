"""Estimates in words: the interval sets the decimals, a bound is not a number."""

from scaling.report.text.estimates import in_loss, joined, with_interval
from tests.support.report_example import estimate_of


def test_with_interval_takes_its_decimals_from_the_interval() -> None:
    assert with_interval(estimate_of(0.4213, 0.018)) == "0.42 (0.39 to 0.45)"
    assert with_interval(estimate_of(0.5126, 0.0004)) == "0.5126 (0.5119 to 0.5133)"
    assert with_interval(estimate_of(4.2, 9.0)) == "4.20 (-10.56 to 18.96)"
    assert in_loss(estimate_of(2.2341, 0.1)) == "2.234 (2.070 to 2.398)"


def test_with_interval_calls_a_parameter_at_its_bound_no_number() -> None:
    low = estimate_of(None, bound="low")
    assert with_interval(low) == "not identified (at its lower bound)"
    assert with_interval(estimate_of(None)) == with_interval(None) == "unknown"


def test_joined_reads_as_a_sentence() -> None:
    assert [joined(["a"]), joined(["a", "b", "c"])] == ["a", "a, b and c"]
