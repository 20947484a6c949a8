"""train.py as a command, run in the process of the test."""

from collections.abc import Callable
from pathlib import Path

from tiny_training import prepared_config

import train
from configs.load import run_entry
from training.config import TrainConfig
from training.trial import write_config


def train_command(within: Path) -> Callable[..., int]:
    """Runs train.py on a tiny config with the overrides given; gives the exit status."""

    def call(*overrides: str, config: TrainConfig | None = None) -> int:
        folder = within / f"config{len(list(within.glob('config*')))}"
        write_config(folder, config or prepared_config(within))
        return entry("--config-dir", str(folder), "--config-name", "config", *overrides)

    return call


def run_in(out: Path, config: TrainConfig) -> int:
    """`train.py out=...` on a config, which is written beside its text; the exit status."""
    assert config.data.path
    folder = Path(config.data.path).parent / "config"
    write_config(folder, config)
    return entry("--config-dir", str(folder), "--config-name", "config", f"out={out}")


def entry(*arguments: str) -> int:
    """The exit status of train.py."""
    return run_entry(train.main, "train", train.__doc__ or "", list(arguments))
