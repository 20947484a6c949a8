"""Which fits are arms of one comparison, the baseline among them, and their multipliers.

The groups of `by=` are arms, and so are this fit and the one that `compare=` names, the baseline. A
table with a column `arm` of two values or more is fitted by it unasked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.errors import BadInput
from common.text import listed, plural
from configs.suggest import one_of
from scaling.fit.config import ALL_ARMS, FitConfig
from scaling.fit.flags import Flag
from scaling.fit.multiplier import Arm, Asked, multipliers, refused
from scaling.fit.pipeline import Fit
from scaling.fit.results import FitDocument
from scaling.fit.results.multipliers import Multiplier
from scaling.fit.table.inputs import Sources, asked_values, values_of
from scaling.fit.table.schema import PARTS

ARM, BASELINE = "arm", "baseline"


def by_arm(config: FitConfig, sources: Sources) -> FitConfig:
    """The config with by=arm where nothing else is asked of a table whose rows name their arm.

    by=none asks for one fit of all arms together. Raises BadInput.
    """
    if config.by == ALL_ARMS:
        return replace(config, by=None)
    if config.by is not None or len(arms_in(config, sources, ARM)) < 2:
        return config
    return replace(config, by=ARM)


def arms_in(config: FitConfig, sources: Sources, column: str) -> list[str]:
    """The arms that a column names among the rows asked for, sorted; [] where it names none.

    Raises BadInput where some of these rows name none: they would be pooled with all or with one.
    """
    if column not in sources.table.names:
        return []
    values = asked_values(sources, config, column)[0]
    parts = PARTS & set(values) if column == ARM else set()
    if parts == set(values):  # empty, or what a run of a sweep without arms is for
        return []
    if parts:
        name, others = min(parts), listed(sorted(set(values) - parts))
        raise BadInput(
            f"{sources.table.source}: {column}: found {name!r}, which sweeps call a part of "
            f"theirs, beside {others}; rename it, or say by={column} if it is an arm, or choose "
            f"rows by where.{column}="
        )
    return values_of(sources, config, column)


def group_flags(config: FitConfig, by: str, sources: Sources) -> tuple[Flag, ...]:
    """What to know of one group of `by`: arms that share it, and trials that no group has."""
    if by != ARM:
        values = asked_values(sources, config, ARM)[0] if ARM in sources.table.names else []
        if len(values) < 2 or PARTS & set(values):
            return ()
        text = f"runs of the arms {listed(values)} are fitted together; where.arm= chooses one"
        return (Flag("pooled_arms", text),)
    where = {name: wanted for name, wanted in config.where.items() if name != by}
    if not (empty := asked_values(sources, replace(config, where=where), by)[1]):
        return ()
    text = f"{plural(len(empty), 'trial')} of no arm that the sweep still has, in no arm's fit"
    return (Flag("rows_without_arm", text),)


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
            "a table with a column arm, or compare= with one"
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
        setting=fitted.document.setting,
    )


def saved_arm(name: str, document: FitDocument) -> Arm:
    """A saved fit as an arm: the minima of its IsoFLOP curves."""
    return Arm(
        name,
        minima=document.isoflop.valleys if document.isoflop else (),
        loss_unit=document.options.loss_unit,
        setting=document.setting,
        resamples=document.options.n_bootstrap,
    )


def with_multipliers(
    fits: Mapping[str, Fit], baseline: str, config: FitConfig, skipped: Mapping[str, str]
) -> dict[str, Fit]:
    """Each group's fit with its multiplier over the baseline; the baseline's with those of all.

    `skipped` says why a group has no fit: it has no multiplier either, and none is over it.
    """
    found: dict[str, tuple[Multiplier, ...]] = {}
    base = arm_of(baseline, fits[baseline]) if baseline in fits else None
    for name in [*fits, *skipped]:
        if name == baseline:
            continue
        if base is not None and name in fits:
            found[name] = multipliers(base, arm_of(name, fits[name]), _asked(config))
        else:
            lost = name if base is not None else baseline
            found[name] = (refused(name, baseline, f"{lost} has no fit: {skipped[lost]}"),)
    every = tuple(entry for entries in found.values() for entry in entries)
    return {name: with_entries(one, found.get(name, every)) for name, one in fits.items()}


def over_other(fitted: Fit, name: str, baseline: Arm, config: FitConfig) -> Fit:
    """The fit with its multiplier over one that it is compared with."""
    return with_entries(fitted, multipliers(baseline, arm_of(name, fitted), _asked(config)))


def with_entries(fitted: Fit, entries: Sequence[Multiplier]) -> Fit:
    """The fit with these multipliers beside those it has, and a warning of each that is none."""
    flags = tuple(
        Flag(
            "no_multiplier", f"no compute multiplier of {one.arm} over {one.baseline}: {one.reason}"
        )
        for one in entries
        if one.flops is None
    )
    every = (*(fitted.document.multipliers or ()), *entries) or None
    fitted = replace(fitted, document=replace(fitted.document, multipliers=every))
    return with_warnings(fitted, flags)


def with_warnings(fitted: Fit, flags: Sequence[Flag]) -> Fit:
    """The fit with more warnings of the whole."""
    document = fitted.document
    return replace(fitted, document=replace(document, warnings=(*document.warnings, *flags)))


def _asked(config: FitConfig) -> Asked:
    return Asked(
        resamples=config.n_bootstrap,
        seed=config.seed,
        tolerance=config.budget_tolerance,
        window=config.isoflop.window,
        E=config.multiplier.E,
    )
