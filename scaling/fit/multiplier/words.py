"""A multiplier in words: how much compute an arm saves or costs, and how that changes."""

from scaling.fit.results.estimate import Estimate
from scaling.fit.results.multipliers import TrendVerdict, Verdict


def in_words(
    arm: str,
    baseline: str,
    k: Estimate,
    slope: Estimate,
    verdict: Verdict | None,
    course: TrendVerdict | None,
    flops: tuple[float, float],
) -> str:
    """One sentence; the interval is the 90% one."""
    over = f"from {flops[0]:.3g} to {flops[1]:.3g} FLOP"
    if k.value is None:
        return f"{arm}: no multiplier over {baseline}, {over}"
    if k.ci90 is None:
        return f"{arm} over {baseline}: k = {k.value:.3g}, without an interval, {over}"
    low, high = k.ci90
    interval = f"90% interval {low:.3g} to {high:.3g}"
    if verdict == "no difference shown":
        said = f"no difference shown: {arm} over {baseline}, k = {k.value:.3g} ({interval})"
    elif verdict == "better":
        said = (
            f"{arm} reaches the loss of {baseline} with 1/{k.value:.3g} of the compute ({interval})"
        )
    else:
        said = (
            f"{arm} reaches the loss of {baseline} with {1 / k.value:.3g} times the compute "
            f"(90% interval {1 / high:.3g} to {1 / low:.3g})"
        )
    return f"{said}, {over}{_course(slope, course, verdict)}"


def _course(slope: Estimate, course: TrendVerdict | None, verdict: Verdict | None) -> str:
    if course is None or slope.value is None or slope.ci90 is None:
        return ""
    what = {"better": "the advantage", "worse": "the disadvantage"}.get(verdict or "", "k")
    ends = f"slope {slope.value:+.2g} ({slope.ci90[0]:+.2g} to {slope.ci90[1]:+.2g})"
    if course == "constant":
        return f"; no trend with compute is shown, {ends}"
    if verdict == "no difference shown":
        course_words = "rises" if slope.value > 0 else "falls"
        return f"; k {course_words} with compute, {ends}"
    return f"; {what} is {course} with compute, {ends}"
