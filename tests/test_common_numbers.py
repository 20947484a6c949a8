"""Numbers of the project read back as what they were, and unknown ones are said in words."""

import math

import pytest

from common.numbers import byte_size, compact, count, duration


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
def test_count_keeps_three_digits(value: float | None, written: str) -> None:
    assert count(value) == written


@pytest.mark.parametrize("value", [2.5e10, 8e11, 5.76e23, 1e15, 31.6, 0.001, 3.16e-7])
def test_compact_reads_back(value: float) -> None:
    assert float(compact(value)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(4.2, "4.2 s"), (42, "42 s"), (360, "6.0 min"), (14 * 3600, "14 h"), (3.924e6, "1,090 h")],
)
def test_duration_takes_the_unit_that_people_would(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_byte_size_is_decimal() -> None:
    assert [byte_size(n) for n in (12, 812e6, 24.9e9)] == ["12 B", "812 MB", "24.9 GB"]
