"""What a reader must be told beside the laws: about the runs, and where two ways disagree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from common.text import listed, plural
from scaling.fit.checks.schedules import short_schedules
from scaling.fit.config import FitConfig
from scaling.fit.dispatch import HeadlineFits, fit_headline
from scaling.fit.flags import Flag
from scaling.fit.isoflop import in_no_budget
from scaling.fit.observations import TOGETHER, Observations, admit, observe
from scaling.fit.results.estimate import UNKNOWN
from scaling.fit.results.laws import Headline, IsoflopLaw, ParametricLaw
from scaling.fit.table.columns import Table
from scaling.fit.table.seeds import repeated, settings

# Median tokens per parameter: those of published studies lie well inside, at about 1 to 1000.
_FEWEST_TOKENS, _MOST_TOKENS = 1e-3, 1e6
_CELL = ("flops_budget", "n_layer", "n_head", "n_embd")
_RECIPE = ("lr", "batch_tokens")
_BEYOND = 3.0  # times the error of a method in simulations of the runs
_APART = 0.01  # of a; methods nearer each other than this agree for any use of the exponent


def warnings(
    runs: Table, observations: Observations, fits: HeadlineFits, config: FitConfig
) -> Iterator[Flag]:
    """What a reader must be told beside the laws."""
    if lost := len(observations.excluded):
        verb = "is" if lost == 1 else "are"
        text = f"{lost} of {observations.planned} planned runs {verb} not used"
        yield Flag("excluded_runs", text)
    yield from _stale(runs)
    yield from _unknown_setting(runs)
    epochs = observations.columns.get("epochs")
    if (unique := observations.columns.get("unique_tokens")) is not None:
        epochs = observations.tokens / unique
    if epochs is not None and np.nanmax(epochs) > 1:
        text = f"{plural(int((epochs > 1).sum()), 'run')} saw the data more than once"
        yield Flag("repeated_data", text)
    yield from _jumps(runs)
    yield from short_schedules(observations, fits, config)
    yield from _slipped_unit(observations)
    if config.units:
        counted = ", ".join(f"{name} x {unit:g}" for name, unit in config.units.items())
        yield Flag("converted", f"columns were multiplied: {counted}")
    if config.loss_unit == "bpb":
        yield Flag("loss_unit", "losses are bits per byte: E, A and B are in that unit")
    if any(flag.code == "repeated_points" for law in fits.laws.values() for flag in law.flags):
        yield Flag("repeated_points", _alternative(runs, config) + _unlike(runs, config))
    yield from _in_no_budget(observations, fits, config)
    yield from _disagreements(fits.standing)


def _in_no_budget(
    observations: Observations, fits: HeadlineFits, config: FitConfig
) -> Iterator[Flag]:
    """How many runs no IsoFLOP curve has, where there are such curves."""
    if fits.isoflop is None or not fits.isoflop.profiles:
        return
    if alone := len(in_no_budget(observations, config.budget_tolerance)):
        verb = "is" if alone == 1 else "are"
        text = (
            f"{alone} of {plural(len(observations), 'run')} {verb} near no budget and in no "
            "IsoFLOP curve; a column flops_budget says which budget each is of"
        )
        yield Flag("near_no_budget", text)


def _slipped_unit(observations: Observations) -> Iterator[Flag]:
    """Whether N or D seems to be counted in another unit than one: no study trains so."""
    ratio = float(np.median(observations.tokens / observations.params))
    if not _FEWEST_TOKENS <= ratio <= _MOST_TOKENS:
        text = (
            f"half of the runs have {'under' if ratio < 1 else 'over'} {ratio:.2g} tokens per "
            "parameter; if a column counts in millions or billions, say so, as units.tokens=1e9"
        )
        yield Flag("units", text)


def _stale(runs: Table) -> list[Flag]:
    """Runs of cells outside the latest grid, and why they may not belong."""
    stale = np.flatnonzero(runs.numbers_or_nan("stale") > 0).tolist()
    if not stale:
        return []
    cells, recipes = (
        list(zip(*map(runs.values, names), strict=True)) for names in (_CELL, _RECIPE)
    )
    asked: dict[Any, set[Any]] = {}
    for row in set(range(len(runs))) - set(stale):
        asked.setdefault(cells[row], set()).add(recipes[row])
    other = [row for row in stale if asked.get(cells[row], set()) - {recipes[row]}]
    names = sorted(map(runs.run_name, stale))
    text = (
        f"{plural(len(stale), 'run is', 'runs are')} of cells outside the latest grid (of an "
        "earlier grid, or added to open IsoFLOP curves) and fitted with the others; "
        "where.stale=0 leaves them out"
    )
    if other:
        text += f"; {len(other)} of them at another learning rate or batch than that grid has there"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [Flag("stale_runs", f"{text}: {', '.join(names[:5])}{more}")]


def _unknown_setting(runs: Table) -> list[Flag]:
    """Columns in which runs must agree, known of some finished runs and not of the others."""
    known = {name: int((runs.known(name) & runs.done).sum()) for name in TOGETHER}
    partly = [name for name, count in known.items() if 0 < count < runs.done.sum()]
    if not partly:
        return []
    least = min(known[name] for name in partly)
    text = (
        f"{listed(partly)}: known of {least} of {runs.done.sum()} runs; if the others are of "
        "another corpus or tokenizer, the runs share no law"
    )
    return [Flag("unknown_setting", text)]


def _jumps(runs: Table) -> list[Flag]:
    """Runs whose loss jumped on the way, and the highest jump: they may not have ended well."""
    heights = runs.numbers_or_nan("spike_nats")
    if not np.isfinite(heights).any():
        return []
    highest = int(np.nanargmax(heights))
    step = runs.values("spike_step")[highest]
    jumped = plural(int(np.isfinite(heights).sum()), "run")
    text = (
        f"the loss of {jumped} jumped in training, highest by {heights[highest]:.2f} "
        + (f"nats at step {step} of " if step is not None else "nats in ")
        + runs.run_name(highest)
    )
    return [Flag("loss_spikes", text)]


def _disagreements(standing: Mapping[Headline, IsoflopLaw | ParametricLaw]) -> Iterator[Flag]:
    """Where two ways to the exponent differ by more than chance, an error no interval holds."""
    if len(standing) == 2:
        (one, first), (other, second) = standing.items()
        a, b = first.a, second.a
        if a.ci90 and b.ci90 and (a.ci90[0] > b.ci90[1] or b.ci90[0] > a.ci90[1]):
            found = f"{one} gives a = {a.value:.3f}, {other} {b.value:.3f}"
            yield Flag("laws_disagree", f"{found}; their 90% intervals do not meet")
    for law in standing.values():
        if isinstance(law, IsoflopLaw):
            yield from _methods(law)


def _methods(law: IsoflopLaw) -> list[Flag]:
    """The headline's method against each other: neither's 90% interval holds the other's a.

    All methods read the same runs, so chance moves them together: intervals that each leave out
    the other's estimate are more than chance, though they may overlap. Less than _APART is silent,
    and what a method is off by in simulations of these runs is no disagreement.
    """
    a, apart, errors = law.a, [], law.method_errors or {}
    for name, method in law.methods.items():
        other = method.a if method else UNKNOWN
        if name == law.method or not other.ci90 or not a.ci90:
            continue
        error = errors.get(name, 0.0)
        if a.value is None or other.value is None or error is None:
            continue
        both = _outside(a.value, other.ci90) and _outside(other.value, a.ci90)
        if both and abs(a.value - other.value) > max(_APART, _BEYOND * error):
            apart.append(f"{name} {other.value:.3f}")
    if not apart:
        return []
    text = (
        f"isoflop by {law.method} gives a = {a.value:.3f}, by {' and by '.join(apart)}; neither's "
        "90% interval holds the other's: the shape of the IsoFLOP curves decides the exponent"
    )
    return [Flag("methods_disagree", text)]


def _outside(value: float, ends: Sequence[float]) -> bool:
    return not ends[0] <= value <= ends[1]


def _unlike(runs: Table, config: FitConfig) -> str:
    """The columns that keep runs of one (N, D) with seeds of their own from being averaged."""
    table, points = admit(runs, config)
    seeded = table.known("seed")
    groups = [
        [row for row in group if seeded[row]] for group in repeated(points.params, points.tokens)
    ]
    columns = {name: table.values(name) for name in settings(table, config)}
    names = [
        name
        for name, values in columns.items()
        if any(len({values[row] for row in group}) > 1 for group in groups)
    ]
    if not names:
        return ""
    return (
        f"; runs that differ in seed and in {listed(sorted(names)[:6])} are no repeats: to average "
        "them, leave out of the table what is no setting"
    )


def _alternative(runs: Table, config: FitConfig) -> str:
    """The exponents had the best of each repeated point been taken, in words."""
    other = observe(runs, replace(config, reduce="best"))
    exponents = [
        f"{name} would give a = {law.a.value:.4f}"
        if law.status != "refused"
        else f"{name} would be refused"
        for name, law in fit_headline(other, config, 0).laws.items()
    ]
    return f"with reduce=best, {plural(len(other), 'point')} remain: {', '.join(exponents)}"
