"""Arms: recipes that one sweep compares, each a set of changes of its trials.

`grid.arms: {gpt2: {}, muon: {optimizer.name: muon}}`; the first is the baseline. Arms share
budgets, seeds, order of data and held-out windows, and have their own rules, ladder and tuning
study: runs of one budget and seed differ in what is compared and in nothing else.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from common.errors import BadInput, require
from common.text import either
from configs.schema import build
from configs.suggest import cure
from model.families import FAMILIES
from scaling.fit.table.schema import as_compared, is_missing
from scaling.plan.config import GridConfig, Part, RulesConfig, require_factor
from scaling.plan.rules import of_size
from training.config import TrainConfig, as_mapping
from training.trial.identity import first_difference, science, setting

# What an arm may change of a trial; `rules` and `ladder` are the grid's.
GROUPS = ("model", "optimizer", "schedule", "data", "precision", "rules", "ladder")
# What the grid sets of each trial, whatever its files say, and what changes it.
RULED = {
    "model.n_head": "grid.ladder",
    "model.n_embd": "grid.ladder",
    "model.init_std": "grid.rules.init",
    "optimizer.lr": "grid.rules.lr and grid.rules.lr_factor",
    "schedule.tokens": "grid.budgets",
    "schedule.batch_tokens": "grid.rules.batch and grid.rules.batch_factor",
    "schedule.warmup_tokens": "grid.rules.warmup",
}


@dataclass(frozen=True)
class Arm:
    """One recipe: base and grid as if it were swept alone; `name` is None in a sweep of one."""

    name: str | None
    base: TrainConfig
    grid: GridConfig


def arms_of(base: TrainConfig, grid: GridConfig) -> tuple[Arm, ...]:
    """The arms of a grid, the baseline first; the grid itself where it names none. BadInput."""
    if grid.arms is None:
        arms: tuple[Arm, ...] = (Arm(None, base, grid),)
    else:
        _require_names(grid.arms)
        plain = replace(grid, arms=None)
        arms = tuple(_arm(name, base, plain, changes) for name, changes in grid.arms.items())
    for arm in arms:
        _require_factors(arm)
    if grid.trunk:
        # A cosine shares nothing, and may stand beside arms that do: that is how to compare them.
        sharing = [arm for arm in arms if arm.base.schedule.name != "cosine"]
        for arm in sharing or arms:
            _require_one_trunk(arm)
    for index, arm in enumerate(arms):
        for other in arms[:index]:
            if other.grid == arm.grid and science(other.base) == science(arm.base):
                raise BadInput(
                    f"grid.arms: found {other.name} and {arm.name} equal, expected arms that "
                    "differ; change one of them or leave it out"
                )
    return arms


def flat(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields by their dotted names, however they are nested."""
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _require_names(names: Collection[str]) -> None:
    """BadInput for names that a table, a folder or the fit would take for something else."""
    require(len(names) >= 2, "grid.arms", list(names), "two or more, to compare")
    parts = get_args(Part)
    before: dict[float | str, str] = {}
    for name in names:
        plain = re.fullmatch(r"[A-Za-z0-9][\w+-]*", name) and name not in parts
        expected = f"letters, digits, _, + and -, and none of {', '.join(parts)}"
        require(bool(plain), "grid.arms", f"an arm called {name!r}", expected)
        expected = "a name that no table reads as an empty cell"
        require(not is_missing(name), "grid.arms", f"an arm called {name!r}", expected)
        # Folders of some systems know no case, and `where` takes 1 and 01 for one value.
        other = before.setdefault(as_compared(name.casefold()), name)
        expected = "names that differ in more than case or the digits of a number"
        require(other == name, "grid.arms", f"arms called {other!r} and {name!r}", expected)


def _arm(name: str, base: TrainConfig, grid: GridConfig, changes: Mapping[str, Any]) -> Arm:
    where = f"grid.arms.{name}"
    values = as_mapping(base) | {"rules": as_mapping(grid.rules), "ladder": grid.ladder}
    for field, value in flat(changes):
        group, _, rest = field.partition(".")
        if group not in GROUPS:
            raise BadInput(f"{where}.{field}: unknown key; {cure(group, GROUPS)}")
        if field in RULED:
            cures = RULED[field].replace("grid.", f"{where}.") if "budgets" not in field else ""
            hint = f"; change {cures}" if cures and field != "schedule.tokens" else ""
            raise BadInput(f"{where}.{field}: the grid sets it of each trial{hint}")
        _set(values, field, value)
    model = values["model"]
    name_of_family = model.get("family") if isinstance(model, dict) else None
    if isinstance(name_of_family, str) and (family := FAMILIES.get(name_of_family)):
        # The ladder sets heads, where a family has any.
        model["n_head"] = int(family.attends) and (model.get("n_head") or 1)
    rules, ladder = values.pop("rules"), values.pop("ladder")
    try:
        own_rules = build(RulesConfig, rules, "rules")
        # By the strict loader, which takes a list from a file for a tuple.
        own_grid = build(GridConfig, as_mapping(grid) | {"ladder": ladder}, "grid")
        own_base = build(TrainConfig, values)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None
    _require_one_setting(where, base, own_base)
    return Arm(name, own_base, replace(own_grid, rules=own_rules))


def _set(values: dict[str, Any], field: str, value: Any) -> None:
    *groups, name = field.split(".")
    for group in groups:
        below = values.get(group)
        values[group] = below if isinstance(below, dict) else {}
        values = values[group]
    values[name] = deepcopy(value)


def _require_factors(arm: Arm) -> None:
    """BadInput for a slip in the factors asked for; what tuning makes of them is its own."""
    where = f"grid.arms.{arm.name}: grid.rules" if arm.name else "grid.rules"
    for name in ("lr_factor", "batch_factor"):
        require_factor(f"{where}.{name}", getattr(arm.grid.rules, name))


def _require_one_trunk(arm: Arm) -> None:
    """BadInput where the rate of an arm depends on the horizon before its cool-down."""
    where, schedule, chosen = "grid.trunk", arm.base.schedule.name, arm.grid.rules
    if arm.name:
        where = f"grid.arms.{arm.name}: grid.trunk"
    if schedule == "cosine":
        raise BadInput(
            f"{where}: found true with schedule.name cosine, whose rate depends on the horizon "
            "from the first step; expected constant_sqrt or constant_linear, as schedule=constant"
        )
    kinds: tuple[Literal["lr", "batch", "warmup"], ...] = ("lr", "batch", "warmup")
    for kind in kinds:
        name, known = getattr(chosen, kind), of_size(kind)
        if name not in known:
            raise BadInput(
                f"{where}: found true with rules.{kind} {name}, which depends on the horizon; "
                f"expected {either(known)}, which depends on the size alone"
            )


def _require_one_setting(where: str, base: TrainConfig, arm: TrainConfig) -> None:
    """BadInput for an arm whose loss is not on the scale of the others, or on other text."""
    if setting(arm) != setting(base):
        field, old, new = first_difference(base, arm)
        raise BadInput(
            f"{where}.{field}: found {new!r}, expected {old!r} as all arms: losses over other "
            "tokens or other held-out text give no multiplier, unless in bits per byte; sweep it "
            "with an out of its own, then fit.py compare= with columns.loss=loss_bpb loss_unit=bpb"
        )
