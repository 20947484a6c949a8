"""Does the law extrapolate? Budgets are held out, and what lies below must foretell them."""

from dataclasses import replace
from typing import Any

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.config import FitConfig
from scaling.fit.isoflop import fit_isoflop
from scaling.fit.laws import UNKNOWN
from scaling.fit.lines import FEWEST_POINTS
from scaling.fit.observations import Observations
from scaling.fit.parametric import fit_parametric
from scaling.fit.uncertainty import estimate, generator
from scaling.fit.valleys import WINDOW_SIZES, budgets, find_valleys, vertices

_ROLLED_RESAMPLES, _MOST_ROLLED = 200, 10
_ROUNDING = 1e-6  # relative difference of two statements of one budget


def hold_out(observations: Observations, config: FitConfig) -> dict[str, Any]:
    """The entry `holdout` of fit.json: law fitted below, run of least loss above.

    `rolling` has the same for every budget above the third (`roll`), with the reason where none.
    """
    found = _held_out_entry(observations, config)
    rolled, reason = roll(observations, config)
    return found | {"rolling": rolled, "rolling_reason": reason}


def roll(observations: Observations, config: FitConfig) -> tuple[list[dict[str, Any]], str | None]:
    """Each budget foretold by the law fitted to all below it, ascending; why there is none.

    Budgets with three of the valleys' vertices below, the highest ten of them; fewer resamples
    than the headline's.
    """
    if config.holdout == "none":
        return [], "not asked for: holdout=none"
    level, groups = _levels(observations, config.budget_tolerance)
    usable = np.array(
        [v.flops for v in find_valleys(observations, config.budget_tolerance) if v.reason is None]
    )
    asked = [
        (flops, members)
        for flops, members in groups
        if _whole(observations, members) and (usable < flops).sum() >= FEWEST_POINTS
    ]
    if not asked:
        return [], (
            f"{plural(len(usable), 'budget with a vertex', 'budgets with a vertex')}, expected "
            f"{FEWEST_POINTS} below the one foretold"
        )
    found = []
    for flops, members in asked[-_MOST_ROLLED:]:
        held = _from(level, float(level[members].min()))
        entry = _foretell(observations, held, members, config, _ROLLED_RESAMPLES)
        found.append(entry | {"flops": flops, "runs_below": int((~held).sum())})
    return found, None


def _held_out_entry(observations: Observations, config: FitConfig) -> dict[str, Any]:
    if config.holdout == "none":
        return _nothing("none", "not asked for: holdout=none")
    held, budget = held_out(observations, config)
    if not held.any() or held.all():
        why = "all runs are held out, so that none is left to fit"
        if not held.any():
            highest = float(_levels(observations, config.budget_tolerance)[0].max())
            why = f"no run has {config.holdout:g} FLOP, the highest {highest:.3g}"
        return _nothing("refused", why)
    return _foretell(observations, held, budget, config, 1000)


def _foretell(
    observations: Observations,
    held: np.ndarray,
    budget: np.ndarray,
    config: FitConfig,
    most_resamples: int,
) -> dict[str, Any]:
    """What the law fitted to the rows not `held` says of the best run among the rows `budget`.

    The loss predicted is that at the held-out run's own N and D, so that its error is the law's
    and not that of the optimum; its interval has the scatter of a single run in it. n_opt_error
    compares the vertex of the valley that holds that run, if it has one, with the optimum
    predicted at the vertex's own compute.
    """
    below = replace(observations.take(~held), excluded=())
    above = replace(observations.take(budget), excluded=())
    best = int(np.argmin(above.loss))
    flops = float(above.flops[best])
    named = above.flops_budget[best]
    resamples = min(config.n_bootstrap, most_resamples)
    surface = fit_parametric(below, resamples, config.seed, config.delta, config.objective)
    observed_n, observed_c = _vertex(above, best, config.budget_tolerance) or (None, flops)
    entry = _nothing("ok", None)
    entry["flops"] = float(named) if np.isfinite(named) else flops
    entry["loss_observed"] = float(above.loss[best])
    if surface.surface is not None and surface.samples is not None:
        n, d = above.params[best], above.tokens[best]
        value = surface.surface.predict_loss(n, d)
        noise = generator(config.seed, "holdout").standard_normal(surface.samples.E.shape)
        samples = surface.samples.predict_loss(n, d) * np.exp(surface.residual_sd * noise)
        predicted = estimate(float(value), samples)
        entry["law"], entry["loss_predicted"] = "parametric", predicted.document()
        entry["loss_error"] = float(value / above.loss[best] - 1)
        if predicted.ci90 is not None:
            entry["inside90"] = bool(predicted.ci90[0] <= above.loss[best] <= predicted.ci90[1])
        predicted_n = surface.surface.optimal_allocation(observed_c)[0]
    else:
        line = fit_isoflop(below, 0, config.seed, config.budget_tolerance)
        if line.frontier is None:
            reason = f"below it parametric is refused: {surface.law.reason}; isoflop is refused: "
            return _nothing("refused", reason + str(line.law.reason))
        entry["law"], predicted_n = "isoflop", line.frontier.n.at(observed_c)
    if observed_n is not None:
        entry["n_opt_error"] = float(predicted_n / observed_n - 1)
    return entry


def held_out(observations: Observations, config: FitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Which runs are not fitted, as a mask, and the rows of the budget to foretell.

    That is the highest budget (lone runs above it are neither fitted nor foretold); where there
    is none, the top tenth of the runs; where a FLOP was asked for, all from there on. Runs of a
    named budget stay together, whatever their own FLOP.
    """
    level, groups = _levels(observations, config.budget_tolerance)
    if config.holdout != "top":
        held = _from(level, float(config.holdout))
        return held, np.flatnonzero(held)
    for _, members in reversed(groups):
        if _whole(observations, members):
            return _from(level, float(level[members].min())), members
    held = _from(level, float(np.quantile(level, 0.9, method="higher")))
    return held, np.flatnonzero(held)


def _levels(
    observations: Observations, tolerance: float
) -> tuple[np.ndarray, list[tuple[float, np.ndarray]]]:
    """FLOP of each run, that of its budget where one is named, and the budgets' rows."""
    groups = budgets(observations, tolerance)
    level = observations.flops.copy()
    for flops, members in groups:
        if np.isfinite(observations.flops_budget[members]).any():
            level[members] = flops
    return level, groups


def _whole(observations: Observations, members: np.ndarray) -> bool:
    """Whether rows are a budget, by name or by their sizes, and not chance."""
    named = bool(np.isfinite(observations.flops_budget[members]).any())
    return named or len(np.unique(observations.params[members])) >= WINDOW_SIZES


def _from(level: np.ndarray, start: float) -> np.ndarray:
    return level >= start * (1 - _ROUNDING)


def _vertex(above: Observations, best: int, tolerance: float) -> tuple[float, float] | None:
    """(N*, C) at the vertex of the valley that holds run `best`; None where it has none."""
    holding = next(flops for flops, members in budgets(above, tolerance) if best in members)
    for valley in find_valleys(above, tolerance):
        if valley.flops == holding and valley.reason is None:
            log_n, _ = vertices(valley, valley.loss[None], "parabola")
            return float(np.exp(log_n[0])), float(np.exp(valley.at(log_n)[1][0]))
    return None


def _nothing(status: str, reason: str | None) -> dict[str, Any]:
    return {
        "status": status,
        "reason": reason,
        "flops": None,
        "law": None,
        "loss_predicted": UNKNOWN.document(),
        "loss_observed": None,
        "loss_error": None,
        "n_opt_error": None,
        "inside90": None,
    }
