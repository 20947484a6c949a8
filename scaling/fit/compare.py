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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from common.errors import BadInput
from common.files import read_json
from common.text import either, listed, shown
from scaling.fit.arms import ARM, arm_of, arms_in, over_other, saved_arm
from scaling.fit.config import FitConfig
from scaling.fit.flags import Flag
from scaling.fit.multiplier import Arm, unchecked_tokens
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


@dataclass(frozen=True)
class Other:
    """What `compare` names, read: a saved fit, or runs not yet fitted, of one arm.

    read    the saved fit; else the runs, and the config that fits those of the arm
    arm     which arm it is, where it is one of several
    """

    name: str
    read: FitDocument | tuple[Sources, FitConfig]
    arm: str | None = None


@dataclass(frozen=True)
class OtherFitted:
    """The other fit, the FLOP that its runs span, and it as an arm."""

    document: FitDocument
    span: tuple[float, float] | None
    arm: Arm


def read_other(config: FitConfig) -> Other | None:
    """What `compare` names: a saved fit, or runs not yet fitted; None for nothing.

    It is one arm. Of several `baseline` says which, else a `where` of their column that is one of
    them. Raises BadInput, at once rather than after the minutes of a fit.
    """
    if config.compare is None:
        return None
    if not os.path.exists(os.path.expanduser(config.compare)):
        raise BadInput(
            f"compare: {config.compare}: not found; expected a sweep directory, a table of runs or "
            "an earlier fit.json"
        )
    name = config.compare if Path(config.compare).name == "fit.json" else stem(config.compare)
    column = config.by or ARM
    try:
        path = _path(config)
        if path.suffix == ".json" and path.is_file():
            values = read_json(path)
            if isinstance(values, dict) and "laws" in values:
                document = FitDocument.read(path)
                arm = (document.inputs.where or {}).get(column)
                return Other(name, document, None if arm is None else str(arm))
        of_other = _of_other(config, path)
        sources = read_sources(of_other)
        arm, of_other = _one_arm(config, of_other, sources, column)
    except BadInput as error:
        raise BadInput(f"compare: {error}") from None
    name += f", {column} {arm}" if arm is not None and column in of_other.where else ""
    return Other(name, (sources, of_other), arm)


def fit_other(other: Other) -> OtherFitted:
    """The other fit, as saved, else fitted. Raises BadInput."""
    if isinstance(other.read, FitDocument):
        inside = [row.flops for row in other.read.predictions if row.beyond is None]
        span = (min(inside), max(inside)) if inside else None
        return OtherFitted(other.read, span, saved_arm(other.name, other.read))
    sources, config = other.read
    try:
        found = fit(config, sources)
    except BadInput as error:
        raise BadInput(f"compare: {error}") from None
    flops = found.observations.flops
    span = float(flops.min()), float(flops.max())
    return OtherFitted(found.document, span, arm_of(other.name, found))


def compared(fitted: Fit, config: FitConfig, other: OtherFitted | None = None) -> Fit:
    """`fitted` with the comparison in its document; `other` is what `fit_other` gives.

    A table or sweep is fitted with the same options; `exclude` names runs of the first alone.
    Raises BadInput.
    """
    if config.compare is None:
        return fitted
    if other is None:
        read = read_other(config)
        assert read is not None
        other = fit_other(read)
    mine, theirs = fitted.document, other.document
    entry = Comparison(
        this=" + ".join(config.paths),
        other=config.compare,
        warnings=tuple(_flags(mine, theirs, other.arm)),
        estimates=tuple(
            _row(mine.laws, theirs.laws, law, name)
            for law, names in _COMPARED.items()
            if law in mine.laws or law in theirs.laws
            for name in names
        ),
        other_fit=OtherFit(
            range=other.span,
            laws={
                name: _without_residuals(theirs.laws[name])
                for name in _COMPARED
                if name in theirs.laws
            },
            predictions=theirs.predictions,
        ),
    )
    fitted = replace(fitted, document=replace(mine, comparison=entry))
    return over_other(fitted, _name(config), other.arm, config)


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
    """The file, or the sweep directory, that `compare` names. Raises BadInput."""
    path = Path(os.path.expanduser(config.compare or ""))
    saved = path / "fit.json"
    if (path / "plan.json").exists() or not path.is_dir():
        return path
    if saved.is_file():
        return saved
    arms = {unquote(found.parent.name): found for found in sorted(path.glob("*/fit.json"))}
    if arms and config.baseline in arms:
        return arms[config.baseline]
    if arms:
        first = shown(next(iter(arms.values())).parent)
        raise BadInput(
            f"{config.compare}: holds the fits of {listed(arms)}, expected one of them, as "
            f"compare={first} or baseline={shown(next(iter(arms)))}"
        )
    return path


def _of_other(config: FitConfig, path: Path) -> FitConfig:
    return replace(config, runs=str(path), compare=None, exclude=(), by=None, baseline=None)


def _one_arm(
    config: FitConfig, of_other: FitConfig, sources: Sources, column: str
) -> tuple[str | None, FitConfig]:
    """The arm to compare with, if the other runs name any, and the config that fits its runs.

    What `where` asks of the column of arms chooses among this fit's, and is asked of the other
    only if it has that arm.
    """
    rest = {name: wanted for name, wanted in config.where.items() if name != column}
    plain = replace(of_other, where=rest)
    arms = arms_in(plain, sources, column)
    if not arms:
        return None, of_other if column in sources.table.names else plain
    asked = config.where.get(column)
    wanted = [config.baseline, *([asked] if isinstance(asked, str) else [])]
    arm = next((one for one in wanted if one in arms), arms[0] if len(arms) == 1 else None)
    if arm is None:
        raise BadInput(
            f"{config.compare}: found the arms {listed(arms)}, expected one to compare with; "
            f"choose it by baseline=, as baseline={shown(arms[0])}"
        )
    return arm, replace(plain, where={**rest, column: arm}) if len(arms) > 1 else plain


def _way(fit: FitDocument) -> str:
    """How the surface of a fit was asked for."""
    options = fit.options
    held = "E fitted" if options.surface_E is None else f"E held at {options.surface_E:g}"
    weights = f", weights {options.surface_weights}" if options.surface_weights else ""
    return f"{options.surface_form} by {options.objective} with {held}{weights}"


def _flags(mine: FitDocument, theirs: FitDocument, arm: Arm) -> Iterator[Flag]:
    """Why the two may not be comparable; the other is this arm."""
    if theirs.setting is None and mine.options.loss_unit != "bpb":
        yield unchecked_tokens(arm.name)
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
