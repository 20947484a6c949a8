"""Which runs of two arms belong together, and noise that is drawn for both at once.

Two arms that share seed, order of data and held-out text err alike, so their difference is less
noisy than either loss (common random numbers). Cells of one budget and size are matched where the
columns show the same seeds, and noise is drawn with the correlation that the residuals of matched
cells have. Elsewhere it is drawn for each arm alone, which makes an interval wide, not wrong.
Shapes: k sizes of a profile, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from scaling.fit.isoflop import Profile, budgets
from scaling.fit.isoflop.budgets import same_sizes
from scaling.fit.isoflop.noise import Noise
from scaling.fit.isoflop.profiles import window_fit
from scaling.fit.numerics import t_scale
from scaling.fit.observations import Observations

# With fewer pairs, or a smaller share of the cells, there is no correlation to tell.
_FEWEST_PAIRS, _LEAST_SHARE = 6, 0.5
_SAME_PLACE = 0.5  # of a step of the ladder: sizes that are nearer are one place of it

Places = dict[tuple[int, int], np.ndarray]
Seeds = Sequence[tuple[float, ...]]


@dataclass(frozen=True)
class Pairing:
    """The matched cells and how alike their noise is.

    places       of matched sizes in the two profiles of a budget, (m, 2), by their indices
    correlation  of the noise of matched cells; None where each arm's is drawn alone
    """

    places: Places = field(default_factory=dict)
    correlation: float | None = None


def partners(one: np.ndarray, other: np.ndarray, tolerance: float) -> np.ndarray:
    """Of budgets (V,) the place of the one that is each of (W,) within `tolerance`, or -1."""
    apart = np.abs(np.log(one)[:, None] - np.log(other)[None])
    nearest = apart.argmin(axis=0)
    mutual = apart.argmin(axis=1)[nearest] == np.arange(len(other))
    near = apart[nearest, np.arange(len(other))] <= np.log1p(tolerance)
    return np.where(mutual & near, nearest, -1)


def seeds_of_cells(
    observations: Observations, profiles: Sequence[Profile], tolerance: float
) -> list[Seeds]:
    """For each size of each profile the seeds of its runs, () where one is unknown."""
    unknown = np.full(len(observations), np.nan)
    seed = observations.columns.get("seed", unknown)
    count = observations.columns.get("seeds", np.ones(len(observations)))
    rows_of = dict(budgets(observations, tolerance).groups)
    found: list[Seeds] = []
    for profile in profiles:
        rows = rows_of[profile.flops]
        group = same_sizes(np.log(observations.params[rows]))
        if group.max() + 1 != len(profile.loss):  # many sizes, of which neighbours are averaged
            found.append([()] * len(profile.loss))
            continue
        cells = [rows[group == place] for place in range(len(profile.loss))]
        runs = [sorted(zip(seed[cell], count[cell], strict=True)) for cell in cells]
        known = [np.isfinite(seed[cell]).all() for cell in cells]
        found.append([tuple(sum(r, ())) if k else () for r, k in zip(runs, known, strict=True)])
    return found


def match(
    arms: tuple[Sequence[Profile], Sequence[Profile]],
    seeds: tuple[Sequence[Seeds], Sequence[Seeds]],
    partner: np.ndarray,
) -> Places:
    """The cells of one budget, size and seeds in both arms; ladders may differ a little."""
    found = {}
    for j, i in enumerate(partner):
        if i < 0:
            continue
        one, other = arms[0][i].log_n, arms[1][j].log_n
        step = min(np.diff(one).min(), np.diff(other).min())
        apart = np.abs(one[:, None] - other[None])
        nearest = apart.argmin(axis=1)
        pairs = [
            (row, place)
            for row, place in enumerate(nearest)
            if apart[row, place] <= _SAME_PLACE * step
            and apart[:, place].argmin() == row
            and seeds[0][i][row] == seeds[1][j][place] != ()
        ]
        if pairs:
            found[int(i), j] = np.array(pairs)
    return found


def paired(arms: tuple[Sequence[Profile], Sequence[Profile]], places: Places) -> Pairing:
    """The correlation of the residuals of matched cells, if there are enough of them."""
    cells = min(sum(int(profile.window.sum()) for profile in one) for one in arms)
    x, y = [], []
    for (i, j), pairs in places.items():
        first, second = _residuals(arms[0][i])[pairs[:, 0]], _residuals(arms[1][j])[pairs[:, 1]]
        both = np.isfinite(first) & np.isfinite(second)
        x.append(first[both])
        y.append(second[both])
    one, other = (np.concatenate([*part, np.empty(0)]) for part in (x, y))
    if len(one) < max(_FEWEST_PAIRS, _LEAST_SHARE * cells):
        return Pairing()
    size = float(np.sqrt((one @ one) * (other @ other)))
    return Pairing(places, float(one @ other) / size if size > 0 else 0.0)


def noise_of_both(
    noises: tuple[Noise, Noise], pairing: Pairing, resamples: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Noise (R, k) for the losses of each profile of either arm, alike in matched cells."""
    first, second = (
        [rng.standard_normal((resamples, len(sd))) for sd in noise.sd] for noise in noises
    )
    scales = [_scale(noise, resamples, rng) for noise in noises]
    if (r := pairing.correlation) is not None:
        for (i, j), pairs in pairing.places.items():
            mine, shared = second[j][:, pairs[:, 1]], first[i][:, pairs[:, 0]]
            second[j][:, pairs[:, 1]] = r * shared + np.sqrt(max(1 - r * r, 0.0)) * mine
        # The residuals of the differences tell the level of their noise: one chi2 for both arms.
        scales[1] = scales[0]
    drawn = (
        [u * np.nan_to_num(sd) * scale[:, None] for u, sd in zip(unit, noise.sd, strict=True)]
        for unit, noise, scale in zip((first, second), noises, scales, strict=True)
    )
    return next(drawn), next(drawn)


def _scale(noise: Noise, resamples: int, rng: np.random.Generator) -> np.ndarray:
    return t_scale(noise.dof, resamples, rng) if noise.dof > 0 else np.ones(resamples)


def _residuals(profile: Profile) -> np.ndarray:
    """Residuals (k,) of the parabola, of one variance; nan outside its window."""
    fitted, leverage = window_fit(profile)
    found = np.full(len(profile.loss), np.nan)
    missed = profile.loss[profile.window] - fitted
    found[profile.window] = missed / np.sqrt(np.maximum(1 - leverage, 1e-3))
    return found
