"""The fits that one command asks for: one, or one a value of a column, each in its folder."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from common.errors import BadInput
from scaling.fit.arms import (
    baseline_of,
    by_arm,
    check_baseline,
    first_arm,
    group_flags,
    with_multipliers,
    with_warnings,
)
from scaling.fit.compare import OtherFitted, compared, fit_other, read_other
from scaling.fit.config import FitConfig
from scaling.fit.pipeline import Fit, NoUsableRun, fit
from scaling.fit.table.inputs import Sources, read_sources, values_of
from scaling.fit.table.paths import stem


@dataclass(frozen=True)
class Fits:
    """What a command fitted.

    fits     each with its folder
    skipped  why a value of `by` has no fit, by value
    stand    whether all the laws that must stand do; if not, the exit status is 4
    by       the column that the runs were fitted by; None: they are one fit
    """

    fits: Sequence[tuple[Path, Fit]]
    skipped: Mapping[str, str]
    stand: bool
    by: str | None = None

    @property
    def skipped_lines(self) -> list[str]:
        """In words for people, which values have no fit and why."""
        return [f"{self.by}={value} is skipped: {why}" for value, why in self.skipped.items()]


def fit_all(config: FitConfig, sources: Sources) -> Fits:
    """Fit each part and compare it. A value of `by` without a usable run is skipped.

    No law stands there, so it counts as a part whose laws are refused. Raises BadInput, also
    where no value has a usable run.
    """
    read = read_other(config)
    config = by_arm(config, sources)
    asked = parts(config, sources)
    if read is not None and config.baseline == read.arm:
        values = [part.where.get(config.by or "") for _, part in asked]
        config = config if config.baseline in values else replace(config, baseline=None)
    check_baseline(config)
    for folder, _ in asked:
        _check_writable(folder)
    other = fit_other(read) if read else None
    if config.by is None:
        ((folder, part),) = asked
        fitted = compared(fit(part, sources), part, other)
        return Fits([(folder, fitted)], {}, fitted.stands)
    fits, skipped = _groups(config, config.by, asked, sources, other)
    whole = not (skipped and config.require)
    return Fits(fits, skipped, whole and all(fitted.stands for _, fitted in fits), config.by)


def _groups(
    config: FitConfig,
    by: str,
    asked: Sequence[tuple[Path, FitConfig]],
    sources: Sources,
    other: OtherFitted | None,
) -> tuple[list[tuple[Path, Fit]], dict[str, str]]:
    """The fit of each group set against the baseline, and why others have none. BadInput."""
    values = [str(part.where[by]) for _, part in asked]
    baseline = baseline_of(values, config, first_arm(sources, by))
    fits: dict[str, Fit] = {}
    skipped: dict[str, str] = {}
    for value, (_, part) in zip(values, asked, strict=True):
        try:
            fitted = compared(fit(part, sources), part, other)
            fits[value] = with_warnings(fitted, group_flags(part, by, sources))
        except NoUsableRun as error:
            skipped[value] = str(error)
    if not fits:
        value, reason = next(iter(skipped.items()))
        raise BadInput(f"by: no value of {by} has a usable run; of {value}: {reason}")
    fits = with_multipliers(fits, baseline, config, skipped)
    folders = dict(zip(values, (folder for folder, _ in asked), strict=True))
    in_order = sorted(fits, key=lambda value: value != baseline)  # what others are read against
    return [(folders[value], fits[value]) for value in in_order], skipped


def parts(config: FitConfig, sources: Sources | None = None) -> list[tuple[Path, FitConfig]]:
    """The fits that `config` asks for with their folders: one, or one for each value of `by`."""
    out = Path(config.out) if config.out else _default_out(config)
    if config.by is None:
        return [(out, config)]
    return [
        (
            out / folder_name(value),
            replace(config, where={**config.where, config.by: value}, by=None),
        )
        for value in values_of(sources or read_sources(config), config, config.by)
    ]


def _check_writable(out: Path) -> None:
    """Refuse a folder that cannot be made and written to; nothing is left where it would be."""
    try:
        found = (path for path in (out, *out.parents) if path.exists() or path.is_symlink())
        nearest = next(found, Path())
        if not nearest.is_dir():
            raise BadInput(f"out: {nearest}: found a file, expected a folder; choose another")
        with tempfile.TemporaryFile(dir=nearest):  # permissions alone do not tell, as in /proc
            pass
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise BadInput(f"out: {out}: {reason}; choose another folder") from None


def folder_name(value: str) -> str:
    """A file name for any text: one level, no dots alone, at most 200 bytes."""
    name = quote(value, safe=" +=,@") or "%"
    if name.startswith((".", "-")):
        name = f"%{ord(name[0]):02X}" + name[1:]
    if len(name) > 200:
        name = name[:160] + "-" + hashlib.sha256(value.encode()).hexdigest()[:16]
    return name


def _default_out(config: FitConfig) -> Path:
    first = Path(config.paths[0])
    if len(config.paths) == 1 and first.is_dir():
        return first / "fit"
    return Path("fits") / folder_name("+".join(map(stem, config.paths)))
