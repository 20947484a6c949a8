"""The request of a call of train.py: a command, and the trial that it is about; torch-free."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from common.errors import BadInput, require
from configs.cli import Arguments
from configs.overrides import Keys, key_of
from configs.schema import build
from training.config import TrainConfig
from training.device.stated import StatedMachine
from training.trial.folder import read_config

SWEEPS_ONLY = ("grid", "launcher", "fit")


@dataclass(frozen=True)
class Command:
    """What to do with the trial, and where.

    mode  run; plan: say what it is and costs; measure: time a few steps; page: write run.html of
          the run in `out`, ended or not
    out   the trial's folder; null: runs/<id>
    keep  final: the last checkpoints stay; none: they go once the record is there
    launcher  with mode=plan: the machine that hours and price are for
    """

    mode: Literal["run", "plan", "measure", "page"] = "run"
    out: str | None = None
    keep: Literal["final", "none"] = "final"
    launcher: StatedMachine = StatedMachine()


KEYS = Keys({"": (Command, TrainConfig)})


def compose(arguments: Arguments) -> tuple[Command, TrainConfig]:
    """The command and its trial; what only sweeps read may stand in files but not be typed."""
    for override in arguments.overrides:
        name, dot, _ = key_of(override).partition(".")
        if name in SWEEPS_ONLY and not (name == "launcher" and dot):
            raise BadInput(f"{override}: train.py trains one model and reads no {name}: sweep.py")
    values: dict[str, Any] = arguments.compose(KEYS)
    if typed := [o for o in arguments.overrides if key_of(o).startswith("launcher.")]:
        is_plan = values.get("mode") == "plan"
        require(is_plan, typed[0], f"with mode={values.get('mode', 'run')}", "mode=plan")
    if values.get("mode") == "page":
        out = values.get("out")
        require(out is not None, "out", "nothing", "the folder of a run, as out=runs/gpt2")
        return Command(mode="page", out=out), read_config(Path(str(out)))
    # The other fields, which an experiment's file may have, are a sweep's.
    stated = {field.name for field in fields(StatedMachine)}
    launcher = values.pop("launcher", None) or {}
    values["launcher"] = {key: value for key, value in launcher.items() if key in stated}
    arguments.require_experiment()
    own = [field.name for field in fields(Command)]
    command = build(Command, {name: values.pop(name) for name in own if name in values})
    trial = {name: value for name, value in values.items() if name not in SWEEPS_ONLY}
    return command, build(TrainConfig, trial)
