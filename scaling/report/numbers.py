"""How the report writes numbers: counts with k, M, B, T, FLOP as powers of ten, intervals in full.

An estimate is the object of fit.json: {"value", "se", "ci80", "ci90", "ci95", "bound"}, each null
where it is unknown. Unknown is written as a word, never as a zero or a dash alone.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

UNKNOWN = "unknown"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_STEPS = ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
_COUNT_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def is_estimate(value: Any) -> bool:
    """Whether `value` has the shape of an estimate of fit.json."""
    return isinstance(value, Mapping) and "value" in value and "ci90" in value


def point(estimate: Any) -> float | None:
    """The value of an estimate (or a bare number); None where it is unknown or at a bound."""
    value = estimate.get("value") if isinstance(estimate, Mapping) else estimate
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def interval(estimate: Any) -> tuple[float, float] | None:
    """The 90% interval of an estimate, None where it is unknown."""
    ci = estimate.get("ci90") if isinstance(estimate, Mapping) else None
    if not ci or any(point(end) is None for end in ci):
        return None
    return float(ci[0]), float(ci[1])


def rounded(values: Any) -> list[float | None]:
    """Six significant digits, enough for any picture; not-a-number becomes null."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def count(value: float | None) -> str:
    """Parameters or tokens to three digits: 14600 is 14.6k, 7.0e10 is 70.0B."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) >= 1e16:
        return power(value)
    for unit, letter in _COUNT_UNITS:
        if abs(value) >= unit * 0.9995:  # 999.6k reads 1.00M
            scaled = value / unit
            decimals = max(0, 2 - math.floor(math.log10(abs(scaled) * 1.0005)))
            return f"{scaled:.{decimals}f}{letter}"
    return f"{value:.3g}"


def tick(value: float) -> str:
    """A count without idle zeros, for an axis: 50k, 1.5M."""
    written = count(value)
    number, unit = (written[:-1], written[-1]) if written[-1] in "kMBT" else (written, "")
    return f"{float(number):g}{unit}" if "e" not in number else written


def power_of_ten(value: float) -> str:
    """A FLOP count of one digit for an axis: 10²⁰, 3·10²⁰."""
    mantissa, exponent = f"{value:.0e}".split("e")
    leading = "" if mantissa == "1" else f"{mantissa}·"
    return leading + "10" + str(int(exponent)).translate(_SUPERSCRIPTS)


def log_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round values between `low` and `high`, about so many, for a logarithmic axis.

    Powers of ten, every few of them, or steps within a decade; equal steps where the axis is short.
    """
    low, high = low * 0.98, high * 1.02
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [[10.0**e for e in decades if e % stride == 0] for stride in (4, 3, 2, 1)]
    found += [[s * 10.0**e for e in decades for s in steps] for steps in _STEPS]
    for e in range(math.floor(math.log10(high - low)) - 1, math.floor(math.log10(high)) + 1):
        for step in (10.0**e, 2 * 10.0**e, 5 * 10.0**e):
            if (high - low) / step < 4 * wanted and high < 4 * low:
                first = math.ceil(low / step)
                found.append([step * i for i in range(first, math.floor(high / step) + 1)])
    inside = [[float(f"{v:.6g}") for v in ticks if low <= v <= high] for ticks in found]
    return min(inside, key=lambda ticks: abs(len(ticks) - wanted))


def power(value: float | None, digits: int = 3) -> str:
    """A number as it is typed on a command line: 8e11, 2.5e10, 3.16e+01 is 31.6."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.{digits}g}'):g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def fixed(value: float | None, decimals: int = 3) -> str:
    """A number with a fixed count of decimals, for losses and exponents."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # no negative zero


def percent(value: float | None, decimals: int = 1) -> str:
    """A fraction as a signed percentage: 0.012 is +1.2%."""
    return UNKNOWN if value is None else f"{100 * value:+.{decimals}f}%"


def decimals_for(estimate: Any, least: int = 2, most: int = 4) -> int:
    """Decimals whose unit is at most a third of the width of an estimate's 90% interval."""
    ends = interval(estimate)
    if ends is None or ends[1] <= ends[0]:
        return least + 1
    return min(most, max(least, -math.floor(math.log10((ends[1] - ends[0]) / 3))))


def with_interval(
    estimate: Any, write: Callable[[float], str] | None = None, missing: str = UNKNOWN
) -> str:
    """`0.42 (0.39 to 0.45)`: value and 90% interval; a bound is said in words."""
    value, ends = point(estimate), interval(estimate)
    if value is None:
        bound = estimate.get("bound") if isinstance(estimate, Mapping) else None
        words = {"low": "at its lower bound", "high": "at its upper bound"}.get(bound or "", "")
        return f"not identified ({words})" if words else missing
    if write is None:
        decimals = decimals_for(estimate)
        write = power if abs(value) >= 1000 else lambda number: fixed(number, decimals)
    return f"{write(value)} ({write(ends[0])} to {write(ends[1])})" if ends else write(value)


def listed(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
