"""Runs far off the surface: which they are, the laws without them, and the refusals they explain.

outlier     a residual over 3.5 robust standard deviations from the median residual, that is
            0.6745 |r - median| > 3.5 MAD (Iglewicz & Hoaglin 1993); the laws are fitted
            again without such runs, and both results stand side by side

Where the surface was refused, or not asked for, the residuals are those at the optimum of approach
3's objective: a few runs that diverged move it little, though they may cost every law its number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.text import listed
from scaling.fit.config import FitConfig
from scaling.fit.data_flags import poor_design, too_few_points
from scaling.fit.dispatch import HeadlineFits, fit_headline
from scaling.fit.flags import Flag
from scaling.fit.numerics import Rows, robust_sd
from scaling.fit.observations import Observations
from scaling.fit.parametric import minimise
from scaling.fit.registry import HEADLINE, LAWS
from scaling.fit.results.checks import Outlier, Outliers, WithoutOutliers
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import Law, ParametricLaw

OUTLIER = 3.5
RULE = (
    f"residual of log loss over {OUTLIER} robust standard deviations (1.4826 MAD) from the median"
)
_ROUNDING = 1e-7  # residuals of data without noise scatter by rounding alone
_RESAMPLES = 500
_CONSTANTS, _DELTA = 5, 1e-3  # of the surface and its objective
_MOST_RUNS = 10_000  # of a surface that serves this check alone
_FEW = 0.2  # share of the runs that may be called a few


def find_outliers(
    observations: Observations,
    residuals: np.ndarray | None,
    fits: HeadlineFits,
    config: FitConfig,
) -> Outliers:
    """The outliers of `residuals`, log(observed/fitted), and the laws asked for without them.

    Without residuals, those of a surface fitted for this check, if a law was refused.
    """
    if residuals is None and len(fits.standing) < len(fits.laws):
        residuals = _robust_residuals(observations)
    found = _beyond(residuals)
    runs = tuple(
        Outlier(*name_of(observations, row), float(residuals[row]), score)
        for row, score in found
        if residuals is not None
    )
    return Outliers(RULE, runs, _without([row for row, _ in found], observations, config))


def name_of(observations: Observations, row: int) -> tuple[str, float, float]:
    """What tells a run from the others: one run_id may stand at several amounts of tokens."""
    n, d = observations.params[row], observations.tokens[row]
    return observations.run_id[row], float(n), float(d)


def refused_by_outliers(outliers: Outliers, laws: Mapping[str, Law], used: int) -> Sequence[str]:
    """The headline laws that are refused, and stand without a few runs."""
    if not 0 < len(outliers.runs) <= max(1, _FEW * used):
        return ()
    return [
        one.law
        for one in outliers.without
        if laws[one.law].status == "refused" and one.status != "refused"
    ]


def name_outliers(laws: Mapping[str, Law], outliers: Outliers, used: int) -> dict[str, Law]:
    """The laws, with the outliers in the reason of each that is refused because of them."""
    refused = refused_by_outliers(outliers, laws, used)
    names = listed(run.run_id for run in outliers.runs)
    found = dict(laws)
    for one in outliers.without:
        law = laws[one.law]
        if one.law in refused:
            text = f"{law.reason}; without {names} it is {one.status}, {_exponent(one.a)}"
            found[one.law] = replace(law, reason=text)  # type: ignore[type-var]
    return found


def outlier_warning(
    outliers: Outliers, laws: Mapping[str, Law], observations: Observations
) -> tuple[Flag, ...]:
    """The warning that a few runs, which it names, are why a law is refused."""
    refused = refused_by_outliers(outliers, laws, len(observations))
    if not refused:
        return ()
    losses = dict(
        zip(
            zip(observations.run_id, observations.params, observations.tokens, strict=True),
            observations.loss,
            strict=True,
        )
    )
    runs = [
        f"{run.run_id} (loss {losses[run.run_id, run.params, run.tokens]:.4g}, {run.score:+.0f} "
        "robust sd)"
        for run in outliers.runs
    ]
    laws_without = [
        f"{LAWS[one.law].label} {_exponent(one.a)}" for one in outliers.without if one.a is not None
    ]
    names = [
        name
        for run in outliers.runs
        for name in observations.members.get(run.run_id, (run.run_id,))
    ]
    text = (
        f"{' and '.join(refused)} {'is' if len(refused) == 1 else 'are'} refused because of "
        f"{len(runs)} of {len(observations)} runs, outliers: {listed(runs)}; without: "
        f"{', '.join(laws_without)}; exclude=[{','.join(names)}] fits so"
    )
    return (Flag("outliers", text),)


def _exponent(a: Estimate | None) -> str:
    if a is None or a.value is None:
        return "a unknown"
    ends = f" ({a.ci90[0]:.3f} to {a.ci90[1]:.3f})" if a.ci90 else ""
    return f"a = {a.value:.4f}{ends}"


def _robust_residuals(observations: Observations) -> np.ndarray | None:
    """log(observed/fitted) at the optimum of approach 3's objective; None where there is none."""
    if (
        len(observations) > _MOST_RUNS
        or too_few_points(observations, _CONSTANTS)
        or poor_design(observations)
    ):
        return None
    rows = Rows.of(observations.params, observations.tokens, observations.loss)
    point = minimise(rows, _DELTA)
    if not point.converged:
        return None
    fitted = rows.surface(point.theta).predict_loss(observations.params, observations.tokens)
    return np.asarray(np.log(observations.loss / fitted))


def _beyond(residuals: np.ndarray | None) -> list[tuple[int, float]]:
    """(row, robust standard deviations from the median), the worst first."""
    if residuals is None:
        return []
    distance = residuals - np.median(residuals)
    scale = max(robust_sd(distance, 0), _ROUNDING)
    score = distance / scale
    rows = np.flatnonzero(np.abs(score) > OUTLIER)
    return [(int(row), float(score[row])) for row in rows[np.argsort(-np.abs(score[rows]))]]


def _without(
    rows: list[int], observations: Observations, config: FitConfig
) -> tuple[WithoutOutliers, ...]:
    """Each law asked for, fitted to the runs that are no outliers; empty where none are."""
    if not rows or not set(config.asked) & set(HEADLINE):
        return ()
    kept = replace(observations.take(np.setdiff1d(np.arange(len(observations)), rows)), excluded=())
    config = replace(config, laws=tuple(law for law in config.asked if law in HEADLINE))
    fits = fit_headline(kept, config, min(config.n_bootstrap, _RESAMPLES))
    found = []
    for name, law in fits.laws.items():
        of = law if law.status != "refused" else None
        surface = of if isinstance(of, ParametricLaw) else None
        found.append(
            WithoutOutliers(
                law=name,
                status=law.status,
                reason=law.reason,
                runs=len(kept),
                a=of.a if of else None,
                b=of.b if of else None,
                E=surface.E if surface else None,
                alpha=surface.alpha if surface else None,
                beta=surface.beta if surface else None,
            )
        )
    return tuple(found)
