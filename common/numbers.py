"""How the project writes numbers for people: counts, FLOP, fractions, durations, sizes in bytes.

An unknown number is the word `unknown`, never a zero or a dash alone.
"""

import math

UNKNOWN = "unknown"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COUNT_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def count(value: float | None) -> str:
    """Parameters or tokens to three digits: 14600 is 14.6k, 7.0e10 is 70.0B."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) >= 1e16:
        return compact(value)
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


def compact(value: float | None, digits: int = 3) -> str:
    """A number as it is typed on a command line, FLOP above all: 8e11, 2.5e10, 31.6."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.{digits}g}'):g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def power_of_ten(value: float, digits: int = 1) -> str:
    """A FLOP count for an axis, of at most so many digits: 10²⁰, 3·10²⁰, 1.5·10²⁰."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    leading = "" if mantissa == "1" else f"{mantissa}·"
    return leading + "10" + str(int(exponent)).translate(_SUPERSCRIPTS)


def fixed(value: float | None, decimals: int = 3) -> str:
    """A number with a fixed count of decimals, for losses and exponents."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # no negative zero


def percent(value: float | None, decimals: int = 1) -> str:
    """A fraction as a signed percentage: 0.012 is +1.2%."""
    return UNKNOWN if value is None else f"{100 * value:+.{decimals}f}%"


def duration(seconds: float) -> str:
    """Seconds as 42 s, 6.0 min, 14 h, 1,090 h."""
    if seconds >= 3.6e6:
        return f"{seconds / 3600:,.0f} h"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def hours_text(hours: float) -> str:
    """Device-hours as 57.5, 1,090, without a unit."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def byte_size(size: float) -> str:
    """Bytes as 812 MB, 24.9 GB."""
    for unit, letters in _BYTE_UNITS:
        if size >= unit:
            return f"{size / unit:.3g} {letters}"
    return f"{size:.0f} B"
