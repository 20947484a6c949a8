"""Runs whose warm-up or cool-down is short in absolute steps, and the laws without them.

At one budget the widest models take the fewest steps, so that a schedule in shares of the run
leaves them the least time to settle: their losses are too high, and a valley tilts against them.
At 1e18 FLOP a 2048-wide model gained 0.03 bits per byte by having no decay at all, where a 512-wide
one lost by that (marin, github.com/marin-community/marin/issues/4225). A schedule without warm-up,
or at a constant rate, is another method and not a short one.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from common.text import plural
from scaling.fit.config import FitConfig
from scaling.fit.dispatch import HeadlineFits, fit_headline
from scaling.fit.flags import Flag
from scaling.fit.observations import Observations

# Those of a run of 500 steps, the least of the protocol, with a tenth and a fifth of them.
LEAST_STEPS = {"warmup": 50, "cooldown": 100}
_WORDS = {"warmup": "warm-up", "cooldown": "cool-down"}
_RESAMPLES = 200
_NAMED = 5


def short_schedules(
    observations: Observations, fits: HeadlineFits, config: FitConfig
) -> Iterator[Flag]:
    """The warning that counts and names such runs, and gives the laws without them."""
    short = {part: _short(observations, part) for part in LEAST_STEPS}
    rows = np.flatnonzero(np.any(list(short.values()), axis=0))
    if not len(rows) or not fits.laws:
        return
    parts = [
        f"{plural(int(mask.sum()), 'run has', 'runs have')} under {LEAST_STEPS[part]} steps of "
        f"{_WORDS[part]}"
        for part, mask in short.items()
        if mask.any()
    ]
    names = [observations.run_id[row] for row in rows[:_NAMED]]
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    text = f"{' and '.join(parts)}, too few to settle whatever share of the run they are: "
    kept = replace(observations.take(np.setdiff1d(np.arange(len(observations)), rows)), excluded=())
    without = _without(kept, fits, config)
    yield Flag("short_schedule", f"{text}{', '.join(names)}{more}; without them {without}")


def _short(observations: Observations, part: str) -> np.ndarray:
    """Which runs have some steps of a part of their schedule, and too few."""
    columns = observations.columns
    unknown = np.full(len(observations), np.nan)
    batch = columns.get("batch_tokens", unknown)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_tokens = columns.get(f"{part}_tokens", unknown) / batch
    steps = columns.get(f"{part}_steps", unknown)
    steps = np.where(np.isfinite(steps), steps, by_tokens)
    # Half a step is rounding: our own schedules have whole ones.
    return np.asarray((steps >= 0.5) & (steps < LEAST_STEPS[part] - 0.5))


def _without(kept: Observations, fits: HeadlineFits, config: FitConfig) -> str:
    """The exponent of each headline law fitted to the runs that are left."""
    if not len(kept):
        return "no run is left"
    again = replace(config, laws=tuple(fits.laws))
    found = fit_headline(kept, again, min(config.n_bootstrap, _RESAMPLES))
    said = []
    for name, law in found.laws.items():
        before = fits.laws[name].a.value
        ends = f" ({law.a.ci90[0]:.3f} to {law.a.ci90[1]:.3f})" if law.a.ci90 else ""
        now = f"a = {law.a.value:.4f}{ends}" if law.a.value is not None else "no a"
        said.append(f"{name} has {now}" + (f", not {before:.4f}" if before is not None else ""))
    return f"{' and '.join(said)}, of {plural(len(kept), 'run')}"
