"""What repeated tokens and excess parameters are worth: the data-constrained law, fitted.

    L = E + A N'^-alpha + B D'^-beta                               Muennighoff et al. 2023
    D' = U + U R_D* (1 - exp(-(D/U - 1)/R_D*))          U the unique tokens of the D seen
    N' = U_N + U_N R_N* (1 - exp(-(N/U_N - 1)/R_N*))    U_N = min(N, N_opt(U))

All seven constants are fitted to all runs, or, as in the paper, R_D* and R_N* alone with a surface
held. That objective has several minima (four on the authors' own table, of which the published one
is not the least), so a grid is searched and every minimum descended to. The surface of the runs of
one pass cannot stand for the law's: where N is above N_opt(U) their N' is below N already.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from common.text import plural
from scaling.fit.config import Objective
from scaling.fit.data_flags import data_flags, poor_design, too_few_points, unsteady
from scaling.fit.flags import Flag
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.numerics import bayesian_weights, estimate, estimates, generator
from scaling.fit.numerics.huber import SETTLED_RESAMPLE
from scaling.fit.observations import Observations
from scaling.fit.other_laws import repeats
from scaling.fit.other_laws.published import DataConstrained, worth
from scaling.fit.other_laws.repeats import LEAST, MOST, NO_DECAY, Repeats
from scaling.fit.parametric.minimum import stages, width
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import DataConstrainedLaw, RepeatMinimum, Worth

_PARAMETERS = 7
_SURFACE = ("E", "A", "B", "alpha", "beta")
_ROUNDING = 1e-6  # of unique tokens stated beside tokens
_MOST_ROWS = 20_000
# A resample costs a search of a grid, or a descent in seven constants: 5 and 50 ms for 200 runs.
_RESAMPLES_HELD, _RESAMPLES_FITTED, _FEWEST_RESAMPLES, _ROWS_RESAMPLED = 500, 200, 40, 100_000
_NEAR = 0.01  # share of the objective within which another minimum is named
_SAME = 0.02  # share of the worth of the most of _EPOCHS within which minima say one thing
_OPEN = 30.0  # ratio of an interval's ends beyond which it has no upper one to speak of
_EPOCHS = (2.0, 4.0, 8.0, 16.0, 32.0)
_MOST_PASSES = 1e4  # over the data: nobody trained so
_FEWEST = 3  # different epochs above one
_STARTS = (1.0, 5.0, 25.0, 125.0)  # of R_D* and of R_N*
_KEPT = 4  # starts that are followed to the objective's own width


def fit_data_constrained(
    observations: Observations,
    resamples: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
    repeats_surface: str = "fitted",
) -> DataConstrainedLaw:
    """Fit the law, with resampled cases; refuses rather than raises.

    `repeats_surface` is fitted, or the name of a published surface, which is then held. Runs in
    which N never exceeds N_opt(U) say nothing of R_N*: it is unknown there.
    """
    if objective in ("least_squares_loss", "asymmetric"):
        text = f"objective={objective} is of the surface; this law takes huber, lad, least_squares"
        return DataConstrainedLaw(**judged(reason=text))
    unique = unique_tokens(observations)
    if isinstance(unique, str):
        return DataConstrainedLaw(**judged(reason=unique))
    fitted, n = repeats_surface == "fitted", len(observations)
    if fitted and (reason := _too_little(observations)):
        text = f"{reason}; repeats_surface=muennighoff_c4 holds a published surface"
        return DataConstrainedLaw(**judged(reason=text))
    narrow = width(objective, delta)
    log_loss = np.log(observations.loss)
    rows = Repeats(observations.params, observations.tokens, unique, log_loss, narrow)
    most = max(_FEWEST_RESAMPLES, _ROWS_RESAMPLED // n)
    resamples = min(resamples, most, _RESAMPLES_FITTED if fitted else _RESAMPLES_HELD)
    free = _PARAMETERS if fitted else 2
    weights = bayesian_weights(n, free, resamples, generator(seed, "data_constrained"))
    if fitted:
        minima, law, samples = _fit_all(rows, weights)
    else:
        held = PUBLISHED[repeats_surface]
        assert isinstance(held, Surface)
        minima, law, samples = _fit_scales(rows, held, weights)
    best, surface = minima[0], law.surface
    failed = int(np.isnan(samples.data_half_life).sum())
    reason = unsteady(failed, resamples) or (_not_identified(surface) if fitted else None)
    if reason:
        return DataConstrainedLaw(**judged(reason=reason))
    constants = {name: Estimate(float(getattr(surface, name))) for name in _SURFACE}
    if fitted:
        constants = estimates(surface, samples.surface, _SURFACE)
    scales: dict[Literal["R_D", "R_N"], Estimate] = {
        "R_D": _estimate(best.R_D, samples.data_half_life),
        "R_N": UNKNOWN if best.R_N is None else _estimate(best.R_N, samples.params_half_life),
    }
    found = DataConstrainedLaw(
        **judged(),
        **constants,
        **scales,
        open_above=tuple(name for name, one in scales.items() if _is_open(one)),
        surface=repeats_surface,
        objective=best.objective,
        objective_without_decay=rows.at(surface, NO_DECAY, NO_DECAY),
        minima=minima,
        worth=tuple(_worth(epochs, best.R_D, samples.data_half_life) for epochs in _EPOCHS),
        n_points=n,
        n_repeating=int((rows.tokens > rows.unique).sum()),
        failed_resamples=failed,
    )
    # That (N, D) comes again with other unique tokens is what the law is about.
    of_runs = (flag for flag in data_flags(observations) if flag.code != "repeated_points")
    return replace(found, **judged((*_flags(found), *of_runs)))


def unique_tokens(observations: Observations) -> np.ndarray | str:
    """Unique tokens of each run, from their column or from epochs; or why there are none."""
    columns = observations.columns
    if len(observations) > _MOST_ROWS:
        return f"{len(observations)} runs, expected at most {_MOST_ROWS}; where.COLUMN= takes some"
    if "unique_tokens" in columns:
        name, unique = "unique_tokens", columns["unique_tokens"]
    elif "epochs" in columns:
        # Under one pass every token is new.
        name, unique = "epochs", observations.tokens / np.maximum(columns["epochs"], 1)
        unique = np.where(columns["epochs"] > 0, unique, np.nan)
    else:
        return "the table has no column unique_tokens, nor epochs"
    if (lacking := ~(unique > 0)).any():
        run = observations.run_id[int(np.argmax(lacking))]
        return f"{name}: {plural(int(lacking.sum()), 'run has', 'runs have')} none, as {run}"
    passes = float(np.median(observations.tokens / unique))
    if passes > _MOST_PASSES:
        return (
            f"{name}: half of the runs repeat their data over {passes:.3g} times; if unique_tokens "
            "count in another unit, name it, as units.unique_tokens=1e9"
        )
    more = unique > observations.tokens * (1 + _ROUNDING)
    if more.any():
        row = int(np.argmax(more))
        return (
            f"unique_tokens: {observations.run_id[row]} has {unique[row]:.4g} of "
            f"{observations.tokens[row]:.4g} tokens ({int(more.sum())} of {len(more)} runs), "
            "expected at most its tokens; are the two columns swapped?"
        )
    repeating = observations.tokens > unique * (1 + _ROUNDING)
    unique = np.where(repeating, unique, observations.tokens)
    distinct = len(np.unique(np.round(np.log(observations.tokens / unique)[repeating], 3)))
    if distinct < _FEWEST:
        return (
            f"{plural(int(repeating.sum()), 'run repeats', 'runs repeat')} data, at {distinct} "
            f"different epochs, expected at least {_FEWEST} to see what repeats are worth"
        )
    return unique


def _fit_all(
    rows: Repeats, weights_Rn: np.ndarray
) -> tuple[tuple[RepeatMinimum, ...], DataConstrained, DataConstrained]:
    """All seven constants: every minimum, the law of the least, and that of each resample."""
    base = PUBLISHED["muennighoff_c4"]
    assert isinstance(base, Surface)
    # The three terms of one size at the runs' centre, which is near any law.
    shifted = base.shifted(*(-value for value in rows.centre))
    third = float(np.exp(rows.log_loss.mean())) / 3
    near = replace(shifted, E=third, A=third, B=third).shifted(*rows.centre)
    starts = np.array([rows.theta(near, data, excess) for data in _STARTS for excess in _STARTS])
    ones = np.ones((len(starts), rows.tokens.size))
    *warm, last = stages(rows.delta)
    if warm:
        wide = repeats.descend(rows, starts, ones, tuple(warm), SETTLED_RESAMPLE)
        starts = wide.theta[np.argsort(wide.objective)[:_KEPT]]
    ends = repeats.descend(rows, starts, ones[: len(starts)], (last,))
    laws = [rows.law(theta) for theta in ends.theta]
    minima = repeats.distinct(
        [
            RepeatMinimum(
                float(law.data_half_life),
                float(law.params_half_life) if rows.in_excess(law.surface) else None,
                float(value),
            )
            for law, value in zip(laws, ends.objective, strict=True)
            if np.isfinite(value)
        ]
    )
    theta = ends.theta[ends.best()]
    others = np.repeat(theta[None], len(weights_Rn), axis=0)
    deltas = stages(rows.delta)[-3:]
    drawn = repeats.descend(rows, others, weights_Rn, deltas, SETTLED_RESAMPLE)
    samples = np.where(drawn.settled[:, None], drawn.theta, np.nan)
    return minima, rows.law(theta), rows.law(samples)


def _fit_scales(
    rows: Repeats, surface: Surface, weights_Rn: np.ndarray
) -> tuple[tuple[RepeatMinimum, ...], DataConstrained, DataConstrained]:
    """The same of R_D* and R_N* with the surface held."""
    minima = repeats.find_minima(rows, surface)
    drawn = [repeats.best_of_grid(rows, surface, weights) for weights in weights_Rn]
    data, excess = np.array(drawn).reshape(-1, 2).T
    law = DataConstrained(surface, minima[0].R_D, minima[0].R_N or NO_DECAY)
    return minima, law, DataConstrained(surface, data, excess)


def _too_little(observations: Observations) -> str | None:
    return too_few_points(observations, _PARAMETERS) or poor_design(observations)


def _not_identified(surface: Surface) -> str | None:
    ends = {"alpha": repeats.ALPHA, "beta": repeats.BETA}
    for name, index in ends.items():
        value = getattr(surface, name)
        if not repeats.LOWER[index] * 1.001 < value < repeats.UPPER[index] * 0.999:
            return f"{name} at its bound {value:.3g}: the runs do not show how loss falls with N, D"
    return None


def _at_bound(value: float) -> Literal["low", "high"] | None:
    if value <= LEAST * 1.01:
        return "low"
    return "high" if value >= MOST / 1.01 else None


def _estimate(value: float, samples: np.ndarray) -> Estimate:
    side = _at_bound(value)
    return Estimate(None, bound=side) if side else estimate(value, samples)


def _is_open(found: Estimate) -> bool:
    return found.ci90 is not None and found.ci90[1] > _OPEN * found.ci90[0]


def _worth(epochs: float, half_life: float, samples: np.ndarray) -> Worth:
    """How much of so many passes over one text is worth new text, as a share of all its tokens."""
    share = [worth(epochs, 1.0, scale) / epochs for scale in (half_life, samples)]
    return Worth(epochs, estimate(float(share[0]), np.asarray(share[1])))


def _apart(one: RepeatMinimum, other: RepeatMinimum) -> bool:
    """Whether it matters which of two minima is quoted: by what many passes are worth."""
    for scales in ((one.R_D, other.R_D), (one.R_N, other.R_N)):
        known = [worth(_EPOCHS[-1], 1.0, scale) for scale in scales if scale is not None]
        if len(known) == 1 or (known and max(known) > (1 + _SAME) * min(known)):
            return True
    return False


def _flags(law: DataConstrainedLaw) -> tuple[Flag, ...]:
    flags = []
    for name, one, what in (("R_D", law.R_D, "repeats"), ("R_N", law.R_N, "excess parameters")):
        if one.bound:
            says = "lose nothing" if one.bound == "high" else "are worth nothing"
            text = f"{name}* ran to its {one.bound} bound: in these runs {what} {says}"
            flags.append(Flag("term_at_bound", text))
        elif name in law.open_above and one.ci90 is not None:
            high = f"above {MOST:.0e}" if _at_bound(one.ci90[1]) else f"{one.ci90[1]:.3g}"
            text = (
                f"{name}* has a lower end, {one.ci90[0]:.3g} (90%), and hardly an upper one, "
                f"{high}: these runs do not say how long {what} keep their worth"
            )
            flags.append(Flag("no_upper_end", text))
    first, least = law.minima[0], law.minima[0].objective
    near = [m for m in law.minima[1:] if m.objective <= least * (1 + _NEAR) and _apart(m, first)]
    if near:
        others = "; ".join(f"{_pair(m)} ({m.objective / least - 1:+.2%})" for m in near[:4])
        text = f"{plural(len(near), 'other minimum', 'other minima')} within 1%, at R_D*, R_N* of "
        flags.append(Flag("several_minima", text + others))
    if law.R_N == UNKNOWN:
        text = "no run has more parameters than its unique tokens can use: R_N* does not show"
        flags.append(Flag("part_refused", text))
    return tuple(flags)


def _pair(minimum: RepeatMinimum) -> str:
    return f"{minimum.R_D:.4g}" + ("" if minimum.R_N is None else f", {minimum.R_N:.4g}")
