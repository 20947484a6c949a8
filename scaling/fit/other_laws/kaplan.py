"""Kaplan's laws of one variable each and of both: L(N), L(D), L(C), L(N, D), and what they imply.

Each law of one variable goes through chosen points, where the other two do not limit the loss
(Kaplan et al. 2020, section 1.2); the law's entry states the rule of the choice. Forms with an
irreducible loss and without are both fitted and compared (power_law.py). The frontier that the laws
imply is algebra:

    N* ~ C^(alpha_D/(alpha_N + alpha_D)), L* ~ C^-(1/(1/alpha_N + 1/alpha_D))   where D is free
    N* ~ C^(alpha_C/alpha_N)                       from L(C) and L(N), his section 6
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from scaling.fit.flags import Flag
from scaling.fit.isoflop import budgets
from scaling.fit.laws import PUBLISHED, KaplanLaw
from scaling.fit.numerics import estimate, generator
from scaling.fit.observations import Observations
from scaling.fit.other_laws.kaplan_joint import fit_joint, short_of_data
from scaling.fit.other_laws.learning_curve import best_runs
from scaling.fit.other_laws.power_law import FEWEST, Powers, Scale, fit_powers
from scaling.fit.results.laws import Law, judged
from scaling.fit.results.other_laws import FormName, ImpliedFrontier, KaplanLaws, KaplanOneVariable

_RULES = {
    "L_N": "the run of most data at each size, of those with D >= k N^p where there are enough",
    "L_D": f"the runs of the largest size that has at least {FEWEST} amounts of data",
    "L_C": "the least loss of each budget, where no cheaper run is lower",
}
# Of alpha_N and the exponent of the other law.
_IMPLIED: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "L_D": lambda n, d: {"a": d / (n + d), "b": n / (n + d), "alpha_C": n * d / (n + d)},
    "L_C": lambda n, c: {"a": c / n, "b": 1 - c / n, "alpha_C": c},
}
_VARIABLES: dict[str, tuple[str, Scale]] = {
    "L_N": ("params", "N_c"),
    "L_D": ("tokens", "D_c"),
    "L_C": ("flops", "C_c"),
}


def fit_kaplan(
    observations: Observations, resamples: int, seed: int, budget_tolerance: float
) -> KaplanLaws:
    """The four laws as one entry of fit.json, each standing, flagged or refused by itself."""
    joint, law = fit_joint(observations, resamples, seed)
    chosen = {
        "L_N": _by_size(observations, law),
        "L_D": _by_data(observations),
        "L_C": _by_budget(observations, budget_tolerance),
    }
    fitted, laws = {}, {}
    for name, (rows, flags) in chosen.items():
        variable, scale = _VARIABLES[name]
        points, rng = observations.take(rows), generator(seed, f"kaplan.{name}")
        fitted[name] = fit_powers(getattr(points, variable), points.loss, resamples, rng)
        if name == "L_C":
            flags += _no_frontier(points)
        laws[name] = _law(name, fitted[name], scale, points, flags)
    parts: dict[str, Law] = {**laws, "L_ND": joint}
    reason = None
    if all(part.status == "refused" for part in parts.values()):
        reason = "; ".join(f"{name}: {part.reason}" for name, part in parts.items())
    return KaplanLaws(
        **judged(() if reason else _flags(parts), reason),
        L_N=laws["L_N"],
        L_D=laws["L_D"],
        L_C=laws["L_C"],
        L_ND=joint,
        implied=tuple(implied(fitted)),
        failed_resamples=sum(part.failed_resamples or 0 for part in parts.values()),
    )


def implied(fitted: Mapping[str, Powers]) -> Iterator[ImpliedFrontier]:
    """The exponents of the frontier that pairs of the laws imply, with where they come from.

    The two laws of a pair are fitted to different runs, so their resamples are independent.
    """
    forms: tuple[FormName, ...] = ("power", "floor")
    for form in forms:
        alpha = {
            name: (one.theta[2], one.samples[:, 2])
            for name, powers in fitted.items()
            if (one := getattr(powers, form)) is not None
        }
        for other, exponents in _IMPLIED.items():
            if not {"L_N", other} <= set(alpha) or (other == "L_C" and form == "floor"):
                continue
            point, samples = map(exponents, alpha["L_N"], alpha[other])
            found = {name: estimate(point[name], samples[name]) for name in point}
            yield ImpliedFrontier(("L_N", other), form, **found)


def _law(
    name: str, powers: Powers, scale: Scale, chosen: Observations, flags: tuple[Flag, ...]
) -> KaplanOneVariable:
    return KaplanOneVariable(
        **judged((*powers.flags, *flags) if powers.reason is None else (), powers.reason),
        rule=_RULES[name],
        # With its tokens, since the rows of one run may be several observations.
        runs=tuple(chosen.run_id),
        tokens=tuple(float(tokens) for tokens in chosen.tokens),
        **powers.fields(scale),
    )


def _by_size(
    observations: Observations, joint: KaplanLaw | None
) -> tuple[np.ndarray, tuple[Flag, ...]]:
    """Rows of L(N): one a size, without those short of data if enough sizes are left."""
    order = np.lexsort((observations.loss, -observations.tokens, observations.params))
    first = np.diff(observations.params[order], prepend=0.0) > 0
    rows = order[first]
    law = joint or PUBLISHED["kaplan"]
    assert isinstance(law, KaplanLaw)
    short = short_of_data(law, observations.take(rows))
    if (~short).sum() >= FEWEST:
        return rows[~short], ()
    text = (
        f"{int(short.sum())} of {len(rows)} sizes have too little data by "
        f"{'the L(N, D) of these runs' if joint is not None else 'Kaplan D >= 5e3 N^0.74'}: "
        "alpha holds what data would have changed"
    )
    return rows, (Flag("data_limited", text),)


def _by_data(observations: Observations) -> tuple[np.ndarray, tuple[Flag, ...]]:
    """Rows of L(D): the largest size with enough amounts of data, the best run of each."""
    sizes, runs = np.unique(observations.params, return_counts=True)
    for size in sizes[runs >= FEWEST][::-1]:
        rows = best_runs(observations, float(size))
        if len(rows) >= FEWEST:
            return rows, ()
    return best_runs(observations, float(sizes[0])), ()


def _by_budget(observations: Observations, tolerance: float) -> tuple[np.ndarray, tuple[Flag, ...]]:
    """Rows of L(C): the least loss of each budget unless a cheaper run is as low."""
    grouped = budgets(observations, tolerance)
    shared = [(flops, rows) for flops, rows in grouped.groups if len(rows) > 1]
    taken = shared if len(shared) >= FEWEST else grouped.groups
    lowest = [int(rows[np.argmin(observations.loss[rows])]) for _, rows in taken]
    best, flops = np.array(lowest, dtype=int), np.array([flops for flops, _ in taken])
    if taken is not shared:
        best = np.concatenate([best, grouped.lone])
        flops = np.concatenate([flops, grouped.lone_flops])
    best = best[np.argsort(flops, kind="stable")]
    cheaper = np.minimum.accumulate(np.append(np.inf, observations.loss[best]))[:-1]
    rows = best[observations.loss[best] < cheaper]
    if taken is shared:
        return rows, ()
    text = "few budgets have several sizes: the lower hull of all runs is taken for the least loss"
    return rows, (Flag("few_budgets", text),)


def _no_frontier(points: Observations) -> tuple[Flag, ...]:
    """The flag of an L(C) along which one of N and D stays as it is."""
    for name, other, values in (("N", "D", points.params), ("D", "N", points.tokens)):
        if len(values) and np.ptp(values) == 0:
            text = (
                f"every run has {name} = {values[0]:.3g}: C varies with {other} alone, and this is "
                f"L({other}) again, not the least loss of a budget"
            )
            return (Flag("collinear_design", text),)
    return ()


def _flags(laws: Mapping[str, Law]) -> tuple[Flag, ...]:
    """The flags of the four laws, each with the law's name, and which of them were refused."""
    found = [(name, flag) for name, part in laws.items() for flag in part.flags]
    for name, part in laws.items():
        if part.reason is not None:
            found.append((name, Flag("part_refused", f"refused, {part.reason}")))
    return tuple(Flag(flag.code, f"{name}: {flag.text}") for name, flag in found)
