"""The least loss L*(C) of two arms, from the best that both have, resampled together.

    isoflop    the minimum of each IsoFLOP curve, by a parabola in log N
    envelope   the lower envelope of training curves that end with their schedules
    surface    the fitted L(N, D) at its optimum, of either arm

The first of these that both arms have is taken. Shapes: V budgets of an arm, R resamples; the first
of 1 + R rows is the runs themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from common.text import plural
from scaling.fit.envelope import LowerEnvelope, Trace, lower_envelope
from scaling.fit.isoflop import Profile, find_profiles
from scaling.fit.isoflop.frontier import Minima, UsableProfiles, curve_minima
from scaling.fit.isoflop.noise import noise_draws, profile_noise
from scaling.fit.laws import Surface
from scaling.fit.multiplier.pairing import (
    Pairing,
    match,
    noise_of_both,
    paired,
    partners,
    seeds_of_cells,
)
from scaling.fit.numerics import FEWEST_POINTS, FEWEST_RESAMPLES, case_weights, generator
from scaling.fit.observations import LOSS_MAX, LOSS_MIN, Observations
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import IsoflopMinimum
from scaling.fit.results.multipliers import FrontierSource

_BUDGETS = 5  # at which an envelope or a surface is read
_MOST = 1e40  # parameters or tokens, as of tables
_SAME_BUDGET = 1e-6  # relative difference of budgets at which two laws are read: rounding


@dataclass(frozen=True)
class Arm:
    """An arm: its runs, and what else its frontier may come from; only minima of a saved fit.

    traces     training curves that end with their schedules
    surface    the fitted one, and its resamples
    setting    the values of what must be one for losses to be on one scale, by column; None: a
               saved fit does not tell
    resamples  behind the standard errors of a saved fit's minima
    """

    name: str
    runs: Observations | None = None
    minima: Sequence[IsoflopMinimum] = ()
    traces: Sequence[Trace] = ()
    surface: tuple[Surface, Surface] | None = None
    loss_unit: str = "nats"
    setting: Mapping[str, tuple[str, ...]] | None = field(default_factory=dict)
    resamples: int = FEWEST_RESAMPLES


@dataclass(frozen=True)
class Frontiers:
    """L*, N* and D* of both arms at their budgets, (1 + R, V) and (1 + R, W), and how they are one.

    partner   (W,) the baseline's place of each of the arm's budgets, or -1
    left_out  budgets of the arm without a minimum in it or in the baseline, and why
    """

    source: FrontierSource
    baseline: Minima
    arm: Minima
    flops: tuple[np.ndarray, np.ndarray]
    partner: np.ndarray
    pairing: Pairing = Pairing()
    left_out: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class _Own:
    """An arm's curves with a minimum, or the minima of a saved fit; and those without one."""

    flops: np.ndarray
    profiles: Sequence[Profile]
    saved: Sequence[IsoflopMinimum]
    open: tuple[tuple[float, str], ...]


def frontiers(
    baseline: Arm, arm: Arm, resamples: int, seed: int, tolerance: float, window: float
) -> Frontiers | str:
    """The frontiers of both arms; in words why there are none."""
    own = [_own(one, tolerance, window) for one in (baseline, arm)]
    bare = [one for one in (baseline, arm) if one.minima and one.resamples < FEWEST_RESAMPLES]
    if bare:
        return (
            f"{bare[0].name}: its minima have no standard errors, for want of resamples "
            f"(n_bootstrap={bare[0].resamples}, expected {FEWEST_RESAMPLES} or more); fit it again"
        )
    if all(len(one.flops) >= FEWEST_POINTS for one in own):
        return _of_curves(baseline, arm, own[0], own[1], resamples, seed, tolerance)
    if baseline.traces and arm.traces:
        envelopes = lower_envelope(baseline.traces), lower_envelope(arm.traces)
        found = _of_envelopes(*envelopes, resamples, seed)
        if found is not None:
            return found
    if baseline.surface is not None and arm.surface is not None:
        return _of_surfaces(baseline, arm, baseline.surface, arm.surface)
    return "; ".join(
        f"{one.name} has a minimum at {plural(len(here.flops), 'budget')}, expected at least "
        f"{FEWEST_POINTS}" + "".join(f", {flops:.3g} FLOP is {why}" for flops, why in here.open)
        for one, here in zip((baseline, arm), own, strict=True)
        if len(here.flops) < FEWEST_POINTS
    )


def _own(arm: Arm, tolerance: float, window: float) -> _Own:
    if arm.runs is None:
        reasons = [_why_unknown(minimum) for minimum in arm.minima]
        found = list(zip(arm.minima, reasons, strict=True))
        known = [minimum for minimum, reason in found if reason is None]
        lost = tuple((minimum.flops, reason) for minimum, reason in found if reason is not None)
        return _Own(np.array([minimum.flops for minimum in known]), (), known, lost)
    profiles = find_profiles(arm.runs, tolerance, window)
    usable = [profile for profile in profiles if profile.reason is None]
    lost = tuple((p.flops, p.reason) for p in profiles if p.reason is not None)
    return _Own(np.array([profile.flops for profile in usable]), usable, (), lost)


def _why_unknown(minimum: IsoflopMinimum) -> str | None:
    """Why a saved minimum is of no use, None if it is of some: no fit writes what is absurd."""
    loss, se = minimum.loss.value, minimum.loss.se
    counts = [each for of in (minimum.n_opt, minimum.d_opt) for each in (of.value, of.se) if each]
    if loss is None:
        return "without a minimum"
    if se is None:
        return "without a standard error"
    sound = all(0 < each <= _MOST for each in counts)
    if not (sound and LOSS_MIN <= loss <= LOSS_MAX and 0 <= se <= LOSS_MAX):
        return f"off any scale ({loss:.3g} +-{se:.3g} nats)"
    return None


def _of_curves(
    baseline: Arm, arm: Arm, one: _Own, other: _Own, resamples: int, seed: int, tolerance: float
) -> Frontiers:
    rng = generator(seed, "multiplier")
    partner = partners(one.flops, other.flops, tolerance)
    pairing = Pairing()
    if baseline.runs is not None and arm.runs is not None:
        arms = one.profiles, other.profiles
        seeds = (
            seeds_of_cells(baseline.runs, one.profiles, tolerance),
            seeds_of_cells(arm.runs, other.profiles, tolerance),
        )
        pairing = paired(arms, match(arms, seeds, partner))
        noises = profile_noise(one.profiles), profile_noise(other.profiles)
        drawn = noise_of_both(noises, pairing, resamples, rng)
        parts = zip(arms, noises, drawn, strict=True)
        found = [_both(UsableProfiles(tuple(p), noise, draws)) for p, noise, draws in parts]
    else:
        found = [_alone(part, resamples, rng) for part in (one, other)]
    lost = [(flops, f"{baseline.name}: {why}") for flops, why in one.open]
    lost += [(flops, f"{arm.name}: {why}") for flops, why in other.open]
    flops = one.flops, other.flops
    first, second = found
    return Frontiers("isoflop", first, second, flops, partner, pairing, tuple(sorted(lost)))


def _alone(own: _Own, resamples: int, rng: np.random.Generator) -> Minima:
    if own.profiles:
        noise = profile_noise(own.profiles)
        draws = noise_draws(own.profiles, noise, resamples, rng)
        return _both(UsableProfiles(tuple(own.profiles), noise, draws))

    def drawn(estimates: Sequence[Estimate], log: bool) -> np.ndarray:
        value, se = (
            np.array([getattr(e, name) or np.nan for e in estimates]) for name in ("value", "se")
        )
        unit = np.concatenate([np.zeros((1, len(value))), normal])
        return np.log(value) + se / value * unit if log else value + se * unit

    normal = rng.standard_normal((resamples, len(own.saved)))
    log_c = np.broadcast_to(np.log(own.flops), (resamples + 1, len(own.flops)))
    loss = drawn([m.loss for m in own.saved], log=False)
    normal = rng.standard_normal(normal.shape)
    log_n = drawn([m.n_opt for m in own.saved], log=True)
    log_d = np.log([m.d_opt.value or np.nan for m in own.saved]) - (log_n - log_n[0])
    return Minima(log_n, log_d, log_c, loss)


def _both(profiles: UsableProfiles) -> Minima:
    """The minima of the runs in the first row, those of the resamples below."""
    point, sample = curve_minima(profiles)
    names = ("log_n", "log_d", "log_c", "loss")
    return Minima(*(np.concatenate([getattr(point, n)[None], getattr(sample, n)]) for n in names))


def _of_envelopes(
    one: LowerEnvelope, other: LowerEnvelope, resamples: int, seed: int
) -> Frontiers | None:
    """Envelopes read where both pass from size to size, runs resampled in each arm alone."""
    rng = generator(seed, "multiplier envelope")
    ends = []
    for envelope in (one, other):
        log_c = envelope.crossings(np.ones((1, len(envelope.traces)), dtype=bool))[0][0]
        met = log_c[np.isfinite(log_c)]
        if met.size < FEWEST_POINTS:
            return None
        ends.append((float(met.min()), float(met.max())))
    low, high = max(end[0] for end in ends), min(end[1] for end in ends)
    if not high > low:
        return None
    flops = np.exp(np.linspace(low, high, _BUDGETS))
    found = []
    for envelope in (one, other):
        n = len(envelope.traces)
        drawn = case_weights(n, resamples, rng) > 0
        included = np.concatenate([np.ones((1, n), dtype=bool), drawn])
        at = np.abs(envelope.log_c[:, None] - np.log(flops)).argmin(axis=0)
        narrow = replace(envelope, log_c=envelope.log_c[at], loss=envelope.loss[:, at])
        winners = narrow.winners(included)
        log_c, log_n, log_d = narrow.points(winners)
        loss = narrow.loss[winners, np.arange(_BUDGETS)]
        found.append(Minima(log_n, log_d, log_c, np.where(winners >= 0, loss, np.nan)))
    return Frontiers("envelope", found[0], found[1], (flops, flops), np.arange(_BUDGETS))


def _of_surfaces(
    baseline: Arm, arm: Arm, one: tuple[Surface, Surface], other: tuple[Surface, Surface]
) -> Frontiers | str:
    """Both surfaces at budgets that the runs of both arms span."""
    runs = [each.runs.flops for each in (baseline, arm) if each.runs is not None]
    low, high = max(float(c.min()) for c in runs), min(float(c.max()) for c in runs)
    if not high > low * (1 + _SAME_BUDGET):
        return "the runs of the two arms have no compute in common"
    flops = np.geomspace(low, high, _BUDGETS)
    n = min(len(pair[1].E) for pair in (one, other))
    found = []
    for point, samples in (one, other):
        rows = Surface(
            *(
                np.append(getattr(point, name), getattr(samples, name)[:n])[:, None]
                for name in ("E", "A", "B", "alpha", "beta")
            )
        )
        with np.errstate(all="ignore"):
            params, tokens = rows.optimal_allocation(flops[None])
            loss = rows.predict_loss(params, tokens)
        log_c = np.broadcast_to(np.log(flops), loss.shape)
        found.append(Minima(np.log(params), np.log(tokens), log_c, loss))
    return Frontiers("surface", found[0], found[1], (flops, flops), np.arange(_BUDGETS))
