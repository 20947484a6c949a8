"""Approach 1: the least loss that any curve reaches at a budget, and the size that reaches it.

Each training curve is smoothed by a Gaussian in steps (its whole window 10 steps, its sd a quarter
of that) and read against log FLOP at 1500 budgets; at each, the curve of least loss is the
envelope (Hoffmann et al. 2022, approach 1). Power laws N* ~ C^a and D* ~ C^b by three methods:

    crossings  lines through the budgets at which the envelope passes from one size to the next,
               at the geometric mean of the two sizes; fitted as log C on log N. The headline.
    budgets    least squares on all envelope points, as published
    hull       least squares on the lower convex hull of the runs' final points in (log C, loss)
               (Gemstones, 2502.06857), without its smallest and largest size

The envelope of k sizes is a staircase, and least squares through k equal steps of a slope gives
(1 - 1/k^2) of it: 0.94 for four. Two curves L = E + A N^-alpha + B D^-beta of sizes M/s and M s
cross at C/6 = M^(1/a) [(B/A) sinh(beta log s)/sinh(alpha log s)]^(1/beta), so for sizes of one
ratio the crossings lie on N ~ C^a, exactly. Only a crossing at which both sizes have a curve
counts: where one merely ends or begins, nothing was compared.

Points before the end of a run's schedule are not the loss of a run of that length (for a cosine
they are too high), so the share of envelope points from runs within 10% of their end is stated,
and a lower one than 90% flagged. Intervals resample the runs; those without an answer are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.curves import Curves
from scaling.fit.doubts import data_flags, unsteady, wide_interval
from scaling.fit.laws import UNKNOWN, Estimate, Flag, LawFit
from scaling.fit.lines import FEWEST_POINTS, PowerLaw, regress
from scaling.fit.observations import Observations
from scaling.fit.prediction import prediction
from scaling.fit.repeats import Point
from scaling.fit.staircase import Stairs, Trace, hull_points, stairs_of
from scaling.fit.uncertainty import case_weights, estimate, generator

SETTLED = 0.9  # of a run's tokens
_SETTLED_SHARE = 0.9
_ENOUGH_CROSSINGS = 5
_FEWEST_RUNS = 3
_BLOCK = 200
_SAME_RATE = 0.9


@dataclass(frozen=True)
class Line:
    """N* and D* against C by one method, and their resamples."""

    n: PowerLaw
    d: PowerLaw
    n_samples: PowerLaw
    d_samples: PowerLaw

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The exponents, and the coefficients of N* = n_coef C^a and D* = d_coef C^b."""
        with np.errstate(over="ignore"):
            return {
                "a": estimate(float(self.n.slope), self.n_samples.slope),
                "b": estimate(float(self.d.slope), self.d_samples.slope),
                "n_coef": estimate(
                    float(np.exp(self.n.log_scale)), np.exp(self.n_samples.log_scale)
                ),
                "d_coef": estimate(
                    float(np.exp(self.d.log_scale)), np.exp(self.d_samples.log_scale)
                ),
            }


@dataclass(frozen=True)
class EnvelopeFit:
    """The fitted law, and its line where numbers of N* and D* may be read off it, else None."""

    law: LawFit
    line: Line | None = None


def traces_of(curves: Curves, runs: Mapping[str, Point]) -> list[Trace]:
    """The curves of the runs that a fit uses, against the compute of the headline's convention.

    FLOP are in proportion to tokens within a run, at the rate of its final row. A run whose
    learning rate is known and does not fall has no schedule that could be unfinished.
    """
    found = []
    for name, one in curves.items():
        run = runs.get(name)
        if run is None:
            continue
        good = (one.tokens > 0) & (one.loss > 0) & np.isfinite(one.step)
        keep = np.flatnonzero(good)
        keep = keep[np.append(np.diff(one.tokens[keep]) > 0, True)] if keep.size else keep
        if keep.size < 2:
            continue
        lr = one.lr[keep]
        constant = bool(np.isfinite(lr).all() and lr[-1] >= _SAME_RATE * lr.max())
        found.append(
            Trace(
                name,
                run.params,
                run.flops / run.tokens,
                one.step[keep],
                one.tokens[keep],
                one.loss[keep],
                0.0 if constant else SETTLED * max(run.tokens, float(one.tokens[keep[-1]])),
            )
        )
    return found


def fit_envelope(
    traces: Sequence[Trace], observations: Observations, n_bootstrap: int, seed: int
) -> EnvelopeFit:
    """Fit N* and D* along the envelope of the curves. Refuses rather than raises."""
    if not traces:
        return _refused("no training curves: they come from a sweep, or rows with a step column")
    stairs = stairs_of(traces)
    if len(stairs.sizes) < FEWEST_POINTS + 1:
        return _refused(
            f"curves of {plural(len(stairs.sizes), 'size')}; {FEWEST_POINTS + 1} are needed, since "
            f"a line takes {FEWEST_POINTS} crossings from one size to the next"
        )
    everyone = np.ones((1, len(traces)), dtype=bool)
    winners = stairs.winners(everyone)[0]
    on_it = np.unique(winners[winners >= 0])
    if len(on_it) < _FEWEST_RUNS:
        names = ", ".join(traces[run].run_id for run in on_it)
        return _refused(f"the envelope is made of {plural(len(on_it), 'run')} alone: {names}")
    log_c, log_n, log_d = (row[0] for row in stairs.crossings(everyone))
    met = np.isfinite(log_c)
    if met.sum() < FEWEST_POINTS:
        return _refused(
            "the envelope passes between sizes that were both trained at "
            f"{plural(int(met.sum()), 'budget')}; {FEWEST_POINTS} are needed"
        )
    lines = _lines(stairs, observations, n_bootstrap, seed)
    head = lines["crossings"]
    if head is None:
        return _refused("the budgets at which the envelope changes size do not rise with size")
    failed = int(np.isnan(head.n_samples.slope).sum())
    if reason := unsteady(failed, n_bootstrap):
        return _refused(reason)
    share = stairs.settled_share(winners)
    flags = [*_flags(share, int(met.sum())), *_about_runs(observations)]
    estimates = head.estimates
    flags += wide_interval(estimates["a"])
    details = {
        "method": "crossings",
        "methods": {name: _exponents(line) for name, line in lines.items()},
        "crossings": [
            {"flops": float(np.exp(c)), "n_opt": float(np.exp(n)), "d_opt": float(np.exp(d))}
            for c, n, d in zip(log_c[met], log_n[met], log_d[met], strict=True)
        ],
        "settled_share": share,
        "settled_within": round(1 - SETTLED, 9),
        "budgets": len(stairs.log_c),
        "smoothing_steps": stairs.window,
        "curves": len(traces),
        "curves_on_envelope": len(on_it),
        "failed_resamples": failed,
    }
    law = LawFit("envelope", estimates, details, tuple(flags))
    return EnvelopeFit(law, head if share >= _SETTLED_SHARE else None)


def predictions_of(
    line: Line | None, flops: Sequence[float], observations: Observations
) -> list[dict[str, Any]]:
    """Rows of fit.json; none where the points behind the line were mostly unsettled."""
    if line is None:
        return []
    return [
        prediction(
            c,
            "envelope",
            (line.n.at(c), line.n_samples.at(c)),
            (line.d.at(c), line.d_samples.at(c)),
            UNKNOWN,
            observations,
        )
        for c in flops
    ]


def _refused(reason: str) -> EnvelopeFit:
    return EnvelopeFit(LawFit("envelope", reason=reason))


def _lines(
    stairs: Stairs, observations: Observations, n_bootstrap: int, seed: int
) -> dict[str, Line | None]:
    """Each method's line with its resamples; None where the runs themselves give none."""
    n_traces = len(stairs.traces)
    drawn = case_weights(n_traces, n_bootstrap, generator(seed, "envelope")) > 0
    everyone = np.ones((1, n_traces), dtype=bool)
    blocks = [everyone, *(drawn[i : i + _BLOCK] for i in range(0, n_bootstrap, _BLOCK))]
    crossings, budgets = [], []
    for included in blocks:
        winners = stairs.winners(included)
        crossings.append(_through_crossings(*stairs.crossings(included, winners)))
        budgets.append(_pair(*stairs.points(winners)))
    n_runs = len(observations)
    drawn = case_weights(n_runs, n_bootstrap, generator(seed, "envelope hull")) > 0
    drawn = np.concatenate([np.ones((1, n_runs), dtype=bool), drawn])
    return {
        "crossings": _line(crossings),
        "budgets": _line(budgets),
        "hull": _line([_pair(*hull_points(observations, drawn))]),
    }


def _pair(log_c: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> tuple[PowerLaw, PowerLaw]:
    """Lines of log N and log D through each resample's points (R, V); nan: no point."""
    weights = np.ones(log_n.shape[1])
    return regress(log_c, log_n, weights), regress(log_c, log_d, weights)


def _through_crossings(
    log_c: np.ndarray, log_n: np.ndarray, log_d: np.ndarray
) -> tuple[PowerLaw, PowerLaw]:
    """The same through crossings, by regression on log N, which alone is free of error.

    The sizes are chosen and the budget of their crossing is measured: least squares against log C
    would flatten the slope by the share of log C's variance that is noise.
    """
    weights = np.ones(log_n.shape[1])
    c, d = regress(log_n, log_c, weights), regress(log_n, log_d, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = np.where(c.slope > 0, c.slope, np.nan)
        n = PowerLaw(-c.log_scale / rising, 1 / rising)
    return n, PowerLaw(d.log_scale + d.slope * n.log_scale, d.slope * n.slope)


def _line(blocks: Sequence[tuple[PowerLaw, PowerLaw]]) -> Line | None:
    """The first row of the blocks is the runs themselves, the others are resamples."""
    n, d = (
        [
            np.concatenate([np.asarray(getattr(pair[which], part)) for pair in blocks])
            for part in ("log_scale", "slope")
        ]
        for which in (0, 1)
    )
    if not np.isfinite(n[1][0]):
        return None
    return Line(
        PowerLaw(float(n[0][0]), float(n[1][0])),
        PowerLaw(float(d[0][0]), float(d[1][0])),
        PowerLaw(n[0][1:], n[1][1:]),
        PowerLaw(d[0][1:], d[1][1:]),
    )


def _exponents(line: Line | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {name: line.estimates[name].document() for name in ("a", "b")}


def _flags(share: float, crossings: int) -> list[Flag]:
    flags = []
    if share < _SETTLED_SHARE:
        text = (
            f"{share:.0%} of the envelope's points are from runs in the last "
            f"{1 - SETTLED:.0%} of their schedule; before it the loss is not what a run of "
            "that length reaches"
        )
        flags.append(Flag("unsettled_schedule", text))
    if crossings < _ENOUGH_CROSSINGS:
        text = f"the envelope passes between sizes at {crossings} budgets only"
        flags.append(Flag("few_budgets", text))
    return flags


def _about_runs(observations: Observations) -> list[Flag]:
    """Doubts about the runs that an envelope shares: several curves of one (N, D) are none."""
    return [flag for flag in data_flags(observations) if flag.code == "unsettled_schedule"]
