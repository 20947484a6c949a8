"""Which fits are arms of one comparison, the baseline among them, and their multipliers.

The groups of `by=` are arms, and so are this fit and the one that `compare=` names, the baseline. A
table with a column `arm` of two values or more is fitted by it unasked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.errors import BadInput
from configs.suggest import one_of
from scaling.fit.config import FitConfig
from scaling.fit.flags import Flag
from scaling.fit.multiplier import Arm, Asked, multipliers
from scaling.fit.pipeline import Fit
from scaling.fit.results import FitDocument
from scaling.fit.results.multipliers import Multiplier
from scaling.fit.table.inputs import Sources, asked_values
from scaling.fit.table.schema import PARTS

ARM, BASELINE = "arm", "baseline"


def by_arm(config: FitConfig, sources: Sources) -> FitConfig:
    """The config with by=arm where nothing else is asked of a table whose rows name their arm."""
    if config.by is not None or ARM not in sources.table.names:
        return config
    values, empty = asked_values(sources, config, ARM)
    if empty or len(values) < 2 or PARTS & set(values):
        return config
    return replace(config, by=ARM)


def baseline_of(names: Sequence[str], config: FitConfig, first: str | None = None) -> str:
    """The arm that the others are measured by, `first` if nothing is asked for.

    Raises BadInput where the one asked for is none.
    """
    if config.baseline is None:
        wanted = (name for name in (first, BASELINE) if name in names)
        return next(wanted, None) or names[0]
    if config.baseline not in names:
        known = one_of(config.baseline, names)
        raise BadInput(f"baseline: found {config.baseline!r}, expected {known}")
    return config.baseline


def first_arm(sources: Sources, by: str) -> str | None:
    """The arm of the first row of a sweep, whose rows begin with the baseline's; else None."""
    return next(filter(None, sources.table.texts(by)), None) if sources.own else None


def check_baseline(config: FitConfig) -> None:
    """Refuse a baseline without groups. Raises BadInput."""
    if config.baseline is not None and config.by is None:
        raise BadInput(
            f"baseline: found {config.baseline!r}, but the runs are one group; expected by=COLUMN, "
            "or a table with a column arm"
        )


def arm_of(name: str, fitted: Fit) -> Arm:
    """A fit as an arm."""
    surface = fitted.fits.parametric
    pair = None
    if surface is not None and surface.surface is not None and surface.samples is not None:
        pair = surface.surface, surface.samples
    return Arm(
        name,
        fitted.observations,
        traces=fitted.traces,
        surface=pair,
        loss_unit=fitted.document.options.loss_unit,
        setting=fitted.setting,
    )


def saved_arm(name: str, document: FitDocument) -> Arm:
    """A saved fit as an arm: the minima of its IsoFLOP curves."""
    minima = document.isoflop.valleys if document.isoflop else ()
    return Arm(name, minima=minima, loss_unit=document.options.loss_unit)


def with_multipliers(fits: Mapping[str, Fit], baseline: str, config: FitConfig) -> dict[str, Fit]:
    """Each group's fit with its multiplier over the baseline; the baseline's with those of all."""
    base = arm_of(baseline, fits[baseline])
    found = {
        name: multipliers(base, arm_of(name, one), _asked(config))
        for name, one in fits.items()
        if name != baseline
    }
    every = tuple(entry for entries in found.values() for entry in entries)
    return {name: with_entries(one, found.get(name, every)) for name, one in fits.items()}


def over_other(fitted: Fit, name: str, baseline: Arm, config: FitConfig) -> Fit:
    """The fit with its multiplier over one that it is compared with."""
    return with_entries(fitted, multipliers(baseline, arm_of(name, fitted), _asked(config)))


def with_entries(fitted: Fit, entries: Sequence[Multiplier]) -> Fit:
    """The fit with these multipliers beside those it has, and a warning of each that is none."""
    document = fitted.document
    flags = tuple(
        Flag(
            "no_multiplier", f"no compute multiplier of {one.arm} over {one.baseline}: {one.reason}"
        )
        for one in entries
        if one.flops is None
    )
    whole = replace(
        document,
        multipliers=(*(document.multipliers or ()), *entries) or None,
        warnings=(*document.warnings, *flags),
    )
    return replace(fitted, document=whole)


def _asked(config: FitConfig) -> Asked:
    return Asked(
        resamples=config.n_bootstrap,
        seed=config.seed,
        tolerance=config.budget_tolerance,
        window=config.isoflop.window,
        E=config.multiplier.E,
    )
