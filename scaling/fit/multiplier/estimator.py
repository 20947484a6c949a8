"""What an arm is worth: its compute multiplier at each budget, over all, and with compute.

Each resample redraws the losses of both arms (pairing.py), takes the minima again, E and the
exponent, and k at each budget (conversion.py). The overall k is the mean of log k over the budgets,
weighted by inverse variance, the trend the weighted slope of log k in log C. Where budgets scatter
about that line by more than noise, at 5%, what they scatter beyond it counts as noise of each.
Shapes: W budgets of the arm, R resamples; the first of 1 + R rows is the runs themselves.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from common.text import listed
from scaling.fit.data_flags import ENOUGH_BUDGETS, unsteady
from scaling.fit.flags import Flag
from scaling.fit.multiplier.conversion import Conversion, convert
from scaling.fit.multiplier.frontiers import Arm, Frontiers, frontiers
from scaling.fit.multiplier.words import in_words
from scaling.fit.numerics import FEWEST_POINTS, between_profiles, estimate, generator
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import judged
from scaling.fit.results.multipliers import Multiplier, Trend, TrendVerdict, Verdict

_SHOWN_AT = 0.05
_FAR = 2.0  # steps between budgets: beyond the baseline's budgets its law is extrapolated
# Losses per token are on one scale where these are one; bits per byte are whatever the tokens.
_SAME_TEXT = ("tokenizer", "vocab_size", "dataset", "data_digest", "eval_tokens")


@dataclass(frozen=True)
class Asked:
    """How multipliers are taken: resamples, their seed, the budgets' tolerance, windows, E."""

    resamples: int
    seed: int
    tolerance: float = 0.2
    window: float = 4.0
    E: float | None = None


def multipliers(baseline: Arm, arm: Arm, asked: Asked) -> tuple[Multiplier, ...]:
    """One entry a budget of the arm, or one with the reason why there is none."""
    reason = _without_loss(baseline, arm) or not_on_one_scale(baseline, arm)
    if reason is not None:
        return (refused(arm.name, baseline.name, reason),)
    found = frontiers(baseline, arm, asked.resamples, asked.seed, asked.tolerance, asked.window)
    if isinstance(found, str):
        return (refused(arm.name, baseline.name, found),)
    reason = _no_overlap(found, asked.E)
    if reason is not None:
        return (refused(arm.name, baseline.name, reason),)
    converted = convert(found.baseline, found.arm, found.partner, asked.E)
    lost = ~np.isfinite(converted.log_k[1:]).all(axis=1)
    reason = unsteady(int(lost.sum()), asked.resamples)
    if reason is not None:
        return (refused(arm.name, baseline.name, reason),)
    with np.errstate(over="ignore"):  # of a baseline whose loss hardly falls
        return tuple(_entries(baseline, arm, found, converted, asked))


def _without_loss(*arms: Arm) -> str | None:
    """Why arms of minima alone have no multiplier; None if their runs have losses."""
    lacking = [a.name for a in arms if a.runs is not None and not np.isfinite(a.runs.loss).all()]
    return f"{listed(lacking)}: the rows have no loss" if lacking else None


def not_on_one_scale(baseline: Arm, arm: Arm) -> str | None:
    """Why the losses of two arms cannot be compared; None if they can."""
    if baseline.loss_unit != arm.loss_unit:
        return f"losses are in {baseline.loss_unit} and in {arm.loss_unit}"
    one, other = baseline.setting, arm.setting
    if arm.loss_unit == "bpb" or one is None or other is None:
        return None
    pairs = {name: (one.get(name), other.get(name)) for name in _SAME_TEXT}
    known = {name: pair for name, pair in pairs.items() if all(pair)}
    equal = {name for name, (mine, theirs) in known.items() if mine == theirs}
    if "data_digest" in equal:  # the name of a dataset says where the text lay
        known.pop("dataset", None)
    if "tokenizer" in equal:  # and a vocabulary may be padded
        known.pop("vocab_size", None)
    apart = [
        f"{name} ({listed(list(mine or ())[:3])} against {listed(list(theirs or ())[:3])})"
        for name, (mine, theirs) in known.items()
        if mine != theirs
    ]
    if not apart:
        return None
    return (
        f"the arms differ in {listed(apart)}: their losses per token are not on one scale; give "
        "losses in bits per byte of one text (loss_unit=bpb)"
    )


def refused(arm: str, baseline: str, reason: str) -> Multiplier:
    """An arm without a multiplier over the baseline, and why."""
    return Multiplier(arm=arm, baseline=baseline, flops=None, **judged(reason=reason))


def _no_overlap(found: Frontiers, E: float | None) -> str | None:
    """Why the losses of the two frontiers tell no multiplier; None if they do."""
    ends = [
        (float(np.nanmin(m.loss[0])), float(np.nanmax(m.loss[0])))
        for m in (found.baseline, found.arm)
    ]
    if max(low for low, _ in ends) > min(high for _, high in ends):
        reach = [f"{low:.4g} to {high:.4g}" for low, high in ends]
        return (
            f"the least losses of the arm, {reach[1]}, and of the baseline, {reach[0]}, do not "
            "overlap: any multiplier would be an extrapolation"
        )
    if E is not None and not min(low for low, _ in ends) > E:
        return f"multiplier.E: {E:g} is not below every least loss; expected a lower one"
    return None


def _entries(
    baseline: Arm, arm: Arm, found: Frontiers, converted: Conversion, asked: Asked
) -> Iterator[Multiplier]:
    far = _extrapolated(found, converted)
    trend = _trend(baseline, arm, found, converted, asked, list(far))
    of_all = [*_flags(trend), *_unchecked(baseline, arm)]
    for place, flops in enumerate(found.flops[1]):
        flags = list(of_all)
        if flops in far:
            text = (
                f"for the loss that the arm has at {flops:.3g} FLOP the baseline would need "
                f"{far[flops]}: its law is extrapolated"
            )
            flags.append(Flag("extrapolation", text))
        i = found.partner[place]
        yield Multiplier(
            arm=arm.name,
            baseline=baseline.name,
            flops=float(flops),
            **judged(tuple(flags)),
            k=_factor(converted.log_k[:, place]),
            k_data=_factor(converted.log_k_data[:, place]),
            k_size=_factor(converted.log_k_size[:, place]),
            loss=_of(found.arm.loss[:, place]),
            baseline_loss=_of(found.baseline.loss[:, i]) if i >= 0 else UNKNOWN,
            trend=trend,
        )
    for flops, why in found.left_out:
        without = refused(arm.name, baseline.name, f"no k at this budget, {why}")
        yield replace(without, flops=flops, trend=trend)


def _extrapolated(found: Frontiers, converted: Conversion) -> dict[float, str]:
    """The arm's budgets whose k lies far beyond the baseline's budgets, and where in words."""
    c, log_c = found.flops[0], np.log(found.flops[1]) + converted.log_k[0]
    above, below = log_c - np.log(c.max()), np.log(c.min()) - log_c
    far = np.flatnonzero(np.maximum(above, below) > np.diff(np.log(c)).mean() * _FAR)
    return {
        float(found.flops[1][place]): (
            f"{math.exp(above[place]):.3g} times the compute of its largest budget"
            if above[place] > 0
            else f"1/{math.exp(below[place]):.3g} of the compute of its least budget"
        )
        for place in far
    }


def _unchecked(*arms: Arm) -> Iterator[Flag]:
    """That a saved fit does not say what its losses are of."""
    for arm in arms:
        if arm.setting is None and arm.loss_unit != "bpb":
            yield unchecked_tokens(arm.name)


def unchecked_tokens(name: str) -> Flag:
    """The flag of a saved fit that does not say which tokens and text its losses are of."""
    text = (
        f"{name} was saved without its tokenizer and held-out text, as fits once were: whether "
        "losses are on one scale could not be checked; fit its runs again, or compare with them"
    )
    return Flag("unchecked_tokens", text)


def _flags(trend: Trend) -> Iterator[Flag]:
    if trend.budgets < ENOUGH_BUDGETS:
        text = f"{trend.budgets} budgets, expected at least {ENOUGH_BUDGETS} for a trend to rely on"
        yield Flag("few_budgets", text)
    if trend.scatter > 0:
        text = (
            f"k scatters between budgets by {np.expm1(trend.scatter):.1%} beyond the noise of its "
            "runs (rates or batches tuned unevenly, say); the intervals count it in"
        )
        yield Flag("scattered_budgets", text)


def _trend(
    baseline: Arm,
    arm: Arm,
    found: Frontiers,
    converted: Conversion,
    asked: Asked,
    far: Sequence[float],
) -> Trend:
    log_c, log_k = found.arm.log_c, converted.log_k
    variance, scatter = _spread(log_c[0], log_k)
    rng = generator(asked.seed, "multiplier scatter")
    jitter = np.sqrt(scatter) * rng.standard_normal(log_k.shape)
    jitter[0] = 0.0
    mean, slope = weighted_line(log_c, log_k + jitter, variance)
    beside = [
        weighted_line(log_c, part, _spread(log_c[0], part)[0])[0]
        for part in (converted.log_k_data, converted.log_k_size)
    ]
    k, with_c = _factor(mean), _of(slope)
    verdict, course = verdict_of(k), course_of(k, with_c)
    ends = float(found.flops[1].min()), float(found.flops[1].max())
    low, high = (float(np.exp(log_k[0, i])) for i in (log_c[0].argmin(), log_c[0].argmax()))
    at_ends = low, high
    pinned = asked.E is not None
    return Trend(
        k=k,
        k_data=_factor(beside[0]),
        k_size=_factor(beside[1]),
        slope=with_c,
        verdict=verdict,
        with_compute=course,
        words=in_words(arm.name, baseline.name, k, with_c, verdict, course, ends, at_ends, far),
        flops=ends,
        budgets=len(found.flops[1]),
        frontier=found.source,
        E=Estimate(asked.E) if pinned else _of(converted.E),
        E_pinned=pinned,
        gamma=_of(converted.gamma),
        paired=found.pairing.correlation is not None,
        correlation=found.pairing.correlation,
        scatter=float(np.sqrt(scatter)),
    )


def verdict_of(k: Estimate) -> Verdict | None:
    """By the 90% interval of k; None where it is unknown."""
    if k.ci90 is None:
        return None
    low, high = k.ci90
    return "better" if low > 1 else "worse" if high < 1 else "no difference shown"


def course_of(k: Estimate, slope: Estimate) -> TrendVerdict | None:
    """Whether the distance of k from 1 grows with compute, by the slope's 90% interval."""
    if slope.ci90 is None or slope.value is None or k.value is None:
        return None
    if slope.ci90[0] <= 0 <= slope.ci90[1]:
        return "constant"
    return "growing" if (slope.value > 0) == (k.value > 1) else "vanishing"


def _spread(log_c: np.ndarray, log_k: np.ndarray) -> tuple[np.ndarray, float]:
    """Variance (W,) of each budget's log k, and that between budgets where it is shown."""
    if len(log_k) == 1:
        return np.ones(log_k.shape[1]), 0.0
    own = np.nanvar(log_k[1:], axis=0)
    own = np.maximum(own, 1e-12)
    point = log_k[0]
    dof = len(point) - 2
    if dof < 1:
        return own, 0.0
    mean, slope = weighted_line(log_c[None], point[None], own)
    weights = 1 / own
    centre = (weights * log_c).sum() / weights.sum()
    missed = point - mean[0] - slope[0] * (log_c - centre)
    shown = (missed**2 / own).sum() > chdtri(dof, _SHOWN_AT)
    between = between_profiles(log_c, point, own) if shown else 0.0
    return own + between, between


def weighted_line(
    log_c: np.ndarray, log_k: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean (R,) of log k (R, W), and its slope in log C; nan with too few budgets."""
    there = np.isfinite(log_k)
    weights = np.where(there, 1 / variance, 0.0)
    y, x = np.where(there, log_k, 0.0), np.where(there, log_c, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=1)
        mean = (weights * y).sum(axis=1) / total
        dx = x - ((weights * x).sum(axis=1) / total)[:, None]
        slope = (weights * dx * y).sum(axis=1) / (weights * dx**2).sum(axis=1)
    enough = there.sum(axis=1) >= FEWEST_POINTS
    return np.where(enough, mean, np.nan), np.where(enough, slope, np.nan)


def _factor(log: np.ndarray) -> Estimate:
    return _of(np.exp(log))


def _of(values: np.ndarray) -> Estimate:
    return estimate(float(values[0]), values[1:])
