"""The request of a call of sweep.py: a command, and the sweep that it is about."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from common.errors import BadInput
from configs.cli import Arguments
from configs.groups import swept_experiments
from configs.load import compose_config
from configs.overrides import Keys, key_of
from configs.schema import build
from scaling.fit.config import ALL_ARMS, FitConfig
from scaling.plan.arms import RULED, arms_of
from scaling.plan.config import GridConfig
from scaling.plan.precision.assumed_law import PrecisionConfig
from scaling.run import store
from scaling.run.arm_groups import resolved
from scaling.run.config import LauncherConfig
from training.config import TrainConfig, as_mapping


@dataclass(frozen=True)
class SweepCommand:
    """The command; none of it is part of a trial or of a plan.

    mode    plan: say what the sweep costs; measure: the same, by steps on this machine's GPUs, for
            which each shape is compiled; prepare: its data alone, from the hub too; run: plan,
            train and fit; work: train by the plan there; status: say how it stands
    out     the sweep directory; with mode=plan none is needed and none is written
    keep    final: leave the checkpoints of trials that are done
    extend  merge the grid into the plan in `out`; without one, and with the same, add sizes to
            that plan's open IsoFLOP curves
    retry   statuses whose trials run again
    details  with mode=plan or measure: the cells of the stages before the grid too
    tune    false: leave out the grid's tuning stage
    watch   with mode=status: show it again until nothing is left to run
    page    with mode=status: write status.html there too
    finish  with mode=work: fit and report, if this worker is the last to leave
    """

    mode: Literal["run", "plan", "measure", "prepare", "work", "status"] = "run"
    out: str | None = None
    keep: Literal["none", "final"] = "none"
    extend: bool = False
    retry: tuple[Literal["oom", "failed"], ...] = ()
    watch: bool = False
    page: bool = False
    finish: bool = False
    tune: bool = True
    details: bool = False

    def __post_init__(self) -> None:
        if not self.out and self.mode not in ("plan", "measure", "prepare"):
            raise BadInput(f"out: missing; mode={self.mode} needs a folder, as out=runs/x")
        modes = {
            "extend": "run",
            "retry": "run",
            "watch": "status",
            "page": "status",
            "finish": "work",
            "details": "plan",
        }
        for name, mode in modes.items():
            asked = "plan" if self.mode == "measure" else self.mode
            if getattr(self, name) and asked != mode:
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
    foresight  how the precision of that fit is simulated
    """

    command: SweepCommand
    base: TrainConfig
    grid: GridConfig | None
    launcher: LauncherConfig
    fit: FitConfig
    fit_changes: dict[str, Any]
    foresight: PrecisionConfig


KEYS = Keys(
    {
        "": (SweepCommand, TrainConfig),
        "grid": GridConfig,
        "launcher": LauncherConfig,
        "foresight": PrecisionConfig,
        "fit": FitConfig,
    },
    notes={name: f"The grid sets it; change {ruled}" for name, ruled in RULED.items()},
)


def read_request(arguments: Arguments) -> Request:
    """Compose what was typed; raises BadInput.

    `sweep.py out=runs/x`, with no experiment and no grid, is about the plan in runs/x: then only
    `runtime`, `launcher` and where the text lies and how it is checked (`data.path`, `data.verify`)
    can be overridden, since all else is part of the trials (and `launcher=NAME` replaces the plan's
    launcher whole).
    """
    own = [field.name for field in fields(SweepCommand)]
    values = arguments.compose(KEYS)
    _require_subject(arguments, values)
    command = build(SweepCommand, {name: values.pop(name) for name in own if name in values})
    changes = values.pop("fit", None) or {}
    foresight = build(PrecisionConfig, values.pop("foresight", None), "foresight")
    grid, launcher = values.pop("grid", None), values.pop("launcher", None)
    if grid is None:
        if not command.tune:
            raise BadInput("tune: found false without a grid; the stored plan has its stages")
        stored = store.read_plan(command.folder)
        base, launcher = _overridden(stored, command, arguments, values | {"launcher": launcher})
        fit = fit_config(command, changes, stored.fit)
        return Request(command, base, None, launcher, fit, stored.fit, foresight)
    for override in arguments.overrides:
        if (key := key_of(override)) in RULED:
            raise BadInput(f"{override}: the grid sets {key} of each trial; change {RULED[key]}")
    asked = resolved(build(GridConfig, grid, "grid"), arguments, KEYS)
    asked = asked if command.tune else replace(asked, tuning=None)
    base = build(TrainConfig, values)
    arms_of(base, asked)  # refused here, an arm costs nothing
    return Request(
        command,
        base,
        asked,
        build(LauncherConfig, launcher, "launcher"),
        fit_config(command, changes, {}),
        changes,
        foresight,
    )


def _require_subject(arguments: Arguments, values: dict[str, Any]) -> None:
    """BadInput for an experiment without a grid, and where nothing says what the sweep is about."""
    has_grid = values.get("grid") is not None
    is_planned = values.get("mode") in ("plan", "measure", "prepare")
    if not has_grid and (named := [o for o in arguments.overrides if key_of(o) == "experiment"]):
        raise BadInput(
            f"{named[0]}: it has no grid, so it is for train.py; a sweep needs a grid too, as "
            f"grid=isoflop_m, or an experiment with one: {', '.join(swept_experiments())}"
        )
    if not has_grid and is_planned and arguments.typed("model", "data"):
        raise BadInput("grid: missing; give one, as grid=smoke, or an experiment with one")
    is_of_a_folder = values.get("out") or values.get("mode") in ("status", "work")
    if has_grid or is_planned or not is_of_a_folder:
        arguments.require_experiment()


def fit_config(command: SweepCommand, changes: Any, stored: dict[str, Any]) -> FitConfig:
    """fit.yaml as the stored plan changes it, then as it was typed.

    Refused here, a mistyped fit costs nothing; after the trials it would cost their hours."""
    if not isinstance(changes, dict):
        raise BadInput(f"fit: found {changes!r}, expected fields of fit.yaml, as fit.seed=1")
    for name in ("runs", "out", "by"):
        if name in changes and (name, changes[name]) != ("by", ALL_ARMS):
            raise BadInput(f"fit.{name}: a sweep fits its own runs, into out/fit; use fit.py")
    out = command.out or "."
    values = OmegaConf.merge(
        compose_config("fit"), stored, changes, {"runs": out, "out": str(Path(out) / "fit")}
    )
    try:
        return build(FitConfig, OmegaConf.to_container(values))
    except BadInput as error:
        raise BadInput(f"fit.{error}".replace("did you mean ", "did you mean fit.")) from None


def _overridden(
    stored: store.StoredPlan, command: SweepCommand, arguments: Arguments, values: dict[str, Any]
) -> tuple[TrainConfig, LauncherConfig]:
    """The stored base and launcher with what was typed."""
    changed: dict[str, dict[str, Any]] = {"runtime": {}, "launcher": {}, "data": {}}
    chosen = None
    for override in arguments.overrides:
        key = key_of(override)
        group, _, name = key.partition(".")
        if key == "launcher":
            chosen = values[key]
        elif group in changed and name and (group != "data" or name in ("path", "verify")):
            top = name.partition(".")[0]
            changed[group][top] = values[group][top]
        elif group not in ("fit", "foresight", *(field.name for field in fields(SweepCommand))):
            raise BadInput(
                f"{key}: without an experiment or a grid this is about the plan in "
                f"{command.folder}, whose trials are made; only runtime.*, launcher.*, data.path "
                "and data.verify can change"
            )
    base = as_mapping(stored.plan.base)
    base["runtime"] |= changed["runtime"]
    base["data"] |= changed["data"]
    launcher = chosen or as_mapping(stored.launcher) | changed["launcher"]
    return build(TrainConfig, base), build(LauncherConfig, launcher, "launcher")
