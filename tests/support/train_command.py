"""train.py as a command, run in the process of the test."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import train
from configs.cli import run_entry
from tests.support.tiny_training import prepared_config
from tests.support.typed import last_of_each
from training.config import TrainConfig
from training.step import StepFunction, begin_step
from training.trial.folder import write_config


def train_command(within: Path) -> Callable[..., int]:
    """Runs train.py on a tiny config with the overrides given; gives the exit status."""

    def call(
        *overrides: str,
        config: TrainConfig | None = None,
        step_function: StepFunction = begin_step,
    ) -> int:
        folder = within / f"config{len(list(within.glob('config*')))}"
        write_config(folder, config or prepared_config(within))
        words = last_of_each(*overrides)
        return entry(*config_in(folder), *words, step_function=step_function)

    return call


def run_in(out: Path, config: TrainConfig) -> int:
    """`train.py out=...` on a config, which is written beside its text; the exit status."""
    assert config.data.path
    folder = Path(config.data.path).parent / "config"
    write_config(folder, config)
    return entry(*config_in(folder), f"out={out}")


def config_in(folder: Path) -> tuple[str, ...]:
    """The arguments that name the config.yaml of a folder."""
    return ("--config-dir", str(folder), "--config-name", "config")


def entry(*arguments: str, step_function: StepFunction = begin_step) -> int:
    """The exit status of train.py."""
    main = partial(train.main, step_function=step_function)
    return run_entry(main, "train", train.__doc__ or "", list(arguments))
