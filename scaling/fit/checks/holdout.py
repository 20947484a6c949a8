"""Does the law extrapolate? Budgets are held out, and the law fitted below must predict them."""

import logging
from dataclasses import fields, replace
from typing import Literal

import numpy as np

from common.text import plural
from scaling.fit.config import FitConfig
from scaling.fit.isoflop import budgets, find_profiles, fit_isoflop, is_budget, minima
from scaling.fit.numerics import FEWEST_POINTS, estimate, generator
from scaling.fit.observations import Observations
from scaling.fit.parametric import fit_parametric
from scaling.fit.results.checks import HeldOut, Holdout
from scaling.fit.results.estimate import UNKNOWN

_log = logging.getLogger(__name__)
_ROLLED_RESAMPLES, _MOST_ROLLED = 200, 10
_NO_LOSS = "lines through minima predict no loss"
_ROUNDING = 1e-6  # relative difference of two statements of one budget


def hold_out(observations: Observations, config: FitConfig) -> Holdout:
    """Law fitted below, run of least loss above, for the held-out budget and for each (`roll`)."""
    found = _of_held_out(observations, config)
    rolled, reason = roll(observations, config)
    return Holdout(
        **{f.name: getattr(found, f.name) for f in fields(HeldOut) if f.name != "runs_below"},
        rolling=tuple(rolled),
        rolling_reason=reason,
    )


def roll(observations: Observations, config: FitConfig) -> tuple[list[HeldOut], str | None]:
    """Each budget predicted by the law fitted to all below it, ascending; why there is none.

    Budgets with three of the profiles' minima below, the highest ten of them; fewer resamples
    than the headline's.
    """
    if config.holdout == "none" or not config.needs_loss:
        return [], "not asked for: holdout=none" if config.needs_loss else _NO_LOSS
    level, groups = _levels(observations, config.budget_tolerance)
    usable = np.array(
        [v.flops for v in find_profiles(observations, config.budget_tolerance) if v.reason is None]
    )
    asked = [
        (flops, members)
        for flops, members in groups
        if is_budget(observations, members) and (usable < flops).sum() >= FEWEST_POINTS
    ]
    if not asked:
        return [], (
            f"{plural(len(usable), 'budget with a minimum', 'budgets with a minimum')}, expected "
            f"{FEWEST_POINTS} below the one predicted"
        )
    found = []
    for flops, members in asked[-_MOST_ROLLED:]:
        held = _from(level, float(level[members].min()))
        entry = _predict(observations, held, members, config, _ROLLED_RESAMPLES)
        found.append(replace(entry, flops=flops, runs_below=int((~held).sum())))
    return found, None


def _of_held_out(observations: Observations, config: FitConfig) -> HeldOut:
    if config.holdout == "none":
        return _nothing("none", "not asked for: holdout=none")
    if not config.needs_loss:
        return _nothing("none", _NO_LOSS)
    held, budget = held_out(observations, config)
    if not held.any() or held.all():
        why = "all runs are held out, so that none is left to fit"
        if not held.any():
            highest = float(_levels(observations, config.budget_tolerance)[0].max())
            why = f"no run has {config.holdout:g} FLOP, the highest {highest:.3g}"
        return _nothing("refused", why)
    return _predict(observations, held, budget, config, 1000)


def _predict(
    observations: Observations,
    held: np.ndarray,
    budget: np.ndarray,
    config: FitConfig,
    most_resamples: int,
) -> HeldOut:
    """What the law fitted to the rows not `held` says of the best run among the rows `budget`.

    The loss predicted is that at the held-out run's own N and D, so that its error is the law's
    and not that of the optimum; its interval has the scatter of a single run in it. n_opt_error
    compares the minimum of the profile that holds that run, if it has one, with the optimum
    predicted at the minimum's own compute.
    """
    below = replace(observations.take(~held), excluded=())
    above = replace(observations.take(budget), excluded=())
    best = int(np.argmin(above.loss))
    flops, observed = float(above.flops[best]), float(above.loss[best])
    named = above.flops_budget[best]
    resamples = min(config.n_bootstrap, most_resamples)
    _log.info("held out %.3g FLOP: predicted by %s runs below", flops, len(below))
    surface = fit_parametric(
        *(below, resamples, config.seed, config.delta, config.objective),
        *(config.surface, config.loss_unit, False),
    )
    observed_n, observed_c = _minimum(above, best, config.budget_tolerance) or (None, flops)
    found = replace(
        _nothing("ok", None),
        flops=float(named) if np.isfinite(named) else flops,
        loss_observed=observed,
    )
    if surface.surface is not None and surface.samples is not None:
        n, d = above.params[best], above.tokens[best]
        value = surface.surface.predict_loss(n, d)
        noise = generator(config.seed, "holdout").standard_normal(surface.samples.E.shape)
        samples = surface.samples.predict_loss(n, d) * np.exp(surface.residual_sd * noise)
        predicted = estimate(float(value), samples)
        ends = predicted.ci90
        found = replace(
            found,
            law="parametric",
            loss_predicted=predicted,
            loss_error=float(value / above.loss[best] - 1),
            inside90=None if ends is None else bool(ends[0] <= observed <= ends[1]),
        )
        predicted_n = surface.surface.optimal_allocation(observed_c)[0]
    else:
        line = fit_isoflop(below, 0, config.seed, config.budget_tolerance, config.isoflop)
        if line.frontier is None:
            reason = f"below it parametric is refused: {surface.law.reason}; isoflop is refused: "
            return _nothing("refused", reason + str(line.law.reason))
        found = replace(found, law="isoflop")
        predicted_n = line.frontier.n.at(observed_c)
    error = None if observed_n is None else float(predicted_n / observed_n - 1)
    return replace(found, n_opt_error=error)


def held_out(observations: Observations, config: FitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Which runs are not fitted, as a mask, and the rows of the budget to predict.

    That is the highest budget (lone runs above it are neither fitted nor predicted); where there
    is none, the top tenth of the runs; where a FLOP was asked for, all from there on. Runs of a
    named budget stay together, whatever their own FLOP.
    """
    level, groups = _levels(observations, config.budget_tolerance)
    if config.holdout != "top":
        held = _from(level, float(config.holdout))
        return held, np.flatnonzero(held)
    for _, members in reversed(groups):
        if is_budget(observations, members):
            return _from(level, float(level[members].min())), members
    held = _from(level, float(np.quantile(level, 0.9, method="higher")))
    return held, np.flatnonzero(held)


def _levels(
    observations: Observations, tolerance: float
) -> tuple[np.ndarray, list[tuple[float, np.ndarray]]]:
    """FLOP of each run, that of its budget where one is named, and the rows of the budgets of
    several runs.
    """
    groups = list(budgets(observations, tolerance).groups)
    level = observations.flops.copy()
    for flops, members in groups:
        if np.isfinite(observations.flops_budget[members]).any():
            level[members] = flops
    return level, groups


def _from(level: np.ndarray, start: float) -> np.ndarray:
    return level >= start * (1 - _ROUNDING)


def _minimum(above: Observations, best: int, tolerance: float) -> tuple[float, float] | None:
    """(N*, C) at the minimum of the profile that holds run `best`; None where it has none."""
    groups = budgets(above, tolerance).groups
    holding = next((flops for flops, members in groups if best in members), None)
    for profile in find_profiles(above, tolerance):
        if profile.flops == holding and profile.reason is None:
            log_n, _ = minima(profile, profile.loss[None])
            return float(np.exp(log_n[0])), float(np.exp(profile.at(log_n)[1][0]))
    return None


def _nothing(status: Literal["ok", "none", "refused"], reason: str | None) -> HeldOut:
    return HeldOut(
        status=status,
        reason=reason,
        flops=None,
        law=None,
        loss_predicted=UNKNOWN,
        loss_observed=None,
        loss_error=None,
        n_opt_error=None,
        inside90=None,
    )
