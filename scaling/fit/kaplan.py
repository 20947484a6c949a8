"""Kaplan's laws of one variable each and of both: L(N), L(D), L(C), L(N, D), and what they imply.

Each law of one variable goes through chosen points, where the other two do not limit the loss
(Kaplan et al. 2020, section 1.2); the rule of the choice stands in the law's entry. With a floor
and without are both fitted and compared (power.py). The frontier that the laws imply is algebra:

    N* ~ C^(alpha_D/(alpha_N + alpha_D)), L* ~ C^-(1/(1/alpha_N + 1/alpha_D))   where D is free
    N* ~ C^(alpha_C/alpha_N)                       from L(C) and L(N), his section 6
"""

from typing import Any

import numpy as np

from scaling.fit.joint import JointLaw, fit_joint, short_of_data
from scaling.fit.laws import PUBLISHED, Flag, KaplanLaw, LawFit
from scaling.fit.learning_curve import best_runs
from scaling.fit.observations import Observations
from scaling.fit.power import FEWEST, Powers, fit_powers, merged
from scaling.fit.uncertainty import estimate, generator
from scaling.fit.valleys import budgets

_RULES = {
    "L_N": "the run of most data at each size, of those with D >= k N^p where there are enough",
    "L_D": f"the runs of the largest size that has at least {FEWEST} amounts of data",
    "L_C": "the least loss of each budget, where no cheaper run is lower",
}
_VARIABLES = {"L_N": ("params", "N_c"), "L_D": ("tokens", "D_c"), "L_C": ("flops", "C_c")}


def fit_kaplan(observations: Observations, resamples: int, seed: int, tolerance: float) -> LawFit:
    """The four laws as one entry of fit.json, each standing, flagged or refused by itself."""
    joint, law = fit_joint(observations, resamples, seed)
    chosen = {
        "L_N": _by_size(observations, law),
        "L_D": _by_data(observations),
        "L_C": _by_budget(observations, tolerance),
    }
    fitted, laws = {}, {}
    for name, (rows, flags) in chosen.items():
        variable, scale = _VARIABLES[name]
        powers = fit_powers(
            getattr(observations, variable)[rows],
            observations.loss[rows],
            resamples,
            generator(seed, f"kaplan.{name}"),
        )
        fitted[name] = powers
        laws[name] = _law(name, powers, scale, observations.take(rows), flags)
    laws["L_ND"] = joint
    details: dict[str, Any] = {name: part.document() for name, part in laws.items()}
    details["implied"] = implied(fitted)
    details["failed_resamples"] = sum(
        part.details.get("failed_resamples", 0) for part in laws.values()
    )
    if all(part.status == "refused" for part in laws.values()):
        reasons = "; ".join(f"{name}: {part.reason}" for name, part in laws.items())
        return LawFit("kaplan", details=details, reason=reasons)
    return LawFit("kaplan", details=details, flags=_flags(laws))


def implied(fitted: dict[str, Powers]) -> list[dict[str, Any]]:
    """The exponents of the frontier that pairs of the laws imply, with where they come from.

    The two laws of a pair are fitted to different runs, so their resamples are independent.
    """
    found = []
    for form in ("power", "floor"):
        of = {name: getattr(powers, form) for name, powers in fitted.items()}
        alpha = {name: one.theta[2] for name, one in of.items() if one is not None}
        samples = {name: one.samples[:, 2] for name, one in of.items() if one is not None}
        if {"L_N", "L_D"} <= set(alpha):
            n, d, ns, ds = alpha["L_N"], alpha["L_D"], samples["L_N"], samples["L_D"]
            entry = {
                "laws": ["L_N", "L_D"],
                "form": form,
                "a": estimate(d / (n + d), ds / (ns + ds)).document(),
                "b": estimate(n / (n + d), ns / (ns + ds)).document(),
                "alpha_C": estimate(n * d / (n + d), ns * ds / (ns + ds)).document(),
            }
            found.append(entry)
        if form == "power" and {"L_N", "L_C"} <= set(alpha):
            n, c, ns, cs = alpha["L_N"], alpha["L_C"], samples["L_N"], samples["L_C"]
            entry = {
                "laws": ["L_N", "L_C"],
                "form": form,
                "a": estimate(c / n, cs / ns).document(),
                "b": estimate(1 - c / n, 1 - cs / ns).document(),
                "alpha_C": estimate(c, cs).document(),
            }
            found.append(entry)
    return found


def _law(
    name: str, powers: Powers, scale: str, chosen: Observations, flags: tuple[Flag, ...]
) -> LawFit:
    details = {
        "rule": _RULES[name],
        # With its tokens, since the rows of one run may be several observations.
        "runs": list(chosen.run_id),
        "tokens": [float(tokens) for tokens in chosen.tokens],
        **powers.details(scale),
    }
    if powers.reason is not None:
        return LawFit(name, details=details, reason=powers.reason)
    return LawFit(name, powers.best.estimates(scale), details, (*powers.flags, *flags))


def _by_size(
    observations: Observations, joint: JointLaw | None
) -> tuple[np.ndarray, tuple[Flag, ...]]:
    """Rows of L(N): one a size, without those short of data if enough sizes are left."""
    rows = np.array(
        [
            min(
                np.flatnonzero(observations.params == size),
                key=lambda i: (-observations.tokens[i], observations.loss[i]),
            )
            for size in np.unique(observations.params)
        ]
    )
    chosen = observations.take(rows)
    short = short_of_data(joint, chosen) if joint is not None else _short_by_kaplan(chosen)
    if (~short).sum() >= FEWEST:
        return rows[~short], ()
    text = (
        f"{int(short.sum())} of {len(rows)} sizes have too little data by "
        f"{'the L(N, D) of these runs' if joint is not None else 'Kaplan D >= 5e3 N^0.74'}: "
        "alpha holds what data would have changed"
    )
    return rows, (Flag("data_limited", text),)


def _short_by_kaplan(observations: Observations) -> np.ndarray:
    law = PUBLISHED["kaplan"]
    assert isinstance(law, KaplanLaw)
    published = JointLaw(np.log(law.N_c), np.log(law.D_c), law.alpha_N, law.alpha_D)
    return short_of_data(published, observations)


def _by_data(observations: Observations) -> tuple[np.ndarray, tuple[Flag, ...]]:
    """Rows of L(D): the largest size with enough amounts of data, the best run of each."""
    rows = np.array([], dtype=int)
    for size in np.unique(observations.params)[::-1]:
        rows = best_runs(observations, float(size))
        if len(rows) >= FEWEST:
            break
    return rows, ()


def _by_budget(observations: Observations, tolerance: float) -> tuple[np.ndarray, tuple[Flag, ...]]:
    """Rows of L(C): the least loss of each budget unless a cheaper run is as low."""
    groups = budgets(observations, tolerance)
    shared = [rows for _, rows in groups if len(rows) > 1]
    candidates = shared if len(shared) >= FEWEST else [rows for _, rows in groups]
    rows, least = [], np.inf
    for members in candidates:
        i = int(members[np.argmin(observations.loss[members])])
        if observations.loss[i] < least:
            rows.append(i)
            least = float(observations.loss[i])
    if len(shared) >= FEWEST:
        return np.array(rows, dtype=int), ()
    text = "few budgets have several sizes: the lower hull of all runs is taken for the least loss"
    return np.array(rows, dtype=int), (Flag("few_budgets", text),)


def _flags(laws: dict[str, LawFit]) -> tuple[Flag, ...]:
    """The doubts of the four laws as those of the whole, and which of them were refused."""
    found = [(name, flag) for name, part in laws.items() for flag in part.flags]
    for name, part in laws.items():
        if part.reason is not None:
            found.append((name, Flag("part_refused", f"refused, {part.reason}")))
    return merged(found)
