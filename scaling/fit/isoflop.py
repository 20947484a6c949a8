"""Approach 2: at each budget the size of least loss, then power laws through those sizes.

A valley is the losses of one budget against log N. Its vertex is taken by three methods:

    parabola  least squares in log N over the sizes within a factor 4 of the lowest, at least five.
              A wider window is steadier and more biased (Czech 2026: by 1% of D* at a factor 4).
    robust    one skewed shape for all valleys (scaling.fit.shape): no bias on a surface, whatever
              the width of the grid, and Huber's weights, so that one bad run hardly moves it
    spline    Akima's, and where the headline as Porian et al. (2024) take it: log loss, the median
              vertex over draws of the runs' own noise, weights 1/sd^2, sd at least a third of the
              grid's step; a valley whose vertex is at an edge in most draws is dropped

The headline is chosen by a rule that sees the grid and the noise but no result; the rule itself
was chosen with Porian et al.'s exponents in view, so agreement with those is calibration. It is the
parabola, whose form steadies it, on grids planned about the vertex: up to seven sizes a valley,
the window holding nearly all of them, so that its bias is the same at every budget and spoils
no exponent. It is the spline where most valleys have eight sizes or more and their noise lets it
know the vertex to a step of the grid: such a table is a ladder of sizes on which the window slides
from budget to budget, the parabola's bias slides with it and fakes an exponent (Czech 2026), and
a curve that assumes no form is affordable.

A valley whose lowest loss is at its smallest or largest size, or that is not convex, has no vertex:
it is left out and said so, never extrapolated to. The law N* = k C^a is a weighted regression on
the vertices, each with its own variance plus what scatter between valleys shows beyond that
(random effects, DerSimonian and Laird 1986). D* ~ C^b is fitted apart from N*, so that a + b = 1
is a finding and not an assumption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.doubts import data_flags, unsteady, wide_interval
from scaling.fit.frontier import (
    Bagged,
    Frontier,
    Valleys,
    bagged,
    frontier,
    spline_frontier,
)
from scaling.fit.laws import UNKNOWN, Estimate, Flag, LawFit
from scaling.fit.lines import FEWEST_POINTS
from scaling.fit.noise import noise_draws, valley_noise
from scaling.fit.observations import Observations
from scaling.fit.spline import RICH_SIZES
from scaling.fit.uncertainty import estimate, generator
from scaling.fit.valley_doubts import drift, lost_edges, with_doubts
from scaling.fit.valleys import METHODS, Method, Valley, find_valleys

_ENOUGH_BUDGETS = 5


@dataclass(frozen=True)
class IsoflopFit:
    """The fitted law, the valleys, and the frontiers of the headline and of the robust method."""

    law: LawFit
    valleys: tuple[Valley, ...] = ()
    frontier: Frontier | None = None
    robust: Frontier | None = None


def fit_isoflop(
    observations: Observations,
    n_bootstrap: int,
    seed: int,
    tolerance: float,
    methods: tuple[Method, ...] = METHODS,
) -> IsoflopFit:
    """Fit N* and D* against C through the valleys' vertices. Refuses rather than raises.

    Without "spline" among `methods` the headline is the parabola, which must be.
    """
    valleys = find_valleys(observations, tolerance)
    usable = [valley for valley in valleys if valley.reason is None]
    if len(usable) < FEWEST_POINTS:
        return _refused(_too_few(valleys, usable), valleys)
    noise = valley_noise(usable)
    doubted = dict(zip(map(id, usable), with_doubts(usable, noise), strict=True))
    valleys = tuple(doubted.get(id(valley), valley) for valley in valleys)
    usable = list(doubted.values())
    draws = noise_draws(usable, noise, n_bootstrap, generator(seed, "isoflop"))
    parts = Valleys(tuple(usable), noise, draws)
    frontiers = {method: frontier(parts, method, seed) for method in methods}
    rich = bagged(valleys, n_bootstrap, seed) if "spline" in methods else None
    headline, why_headline = _headline(rich)
    if rich is not None and headline == "spline":
        usable = list(rich.usable)
        frontiers["spline"] = spline_frontier(rich, n_bootstrap, seed)
    head = frontiers[headline]
    if head is None:
        why = "the vertices of fewer than three budgets lie between the sampled sizes"
        return _refused(why, valleys)
    reason = unsteady(head.failed, n_bootstrap)
    if reason is not None:
        return _refused(reason, valleys)
    details = {
        "method": headline,
        "method_reason": why_headline,
        "methods": {name: _exponents(frontier) for name, frontier in frontiers.items()},
        "valleys": _valley_documents(valleys, usable, head),
        "scatter_between_valleys": head.scatter,
        "failed_resamples": head.failed,
    }
    flags = _flags(observations, valleys, usable, head, frontiers)
    law = LawFit("isoflop", head.estimates, details, flags)
    return IsoflopFit(law, valleys, head, frontiers.get("robust"))


def _refused(reason: str, valleys: tuple[Valley, ...]) -> IsoflopFit:
    """No law; its valleys stay, since their doubts tell which runs would help."""
    details = {
        "valleys": [
            _valley_document(v, UNKNOWN, UNKNOWN, UNKNOWN, v.reason is None) for v in valleys
        ]
    }
    return IsoflopFit(LawFit("isoflop", details=details, reason=reason), valleys)


def parabola_exponent(valleys: Sequence[Valley | None]) -> float:
    """The exponent a through the parabolas' vertices alone; nan where the law would be refused."""
    usable = tuple(valley for valley in valleys if valley is not None and valley.reason is None)
    if len(usable) < FEWEST_POINTS:
        return float("nan")
    noise = valley_noise(usable)
    draws = [np.zeros((0, len(valley.loss))) for valley in usable]
    found = frontier(Valleys(usable, noise, draws), "parabola", seed=0)
    return float("nan") if found is None else float(found.n.slope)


def _headline(rich: Bagged | None) -> tuple[Method, str]:
    """The method of the headline and why, by the grid and the noise and not by the results."""
    if rich is None:
        return "parabola", f"most valleys have fewer than {RICH_SIZES} sizes"
    if not rich.resolved:
        return "parabola", "noise leaves the spline's vertices open by over a step of the grid"
    return "spline", f"{RICH_SIZES} sizes a valley or more, and noise lets a spline resolve them"


def _exponents(found: Frontier | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {name: found.estimates[name].document() for name in ("a", "b")}


def _valley_documents(
    valleys: Sequence[Valley], usable: Sequence[Valley], head: Frontier
) -> list[dict[str, Any]]:
    documents = []
    column = {id(valley): index for index, valley in enumerate(usable)}
    for valley in valleys:
        n_opt = d_opt = loss = UNKNOWN
        if id(valley) in column:
            index = column[id(valley)]
            n_opt, d_opt, loss = (
                estimate(float(value(getattr(head.points, name)[index])), value(cloud[:, index]))
                for name, value, cloud in (
                    ("log_n", np.exp, head.samples.log_n),
                    ("log_d", np.exp, head.samples.log_d),
                    ("loss", np.asarray, head.samples.loss),
                )
            )
        documents.append(_valley_document(valley, n_opt, d_opt, loss, id(valley) in column))
    return documents


def _valley_document(
    valley: Valley, n_opt: Estimate, d_opt: Estimate, loss: Estimate, used: bool
) -> dict[str, Any]:
    flags = valley.flags
    if not used:
        code = "edge_valley" if valley.open_edge else "unusable"
        flags = (*flags, Flag(code, str(valley.reason)))
    return {
        "flops": valley.flops,
        "n_opt": n_opt.document(),
        "d_opt": d_opt.document(),
        "loss": loss.document(),
        "n_points": int(valley.window.sum()),
        "flags": [flag.document() for flag in flags],
    }


def _too_few(valleys: Sequence[Valley], usable: Sequence[Valley]) -> str:
    lost = "; ".join(f"{v.flops:.3g} FLOP: {v.reason}" for v in valleys if v.reason is not None)
    with_vertex = plural(len(usable), "budget with a vertex", "budgets with a vertex")
    found = f"{with_vertex}, expected at least {FEWEST_POINTS}"
    return found + (f" ({lost})" if lost else "")


def _flags(
    observations: Observations,
    valleys: Sequence[Valley],
    usable: Sequence[Valley],
    head: Frontier,
    frontiers: Mapping[Method, Frontier | None],
) -> tuple[Flag, ...]:
    flags = []
    kept = {id(valley) for valley in usable}
    for valley in valleys:
        if id(valley) in kept:
            continue
        text = f"{valley.flops:.3g} FLOP is left out: {valley.reason}"
        flags.append(Flag("edge_valley", text))
    flags += lost_edges(usable, head)
    if frontiers.get("parabola") is head:
        flags += drift(usable, head, frontiers.get("robust"))
    if len(usable) < _ENOUGH_BUDGETS:
        text = f"{len(usable)} budgets, expected at least {_ENOUGH_BUDGETS} for a law to rely on"
        flags.append(Flag("few_budgets", text))
    return (*flags, *wide_interval(head.estimates["a"]), *data_flags(observations))
