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

import numpy as np

from common.text import plural
from scaling.fit.data_flags import ENOUGH_BUDGETS, data_flags, unsteady, wide_interval
from scaling.fit.envelope.lower_envelope import LowerEnvelope, Trace, hull_points, lower_envelope
from scaling.fit.flags import Flag
from scaling.fit.frontier import Frontier
from scaling.fit.laws import PowerLaw
from scaling.fit.numerics import FEWEST_POINTS, case_weights, generator, regress
from scaling.fit.observations import Observations, Point
from scaling.fit.results.laws import Crossing, EnvelopeLaw, judged
from scaling.fit.table.curves import Curves

SETTLED = 0.9  # of a run's tokens
_SETTLED_SHARE = 0.9
_FEWEST_RUNS = 3
_BLOCK = 200
_SAME_RATE = 0.9


@dataclass(frozen=True)
class EnvelopeFit:
    """The fitted law, and its frontier where numbers of N* and D* may be read off it, else None."""

    law: EnvelopeLaw
    frontier: Frontier | None = None


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
                noise if np.isfinite(noise := one.noise_scale_tokens[keep]).any() else None,
            )
        )
    return found


def fit_envelope(
    observations: Observations, n_bootstrap: int, seed: int, traces: Sequence[Trace]
) -> EnvelopeFit:
    """Fit N* and D* along the envelope of the curves. Refuses rather than raises."""
    if not traces:
        return _refused("no training curves: they come from a sweep, or rows with a step column")
    envelope = lower_envelope(traces)
    if len(envelope.sizes) < FEWEST_POINTS + 1:
        sizes = plural(len(envelope.sizes), "size")
        return _refused(
            f"curves of {sizes}; {FEWEST_POINTS + 1} are needed, since a line takes "
            f"{FEWEST_POINTS} crossings from one size to the next"
        )
    everyone = np.ones((1, len(traces)), dtype=bool)
    winners = envelope.winners(everyone)[0]
    on_it = np.unique(winners[winners >= 0])
    if len(on_it) < _FEWEST_RUNS:
        names = ", ".join(traces[run].run_id for run in on_it)
        return _refused(f"the envelope is made of {plural(len(on_it), 'run')} alone: {names}")
    log_c, log_n, log_d = (row[0] for row in envelope.crossings(everyone))
    met = np.isfinite(log_c)
    if met.sum() < FEWEST_POINTS:
        return _refused(
            "the envelope passes between sizes that were both trained at "
            f"{plural(int(met.sum()), 'budget')}; {FEWEST_POINTS} are needed"
        )
    lines = _lines(envelope, observations, n_bootstrap, seed)
    head = lines["crossings"]
    if head is None:
        return _refused("the budgets at which the envelope changes size do not rise with size")
    failed = head.failed
    if reason := unsteady(failed, n_bootstrap):
        return _refused(reason)
    share = envelope.settled_share(winners)
    flags = (
        *_flags(share, int(met.sum())),
        *_about_runs(observations),
        *wide_interval(head.exponents.a),
    )
    crossings = zip(log_c[met], log_n[met], log_d[met], strict=True)
    law = EnvelopeLaw(
        **judged(flags),
        **head.estimates,
        method="crossings",
        methods={name: line.exponents if line else None for name, line in lines.items()},
        crossings=tuple(Crossing(*(float(np.exp(x)) for x in one)) for one in crossings),
        settled_share=share,
        settled_within=round(1 - SETTLED, 9),
        budgets=len(envelope.log_c),
        smoothing_steps=envelope.window,
        curves=len(traces),
        curves_on_envelope=len(on_it),
        failed_resamples=failed,
    )
    return EnvelopeFit(law, head if share >= _SETTLED_SHARE else None)


def _refused(reason: str) -> EnvelopeFit:
    return EnvelopeFit(EnvelopeLaw(**judged(reason=reason)))


def _lines(
    envelope: LowerEnvelope, observations: Observations, n_bootstrap: int, seed: int
) -> dict[str, Frontier | None]:
    """Each method's line with its resamples; None where the runs themselves give none."""
    n_traces = len(envelope.traces)
    drawn = case_weights(n_traces, n_bootstrap, generator(seed, "envelope")) > 0
    everyone = np.ones((1, n_traces), dtype=bool)
    blocks = [everyone, *(drawn[i : i + _BLOCK] for i in range(0, n_bootstrap, _BLOCK))]
    crossings, budgets = [], []
    for included in blocks:
        winners = envelope.winners(included)
        crossings.append(_through_crossings(*envelope.crossings(included, winners)))
        budgets.append(_pair(*envelope.points(winners)))
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


def _line(blocks: Sequence[tuple[PowerLaw, PowerLaw]]) -> Frontier | None:
    """The first row of the blocks is the runs themselves, the others are resamples."""
    n, d = (PowerLaw.joined([pair[which] for pair in blocks]) for which in (0, 1))
    return Frontier(n[0], d[0], n[1:], d[1:]) if np.isfinite(n.slope[0]) else None


def _flags(share: float, crossings: int) -> list[Flag]:
    flags = []
    if share < _SETTLED_SHARE:
        text = (
            f"{share:.0%} of the envelope's points are from runs in the last "
            f"{1 - SETTLED:.0%} of their schedule; before it the loss is not what a run of "
            "that length reaches"
        )
        flags.append(Flag("unsettled_schedule", text))
    if crossings < ENOUGH_BUDGETS:
        text = f"the envelope passes between sizes at {crossings} budgets only"
        flags.append(Flag("few_budgets", text))
    return flags


def _about_runs(observations: Observations) -> list[Flag]:
    """Flags of the runs that an envelope shares: several curves of one (N, D) raise none."""
    return [flag for flag in data_flags(observations) if flag.code == "unsettled_schedule"]
