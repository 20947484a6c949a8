"""What a reader must be told beside the laws: about the runs, and where two ways disagree."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scaling.fit.cells import listed, number_or_nan, plural
from scaling.fit.columns import Row
from scaling.fit.config import FitConfig
from scaling.fit.headline import HeadlineFits, fit_headline
from scaling.fit.laws import LawFit
from scaling.fit.observations import TOGETHER, Observations, admitted, observe

Remark = dict[str, str]
# Median tokens per parameter: those of published studies lie well inside, at about 1 to 1000.
_FEWEST_TOKENS, _MOST_TOKENS = 1e-3, 1e6
_CELL = ("flops_budget", "n_layer", "n_head", "n_embd")
_RECIPE = ("lr", "batch_tokens")
_APART = 0.01  # of a; methods nearer each other than this agree for any use of the exponent


def remarks(
    rows: Sequence[Row], observations: Observations, fits: HeadlineFits, config: FitConfig
) -> list[Remark]:
    """The entry `warnings` of fit.json."""
    found = []
    if observations.excluded:
        verb = "is" if len(observations.excluded) == 1 else "are"
        text = (
            f"{len(observations.excluded)} of {observations.planned} planned runs {verb} not used"
        )
        found.append({"code": "excluded_runs", "text": text})
    found += _stale(rows)
    found += _unknown_setting(rows)
    epochs = observations.columns.get("epochs")
    if epochs is not None and np.nanmax(epochs) > 1:
        text = f"{plural(int((epochs > 1).sum()), 'run')} saw the data more than once"
        found.append({"code": "repeated_data", "text": text})
    found += _jumps(rows)
    found += _slipped_unit(observations)
    if config.units:
        counted = ", ".join(f"{name} x {unit:g}" for name, unit in config.units.items())
        found.append({"code": "units", "text": f"columns were multiplied: {counted}"})
    if config.loss_unit == "bpb":
        text = "losses are bits per byte: E, A and B are in that unit"
        found.append({"code": "loss_unit", "text": text})
    if any(flag.code == "repeated_points" for law in fits.laws for flag in law.flags):
        text = _alternative(rows, config) + _unlike(rows, observations, config)
        found.append({"code": "repeated_points", "text": text})
    found += _disagreements(fits.standing)
    return found


def _slipped_unit(observations: Observations) -> list[Remark]:
    """Whether N or D seems to be counted in another unit than one: nobody trains so."""
    ratio = float(np.median(observations.tokens / observations.params))
    if _FEWEST_TOKENS <= ratio <= _MOST_TOKENS:
        return []
    text = (
        f"half of the runs have {'under' if ratio < 1 else 'over'} {ratio:.2g} tokens per "
        "parameter; if a column counts in millions or billions, say so, as units.tokens=1e9"
    )
    return [{"code": "units", "text": text}]


def _stale(rows: Sequence[Row]) -> list[Remark]:
    """Runs of cells that the grid asked for last does not have, and why they may not belong."""
    stale = [row for row in rows if row.values.get("stale")]
    if not stale:
        return []
    asked: dict[Any, set[Any]] = {}
    for row in rows:
        if not row.values.get("stale"):
            asked.setdefault(_of(row, *_CELL), set()).add(_of(row, *_RECIPE))
    other = [row for row in stale if asked.get(_of(row, *_CELL), set()) - {_of(row, *_RECIPE)}]
    names = sorted(map(_name, stale))
    text = (
        f"{plural(len(stale), 'run')} of cells that the grid asked for last has not (of an earlier "
        "grid, or added where its valleys were open), fitted with the others; where.stale=0 leaves "
        "them out"
    )
    if other:
        text += f"; {len(other)} of them at another rate or batch than that grid has there"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [{"code": "stale_runs", "text": f"{text}: {', '.join(names[:5])}{more}"}]


def _of(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row.values.get(name) for name in names)


def _unknown_setting(rows: Sequence[Row]) -> list[Remark]:
    """Columns in which runs must agree, known of some finished runs and not of the others."""
    done = [row for row in rows if row.values.get("status") in (None, "done")]
    known = {name: sum(row.values.get(name) is not None for row in done) for name in TOGETHER}
    partly = [name for name, count in known.items() if 0 < count < len(done)]
    if not partly:
        return []
    least = min(known[name] for name in partly)
    text = (
        f"{listed(partly)}: known of {least} of {len(done)} runs; if the others are of another "
        "corpus or tokenizer, the runs share no law"
    )
    return [{"code": "unknown_setting", "text": text}]


def _jumps(rows: Sequence[Row]) -> list[Remark]:
    """Runs whose loss jumped on the way, and the highest jump: they may not have ended well."""
    heights = [(number_or_nan(row, "spike_nats"), row) for row in rows]
    jumped = [(height, run) for height, run in heights if height == height]
    if not jumped:
        return []
    height, run = max(jumped, key=lambda jump: jump[0])
    step = run.values.get("spike_step")
    text = (
        f"the loss of {plural(len(jumped), 'run')} jumped in training, highest by {height:.2f} "
        + (f"nats at step {step} of " if step is not None else "nats in ")
        + _name(run)
    )
    return [{"code": "loss_spikes", "text": text}]


def _name(row: Row) -> str:
    """What a row is called: its run_id, else where it stands."""
    return str(row.values.get("run_id") or row.place)


def _disagreements(standing: Sequence[LawFit]) -> list[Remark]:
    """Where two ways to the exponent differ by more than chance, an error no interval holds."""
    found = []
    if len(standing) == 2:
        one, other = standing
        a, b = one.estimates["a"], other.estimates["a"]
        if a.ci90 and b.ci90 and (a.ci90[0] > b.ci90[1] or b.ci90[0] > a.ci90[1]):
            text = (
                f"{one.name} gives a = {a.value:.3f}, {other.name} {b.value:.3f}; "
                "their 90% intervals do not meet"
            )
            found.append({"code": "laws_disagree", "text": text})
    for law in standing:
        found += _methods(law)
    return found


def _methods(law: LawFit) -> list[Remark]:
    """The headline's method against each other: neither's 90% interval holds the other's a.

    All methods read the same runs, so chance moves them together: intervals that each leave out
    the other's estimate are more than chance, though they may overlap. Less than _APART is silent.
    """
    head, a = str(law.details.get("method")), law.estimates["a"]
    apart = []
    for name, method in law.details.get("methods", {}).items():
        other = (method or {}).get("a")
        if name == head or not other or not other["ci90"] or a.value is None or not a.ci90:
            continue
        both = _outside(a.value, other["ci90"]) and _outside(other["value"], a.ci90)
        if both and abs(a.value - other["value"]) > _APART:
            apart.append(f"{name} {other['value']:.3f}")
    if not apart:
        return []
    text = (
        f"{law.name} by {head} gives a = {a.value:.3f}, by {' and by '.join(apart)}; neither's 90% "
        "interval holds the other's: the shape of the valleys decides the exponent"
    )
    return [{"code": "methods_disagree", "text": text}]


def _outside(value: float, ends: Sequence[float]) -> bool:
    return not ends[0] <= value <= ends[1]


def _unlike(rows: Sequence[Row], observations: Observations, config: FitConfig) -> str:
    """The columns that keep runs of one (N, D) with seeds of their own from being averaged."""
    groups: dict[Any, list[dict[str, str]]] = {}
    for point in admitted(rows, config, observations).values():
        if point.identity:
            groups.setdefault((point.params, point.tokens), []).append(dict(point.identity))
    names = {
        name
        for runs in groups.values()
        for name in set().union(*runs)
        if len({run.get(name) for run in runs}) > 1
    }
    if not names:
        return ""
    return (
        f"; runs that differ in seed and in {listed(sorted(names)[:6])} are no repeats: to average "
        "them, leave out of the table what is no setting"
    )


def _alternative(rows: Sequence[Row], config: FitConfig) -> str:
    """The exponents had the best of each repeated point been taken, in words."""
    other = observe(rows, replace(config, reduce="best"))
    exponents = [
        f"{law.name} would give a = {law.estimates['a'].value:.4f}"
        if law.status != "refused"
        else f"{law.name} would be refused"
        for law in fit_headline(other, config, 0).laws
    ]
    return f"with reduce=best, {plural(len(other), 'point')} remain: {', '.join(exponents)}"
