"""What a call of sweep.py asks for: a command, and the sweep that it is about."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from configs.errors import BadInput
from configs.load import Arguments, build, compose_config
from scaling.fit.config import FitConfig
from scaling.plan.config import GridConfig
from scaling.plan.prior import ForesightConfig
from scaling.run import store
from scaling.run.config import LauncherConfig
from training.config import TrainConfig, as_mapping


@dataclass(frozen=True)
class SweepCommand:
    """What to do; none of it is part of a trial or of a plan.

    out     the sweep directory; with mode=plan none is needed and none is written
    keep    final: leave the checkpoints of trials that are done
    extend  unite the grid with the plan that is in `out`; without one, and with the same, add
            sizes where a valley of that plan is open
    retry   statuses whose trials run again
    tune    false: leave out the grid's tuning stage
    watch   with mode=status: show it again until nothing is left to run
    finish  with mode=work: fit and report, if this worker is the last to leave
    """

    mode: Literal["run", "plan", "work", "status"] = "run"
    out: str | None = None
    keep: Literal["none", "final"] = "none"
    extend: bool = False
    retry: tuple[Literal["oom", "failed"], ...] = ()
    watch: bool = False
    finish: bool = False
    tune: bool = True

    def __post_init__(self) -> None:
        if not self.out and self.mode != "plan":
            raise BadInput(f"out: missing; mode={self.mode} needs a folder, as out=runs/x")
        modes = {"extend": "run", "retry": "run", "watch": "status", "finish": "work"}
        for name, mode in modes.items():
            if getattr(self, name) and self.mode != mode:
                raise BadInput(f"{name}: found with mode={self.mode}, expected mode={mode}")

    @property
    def folder(self) -> Path:
        """The sweep directory."""
        assert self.out
        return Path(self.out)


@dataclass(frozen=True)
class Request:
    """A command, and the sweep as described; without a grid the plan in `out` is meant.

    fit        the fit that follows the trials: configs/fit.yaml with what the experiment changes
    foresight  with what mode=plan foresees that fit's intervals
    """

    command: SweepCommand
    base: TrainConfig
    grid: GridConfig | None
    launcher: LauncherConfig
    fit: FitConfig
    fit_changes: dict[str, Any]
    foresight: ForesightConfig


# What the grid sets of each trial, whatever its files say, and what changes it.
_RULED = {
    "model.n_head": "grid.ladder",
    "model.n_embd": "grid.ladder",
    "model.init_std": "grid.rules.init",
    "optimizer.lr": "grid.rules.lr and grid.rules.lr_factor",
    "schedule.tokens": "grid.budgets",
    "schedule.batch_tokens": "grid.rules.batch and grid.rules.batch_factor",
    "schedule.warmup_tokens": "grid.rules.warmup",
}


def read_request(arguments: Arguments) -> Request:
    """Compose what was typed; raises BadInput.

    `sweep.py out=runs/x`, with no experiment and no grid, is about the plan in runs/x: then only
    `runtime` and `launcher` can be overridden, since all else is part of the trials (and
    `launcher=NAME` replaces the plan's launcher whole).
    """
    own = [field.name for field in fields(SweepCommand)]
    values = arguments.compose(open_keys=(*own, "fit"))
    command = build(SweepCommand, {name: values.pop(name) for name in own if name in values})
    changes = values.pop("fit", None) or {}
    foresight = build(ForesightConfig, values.pop("foresight", None), "foresight")
    grid, launcher = values.pop("grid", None), values.pop("launcher", None)
    if grid is None:
        if not command.tune:
            raise BadInput("tune: found false without a grid; the stored plan has its stages")
        stored = _stored_plan(command)
        base, launcher = _overridden(stored, command, arguments, values | {"launcher": launcher})
        fit = _fit_config(command, changes, stored.fit)
        return Request(command, base, None, launcher, fit, stored.fit, foresight)
    for override in arguments.overrides:
        if (key := override.lstrip("+~").partition("=")[0]) in _RULED:
            raise BadInput(f"{override}: the grid sets {key} of each trial; change {_RULED[key]}")
    asked = build(GridConfig, grid, "grid")
    return Request(
        command,
        build(TrainConfig, values),
        asked if command.tune else replace(asked, tuning=None),
        build(LauncherConfig, launcher, "launcher"),
        _fit_config(command, changes, {}),
        changes,
        foresight,
    )


def _fit_config(command: SweepCommand, changes: Any, stored: dict[str, Any]) -> FitConfig:
    """fit.yaml as the stored plan changes it, then as it was typed.

    Refused here, a mistyped fit costs nothing; after the trials it would cost their hours."""
    if not isinstance(changes, dict):
        raise BadInput(f"fit: found {changes!r}, expected fields of fit.yaml, as fit.seed=1")
    for name in ("runs", "out", "by"):
        if name in changes:
            raise BadInput(f"fit.{name}: a sweep fits its own runs, into out/fit; use fit.py")
    out = command.out or "."
    values = OmegaConf.merge(
        compose_config("fit"), stored, changes, {"runs": out, "out": str(Path(out) / "fit")}
    )
    try:
        return build(FitConfig, OmegaConf.to_container(values))
    except BadInput as error:
        raise BadInput(f"fit.{error}".replace("did you mean ", "did you mean fit.")) from None


def _stored_plan(command: SweepCommand) -> store.StoredPlan:
    if command.mode == "plan":
        raise BadInput("grid: missing; name an experiment with a grid, or a grid, as grid=smoke")
    return store.read_plan(command.folder)


def _overridden(
    stored: store.StoredPlan, command: SweepCommand, arguments: Arguments, values: dict[str, Any]
) -> tuple[TrainConfig, LauncherConfig]:
    """The stored base and launcher with what was typed."""
    changed: dict[str, dict[str, Any]] = {"runtime": {}, "launcher": {}}
    chosen = None
    for override in arguments.overrides:
        key = override.partition("=")[0].lstrip("+")
        group, _, name = key.partition(".")
        if key == "launcher":
            chosen = values[key]
        elif group in changed and name:
            top = name.partition(".")[0]
            changed[group][top] = values[group][top]
        elif group not in ("fit", "foresight", *(field.name for field in fields(SweepCommand))):
            raise BadInput(
                f"{key}: without an experiment or a grid this is about the plan in "
                f"{command.folder}, whose trials are made; only runtime.* and launcher.* can change"
            )
    base = as_mapping(stored.plan.base)
    base["runtime"] |= changed["runtime"]
    launcher = chosen or as_mapping(stored.launcher) | changed["launcher"]
    return build(TrainConfig, base), build(LauncherConfig, launcher, "launcher")
