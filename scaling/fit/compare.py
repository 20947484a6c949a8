"""Two fits side by side: the same estimates of both, their differences, and the other's lines.

An interval of a difference comes from the two intervals alone (MOVER, Zou & Donner 2008), so that
an earlier fit.json, which has no resamples, is compared in the same way as a table fitted now:

    x - y - sqrt((x - x_low)^2 + (y_high - y)^2)  to  x - y + sqrt((x_high - x)^2 + (y - y_low)^2)

It holds for fits of different runs. Where both read the same file the fits are not independent,
and that is said.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import read_json
from common.text import either
from scaling.fit.arms import arm_of, over_other, saved_arm
from scaling.fit.config import FitConfig
from scaling.fit.flags import Flag
from scaling.fit.multiplier import Arm
from scaling.fit.pipeline import Fit, fit
from scaling.fit.results import FitDocument
from scaling.fit.results.document import ComparedEstimate, Comparison, Constant, Laws, OtherFit
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import Headline, Law, ParametricLaw
from scaling.fit.table.inputs import Sources, read_sources
from scaling.fit.table.paths import stem

_COMPARED: Mapping[Headline, tuple[Constant, ...]] = {
    "isoflop": ("a", "b"),
    "parametric": ("a", "b", "E", "alpha", "beta"),
}
_LEVELS = ("ci80", "ci90", "ci95")


def read_other(config: FitConfig) -> FitDocument | Sources | None:
    """What `compare` names: a saved fit, or runs not yet fitted; None for nothing.

    Raises BadInput, at once rather than after the minutes of a fit.
    """
    if config.compare is None:
        return None
    if not os.path.exists(os.path.expanduser(config.compare)):
        raise BadInput(
            f"compare: {config.compare}: not found; expected a sweep directory, a table of runs or "
            "an earlier fit.json"
        )
    path = _path(config)
    try:
        if path.suffix == ".json" and path.is_file():
            values = read_json(path)
            if isinstance(values, dict) and "laws" in values:
                return FitDocument.read(path)
        return read_sources(_of_other(config))
    except BadInput as error:
        raise BadInput(f"compare: {error}") from None


def compared(fitted: Fit, config: FitConfig, read: FitDocument | Sources | None = None) -> Fit:
    """`fitted` with the comparison in its document; `read` is what `read_other` gives.

    A table or sweep is fitted with the same options; `exclude` names runs of the first alone.
    Raises BadInput.
    """
    if config.compare is None:
        return fitted
    mine = fitted.document
    other, span, baseline = _other(read or read_other(config), config)
    entry = Comparison(
        this=" + ".join(config.paths),
        other=config.compare,
        warnings=tuple(_flags(mine, other)),
        estimates=tuple(
            _row(mine.laws, other.laws, law, name)
            for law, names in _COMPARED.items()
            if law in mine.laws or law in other.laws
            for name in names
        ),
        other_fit=OtherFit(
            range=span,
            laws={
                name: _without_residuals(other.laws[name])
                for name in _COMPARED
                if name in other.laws
            },
            predictions=other.predictions,
        ),
    )
    fitted = replace(fitted, document=replace(mine, comparison=entry))
    return over_other(fitted, _name(config), baseline, config)


def _name(config: FitConfig) -> str:
    """A short name of this fit, which is not the other's."""
    names = list(map(stem, config.paths))
    chosen = [f"{name} {either(wanted)}" for name, wanted in config.where.items()]
    if not chosen and names == [stem(config.compare or "")]:
        names = list(config.paths)
    return ", ".join([" + ".join(names), *chosen])


def difference(x: Estimate, y: Estimate) -> Estimate:
    """x - y of two independent estimates, with intervals by MOVER; unknown where either is."""
    if x.value is None or y.value is None:
        return UNKNOWN
    gap = x.value - y.value
    intervals: dict[str, Any] = {}
    for level in _LEVELS:
        mine, theirs = getattr(x, level), getattr(y, level)
        if mine is not None and theirs is not None:
            below = math.hypot(max(x.value - mine[0], 0), max(theirs[1] - y.value, 0))
            above = math.hypot(max(mine[1] - x.value, 0), max(y.value - theirs[0], 0))
            intervals[level] = (gap - below, gap + above)
    se = math.hypot(x.se, y.se) if x.se is not None and y.se is not None else None
    return Estimate(gap, se, **intervals)


def _row(mine: Laws, theirs: Laws, law: Headline, name: Constant) -> ComparedEstimate:
    one, other = (getattr(laws.get(law), name, UNKNOWN) for laws in (mine, theirs))
    gap = difference(one, other)
    apart = None if gap.ci90 is None else not gap.ci90[0] <= 0 <= gap.ci90[1]
    return ComparedEstimate(law, name, one, other, gap, apart)


def _without_residuals(law: Law) -> Law:
    return replace(law, residuals=None) if isinstance(law, ParametricLaw) else law


def _path(config: FitConfig) -> Path:
    path = Path(os.path.expanduser(config.compare or ""))
    saved = path / "fit.json"
    return saved if saved.is_file() and not (path / "plan.json").exists() else path


def _of_other(config: FitConfig) -> FitConfig:
    return replace(config, runs=str(_path(config)), compare=None, exclude=())


def _other(
    read: FitDocument | Sources | None, config: FitConfig
) -> tuple[FitDocument, tuple[float, float] | None, Arm]:
    """The other fit, the FLOP its runs span, and it as an arm: as saved, else fitted."""
    asked = config.compare or ""
    name = asked if Path(asked).name == "fit.json" else stem(asked)
    if isinstance(read, FitDocument):
        inside = [row.flops for row in read.predictions if row.beyond is None]
        span = (min(inside), max(inside)) if inside else None
        return read, span, saved_arm(name, read)
    try:
        found = fit(_of_other(config), read)
    except BadInput as error:
        raise BadInput(f"compare: {error}") from None
    flops = found.observations.flops
    return found.document, (float(flops.min()), float(flops.max())), arm_of(name, found)


def _way(fit: FitDocument) -> str:
    """How the surface of a fit was asked for."""
    options = fit.options
    held = "E fitted" if options.surface_E is None else f"E held at {options.surface_E:g}"
    weights = f", weights {options.surface_weights}" if options.surface_weights else ""
    return f"{options.surface_form} by {options.objective} with {held}{weights}"


def _flags(mine: FitDocument, theirs: FitDocument) -> Iterator[Flag]:
    """Why the two may not be comparable."""
    if mine.convention != theirs.convention:
        ways = [f"as {c.params} and {c.flops}" for c in (mine.convention, theirs.convention)]
        text = f"N and C are counted {ways[0]}, and {ways[1]}"
        yield Flag("conventions_differ", text)
    ways = [_way(fit) for fit in (mine, theirs)]
    if ways[0] != ways[1]:
        yield Flag("surfaces_differ", f"the surfaces are {ways[0]}, and {ways[1]}")
    units = mine.options.loss_unit, theirs.options.loss_unit
    if units[0] != units[1]:
        yield Flag("loss_units_differ", f"losses are in {units[0]}, and in {units[1]}")
    digests = [{run.sha256 for run in fit.provenance.runs} for fit in (mine, theirs)]
    if digests[0] & digests[1]:
        text = "both fits read the same file: they are not independent, so the interval of their "
        yield Flag("shared_runs", text + "difference is not to be relied on")
