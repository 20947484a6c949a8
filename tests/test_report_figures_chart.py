"""Axes have few round ticks; what is said of a name is text."""

import math

import pytest

from scaling.report.figures.chart import axis, log_ticks, rounded, said


@pytest.mark.parametrize(
    ("low", "high"), [(2.1, 5), (1, 1e9), (3e-4, 0.07), (7, 7), (2.31, 2.33), (1e16, 3e22)]
)
def test_log_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 10 and ticks == sorted(set(ticks))
    assert all(0.97 * low <= tick <= 1.03 * high for tick in ticks)
    assert all(float(f"{tick:.3g}") == pytest.approx(tick) for tick in ticks)


def test_axis_covers_the_known_values_and_places_them() -> None:
    found = axis("N", "params", [1e3, None], [math.nan, 1e5])
    assert (found.low, found.high) == (1e3, 1e5)
    assert found.place([1e3, 1e4, 1e5]) == (0, 0.5, 1)
    assert (1e4, "10k") in found.ticks()
    assert axis("N", "params", [7.0, 7.0]).place([7.0]) == (0.5,)
    assert axis("loss", "loss", [7.0], log=False).high == 7.0


def test_axis_of_one_value_has_round_ticks_on_both_sides() -> None:
    """All trials of one size: else the ticks lie on one another."""
    found = axis("N", "params", [36.9e3, 36.9e3])
    assert found.low < 36.9e3 < found.high and len(found.ticks()) > 2


@pytest.mark.parametrize("kind", ["flops", "params", "tokens", "ratio", "value", "loss"])
@pytest.mark.parametrize(("low", "high"), [(8e9, 3.2e10), (1e17, 2e17), (6e18, 3e21), (1.0, 12.0)])
def test_axis_writes_no_two_ticks_alike(kind, low: float, high: float) -> None:
    written = [text for _, text in axis("C", kind, [low, high]).ticks()]
    assert len(set(written)) == len(written)


def test_rounded_has_none_for_what_is_unknown() -> None:
    assert rounded([1.23456789, None, math.nan]) == [1.23457, None, None]


def test_said_leaves_no_markup_of_a_name() -> None:
    assert said("<img>&", "N 1k") == "<b>&lt;img&gt;&amp;</b><br>N 1k"
